"""Dagster's record on open connections and in batches holds what the stock storages hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from queue import Queue
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.storage.event_log import (
    AssetKeyTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetEventTagsTable
from dagster_homes import DAYS, TABLE_KEY, Homes, run, tables

from mlops_assets.compute.event_batches import BatchedEventLogStorage
from mlops_assets.compute.event_log import OPEN_RUNS

KEPT_OUT = {"create_timestamp"}
TABLES = (SqlEventLogStorageTable, AssetKeyTable, AssetEventTagsTable, AssetCheckExecutionsTable)
PARTITIONS = set(DAYS.get_partition_keys())


def told(record: dg.DagsterInstance, run_id: str) -> list[tuple[Any, ...]]:
    """What is read of a run's events, apart from times, ids and the process."""
    return [
        (entry.level, entry.step_key, entry.dagster_event_type, event and event.partition)
        for entry in record.all_logs(run_id)
        for event in [entry.dagster_event]
    ]


def of_assets(record: dg.DagsterInstance) -> dict[str, Any]:
    """What the UI shows of the assets and their checks."""
    log = record.event_log_storage
    materialized = log.fetch_materializations(TABLE_KEY, limit=100).records
    checks = log.get_asset_check_execution_history(dg.AssetCheckKey(TABLE_KEY, "breaks"), limit=100)
    return {
        "keys": set(record.all_asset_keys()),
        "partitions": record.get_materialized_partitions(TABLE_KEY),
        "made": [
            (one.partition_key, one.asset_materialization.tags.keys()) for one in materialized
        ],
        "checks": [(check.status, check.partition) for check in checks],
        "tags": [
            tag.keys()
            for tag in record.get_event_tags_for_asset(TABLE_KEY, {"dagster/data_version": "one"})
        ],
    }


# Batches of another size than a run's own are below, row by row.
@pytest.mark.parametrize("batch_size", [0, pytest.param(2, marks=pytest.mark.soak), 500])
def test_both_storages_record_the_same_and_read_each_other(
    homes: Homes, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(batch_size))
    with homes.opened("stock", pooled=False) as record:
        expected = told(record, run(record))
        assets = of_assets(record)
        assert assets["partitions"] == PARTITIONS
    with homes.opened("pooled", pooled=True) as record:
        run_id = run(record)
        assert told(record, run_id) == expected
        assert of_assets(record) == assets
    with homes.opened("pooled", pooled=False) as record:
        assert told(record, run_id) == expected
        assert of_assets(record) == assets
        again = run(record)
        twice = of_assets(record)
    with homes.opened("pooled", pooled=True) as record:
        assert told(record, again) == expected
        assert of_assets(record) == twice


def stored(log: SqlEventLogStorage, run_id: str) -> dict[str, list[Any]]:
    """Every column of every row, but for when and under which number an asset's was made."""
    found = {}
    connections = {
        "run": log.run_connection(run_id),
        "no run": log.run_connection(RUNLESS_RUN_ID),
        "index": log.index_connection(),
    }
    for place, opened in connections.items():
        with opened as connection:
            for table in TABLES:
                left_out = (
                    KEPT_OUT
                    if "event_id" in table.c or table is SqlEventLogStorageTable
                    else {*KEPT_OUT, "id"}
                )
                columns = [column for column in table.c if column.name not in left_out]
                rows = connection.execute(db.select(*columns)).fetchall()
                found[f"{place}: {table.name}"] = sorted(map(tuple, rows), key=repr)
    return found


def replayed(log: SqlEventLogStorage, events: Sequence[dg.EventLogEntry], at_once: int) -> None:
    for start in range(0, len(events), at_once):
        if at_once == 1:
            log.store_event(events[start])
        else:
            log.store_event_batch(events[start : start + at_once])


def test_the_same_events_make_the_same_rows_however_many_are_stored_at_once(homes: Homes) -> None:
    with homes.opened("origin", pooled=False) as record:
        run_id = run(record)
        record.report_runless_asset_event(
            dg.AssetMaterialization(TABLE_KEY, partition="2013-01-01")
        )
        events = [*record.all_logs(run_id), *record.all_logs(RUNLESS_RUN_ID)]

    def rows(*, pooled: bool, at_once: int) -> dict[str, list[Any]]:
        with homes.opened(f"{pooled}-{at_once}", pooled=pooled) as record:
            log = record.event_log_storage
            assert isinstance(log, SqlEventLogStorage)
            replayed(log, events, at_once)
            return stored(log, run_id)

    expected = rows(pooled=False, at_once=1)
    assert all(expected[f"index: {table.name}"] for table in TABLES)
    for at_once in (1, 3, 500):
        assert rows(pooled=True, at_once=at_once) == expected, at_once


def test_a_batch_that_fails_leaves_nothing_and_its_events_are_stored_one_by_one(
    homes: Homes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
    with homes.opened("home", pooled=True) as record:
        expected = told(record, run(record))
        log = record.event_log_storage
        assert isinstance(log, BatchedEventLogStorage)
        store_tags, failed = log._store_asset_event_tags, []

        def fail_in_a_batch(
            connection: db.Connection, events: Sequence[dg.EventLogEntry], rows: Sequence[int]
        ) -> None:
            store_tags(connection, events, rows)
            if len(events) > 1:
                failed.append(len(events))
                raise OSError("the disk is full")

        monkeypatch.setattr(log, "_store_asset_event_tags", fail_in_a_batch)
        assert told(record, run(record)) == expected
        # What was planned of three assets, and what was made of two.
        assert failed == [len(PARTITIONS) * 3, len(PARTITIONS), len(PARTITIONS)]
    assert "the disk is full" in capfd.readouterr().err


@pytest.mark.parametrize("pooled", [False, True], ids=["by Dagster's", "by ours"])
def test_who_watches_a_run_hears_of_an_event_before_the_run_ends(
    homes: Homes, pooled: bool
) -> None:
    with (
        homes.opened("home", pooled=True) as record,
        homes.opened("home", pooled=pooled) as watched,
    ):
        events = [entry._replace(run_id="watched") for entry in record.all_logs(run(record))[:2]]
        heard: Queue[str] = Queue()
        watched.event_log_storage.watch("watched", None, lambda entry, _: heard.put(entry.message))
        for event in events:
            record.event_log_storage.store_event(event)
            assert heard.get(timeout=60) == event.message


def test_more_runs_than_stay_open_are_all_kept(tmp_path: Path) -> None:
    with Homes(tmp_path).opened("home", pooled=True) as record:
        runs = [
            dg.materialize([tables], instance=record, partition_key="2013-01-02").run_id
            for _ in range(OPEN_RUNS + 2)
        ]
        assert len({tuple(told(record, run_id)) for run_id in runs}) == 1
