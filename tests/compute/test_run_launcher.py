"""A run's Job has what the profile says, whatever else is configured."""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import urllib3.exceptions
from dagster._core.launcher.base import WorkerStatus
from kubernetes.client import (
    ApiException,
    V1ContainerState,
    V1ContainerStateTerminated,
    V1ContainerStateWaiting,
    V1ContainerStatus,
    V1JobStatus,
    V1PodCondition,
)
from queued_runs import Launcher, Queue, RecordedApi, launched, no_profiles

from mlops_assets.compute.profiles import Profiles
from mlops_assets.compute.run_launcher import LaunchError

PARTITION = "dagster/partition"
JFK = {PARTITION: "JFK"}
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
GPU = "nvidia.com/gpu"


def tagged(**configuration: Any) -> dict[str, str]:
    return {**JFK, "dagster-k8s/config": json.dumps(configuration)}


def test_a_labelled_run_gets_its_gpu(queue: Queue, launcher: Launcher, api: RecordedApi) -> None:
    job = launched(queue, launcher(), api, queue.submit(queue.create("model", tags=JFK)))
    kubernetes_validate.validate(job, "1.37", strict=True)
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["resources"]["limits"] == {"memory": "16Gi", GPU: "1"}
    assert container["resources"]["requests"] == {"cpu": "4", "memory": "16Gi", GPU: "1"}
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["tolerations"] == [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["activeDeadlineSeconds"] == 7260


def test_another_run_gets_none(queue: Queue, launcher: Launcher, api: RecordedApi) -> None:
    job = launched(queue, launcher(), api, queue.submit(queue.create("table")))
    pod = job["spec"]["template"]["spec"]
    assert GPU not in pod["containers"][0]["resources"]["limits"]
    assert "nodeSelector" not in pod
    assert "tolerations" not in pod


def test_pods_say_what_they_make(queue: Queue, launcher: Launcher, api: RecordedApi) -> None:
    run = queue.submit(queue.create("model", tags=JFK))
    job = launched(queue, launcher(), api, run)
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        labels = metadata["labels"]
        assert labels["mlops-assets/asset"] == "model"
        assert labels["mlops-assets/partition"] == "JFK"
        assert labels["mlops-assets/problem"] == "flight_delay"
        assert labels["mlops-assets/group"] == "flight_delay"
        assert labels["mlops-assets/profile"] == "gpu-small"
        assert labels["dagster/run-id"] == run.run_id
    assert (
        "nvidia.com/gpu" in job["spec"]["template"]["metadata"]["annotations"]["mlops-assets/asked"]
    )


def test_the_runs_own_tag_is_merged_last(
    queue: Queue, launcher: Launcher, api: RecordedApi
) -> None:
    tags = tagged(
        container_config={"resources": {"requests": {"cpu": "7"}}},
        pod_spec_config={"node_selector": {"zone": "a"}},
    )
    job = launched(queue, launcher(), api, queue.create("model", tags=tags))
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["requests"]["cpu"] == "7"
    assert pod["containers"][0]["resources"]["limits"][GPU] == "1"
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true", "zone": "a"}


def test_a_toleration_of_everything_counts(
    queue: Queue, launcher: Launcher, api: RecordedApi
) -> None:
    spec = {
        "node_selector": {"nvidia.com/gpu.present": "true"},
        "tolerations": [{"operator": "Exists"}],
    }
    tags = tagged(pod_spec_config=spec, merge_behavior="SHALLOW")
    job = launched(queue, launcher(), api, queue.create("model", tags=tags))
    assert job["spec"]["template"]["spec"]["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({"container_config": {"resources": {"limits": {GPU: "0"}}}}, "instead of the 1"),
        (
            {
                "container_config": {"resources": {"limits": {"cpu": "1"}}},
                "merge_behavior": "SHALLOW",
            },
            "SHALLOW merge_behavior",
        ),
        (
            {"pod_spec_config": {"node_selector": {"nvidia.com/gpu.present": "false"}}},
            "not be kept to nodes with nvidia.com/gpu.present=true",
        ),
        (
            {"pod_spec_config": {"node_selector": {}}, "merge_behavior": "SHALLOW"},
            "not be kept to nodes",
        ),
        (
            {"pod_spec_config": {"tolerations": []}, "merge_behavior": "SHALLOW"},
            "not tolerate the taint nvidia.com/gpu",
        ),
    ],
)
def test_a_tag_that_strips_the_gpu_fails_the_run(
    queue: Queue, launcher: Launcher, api: RecordedApi, configuration: dict[str, Any], said: str
) -> None:
    run = queue.create("model", tags=tagged(**configuration))
    with pytest.raises(LaunchError, match=said):
        launched(queue, launcher(), api, run)
    assert api.jobs == {}
    assert queue.again(run).status is dg.DagsterRunStatus.FAILURE
    assert said in queue.said(run)


@pytest.mark.parametrize("amounts", ["limits", "requests"])
@pytest.mark.parametrize("asset", ["table", "model"])
def test_a_tag_that_asks_for_a_gpu_behind_the_queues_back_fails_the_run(
    queue: Queue, launcher: Launcher, api: RecordedApi, asset: str, amounts: str
) -> None:
    name = "nvidia.com/mig-1g.10gb" if asset == "model" else GPU
    tags = tagged(container_config={"resources": {amounts: {name: "1"}}})
    run = queue.create(asset, tags=tags)
    with pytest.raises(LaunchError, match=f"asks for {name}.*compute/override"):
        launched(queue, launcher(), api, run)
    assert api.jobs == {}
    assert queue.again(run).status is dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    "partition", ["a-_", "(EWR)_", "_-.a.-_", "|", "Zürich", "x" * 61 + "|/y", "2013-04|JFK"]
)
def test_a_label_is_one_that_kubernetes_takes_whatever_a_partition_is_called(
    queue: Queue, launcher: Launcher, api: RecordedApi, partition: str
) -> None:
    job = launched(queue, launcher(), api, queue.create("table", tags={PARTITION: partition}))
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        for value in metadata["labels"].values():
            assert LABEL_VALUE.fullmatch(value)
        assert metadata["annotations"]["mlops-assets/partition"] == partition


def test_the_allow_list_bounds_the_tag_and_not_the_profile(
    queue: Queue, launcher: Launcher, api: RecordedApi
) -> None:
    found = launcher(only_allow_user_defined_k8s_config_fields={"container_config": {"env": True}})
    launched(queue, found, api, queue.create("model", tags=JFK))
    run = queue.create("model", tags=tagged(pod_spec_config={"node_name": "mine"}))
    with pytest.raises(LaunchError, match=r"pod_spec_config\.node_name"):
        launched(queue, found, api, run)
    assert queue.again(run).status is dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (ApiException(status=403, reason="Forbidden"), "in the namespace mlops: Forbidden"),
        (urllib3.exceptions.HTTPError("refused"), "the Kubernetes API does not answer"),
    ],
)
def test_a_cluster_that_refuses_fails_the_run_with_its_words(
    queue: Queue,
    launcher: Launcher,
    api: RecordedApi,
    refusal: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dagster_k8s.client.time.sleep", lambda _: None)
    api.refusal = refusal
    run = queue.create("model", tags=JFK)
    with pytest.raises(LaunchError, match=said):
        launched(queue, launcher(), api, run)
    assert queue.again(run).status is dg.DagsterRunStatus.FAILURE


def test_a_run_is_cancelled_whatever_has_become_of_its_profile(
    queue: Queue, launcher: Launcher, api: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = launcher()
    run = queue.submit(queue.create("model", tags=JFK))
    launched(queue, found, api, run)
    monkeypatch.setattr("mlops_assets.compute.run_launcher.configured_profiles", no_profiles)
    assert found.terminate(run.run_id)
    assert api.jobs == {}


def test_a_run_that_no_launcher_launched_is_left_alone(
    queue: Queue, launcher: Launcher, api: RecordedApi
) -> None:
    own = queue.create("table")
    assert launcher().check_run_worker_health(own).status is WorkerStatus.RUNNING
    run = queue.submit(queue.create("model", tags=JFK))
    found = launcher()
    launched(queue, found, api, run)
    api.jobs.clear()
    assert found.check_run_worker_health(queue.again(run)).status is WorkerStatus.UNKNOWN


class TestWatch:
    """What becomes of the Jobs that Dagster does not look at."""

    def begin(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> tuple[Any, dg.DagsterRun]:
        run = queue.submit(queue.create("model", tags=JFK))
        queue.instance.report_dagster_event(
            dg.DagsterEvent(event_type_value="PIPELINE_STARTING", job_name=run.job_name),
            run_id=run.run_id,
        )
        found = launcher()
        launched(queue, found, api, run)
        return found._watch, run

    def test_the_job_of_a_run_that_was_given_up_goes(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        api.pod_of(run, "Pending")
        watch.look(queue.instance)
        assert api.jobs
        queue.instance.report_run_failed(run)
        watch.look(queue.instance)
        assert api.jobs == {}
        assert "Removed the Job" in queue.said(run)

    def test_a_pod_that_winds_down_is_left_to_it(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        api.pod_of(run, "Running")
        queue.instance.report_run_failed(run)
        watch.look(queue.instance)
        assert api.jobs

    @pytest.mark.parametrize("phase", ["Failed", None])
    def test_a_pod_that_has_ended_keeps_its_log_until_the_job_says_so(
        self, queue: Queue, launcher: Launcher, api: RecordedApi, phase: str | None
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        if phase is not None:
            api.pod_of(run, phase)
        queue.instance.report_run_failed(run)
        watch.look(queue.instance)
        assert api.jobs

    def test_a_job_without_a_pod_goes_after_a_moment(
        self,
        queue: Queue,
        launcher: Launcher,
        api: RecordedApi,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        queue.instance.report_run_failed(run)
        monkeypatch.setattr("mlops_assets.compute.job_watch.GRACE_SECONDS", -1)
        watch.look(queue.instance)
        assert api.jobs == {}

    def test_jobs_of_strangers_stay(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        queue.instance.delete_run(run.run_id)
        watch.look(queue.instance)
        assert api.jobs

    def test_why_a_pod_waits_is_told_once(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        told = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
        condition = V1PodCondition(
            type="PodScheduled", status="False", reason="Unschedulable", message=told
        )
        api.pod_of(run, "Pending", conditions=[condition])
        watch.look(queue.instance)
        watch.look(queue.instance)
        said = queue.said(run)
        assert said.count(told) == 1
        assert "profile gpu-small asks for 4 cpu, 16Gi memory, 1 nvidia.com/gpu" in said

    def test_a_container_that_cannot_be_made_is_told(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        state = V1ContainerState(
            waiting=V1ContainerStateWaiting(reason="ErrImagePull", message="no such image")
        )
        api.pod_of(run, "Pending", container_statuses=[container(state)])
        watch.look(queue.instance)
        assert "waits: ErrImagePull: no such image" in queue.said(run)

    def test_a_quota_that_is_used_up_is_told(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        api.warnings = ["exceeded quota: gpus, requested: requests.nvidia.com/gpu=1"]
        watch.look(queue.instance)
        assert "waits: exceeded quota: gpus" in queue.said(run)

    def test_a_queue_that_holds_the_job_is_told(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        job = api.jobs[f"dagster-run-{run.run_id}"]
        job.spec.suspend = True
        job.metadata.labels["kueue.x-k8s.io/queue-name"] = "gpus"
        watch.look(queue.instance)
        assert "its Job is suspended, in the queue gpus" in queue.said(run)

    def test_a_pod_that_ends_before_its_run_begins_fails_the_run(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        state = V1ContainerState(
            terminated=V1ContainerStateTerminated(reason="OOMKilled", exit_code=137)
        )
        api.pod_of(run, "Failed", container_statuses=[container(state)])
        api.jobs[f"dagster-run-{run.run_id}"].status = V1JobStatus(failed=1)
        watch.look(queue.instance)
        assert queue.again(run).status is dg.DagsterRunStatus.FAILURE
        assert "OOMKilled, exit code 137" in queue.said(run)

    def test_a_pod_that_was_evicted_says_why(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        api.pod_of(run, "Failed", reason="Evicted", message="The node was low on memory.")
        api.jobs[f"dagster-run-{run.run_id}"].status = V1JobStatus(failed=1)
        watch.look(queue.instance)
        assert "Evicted: The node was low on memory." in queue.said(run)

    def test_a_reason_without_a_message_is_told_by_itself(
        self, queue: Queue, launcher: Launcher, api: RecordedApi
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        state = V1ContainerState(waiting=V1ContainerStateWaiting(reason="ErrImagePull"))
        api.pod_of(run, "Pending", container_statuses=[container(state)])
        watch.look(queue.instance)
        assert "waits: ErrImagePull Its" in queue.said(run)

    def test_a_run_whose_launch_was_cut_off_fails(
        self,
        queue: Queue,
        launcher: Launcher,
        api: RecordedApi,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        api.jobs.clear()
        watch.look(queue.instance)
        assert queue.again(run).status is dg.DagsterRunStatus.STARTING
        monkeypatch.setattr("mlops_assets.compute.job_watch.LAUNCH_SECONDS", -1)
        watch.look(queue.instance)
        assert queue.again(run).status is dg.DagsterRunStatus.FAILURE
        assert "This run has no Job" in queue.said(run)

    def test_a_run_whose_job_has_ended_is_not_taken_for_one_without(
        self,
        queue: Queue,
        launcher: Launcher,
        api: RecordedApi,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        watch, run = self.begin(queue, launcher, api)
        api.jobs[f"dagster-run-{run.run_id}"].status = V1JobStatus(succeeded=1)
        monkeypatch.setattr("mlops_assets.compute.job_watch.LAUNCH_SECONDS", -1)
        watch.look(queue.instance)
        assert queue.again(run).status is dg.DagsterRunStatus.STARTING


def container(state: V1ContainerState) -> V1ContainerStatus:
    return V1ContainerStatus(
        image="i", image_id="i", name="dagster", ready=False, restart_count=0, state=state
    )


def test_on_a_cluster_without_gpus_none_is_asked_for(
    queue: Queue,
    launcher: Launcher,
    api: RecordedApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text(
        "cluster: cpu-only\ndefault: cpu-small\nprofiles:\n"
        "  cpu-small: {cpu: 1, memory: 1Gi}\n  gpu-small: {cpu: 2, memory: 1Gi, gpus: 1}\n"
        "  gpu-large: {cpu: 2, memory: 1Gi, gpus: 1}\n"
    )
    monkeypatch.setattr(
        "mlops_assets.compute.run_launcher.configured_profiles", lambda: Profiles.load(path)
    )
    job = launched(queue, launcher(), api, queue.create("model", tags=JFK))
    limits = job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"memory": "1Gi"}
