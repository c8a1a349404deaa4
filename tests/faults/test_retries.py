"""A step that is tried again, in its run or in another one: no name collides, and it converges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from faulty_proxy import Fault
from forked_workers import Workers
from installation import Installation, copied, installed
from retried_jobs import retried_job
from served_lake import ServedLake, served
from small_source import small_source
from verdict import intact

from mlops_assets.lake.answers import WAITS

DAY = "2013-01-01"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
TRIES = 1 + len(WAITS)
"""How often a call is made that the server answers with 500."""


@pytest.fixture
def lake_behind_proxy(workers: Workers, empty_home: Path, tmp_path: Path) -> Iterator[ServedLake]:
    with served(workers, copied(empty_home, tmp_path / "home")) as lake:
        yield lake


@pytest.fixture
def retried(
    lake_behind_proxy: ServedLake, definitions: dg.Definitions, tmp_path: Path
) -> Iterator[Installation]:
    source = small_source(tmp_path / "source", days=1, every=4)
    environment = {**lake_behind_proxy.environment, "MLOPS_SOURCE": str(source)}
    with installed(lake_behind_proxy.home, definitions, **environment) as installation:
        yield installation


def run(instance: dg.DagsterInstance, failed: str | None = None) -> dg.JobExecutionResult:
    """Run the job for a day, or a failed run of it again from its failure."""
    again = None if failed is None else dg.ReexecutionOptions.from_failure(failed, instance)
    return dg.execute_job(
        dg.reconstructable(retried_job),
        instance,
        run_config=QUIET,
        tags={"dagster/partition": DAY},
        reexecution_options=again,
    )


def test_a_step_that_is_retried_in_its_run_publishes_on_a_branch_of_its_own(
    retried: Installation, lake_behind_proxy: ServedLake
) -> None:
    lake_behind_proxy.proxy.fault = Fault("upload", "500", TRIES, about="flights")
    result = run(retried.instance)
    assert result.success
    assert retried.lake.work_branches() == [f"tx-{result.run_id}-raw_flights-{result.run_id}-0"]
    assert f"tx-{result.run_id}-raw_flights-{result.run_id}-1" in retried.lake.opened
    assert _recorded_is_there(retried)


def test_a_run_that_is_executed_again_from_its_failure_makes_what_failed(
    retried: Installation, lake_behind_proxy: ServedLake
) -> None:
    lake_behind_proxy.proxy.fault = Fault("upload", "500", 2 * TRIES, about="flights")
    failed = run(retried.instance)
    assert not failed.success
    assert set(intact(retried.lake, "raw/planes"))
    assert not intact(retried.lake, "raw/flights")

    again = run(retried.instance, failed=failed.run_id)

    assert again.success
    started = {event.step_key for event in again.all_events if event.is_step_start}
    assert started == {"raw_flights"}
    root = failed.run_id
    assert retried.lake.work_branches() == [
        f"tx-{root}-raw_flights-{root}-{attempt}" for attempt in (0, 1)
    ]
    assert retried.lake.opened[-1] == f"tx-{root}-raw_flights-{again.run_id}-0"
    assert _recorded_is_there(retried)


def _recorded_is_there(installation: Installation) -> bool:
    """Whether the newest record of the day names what the base branch holds."""
    newest = installation.materialization("raw/flights", DAY)
    [there] = intact(installation.lake, "raw/flights").values()
    return (newest.tags or {})["dagster/data_version"] == there.data_version
