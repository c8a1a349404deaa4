"""What the event logs of both databases do with a batch: one transaction, few statements.

Dagster's own storages take an event at a time: a connection and a transaction for its row, another
for its tags and its asset, a third for its check. A year of partitions is some ten thousand events,
planned ones and materializations, and that is most of what recording them costs. Rows, tables and
the statements for tags, assets and checks are the stock storages' own. Which database, and how it
is connected to, does not belong here.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import takewhile
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable
from dagster._core.storage.tags import WILL_RETRY_TAG

LAG_SECONDS = 60
"""So long the event of a failed run waits for the run's row to say that it failed."""

EventIds = Sequence[tuple[dg.EventLogEntry, int]]
"""Events with their ids in the tables that assets and checks are looked up in."""


class BatchedEventLogStorage(SqlEventLogStorage):
    """An event log that stores any number of events as it stores one.

    What is overridden here and below is Dagster's internal, which `make conformance` holds to the
    stock storages' suite and a test of every change to their rows.
    """

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store one event: all of it, or nothing if the database fails."""
        self._store([event])

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events: all of them, or nothing if the database fails.

        Dagster collects the events of a range of partitions where `DAGSTER_EVENT_BATCH_SIZE` says
        so, and stores them one by one should a batch fail.
        """
        self._store(events)

    def _store(self, events: Sequence[dg.EventLogEntry]) -> None:
        # Before the transaction, which others wait for, and whose ids a reader with a cursor could
        # pass by until it is committed.
        rows = [self._event_to_row(event) for event in events]
        with self._transaction():
            indexed = self._insert(events, rows)
            if indexed:
                self._index(indexed)

    def get_logs_for_all_runs_by_log_id(
        self,
        after_cursor: int = -1,
        dagster_event_type: dg.DagsterEventType | set[dg.DagsterEventType] | None = None,
        limit: int | None = None,
    ) -> Mapping[int, dg.EventLogEntry]:
        """Events of all runs in the order of their ids, up to a failure that its run lags behind.

        Dagster stores the event of a failure first, and then writes into the run's row that it
        failed and whether to retry it. Where its daemon looked in between, it saw a run that had
        not failed, moved its cursor on, and the retry was lost.
        """
        found = super().get_logs_for_all_runs_by_log_id(after_cursor, dagster_event_type, limit)
        return dict(takewhile(lambda one: not self._is_ahead_of_its_run(one[1]), found.items()))

    def _is_ahead_of_its_run(self, event: dg.EventLogEntry) -> bool:
        if (
            event.dagster_event_type is not dg.DagsterEventType.RUN_FAILURE
            # A process that was killed in between never writes the row: nobody waits for it longer.
            or time.time() - event.timestamp > LAG_SECONDS
            or not self.has_instance
            or not self._instance.run_retries_enabled
        ):
            return False
        run = self._instance.get_run_by_id(event.run_id)
        return run is not None and WILL_RETRY_TAG not in run.tags

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """One transaction, in which every connection of this thread takes part."""

    @abstractmethod
    def _insert(
        self, events: Sequence[dg.EventLogEntry], rows: Sequence[dict[str, Any]]
    ) -> EventIds:
        """Insert the events' rows; those of assets and checks again, with their ids."""

    def _index(self, indexed: EventIds) -> None:
        of_assets = [
            (event, row)
            for event, row in indexed
            if event.dagster_event_type in ASSET_EVENTS and event.get_dagster_event().asset_key
        ]
        if of_assets:
            with self.index_transaction() as connection:
                events, rows = zip(*of_assets, strict=True)
                self._store_asset_event_tags(connection, events, rows)
                for event, row in _deciding(of_assets):
                    self._store_asset_event(connection, event, row)
        for event, row in indexed:
            if event.dagster_event_type in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(event, row)


def is_indexed(event: dg.EventLogEntry) -> bool:
    """Whether an event is of an asset or a check, which more than the log knows."""
    return event.dagster_event_type in ASSET_EVENTS | ASSET_CHECK_EVENTS


def insert_rows(connection: db.Connection, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Insert rows of events; their ids, in the order of the rows."""
    table = SqlEventLogStorageTable
    statement = table.insert().returning(table.c.id, sort_by_parameter_order=True)
    return list(connection.execute(statement, rows).scalars())


def _deciding(of_assets: EventIds) -> Iterable[tuple[dg.EventLogEntry, int]]:
    """The events that say what an asset's row holds afterwards.

    A type of events always sets the same columns, so of each asset and type the last one decides.
    In the order of the assets: two runs that lock the same rows would wait for each other else.
    """
    last: dict[tuple[str, Any], int] = {}
    for place, (event, _) in enumerate(of_assets):
        asset = event.get_dagster_event().asset_key
        if asset:
            last[asset.to_string(), event.dagster_event_type] = place
    places = sorted((asset_name, place) for (asset_name, _), place in last.items())
    return [of_assets[place] for _, place in places]
