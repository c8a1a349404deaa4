"""Dagster's record on open connections holds what the stock storage holds."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from mlops_assets.compute.event_log import OPEN_RUNS, PooledSqliteEventLogStorage

DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-01-06")
POOLED = """
telemetry: {enabled: false}
event_log_storage:
  module: mlops_assets.compute.event_log
  class: PooledSqliteEventLogStorage
  config:
    dagster_home: {env: DAGSTER_HOME}
"""
STOCK = "telemetry: {enabled: false}\n"


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("holds", asset="table")],
)
def table() -> dg.MaterializeResult:
    return dg.MaterializeResult(
        data_version=dg.DataVersion("one"), check_results=[dg.AssetCheckResult(passed=True)]
    )


def instance(home: Path, configuration: str, patch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(configuration)
    patch.setenv("DAGSTER_HOME", str(home))
    return dg.DagsterInstance.get()


def run(record: dg.DagsterInstance) -> str:
    days = DAYS.get_partition_keys()
    tags = {
        "dagster/asset_partition_range_start": days[0],
        "dagster/asset_partition_range_end": days[-1],
    }
    return dg.materialize([table], instance=record, tags=tags).run_id


def recorded(record: dg.DagsterInstance, run_id: str) -> list[tuple[str | None, str | None]]:
    events = (entry.dagster_event for entry in record.all_logs(run_id))
    return [(event.event_type_value, event.partition) for event in events if event]


@pytest.mark.parametrize("batch_size", [0, 2, 500])
def test_both_storages_record_the_same_and_read_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(batch_size))
    with instance(tmp_path / "stock", STOCK, monkeypatch) as record:
        expected = recorded(record, run(record))
    with instance(tmp_path / "pooled", POOLED, monkeypatch) as record:
        assert isinstance(record.event_log_storage, PooledSqliteEventLogStorage)
        run_id = run(record)
        assert recorded(record, run_id) == expected
        assert record.get_materialized_partitions(table.key) == set(DAYS.get_partition_keys())
    with instance(tmp_path / "pooled", STOCK, monkeypatch) as record:
        assert type(record.event_log_storage) is SqliteEventLogStorage
        assert recorded(record, run_id) == expected
        assert record.get_materialized_partitions(table.key) == set(DAYS.get_partition_keys())
        again = run(record)
    with instance(tmp_path / "pooled", POOLED, monkeypatch) as record:
        assert recorded(record, again) == expected


def test_more_runs_than_stay_open_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance(tmp_path / "home", POOLED, monkeypatch) as record:
        runs = [run(record) for _ in range(OPEN_RUNS + 2)]
        assert len({tuple(recorded(record, run_id)) for run_id in runs}) == 1


def test_a_batch_that_fails_leaves_nothing_and_its_events_are_stored_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
    with instance(tmp_path / "home", POOLED, monkeypatch) as record:
        expected = recorded(record, run(record))
        storage, stored = record.event_log_storage, 0
        assert isinstance(storage, PooledSqliteEventLogStorage)
        store = storage.store_event

        def fail_in_the_middle(event: dg.EventLogEntry) -> None:
            nonlocal stored
            stored += storage._batch is not None
            if stored == 3 and storage._batch is not None:
                raise OSError("the disk is full")
            store(event)

        monkeypatch.setattr(storage, "store_event", fail_in_the_middle)
        assert recorded(record, run(record)) == expected
        assert stored >= 3
    assert "the disk is full" in capfd.readouterr().err
