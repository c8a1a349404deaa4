"""What goes wrong on a cluster is told, ended and made up for; nothing is left or run twice."""

from __future__ import annotations

import json
import time
from collections import Counter

import dagster as dg
import pytest
import yaml
from deployment import BACKFILL, Deployment

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.parametrize("deployment", ["postgres"], indirect=True, scope="module"),
]

CELLS = [f"2013-{month:02}|{origin}" for month in (4, 5) for origin in ("EWR", "JFK", "LGA")]
FAILURE = dg.DagsterRunStatus.FAILURE


def test_a_killed_pod_is_reported_and_its_run_retried(deployment: Deployment) -> None:
    run = _started(deployment)
    pod = deployment.pod_of(run)
    assert pod is not None
    killed = time.monotonic()
    deployment.cluster.kill_pod(pod["metadata"]["name"])
    assert deployment.ended(run) is FAILURE
    print(f"a killed pod was reported after {time.monotonic() - killed:.1f} s")
    deployment.take(0)
    assert "K8s job has no active pods" in deployment.said(run)

    retries = deployment.until(lambda: _children(deployment, run), "the run is retried")
    assert deployment.ended(retries[0]) is dg.DagsterRunStatus.SUCCESS
    assert [note["run"] for note in deployment.made("solo")] == retries


def _started(deployment: Deployment) -> str:
    """A run that has begun and takes as long as the test lets it."""
    deployment.take(600)
    run = deployment.materialize("solo")
    deployment.until(lambda: deployment.status(run) == "STARTED", "the run begins")
    return run


def _children(deployment: Deployment, run: str) -> list[str]:
    with deployment.instance() as instance:
        filters = dg.RunsFilter(tags={"dagster/parent_run_id": run})
        return [found.run_id for found in instance.get_runs(filters)]


def test_a_pod_that_no_node_can_take_says_what_is_missing_and_leaves_when_cancelled(
    deployment: Deployment,
) -> None:
    run = deployment.materialize("huge")
    deployment.until(lambda: "Insufficient nvidia.com/gpu" in deployment.said(run), "it is told")
    assert "profile gpu-huge asks for 1 cpu, 1Gi memory, 3 nvidia.com/gpu" in deployment.said(run)
    # Dagster marks a run that has not begun as cancelled, by force only, and leaves its Job alone.
    _cancel(deployment, run, policy="MARK_AS_CANCELED_IMMEDIATELY")

    run = _started(deployment)
    _cancel(deployment, run)


def _cancel(deployment: Deployment, run: str, policy: str = "SAFE_TERMINATE") -> None:
    answer = deployment.ask(TERMINATE, id=run, policy=policy)["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    assert deployment.ended(run) is dg.DagsterRunStatus.CANCELED
    deployment.until(lambda: deployment.pod_of(run) is None, "its pod is gone")
    assert deployment.cluster.find("jobs", f"dagster/run-id={run}") == []


def test_a_backfill_outlives_the_webserver_and_the_daemon(deployment: Deployment) -> None:
    deployment.take(2)
    params = {"assetSelection": [{"path": ["scores"]}], "partitionNames": CELLS, "tags": []}
    deployment.ask(BACKFILL, params=params)
    deployment.until(lambda: len(deployment.made("scores")) > 1, "two of its partitions are made")
    deployment.kill("webserver", "daemon")
    deployment.start("webserver", "daemon")
    deployment.until(lambda: len(deployment.made("scores")) >= len(CELLS), "all of them are made")
    assert Counter(note["partition"] for note in deployment.made("scores")) == Counter(CELLS)


def test_runs_that_a_crash_of_everything_left_behind_are_found(deployment: Deployment) -> None:
    run = _started(deployment)
    deployment.kill("webserver", "daemon", "code")
    pod = deployment.pod_of(run)
    assert pod is not None
    deployment.cluster.kill_pod(pod["metadata"]["name"])
    deployment.take(0)
    deployment.start()
    assert deployment.ended(run) is FAILURE
    retries = deployment.until(lambda: _children(deployment, run), "the run is retried")
    assert deployment.ended(retries[0]) is dg.DagsterRunStatus.SUCCESS


def test_bad_input_fails_the_run_with_a_sentence(deployment: Deployment) -> None:
    stripping = json.dumps({"container_config": {"resources": {"limits": {"nvidia.com/gpu": "0"}}}})
    told = {
        deployment.materialize("stray"): "names the profile 'gone'",
        deployment.materialize("solo", **{"compute/override": "cpu-small"}): "which has no GPUs",
        deployment.materialize("solo", **{"compute/override": "gpu-smal"}): "mean 'gpu-small'?",
        deployment.materialize("solo", **{"dagster-k8s/config": stripping}): "instead of the 1",
    }
    for run, said in told.items():
        assert deployment.ended(run) is FAILURE
        assert said in deployment.said(run)
        assert deployment.pod_of(run) is None


def test_the_command_says_why_a_run_failed_that_never_began(deployment: Deployment) -> None:
    ended = deployment.command("backfill", "stray")
    assert ended.code == 1
    assert "names the profile 'gone'" in ended.err
    assert "Traceback" not in ended.err


def test_a_cluster_that_refuses_or_is_away_fails_the_run_with_a_sentence(
    deployment: Deployment,
) -> None:
    _reconfigure(deployment, job_namespace="nowhere")
    run = deployment.materialize("solo")
    assert deployment.ended(run) is FAILURE
    assert "in the namespace nowhere" in deployment.said(run)

    away = deployment.home / "away"
    config = yaml.safe_load(deployment.cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    away.write_text(yaml.safe_dump(config))
    _reconfigure(deployment, kubeconfig_file=str(away))
    run = deployment.materialize("solo")
    assert deployment.ended(run) is FAILURE
    assert "the Kubernetes API does not answer" in deployment.said(run)


def _reconfigure(deployment: Deployment, **launcher: str) -> None:
    deployment.kill("daemon", "webserver")
    deployment.configure(**launcher)
    deployment.start("daemon", "webserver")


TERMINATE = """mutation ($id: String!, $policy: TerminateRunPolicy!) {
  terminateRun(runId: $id, terminatePolicy: $policy) { __typename
  ... on TerminateRunFailure { message } ... on PythonError { message } } }"""
