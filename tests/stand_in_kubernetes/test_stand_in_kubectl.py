"""`kubectl` shows and ends what is in the stand-in."""

import json

from stand_in_kubernetes import StandIn
from stand_in_kubernetes.kubectl import kubectl
from stand_in_kubernetes.manifests import job, pod_spec


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_pods_jobs_and_nodes_are_listed_with_their_states(cluster: StandIn) -> None:
    cluster.apply(job("done", pod_spec("true")), job("stuck", pod_spec("true", gpus=3)))
    cluster.until(lambda: cluster.find("jobs")[0]["status"].get("succeeded"))
    header, *rows = cells(kubectl(cluster, "get", "pods", "-o", "wide").stdout)
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert {(row[0].rpartition("-")[0], row[2], row[6]) for row in rows} == {
        ("done", "Completed", "cpu-0"),
        ("stuck", "Pending", "<none>"),
    }
    jobs = cells(kubectl(cluster, "get", "jobs", "--no-headers").stdout)
    assert [row[:3] for row in jobs] == [["done", "Complete", "1/1"], ["stuck", "Running", "0/1"]]
    nodes = cells(kubectl(cluster, "get", "nodes", "--no-headers").stdout)
    assert [row[:2] for row in nodes] == [["cpu-0", "Ready"], ["gpu-0", "Ready"]]
    listed = json.loads(kubectl(cluster, "get", "pods", "-A", "-o", "json").stdout)
    assert len(listed["items"]) == 2
    told = kubectl(cluster, "describe", "pod", "-l", "job-name=stuck").stdout
    assert "FailedScheduling" in told
    assert "2 Insufficient nvidia.com/gpu" in told


def test_a_log_is_read_and_followed(cluster: StandIn) -> None:
    cluster.apply(job("one", pod_spec("echo a; echo b; sleep 0.5; echo c")))
    cluster.until(lambda: cluster.find("pods") and cluster.find("jobs")[0]["status"].get("ready"))
    assert kubectl(cluster, "logs", "-f", "job/one").stdout == "a\nb\nc\n"
    assert kubectl(cluster, "logs", "job/one", "--tail=1").stdout == "c\n"


def test_a_deleted_job_is_gone_with_its_pod(cluster: StandIn) -> None:
    cluster.apply(job("one", pod_spec("exec sleep 600")))
    cluster.until(lambda: cluster.find("pods") and cluster.find("jobs")[0]["status"].get("ready"))
    assert 'job.batch "one" deleted' in kubectl(cluster, "delete", "job", "one").stdout
    cluster.until(lambda: not cluster.find("pods"))
    missing = kubectl(cluster, "get", "job", "one", check=False)
    assert missing.stderr == 'Error from server (NotFound): jobs.batch "one" not found\n'


def test_a_manifest_is_applied_and_applied_again(cluster: StandIn) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
    for value, told in (("1", "created"), ("2", "configured"), ("2", "unchanged")):
        text = json.dumps({**manifest, "data": {"a": value}})
        done = kubectl(cluster, "apply", "--validate=false", "-f", "-", stdin=text)
        assert done.stdout == f"configmap/one {told}\n"
    assert cluster.find("configmaps")[0]["data"] == {"a": "2"}
    wrong = json.dumps({**manifest, "dada": {}})
    refused = kubectl(cluster, "apply", "--validate=false", "-f", "-", stdin=wrong, check=False)
    assert "'dada' was unexpected" in refused.stderr
