"""Events in Postgres commit in the order of their ids, so that a reader by cursor misses none."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest
from dagster._core.instance import RUNLESS_RUN_ID
from dagster_homes import TABLE_KEY, Homes, connected
from patience import PATIENCE, becomes
from sqlalchemy.exc import OperationalError

from mlops_assets.compute import postgres_event_log
from mlops_assets.compute.postgres_event_log import PooledPostgresEventLogStorage


def made(
    record: dg.DagsterInstance, *partitions: str, asset: dg.AssetKey = TABLE_KEY
) -> list[dg.EventLogEntry]:
    """Events that say that partitions were made, not stored yet."""
    kept: list[dg.EventLogEntry] = []
    log = record.event_log_storage
    store, log.store_event = log.store_event, kept.append  # type: ignore[method-assign]
    try:
        for partition in partitions:
            record.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition))
    finally:
        log.store_event = store  # type: ignore[method-assign]
    return kept


class Reader:
    """What a sensor does: asks for what is new, and keeps the id of the last event as its place."""

    def __init__(self, record: dg.DagsterInstance) -> None:
        self._log = log_of(record)
        self._cursor = 0
        self.seen: set[str | None] = set()

    def look(self) -> None:
        """Take what is new."""
        found = self._log.get_logs_for_all_runs_by_log_id(
            after_cursor=self._cursor, dagster_event_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        self._cursor = max([self._cursor, *found])
        self.seen |= {entry.get_dagster_event().partition for entry in found.values()}


@contextmanager
def amid(log: PooledPostgresEventLogStorage, events: Sequence[dg.EventLogEntry]) -> Iterator[Any]:
    """Events that have their ids, in a transaction that goes on when it is told to.

    Gives what tells it, and the future of the store.
    """
    entered, go_on = threading.Event(), threading.Event()
    index = log._index

    def held(indexed: Any) -> None:
        index(indexed)
        entered.set()
        go_on.wait(PATIENCE)

    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "_index", held)
        stored = pool.submit(log.store_event_batch, events)
        assert entered.wait(PATIENCE)
        patch.undo()
        try:
            yield go_on, stored
        finally:
            go_on.set()


def goes_as_far_as_it_can(homes: Homes, store: Future[None]) -> None:
    """Wait until a store waits for its turn, or is through."""
    server = homes.server
    assert server is not None

    def waiting() -> bool:
        with connected(server) as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype='advisory' AND NOT granted"
            )
            return int(cursor.fetchone()[0]) > 0

    assert becomes(lambda: store.done() or waiting())


def log_of(record: dg.DagsterInstance) -> PooledPostgresEventLogStorage:
    log = record.event_log_storage
    assert isinstance(log, PooledPostgresEventLogStorage)
    return log


@pytest.mark.parametrize("count", [1, 3], ids=["an event", "a batch"])
@pytest.mark.parametrize("at_once", [1, 2], ids=["an event after it", "a batch after it"])
def test_a_reader_misses_nothing_that_commits_late(
    in_postgres: Homes, count: int, at_once: int
) -> None:
    early = [f"early-{number}" for number in range(count)]
    late = [f"late-{number}" for number in range(at_once)]
    with (
        in_postgres.opened("home", pooled=True) as one,
        in_postgres.opened("home", pooled=True) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        reader = Reader(other)
        with amid(log_of(one), made(one, *early)) as (go_on, stored):
            # Of another asset: those of the same one wait for its row, whatever their ids.
            events = made(other, *late, asset=dg.AssetKey("other"))
            later = pool.submit(other.event_log_storage.store_event_batch, events)
            goes_as_far_as_it_can(in_postgres, later)
            reader.look()
            go_on.set()
            stored.result(PATIENCE)
            later.result(PATIENCE)
        reader.look()
        assert reader.seen == {*early, *late}


def test_another_branchs_record_does_not_wait(in_postgres: Homes) -> None:
    with (
        in_postgres.opened("main", pooled=True) as main,
        in_postgres.opened("branch", pooled=True) as branch,
        amid(log_of(main), made(main, "early")),
    ):
        branch.report_runless_asset_event(dg.AssetMaterialization(TABLE_KEY, partition="branch"))
        assert branch.get_materialized_partitions(TABLE_KEY) == {"branch"}
        assert main.get_materialized_partitions(TABLE_KEY) == set()


def test_a_writer_that_stands_still_does_not_hold_up_the_others(
    in_postgres: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        in_postgres.opened("home", pooled=True) as one,
        in_postgres.opened("home", pooled=True) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        monkeypatch.setattr(postgres_event_log, "IDLE_SECONDS", 1)
        with amid(log_of(one), made(one, "stopped")) as (go_on, stored):
            pool.submit(other.event_log_storage.store_event, made(other, "goes on")[0]).result(
                PATIENCE
            )
            go_on.set()
            with pytest.raises(OperationalError, match="server closed the connection"):
                stored.result(PATIENCE)
        assert other.get_materialized_partitions(TABLE_KEY) == {"goes on"}
        # The connection that Postgres ended is not used again.
        one.event_log_storage.store_event(made(one, "again")[0])
        assert other.get_materialized_partitions(TABLE_KEY) == {"goes on", "again"}


def test_many_writers_of_the_same_assets_come_through(in_postgres: Homes) -> None:
    names = [[f"{writer}-{number}" for number in range(5)] for writer in range(8)]
    with in_postgres.opened("home", pooled=True) as record, ThreadPoolExecutor(8) as pool:
        batches = [made(record, *own) for own in names]
        for stored in [
            pool.submit(record.event_log_storage.store_event_batch, batch) for batch in batches
        ]:
            stored.result(PATIENCE)
        found = record.get_materialized_partitions(TABLE_KEY)
        assert found == {name for own in names for name in own}
        assert len(record.all_logs(RUNLESS_RUN_ID)) == sum(map(len, names))
