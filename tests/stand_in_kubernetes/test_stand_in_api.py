"""The stand-in answers the official client as an API server would."""

import json
import threading
from typing import Any

import pytest
from kubernetes import client, watch
from kubernetes.client import ApiException, BatchV1Api, CoreV1Api

from stand_in_kubernetes import Account, StandIn, cpu_node
from stand_in_kubernetes.manifests import GPU, job, pod, pod_spec
from stand_in_kubernetes.scheduler import Scheduler

SPACE = "mlops-assets"


def refused(error: pytest.ExceptionInfo[ApiException]) -> tuple[int, str, str]:
    body = json.loads(error.value.body)
    assert body["kind"] == "Status"
    assert body["code"] == error.value.status
    return body["code"], body["reason"], body["message"]


def test_nobody_is_let_in_without_a_token(cluster: StandIn) -> None:
    api = cluster.client()
    api.configuration.api_key = {}
    with pytest.raises(ApiException) as error:
        CoreV1Api(api).list_namespaced_pod(SPACE)
    assert refused(error) == (401, "Unauthorized", "Unauthorized")


def test_a_name_is_taken_once_and_then_found_until_it_is_deleted(cluster: StandIn) -> None:
    jobs = BatchV1Api(cluster.client())
    body = job("one", pod_spec("true"))
    made = jobs.create_namespaced_job(SPACE, body)
    assert made.spec.completions == 1
    with pytest.raises(ApiException) as error:
        jobs.create_namespaced_job(SPACE, body)
    assert refused(error) == (409, "AlreadyExists", 'jobs.batch "one" already exists')
    assert jobs.read_namespaced_job("one", SPACE).metadata.uid == made.metadata.uid
    jobs.delete_namespaced_job("one", SPACE)
    with pytest.raises(ApiException) as error:
        jobs.read_namespaced_job_status("one", SPACE)
    assert refused(error) == (404, "NotFound", 'jobs.batch "one" not found')


def test_nothing_is_made_in_a_namespace_that_is_not_there(cluster: StandIn) -> None:
    with pytest.raises(ApiException) as error:
        BatchV1Api(cluster.client()).create_namespaced_job("other", job("one", pod_spec("true")))
    assert refused(error) == (404, "NotFound", 'namespaces "other" not found')


def test_an_account_may_what_its_rules_say_in_its_namespace_alone() -> None:
    rules = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]
    launcher = Account("launcher", SPACE, rules)
    with StandIn([cpu_node("cpu-0")], [SPACE, "other"], [launcher]) as cluster:
        jobs, core = BatchV1Api(cluster.client(launcher)), CoreV1Api(cluster.client(launcher))
        jobs.create_namespaced_job(SPACE, job("one", pod_spec("echo hello")))
        name = cluster.until(lambda: cluster.find("pods"))[0]["metadata"]["name"]
        cluster.until(lambda: cluster.find("pods")[0]["status"]["phase"] == "Succeeded")
        # Read as it came: release 36 of the client gives a string of how Python writes the bytes.
        answer = core.read_namespaced_pod_log(name, SPACE, _preload_content=False)
        assert answer.data == b"hello\n"
        with pytest.raises(ApiException) as error:
            jobs.create_namespaced_job("other", job("one", pod_spec("true")))
        assert refused(error) == (
            403,
            "Forbidden",
            'jobs.batch is forbidden: User "system:serviceaccount:mlops-assets:launcher" cannot '
            'create resource "jobs" in API group "batch" in the namespace "other"',
        )
        with pytest.raises(ApiException) as error:
            core.read_namespaced_pod(name, SPACE)
        assert refused(error)[0] == 403


@pytest.mark.parametrize(
    ("field", "value", "code", "told"),
    [
        ("tolerationz", [], 400, "'tolerationz' was unexpected"),
        ("nodeSelector", {"gpu": True}, 400, "spec.template.spec.nodeSelector.gpu"),
        ("restartPolicy", "Always", 422, "spec.template.spec.restartPolicy: Unsupported value"),
        ("tolerations", [{"operator": "Exists", "value": "x"}], 422, "value must be empty"),
        ("initContainers", [{"name": "x", "image": "y"}], 422, "one container"),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_its_place(
    cluster: StandIn, field: str, value: Any, code: int, told: str
) -> None:
    body = job("one", {**pod_spec("true"), field: value})
    with pytest.raises(ApiException) as error:
        BatchV1Api(cluster.client()).create_namespaced_job(SPACE, body)
    assert refused(error)[0] == code
    assert told in refused(error)[2]


@pytest.mark.parametrize(
    ("resources", "code", "told"),
    [
        ({"limits": {"memory": "2Gb"}}, 400, "quantities must match the regular expression"),
        ({"limits": {"cpu": "-1"}}, 422, 'limits[cpu]: Invalid value: "-1": must be greater'),
        ({"limits": {GPU: "-1"}}, 422, "must be greater than or equal to 0"),
        ({"limits": {GPU: "500m"}}, 422, f'limits[{GPU}]: Invalid value: "500m": must be an int'),
        ({"requests": {GPU: "1"}}, 422, "Limit must be set for non overcommitable resources"),
        (
            {"requests": {GPU: "1"}, "limits": {GPU: "2"}},
            422,
            f"must be equal to {GPU} limit of 2",
        ),
        ({"requests": {"cpu": 2}, "limits": {"cpu": 1}}, 422, "less than or equal to cpu limit"),
        ({"limits": {"gpu": 1}}, 422, "must be a standard resource for containers"),
    ],
)
def test_amounts_are_refused_as_an_api_server_refuses_them(
    cluster: StandIn, resources: Any, code: int, told: str
) -> None:
    body = job("one", pod_spec("true", resources=resources))
    with pytest.raises(ApiException) as error:
        BatchV1Api(cluster.client()).create_namespaced_job(SPACE, body)
    assert refused(error)[0] == code
    assert told in refused(error)[2]


@pytest.mark.parametrize("labels", [{"a": "2013-06|JFK"}, {"a": "x" * 64}, {"a b": "x"}])
def test_a_label_that_is_none_is_refused(cluster: StandIn, labels: dict[str, str]) -> None:
    body = job("one", pod_spec("true"))
    body["spec"]["template"]["metadata"] = {"labels": labels}
    with pytest.raises(ApiException) as error:
        BatchV1Api(cluster.client()).create_namespaced_job(SPACE, body)
    assert refused(error)[:2] == (422, "Invalid")
    assert "spec.template.labels" in refused(error)[2]


def test_requests_are_what_the_limits_are_unless_they_are_given(cluster: StandIn) -> None:
    limits = {"cpu": "2", "memory": "1Gi"}
    resources = {"limits": limits, "requests": {"cpu": "1"}}
    spec = pod_spec("sleep 600", resources=resources)
    made = CoreV1Api(cluster.client()).create_namespaced_pod(SPACE, pod("one", spec))
    assert made.spec.containers[0].resources.requests == {"cpu": "1", "memory": "1Gi"}


def test_lists_are_narrowed_by_labels_and_fields(cluster: StandIn) -> None:
    core = CoreV1Api(cluster.client())
    for name, script, tier in (("a", "true", "x"), ("b", "sleep 600", "x"), ("c", "true", "y")):
        body = pod(name, pod_spec(script))
        body["metadata"]["labels"] = {"tier": tier}
        core.create_namespaced_pod(SPACE, body)
    cluster.until(lambda: len(cluster.find("events")) > 5)

    def names(**selectors: str) -> list[str]:
        found = core.list_namespaced_pod(SPACE, **selectors).items
        return [one.metadata.name for one in found]

    assert names(label_selector="tier=x") == ["a", "b"]
    assert names(label_selector="tier in (y, z)") == ["c"]
    assert names(label_selector="tier!=x,tier") == ["c"]
    assert names(field_selector="metadata.name=b") == ["b"]
    cluster.until(lambda: names(field_selector="status.phase=Succeeded") == ["a", "c"])
    events = core.list_namespaced_event(SPACE, field_selector="involvedObject.name=b").items
    assert {event.reason for event in events} == {"Scheduled", "Started"}
    with pytest.raises(ApiException) as error:
        names(field_selector="spec.image=x")
    assert refused(error)[2] == '"spec.image" is not a known field selector of pods'


def test_a_watch_tells_what_happens_to_a_pod(cluster: StandIn) -> None:
    core = CoreV1Api(cluster.client())
    core.create_namespaced_pod(SPACE, pod("one", pod_spec("exec sleep 600")))
    core.create_namespaced_pod(SPACE, pod("other", pod_spec("true")))
    seen = []
    stream = watch.Watch().stream(
        core.list_namespaced_pod, SPACE, field_selector="metadata.name=one", timeout_seconds=60
    )
    for event in stream:
        found = event["object"]
        seen.append((event["type"], found.status.phase))
        if found.status.phase == "Running" and found.metadata.deletion_timestamp is None:
            core.delete_namespaced_pod("one", SPACE, grace_period_seconds=0)
        if event["type"] == "DELETED":
            break
        assert found.metadata.name == "one"
    assert seen[0][0] == "ADDED"
    assert seen[-2:] == [("MODIFIED", "Failed"), ("DELETED", "Failed")]


def test_a_job_is_suspended_and_resumed_by_a_patch_and_its_template_stays(
    cluster: StandIn,
) -> None:
    jobs = BatchV1Api(cluster.client())
    jobs.create_namespaced_job(SPACE, job("one", pod_spec("sleep 600"), suspend=True))
    cluster.until(lambda: cluster.find("jobs")[0]["status"].get("conditions"))
    assert cluster.find("pods") == []
    jobs.patch_namespaced_job("one", SPACE, {"spec": {"suspend": False}})
    cluster.until(lambda: cluster.find("jobs")[0]["status"].get("ready") == 1)
    changed = {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}}
    with pytest.raises(ApiException) as error:
        jobs.patch_namespaced_job("one", SPACE, changed)
    assert refused(error)[2] == (
        'Job.batch "one" is invalid: spec.template: Invalid value: field is immutable'
    )


def test_what_changed_meanwhile_is_not_overwritten(cluster: StandIn) -> None:
    core = CoreV1Api(cluster.client())
    core.create_namespaced_config_map(
        SPACE, client.V1ConfigMap(metadata={"name": "one"}, data={"a": "1"})
    )
    mine = core.read_namespaced_config_map("one", SPACE)
    core.patch_namespaced_config_map("one", SPACE, {"data": {"a": "2"}})
    with pytest.raises(ApiException) as error:
        core.replace_namespaced_config_map("one", SPACE, mine)
    assert refused(error)[:2] == (409, "Conflict")


def test_a_fault_of_the_stand_in_itself_is_no_quiet_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Scheduler) -> None:
        raise ZeroDivisionError("a bug")

    broken = StandIn([cpu_node("cpu-0")]).__enter__()
    core = CoreV1Api(broken.client())
    monkeypatch.setattr(Scheduler, "reconcile", fail)
    core.create_namespaced_pod(SPACE, pod("one", pod_spec("true")))
    with pytest.raises(ApiException) as error:
        broken.until(lambda: not core.list_namespaced_pod(SPACE))
    assert "ZeroDivisionError('a bug')" in refused(error)[2]
    with pytest.raises(ZeroDivisionError):
        broken.__exit__(None, None, None)


def test_many_clients_at_once_are_answered(cluster: StandIn) -> None:
    api = cluster.client()

    def submit(number: int) -> None:
        BatchV1Api(api).create_namespaced_job(SPACE, job(f"job-{number}", pod_spec("echo done")))

    callers = [threading.Thread(target=submit, args=[number]) for number in range(60)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    cluster.until(lambda: all(one["status"].get("succeeded") for one in cluster.find("jobs")))
    assert len(cluster.find("jobs")) == 60
    assert {cluster.log(one["metadata"]["name"]) for one in cluster.find("pods")} == {"done\n"}
