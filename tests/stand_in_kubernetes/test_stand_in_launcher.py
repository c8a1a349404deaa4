"""The stock launcher of `dagster_k8s` carries runs through the stand-in."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster_k8s.client import DagsterK8sUnrecoverableAPIError
from kubernetes.client import ApiException

from stand_in_kubernetes import Account, StandIn, cpu_node
from stand_in_kubernetes.manifests import GPU, TOLERATIONS

SPACE = "mlops-assets"
TINY = Path(__file__).with_name("tiny_job.py")
RUN = {
    "apiGroups": ["batch"],
    "resources": ["jobs", "jobs/status"],
    "verbs": ["create", "delete", "get", "list"],
}
SEE = {
    "apiGroups": [""],
    "resources": ["pods", "pods/log", "events"],
    "verbs": ["delete", "get", "list"],
}
LAUNCHER = Account("dagster", SPACE, [RUN, SEE])


@pytest.fixture
def cluster() -> Iterator[StandIn]:
    with StandIn([cpu_node("cpu-0")], accounts=[LAUNCHER]) as running:
        settings = {"kind": "ConfigMap", "metadata": {"name": "dagster-instance"}, "data": {}}
        running.apply({"apiVersion": "v1", **settings})
        yield running


@contextmanager
def launching(cluster: StandIn, home: Path, namespace: str) -> Iterator[dg.DagsterInstance]:
    launcher = {
        "load_incluster_config": False,
        "kubeconfig_file": str(cluster.kubeconfig_of(LAUNCHER)),
        "job_namespace": namespace,
        "job_image": "none",
        "dagster_home": str(home),
        "instance_config_map": "dagster-instance",
        "service_account_name": "dagster",
    }
    told = {
        "telemetry": {"enabled": False},
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher},
    }
    (home / "dagster.yaml").write_text(yaml.safe_dump(told))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as found:
            yield found


@pytest.fixture
def instance(cluster: StandIn, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with launching(cluster, tmp_path, SPACE) as found:
        yield found


def launched(instance: dg.DagsterInstance, seconds: float = 0.0, **pod: Any) -> dg.DagsterRun:
    job = ReconstructableJob.for_file(str(TINY), "tiny")
    run = instance.create_run_for_job(
        job.get_definition(),
        run_config={"ops": {"look_around": {"config": {"seconds": seconds}}}},
        tags={"dagster-k8s/config": json.dumps(pod)} if pod else {},
        job_code_origin=job.get_python_origin(),
        status=dg.DagsterRunStatus.STARTING,
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found.status


def pod_of(cluster: StandIn, run: dg.DagsterRun) -> dict[str, Any]:
    return cluster.until(lambda: cluster.find("pods", f"dagster/run-id={run.run_id}"))[0]


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return instance.run_launcher.check_run_worker_health(found).status


def test_a_run_succeeds_in_a_pod_that_has_only_its_own_environment(
    cluster: StandIn, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_LAUNCHER", "1")
    run = launched(instance)
    cluster.until(lambda: status(instance, run).value in {"SUCCESS", "FAILURE"})
    assert status(instance, run) == dg.DagsterRunStatus.SUCCESS, cluster.log(
        pod_of(cluster, run)["metadata"]["name"]
    )
    cluster.until(lambda: health(instance, run) == WorkerStatus.SUCCESS)
    pod = pod_of(cluster, run)
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "run_worker"
    assert pod["spec"]["nodeName"] == "cpu-0"
    seen = next(e.user_message for e in instance.all_logs(run.run_id) if "saw" in e.user_message)
    assert "DAGSTER_HOME" in seen
    assert "OF_THE_LAUNCHER" not in seen


def test_a_run_that_is_terminated_is_cancelled_and_its_job_and_pod_are_gone(
    cluster: StandIn, instance: dg.DagsterInstance
) -> None:
    run = launched(instance, seconds=600)
    cluster.until(lambda: any("saw" in e.user_message for e in instance.all_logs(run.run_id)))
    assert health(instance, run) == WorkerStatus.RUNNING
    assert instance.run_launcher.terminate(run.run_id) is True
    cluster.until(lambda: status(instance, run) == dg.DagsterRunStatus.CANCELED)
    cluster.until(lambda: not cluster.find("jobs") and not cluster.find("pods"))


def test_a_run_whose_pod_is_killed_is_found_dead_and_says_what_is_known(
    cluster: StandIn, instance: dg.DagsterInstance
) -> None:
    run = launched(instance, seconds=600)
    cluster.until(lambda: any("saw" in e.user_message for e in instance.all_logs(run.run_id)))
    name = pod_of(cluster, run)["metadata"]["name"]
    cluster.kill_pod(name)
    cluster.until(lambda: health(instance, run) == WorkerStatus.FAILED)
    told = instance.run_launcher.get_run_worker_debug_info(run)
    assert told
    assert "Pod status: Failed" in told
    assert "Terminated with exit code 137: OOMKilled" in told
    assert f"kubectl logs {name}" in told


def test_a_run_that_no_node_can_take_says_why(
    cluster: StandIn, instance: dg.DagsterInstance
) -> None:
    resources = {"limits": {GPU: "1"}}
    run = launched(
        instance,
        container_config={"resources": resources},
        pod_spec_config={"tolerations": TOLERATIONS},
    )
    cluster.until(
        lambda: "FailedScheduling" in (instance.run_launcher.get_run_worker_debug_info(run) or "")
    )
    told = instance.run_launcher.get_run_worker_debug_info(run)
    assert told
    assert "Pod status: Pending" in told
    assert "FailedScheduling: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu." in told
    assert health(instance, run) == WorkerStatus.RUNNING


def test_a_namespace_that_the_launcher_may_not_use_is_refused(
    cluster: StandIn, tmp_path: Path
) -> None:
    with (
        launching(cluster, tmp_path, "kube-system") as elsewhere,
        pytest.raises(DagsterK8sUnrecoverableAPIError) as error,
    ):
        launched(elsewhere)
    assert isinstance(error.value.__cause__, ApiException)
    assert 'cannot create resource \\"jobs\\"' in error.value.__cause__.body
