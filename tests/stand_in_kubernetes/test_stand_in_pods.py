"""The stand-in schedules, runs and ends pods as a cluster would."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kubernetes.client import ApiException, BatchV1Api, CoreV1Api

from stand_in_kubernetes import Node, StandIn, cpu_node, gpu_node
from stand_in_kubernetes.manifests import GPU, job, pod, pod_spec

SPACE = "mlops-assets"


def phase(cluster: StandIn, name: str) -> str:
    return named(cluster, name)["status"]["phase"]


def named(cluster: StandIn, name: str) -> dict[str, Any]:
    return next(one for one in cluster.find("pods") if one["metadata"]["name"] == name)


def state(cluster: StandIn, name: str) -> dict[str, Any]:
    statuses = named(cluster, name)["status"].get("containerStatuses", [{"state": {}}])
    return statuses[0]["state"]


def why_pending(cluster: StandIn, name: str) -> str:
    def told() -> str:
        conditions = named(cluster, name)["status"].get("conditions", [])
        return next((c["message"] for c in conditions if c.get("reason") == "Unschedulable"), "")

    return cluster.until(told)


def ended(cluster: StandIn, name: str) -> str:
    cluster.until(lambda: phase(cluster, name) in {"Succeeded", "Failed"})
    return phase(cluster, name)


# The scheduler


def test_a_pod_gets_its_gpus_by_number_and_each_number_is_given_once(cluster: StandIn) -> None:
    spec = pod_spec("echo $CUDA_VISIBLE_DEVICES; sleep 600", gpus=1)
    cluster.apply(pod("a", spec), pod("b", spec), pod("c", spec), pod("none", pod_spec("env")))
    cluster.until(lambda: cluster.log("a") and cluster.log("b"))
    assert {cluster.log("a"), cluster.log("b")} == {"0\n", "1\n"}
    assert named(cluster, "a")["spec"]["nodeName"] == "gpu-0"
    assert ended(cluster, "none") == "Succeeded"
    assert named(cluster, "none")["spec"]["nodeName"] == "cpu-0"
    assert "CUDA" not in cluster.log("none")
    assert why_pending(cluster, "c") == (
        "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. no new claims to deallocate, "
        "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )
    cluster.kill_pod("a")
    cluster.until(lambda: cluster.log("c"))
    assert cluster.log("c") == cluster.log("a")
    assert cluster.timeline.most_gpu_pods() == 2


def test_the_timeline_tells_gpus_that_idle_while_a_pod_waits_from_gpus_that_nobody_wants(
    cluster: StandIn,
) -> None:
    cluster.apply(pod("a", pod_spec("sleep 0.5", gpus=2)), pod("b", pod_spec("true", gpus=2)))
    assert ended(cluster, "b") == "Succeeded"
    entries = [entry for entry in cluster.timeline.entries() if entry.pod == "b"]
    assert [entry.event for entry in entries] == ["pending", "scheduled", "started", "ended"]
    assert entries[1].devices == (0, 1)
    freed = next(e.at for e in cluster.timeline.entries() if e[1:3] == ("ended", "a"))
    handed_on = 2 * (entries[1].at - freed)
    assert cluster.timeline.idle_gpu_seconds() == pytest.approx(handed_on, abs=0.01)
    end = entries[-1].at
    cluster.apply(pod("c", pod_spec("true", gpus=1)))
    assert ended(cluster, "c") == "Succeeded"
    later = [entry for entry in cluster.timeline.entries() if entry.pod == "c"]
    assert cluster.timeline.idle_gpu_seconds(end, later[0].at) == 0
    free = cluster.timeline.idle_gpu_seconds(end, later[0].at, pending=False)
    assert free == pytest.approx(2 * (later[0].at - end))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"nodeSelector": {"zone": "b"}}, "2 node(s) didn't match Pod's node affinity/selector"),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}
                            ]
                        }
                    }
                }
            },
            "1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector",
        ),
        ({"nodeSelector": {"zone": "a"}, "tolerations": []}, "1 node(s) had untolerated taint(s)"),
    ],
)
def test_an_unschedulable_pod_says_why(spec: dict[str, Any], told: str) -> None:
    taint = {"key": "only", "value": "gpu", "effect": "NoSchedule"}
    nodes = [
        Node("a", cpu=1, labels={"zone": "a"}, taints=[taint]),
        Node("b", cpu=1, labels={"spot": "yes"}),
    ]
    with StandIn(nodes) as cluster:
        body = pod("one", pod_spec("true", resources={"limits": {"cpu": "2"}}))
        body["spec"]["tolerations"] = [{"key": "only", "value": "gpu"}]
        body["spec"] |= spec
        cluster.apply(body)
        assert told in why_pending(cluster, "one")
        assert [event["reason"] for event in cluster.find("events")] == ["FailedScheduling"]


def test_a_pod_starts_as_soon_as_its_node_is_let_be_used(cluster: StandIn) -> None:
    core = CoreV1Api(cluster.client())
    core.patch_node("cpu-0", {"spec": {"unschedulable": True}})
    cluster.apply(pod("one", pod_spec("true")))
    assert "1 node(s) were unschedulable" in why_pending(cluster, "one")
    core.patch_node("cpu-0", {"spec": {"unschedulable": None}})
    assert ended(cluster, "one") == "Succeeded"


def test_the_pod_of_the_higher_class_is_first() -> None:
    urgent = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "urgent"},
        "value": 1000,
    }
    with StandIn([gpu_node("gpu-0")]) as cluster:
        cluster.apply(urgent, pod("first", pod_spec("sleep 600", gpus=1)))
        cluster.apply(pod("low", pod_spec("sleep 600", gpus=1)))
        cluster.apply(pod("high", pod_spec("true", gpus=1), priorityClassName="urgent"))
        why_pending(cluster, "high")
        cluster.kill_pod("first")
        assert ended(cluster, "high") == "Succeeded"
        assert phase(cluster, "low") in {"Pending", "Running"}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"runtimeClassName": "nvidia"}, 'pod rejected: RuntimeClass "nvidia" not found'),
        ({"priorityClassName": "high"}, "no PriorityClass with name high was found"),
        ({"serviceAccountName": "none"}, 'serviceaccount "none" not found'),
    ],
)
def test_a_pod_that_names_what_is_not_there_is_refused(
    cluster: StandIn, spec: dict[str, str], told: str
) -> None:
    with pytest.raises(ApiException) as error:
        CoreV1Api(cluster.client()).create_namespaced_pod(
            SPACE, pod("one", pod_spec("true"), **spec)
        )
    assert error.value.status == 403
    assert told in json.loads(error.value.body)["message"]


# The kubelet


def test_a_pod_knows_the_environment_that_it_was_given_and_no_other(
    cluster: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_TEST", "1")
    settings = {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"MODE": "fast"}}
    secret = {"kind": "Secret", "metadata": {"name": "key"}, "stringData": {"word": "open sesame"}}
    cluster.apply({"apiVersion": "v1", **settings}, {"apiVersion": "v1", **secret})
    env = [
        {"name": "PLAIN", "value": "$(MODE)-$$(MODE)-$(NO)"},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "key", "key": "word"}}},
        {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['who']"}}},
    ]
    body = pod("one", pod_spec("env", env=env, envFrom=[{"configMapRef": {"name": "settings"}}]))
    body["metadata"]["labels"] = {"who": "me"}
    cluster.apply(body)
    assert ended(cluster, "one") == "Succeeded"
    seen = dict(line.split("=", 1) for line in cluster.log("one").splitlines())
    assert seen.pop("PATH").split(":")[1:] == ["/usr/local/bin", "/usr/bin", "/bin"]
    assert seen.pop("HOME") == seen.pop("PWD")
    assert seen == {
        "LANG": "C.UTF-8",
        "MODE": "fast",
        "PLAIN": "fast-$(MODE)-$(NO)",
        "WORD": "open sesame",
        "WHO": "me",
    }


def test_a_pod_waits_for_a_secret_that_is_missing(cluster: StandIn) -> None:
    env = [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "key", "key": "word"}}}]
    cluster.apply(pod("one", pod_spec("echo $WORD", env=env)))
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "key" not found'}
    cluster.until(lambda: state(cluster, "one") == {"waiting": waiting})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}}
    cluster.apply({**secret, "stringData": {"word": "sesame"}})
    assert ended(cluster, "one") == "Succeeded"
    assert cluster.log("one") == "sesame\n"


def test_a_config_map_is_mounted_where_the_test_lets_it(tmp_path: Path) -> None:
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"a.yaml": "a: 1"},
    }
    place = tmp_path / "home" / "a.yaml"
    own = tmp_path / "own.yaml"
    own.write_text("mine")
    mounts = [
        {"name": "config", "mountPath": str(place), "subPath": "a.yaml"},
        {"name": "config", "mountPath": str(own), "subPath": "a.yaml"},
        {"name": "config", "mountPath": "/etc/settings"},
    ]
    spec = pod_spec(f"cat {place}", volumeMounts=mounts)
    volumes = [{"name": "config", "configMap": {"name": "settings"}}]
    with StandIn([cpu_node("cpu-0")], mounts=tmp_path) as cluster:
        cluster.apply(pod("one", spec, volumes=volumes))
        events = cluster.until(
            lambda: [e for e in cluster.find("events") if "Mount" in e["reason"]]
        )
        assert events[0]["message"] == (
            'MountVolume.SetUp failed for volume "config" : configmap "settings" not found'
        )
        cluster.apply(settings)
        assert ended(cluster, "one") == "Succeeded"
        assert cluster.log("one") == "a: 1"
    assert not place.exists()
    assert own.read_text() == "mine"


def test_a_program_that_is_not_there_fails_the_pod(cluster: StandIn) -> None:
    cluster.apply(pod("one", pod_spec("", args=["no-such-program"])))
    assert ended(cluster, "one") == "Failed"
    assert state(cluster, "one")["terminated"]["reason"] == "StartError"


def test_an_exit_code_is_passed_on(cluster: StandIn) -> None:
    cluster.apply(pod("one", pod_spec("echo out; echo err >&2; printf end; exit 3")))
    assert ended(cluster, "one") == "Failed"
    assert state(cluster, "one")["terminated"]["exitCode"] == 3
    assert state(cluster, "one")["terminated"]["reason"] == "Error"
    assert cluster.log("one").split() == ["out", "err", "end"]


def test_a_killed_pod_is_failed_and_its_children_are_gone(cluster: StandIn) -> None:
    cluster.apply(job("one", pod_spec("sleep 611 & echo $!; wait")))
    name = cluster.until(lambda: cluster.find("pods"))[0]["metadata"]["name"]
    child = int(cluster.until(lambda: cluster.log(name)))
    cluster.kill_pod(name)
    assert ended(cluster, name) == "Failed"
    terminated = state(cluster, name)["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (137, "OOMKilled")
    cluster.until(lambda: not psutil.pid_exists(child))
    status = cluster.until(lambda: cluster.find("jobs")[0]["status"].get("failed"))
    assert status == 1
    conditions = cluster.find("jobs")[0]["status"]["conditions"]
    assert [c["reason"] for c in conditions] == ["BackoffLimitExceeded"]


def test_a_deleted_pod_is_asked_to_end_and_then_made_to(cluster: StandIn) -> None:
    core = CoreV1Api(cluster.client())
    polite = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    cluster.apply(pod("polite", pod_spec(polite)), pod("stubborn", pod_spec(stubborn)))
    cluster.until(lambda: cluster.log("polite") and cluster.log("stubborn"))
    for name, grace in (("polite", 600), ("stubborn", 0)):
        core.delete_namespaced_pod(name, SPACE, grace_period_seconds=grace)
    cluster.until(lambda: not cluster.find("pods"))


def test_nothing_is_left_of_a_stand_in_that_was_left() -> None:
    with StandIn([cpu_node("cpu-0")]) as cluster:
        cluster.apply(pod("one", pod_spec("sleep 612 & echo $! $$$$; wait")))
        cluster.until(lambda: phase(cluster, "one") == "Running" and cluster.log("one"))
        processes = [int(number) for number in cluster.log("one").split()]
        assert all(psutil.pid_exists(number) for number in processes)
    gone = time.monotonic() + 60
    while any(psutil.pid_exists(number) for number in processes):
        assert time.monotonic() < gone
    assert not cluster.folder.exists()


def test_a_pod_ends_at_its_deadline(cluster: StandIn) -> None:
    cluster.apply(pod("one", pod_spec("exec sleep 600"), activeDeadlineSeconds=1))
    assert ended(cluster, "one") == "Failed"
    assert named(cluster, "one")["status"]["reason"] == "DeadlineExceeded"


# The Job controller


@pytest.fixture
def quota() -> Iterator[dict[str, Any]]:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus"},
        "spec": {"hard": {f"requests.{GPU}": "1"}},
    }


def test_a_quota_holds_a_pod_back_until_another_has_ended(
    cluster: StandIn, quota: dict[str, Any]
) -> None:
    cluster.apply(quota, job("a", pod_spec("sleep 600", gpus=1)))
    cluster.until(lambda: len(cluster.find("pods")) == 1)
    cluster.apply(job("b", pod_spec("true", gpus=1)))
    refused = cluster.until(
        lambda: [e for e in cluster.find("events") if e["reason"] == "FailedCreate"]
    )
    assert refused[0]["involvedObject"]["name"] == "b"
    assert refused[0]["message"] == (
        'Error creating: pods "b-" is forbidden: exceeded quota: gpus, '
        "requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=1, "
        "limited: requests.nvidia.com/gpu=1"
    )
    cluster.until(
        lambda: cluster.find("resourcequotas")[0]["status"]["used"] == {f"requests.{GPU}": "1"}
    )
    BatchV1Api(cluster.client()).delete_namespaced_job(
        "a", SPACE, propagation_policy="Background", grace_period_seconds=0
    )
    cluster.until(lambda: cluster.find("jobs")[0]["status"].get("succeeded"))


def test_a_quota_on_cpu_wants_every_pod_to_say_how_much(
    cluster: StandIn, quota: dict[str, Any]
) -> None:
    quota["spec"]["hard"] = {"requests.cpu": "4"}
    cluster.apply(quota)
    with pytest.raises(ApiException, match=r"must specify requests.cpu for: main"):
        CoreV1Api(cluster.client()).create_namespaced_pod(SPACE, pod("a", pod_spec("true")))


def test_a_deleted_job_leaves_its_pods_unless_it_is_told_otherwise(cluster: StandIn) -> None:
    jobs = BatchV1Api(cluster.client())
    for name in ("orphans", "background", "foreground"):
        cluster.apply(job(name, pod_spec("exec sleep 600")))
    cluster.until(lambda: [p["status"]["phase"] for p in cluster.find("pods")] == ["Running"] * 3)
    jobs.delete_namespaced_job("orphans", SPACE)
    jobs.delete_namespaced_job("background", SPACE, propagation_policy="Background")
    jobs.delete_namespaced_job("foreground", SPACE, propagation_policy="Foreground")
    cluster.until(lambda: not cluster.find("jobs") and len(cluster.find("pods")) == 1)
    left = cluster.find("pods")[0]
    assert left["metadata"]["labels"]["job-name"] == "orphans"
    assert left["metadata"]["ownerReferences"] == []
    assert left["status"]["phase"] == "Running"


def test_a_finished_job_goes_when_its_time_is_over(cluster: StandIn) -> None:
    cluster.apply(job("one", pod_spec("true"), ttlSecondsAfterFinished=1))
    cluster.apply(job("two", pod_spec("true"), ttlSecondsAfterFinished=600))
    cluster.until(lambda: [j["metadata"]["name"] for j in cluster.find("jobs")] == ["two"])
    cluster.until(lambda: len(cluster.find("pods")) == 1)


def test_a_job_ends_at_its_deadline(cluster: StandIn) -> None:
    cluster.apply(job("one", pod_spec("exec sleep 600"), activeDeadlineSeconds=1))
    cluster.until(lambda: cluster.find("jobs")[0]["status"].get("conditions"))
    assert cluster.find("jobs")[0]["status"]["conditions"][0]["reason"] == "DeadlineExceeded"
    cluster.until(lambda: not cluster.find("pods"))


def test_a_job_whose_pod_was_deleted_has_failed(cluster: StandIn) -> None:
    cluster.apply(job("one", pod_spec("exec sleep 600")))
    cluster.until(lambda: cluster.find("pods") and cluster.find("jobs")[0]["status"].get("ready"))
    name = cluster.find("pods")[0]["metadata"]["name"]
    CoreV1Api(cluster.client()).delete_namespaced_pod(name, SPACE)
    cluster.until(lambda: cluster.find("jobs")[0]["status"].get("failed") == 1)
    assert "active" not in cluster.find("jobs")[0]["status"]
