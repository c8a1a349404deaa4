"""The queue stamps every run with its profile, and fails one that can have none."""

import dagster as dg
import pytest
from queued_runs import Queue, no_profiles

EWR = {"dagster/partition": "EWR"}
JFK = {"dagster/partition": "JFK"}


@pytest.mark.parametrize(
    ("assets", "tags", "profile", "device"),
    [
        (["table"], {}, "cpu-small", "cpu"),
        (["model"], JFK, "gpu-small", "gpu"),
        (["model"], EWR, "gpu-large", "gpu"),
        (["table", "model"], JFK, "cpu-small+gpu-small", "gpu"),
        (
            ["model"],
            {
                "dagster/asset_partition_range_start": "EWR",
                "dagster/asset_partition_range_end": "LGA",
            },
            "gpu-large+gpu-small",
            "gpu",
        ),
    ],
)
def test_a_run_is_stamped_by_the_plan_stored_with_it(
    queue: Queue, assets: list[str], tags: dict[str, str], profile: str, device: str
) -> None:
    run = queue.submit(queue.create(*assets, tags=tags))
    assert run.status is dg.DagsterRunStatus.QUEUED
    assert set(run.tags["compute/profile"].split("+")) == set(profile.split("+"))
    assert run.tags["compute/device"] == device
    assert "dagster-k8s/config" not in run.tags


def test_only_the_steps_that_are_executed_count(queue: Queue) -> None:
    run = queue.submit(queue.create("table", "model", tags=JFK, steps=["table"]))
    assert run.tags["compute/profile"] == "cpu-small"


def test_a_retry_does_not_inherit_the_stamp(queue: Queue) -> None:
    stamped = {**JFK, "compute/profile": "gpu-small", "compute/device": "gpu"}
    run = queue.submit(queue.create("table", tags=stamped))
    assert run.tags["compute/profile"] == "cpu-small"
    assert run.tags["compute/device"] == "cpu"


def test_the_longest_time_is_dagsters_to_hold(queue: Queue) -> None:
    assert queue.submit(queue.create("model", tags=JFK)).tags["dagster/max_runtime"] == "7200"
    own = {**JFK, "dagster/max_runtime": "60"}
    assert queue.submit(queue.create("model", tags=own)).tags["dagster/max_runtime"] == "60"


def test_a_retry_has_the_longest_time_of_its_own_profile(queue: Queue) -> None:
    first = queue.submit(queue.create("model", tags=JFK)).tags
    larger = queue.submit(queue.create("model", tags={**first, "compute/override": "gpu-large"}))
    assert larger.tags["dagster/max_runtime"] == "14400"
    part = queue.submit(queue.create("table", tags=first))
    assert part.tags["dagster/max_runtime"] == ""
    own = {**first, "dagster/max_runtime": "60", "compute/override": "gpu-large"}
    assert queue.submit(queue.create("model", tags=own)).tags["dagster/max_runtime"] == "60"


def test_a_run_that_is_submitted_again_stays_as_it_is(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue.submit(queue.create("model", tags=JFK))
    monkeypatch.setattr("mlops_assets.compute.run_coordinator.configured_profiles", no_profiles)
    assert queue.submit(run).status is dg.DagsterRunStatus.QUEUED


def test_another_profile_can_be_asked_for(queue: Queue) -> None:
    tags = {**JFK, "compute/override": "gpu-large"}
    assert queue.submit(queue.create("model", tags=tags)).tags["compute/profile"] == "gpu-large"


@pytest.mark.parametrize(
    ("asset", "tags", "said"),
    [
        ("model", {**JFK, "compute/override": "cpu-large"}, "which has no GPUs"),
        ("model", {**JFK, "compute/override": "gpu-smal"}, "did you mean 'gpu-small'"),
        ("stray", {}, "stray names the profile 'gone'"),
    ],
)
def test_a_run_that_can_have_no_profile_fails_with_the_reason(
    queue: Queue, asset: str, tags: dict[str, str], said: str
) -> None:
    run = queue.submit(queue.create(asset, tags=tags))
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert said in queue.said(run)
    assert run.tags["dagster/will_retry"] == "false"


def test_profiles_that_no_pod_can_be_fail_the_run(queue: Queue) -> None:
    run = queue.submit(queue.create("model", "slice_of_a_gpu", tags=JFK))
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert "run these partitions apart" in queue.said(run)


def test_a_pod_for_each_step_is_refused_with_a_gpu(queue: Queue) -> None:
    from dagster_k8s import k8s_job_executor

    run = queue.submit(queue.create("model", tags=JFK, executor=k8s_job_executor))
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert "remove the executor" in queue.said(run)


def test_a_pool_has_its_limit_before_the_first_run_is_queued(queue: Queue) -> None:
    queue.submit(queue.create("table"))
    limits = {pool.name: pool.limit for pool in queue.instance.event_log_storage.get_pool_limits()}
    assert limits == {"gpu": 3}


def test_a_limit_that_somebody_set_stays(queue: Queue) -> None:
    queue.instance.event_log_storage.set_concurrency_slots("gpu", 1)
    queue.submit(queue.create("table"))
    limits = {pool.name: pool.limit for pool in queue.instance.event_log_storage.get_pool_limits()}
    assert limits == {"gpu": 1}
