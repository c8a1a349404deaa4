"""The `dagster.yaml` of `infra/k8s`: the instance that it makes, its runs' pods, its rights."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes.client.rest
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.base import WorkerStatus
from dagster._core.scheduler.instigation import TickStatus
from instance_on_this_machine import instance_environment, write_instance
from kubernetes_manifests import (
    NAMESPACE,
    Manifest,
    containers,
    of_kind,
    overlay,
    pods,
)
from pod_security import violations
from postgres_server import PASSWORD, postgres
from queued_runs import Queue
from stand_in_kubernetes import Account, StandIn, cpu_node, gpu_node

from mlops_assets.compute.postgres_event_log import PooledPostgresEventLogStorage
from mlops_assets.compute.postgres_storages import (
    PooledPostgresRunStorage,
    PooledPostgresScheduleStorage,
)
from mlops_assets.compute.run_coordinator import ProfiledRunCoordinator
from mlops_assets.compute.run_launcher import ProfiledK8sRunLauncher

RUN = "dagster-run"
JFK = {"dagster/partition": "JFK"}
PATIENCE_SECONDS = 60
FORBIDDEN = {
    "image": {"container_config": {"image": "mine"}},
    "env": {"container_config": {"env": [{"name": "A", "value": "b"}]}},
    "env_from": {"container_config": {"env_from": [{"secret_ref": {"name": "postgres-admin"}}]}},
    "volumes": {"pod_spec_config": {"volumes": [{"name": "v", "host_path": {"path": "/"}}]}},
    "service_account_name": {"pod_spec_config": {"service_account_name": "dagster-daemon"}},
    "security_context": {"container_config": {"security_context": {"privileged": True}}},
    "labels": {"pod_template_spec_metadata": {"labels": {"app.kubernetes.io/name": "postgres"}}},
}

Asked = list[tuple[str, str]]
"""What has been asked of the API: verbs with resources."""


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    with postgres() as port:
        yield port


@pytest.fixture
def cluster() -> Iterator[StandIn]:
    with StandIn([cpu_node("cpu-0"), gpu_node("gpu-0")], [NAMESPACE], accounts()) as made:
        made.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": RUN}})
        yield made


def accounts() -> list[Account]:
    """The service accounts of the manifests, each with what its roles say."""
    manifests = overlay("gpu")
    rules = {role["metadata"]["name"]: role["rules"] for role in of_kind(manifests, "Role")}
    return [
        Account(subject["name"], NAMESPACE, rules[binding["roleRef"]["name"]])
        for binding in of_kind(manifests, "RoleBinding")
        for subject in binding["subjects"]
    ]


Opened = Callable[[str], Queue]


@pytest.fixture
def opened(
    database: int, cluster: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opened]:
    """Opens the instance as the pod of one of the service accounts does."""
    home = tmp_path / "dagster"
    home.mkdir()
    for name, value in instance_environment(home).items():
        monkeypatch.setenv(name, value)
    made: list[dg.DagsterInstance] = []

    def open_as(account: str) -> Queue:
        who = next(one for one in accounts() if one.name == account)
        write_instance(home, database, cluster.kubeconfig_of(who))
        made.append(dg.DagsterInstance.get())
        return Queue(made[-1])

    yield open_as
    for instance in made:
        instance.dispose()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the official client asks the API for."""
    found: Asked = []
    stock = kubernetes.client.rest.RESTClientObject.request
    verbs = {"POST": "create", "DELETE": "delete"}

    def request(self: object, method: str, url: str, *rest: Any, **more: Any) -> Any:
        path = re.search(rf"/namespaces/{NAMESPACE}/(\w+)(?:/[^/?]+)?(/\w+)?", url)
        assert path is not None, url
        single = re.search(rf"/{path[1]}/[^?]", url)
        resource = path[1] + (path[2] or "")
        found.append((verbs.get(method) or ("get" if single else "list"), resource))
        return stock(self, method, url, *rest, **more)

    monkeypatch.setattr(kubernetes.client.rest.RESTClientObject, "request", request)
    return found


def granted(account: str) -> set[tuple[str, str]]:
    [found] = [one for one in accounts() if one.name == account]
    return {
        (verb, resource)
        for rule in found.rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.fixture
def launched(opened: Opened, cluster: StandIn) -> Callable[..., tuple[Queue, dg.DagsterRun]]:
    def launch(**tags: str) -> tuple[Queue, dg.DagsterRun]:
        queue = opened("dagster-daemon")
        run = queue.submit(queue.create("model", tags={**JFK, **tags}))
        queue.instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
        return queue, run

    return launch


def test_the_instance_has_our_queue_our_launcher_and_our_storages(opened: Opened) -> None:
    instance = opened("dagster-daemon").instance
    assert isinstance(instance.run_coordinator, ProfiledRunCoordinator)
    assert isinstance(instance.run_launcher, ProfiledK8sRunLauncher)
    assert isinstance(instance.event_log_storage, PooledPostgresEventLogStorage)
    assert isinstance(instance.run_storage, PooledPostgresRunStorage)
    assert isinstance(instance.schedule_storage, PooledPostgresScheduleStorage)
    assert instance.run_launcher.job_namespace == NAMESPACE
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_resume_run_attempts == 0
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled
    for kind in InstigatorType:
        assert instance.get_tick_retention_settings(kind)[TickStatus.FAILURE] > 0
    queue = opened("dagster-daemon")
    queue.submit(queue.create("model", tags=JFK))
    assert {"gpu"} == {pool.name for pool in instance.event_log_storage.get_pool_limits()}


def test_the_pod_of_a_run_is_restricted_and_has_what_servers_have(
    launched: Callable[..., tuple[Queue, dg.DagsterRun]], cluster: StandIn
) -> None:
    _, run = launched()
    job = job_of(cluster, run)
    pod = job["spec"]["template"]
    assert violations(pod["spec"]) == []
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["serviceAccountName"] == RUN
    labels = pod["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "dagster"
    assert labels["app.kubernetes.io/component"] == "run_worker"
    [container] = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert job["spec"]["backoffLimit"] == 0
    [server] = containers(pods(overlay("gpu"))["dagster-code"])
    # Only the code server tells people things: a step that learns from data holds no such secret.
    assert sources(container) == sources(server) - {("secretRef", "alerts")}
    # A source without a password needs no secret: the pods start where there is none.
    for one in (container, server):
        assert {"secretRef": {"name": "source", "optional": True}} in one["envFrom"]
    assert writable(container, pod) >= writable(server, pods(overlay("gpu"))["dagster-code"])
    given = {one["name"]: one.get("value") for one in container["env"]}
    assert given["LAKEFS_BRANCH"] == "main"
    assert "DAGSTER_PG_PASSWORD" in given
    assert given["DAGSTER_PG_PASSWORD"] is None


def sources(container: Manifest) -> set[tuple[str, str]]:
    return {
        (kind, reference["name"])
        for source in container["envFrom"]
        for kind, reference in source.items()
        if isinstance(reference, dict)
    }


def writable(container: Manifest, pod: Manifest) -> set[str]:
    """Where a pod may write, except Dagster's home, which the test puts elsewhere."""
    empty = {volume["name"] for volume in pod["spec"]["volumes"] if "emptyDir" in volume}
    return {
        mount["mountPath"]
        for mount in container["volumeMounts"]
        if mount["name"] in empty and mount["name"] != "dagster-home"
    }


def job_of(cluster: StandIn, run: dg.DagsterRun) -> Manifest:
    [job] = cluster.find("jobs", f"dagster/run-id={run.run_id}")
    found: Manifest = job
    return found


@pytest.mark.parametrize("field", FORBIDDEN)
def test_a_runs_tag_changes_nothing_that_would_open_a_door(
    launched: Callable[..., tuple[Queue, dg.DagsterRun]], cluster: StandIn, field: str
) -> None:
    with pytest.raises(Exception, match="violated the allowed list"):
        launched(**{"dagster-k8s/config": json.dumps(FORBIDDEN[field])})
    assert cluster.find("jobs") == []


def test_the_daemon_uses_all_of_its_rights_and_no_other(
    launched: Callable[..., tuple[Queue, dg.DagsterRun]],
    cluster: StandIn,
    asked: Asked,
    tmp_path: Path,
) -> None:
    let_pods_begin(cluster, tmp_path)
    queue, run = launched()
    launcher = queue.instance.run_launcher
    assert isinstance(launcher, ProfiledK8sRunLauncher)
    # The code that the run names is not in the pod, which ends by itself.
    until(lambda: [pod["status"]["phase"] for pod in cluster.find("pods")] == ["Failed"])
    told = launcher.get_run_worker_debug_info(run) or ""
    assert "Pod status: Failed" in told
    assert launcher.check_run_worker_health(queue.again(run)).status is WorkerStatus.FAILED
    until(lambda: ("list", "jobs") in asked)
    other = queue.submit(queue.create("table"))
    launcher.launch_run(LaunchRunContext(other, workspace=None))
    assert launcher.terminate(other.run_id)
    assert set(asked) == granted("dagster-daemon")


def test_the_webserver_cancels_a_run_and_may_do_nothing_else(
    launched: Callable[..., tuple[Queue, dg.DagsterRun]],
    opened: Opened,
    cluster: StandIn,
    asked: Asked,
) -> None:
    _, run = launched()
    until(lambda: cluster.find("pods"))
    webserver = opened("dagster-webserver").instance
    asked.clear()
    assert webserver.run_launcher.terminate(run.run_id)
    assert cluster.find("jobs") == []
    until(lambda: not cluster.find("pods"))
    assert set(asked) == granted("dagster-webserver")


def let_pods_begin(cluster: StandIn, folder: Path) -> None:
    """Make what the pods of runs name; what they write goes below a folder of the test."""
    empty = {"apiVersion": "v1", "kind": "ConfigMap", "data": {}}
    places = {"HOME": str(folder), "MLOPS_HOME": str(folder / "home")}
    secrets = {
        "dagster-postgresql": {"postgresql-password": PASSWORD},
        "lakefs-credentials": {"LAKECTL_CREDENTIALS_ACCESS_KEY_ID": "nobody"},
    }
    cluster.apply(
        {**empty, "metadata": {"name": "mlops-assets"}, "data": places},
        {**empty, "metadata": {"name": "profiles"}},
        *(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
            for name, data in secrets.items()
        ),
    )


def until(true: Callable[[], object]) -> None:
    patience = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < patience, "it did not come to be"
        time.sleep(0.1)
