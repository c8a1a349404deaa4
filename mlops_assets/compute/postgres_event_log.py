"""Dagster's Postgres event log on connections that stay open, a batch of events in one transaction.

Tables, rows and statements are the stock storage's own, so that either reads what the other wrote.
One thing is left out: the stock storage sends a NOTIFY with every single event, none with a batch,
for webservers of years ago that listened; nothing has since they poll. It would be another round
trip.

One thing is added: who stores events waits until those before have committed. Postgres gives ids
when rows are inserted, so that a batch of 500 could commit after a later id of another run, and
every sensor, Dagster's own too, that keeps an id as its place had passed its events by for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster_postgres import PostgresEventLogStorage

from mlops_assets.compute.event_batches import (
    BatchedEventLogStorage,
    EventIds,
    insert_rows,
    is_indexed,
)
from mlops_assets.compute.postgres_connections import PooledPostgres

IDLE_SECONDS = 60
"""So long a writer may do nothing amid a transaction, before Postgres rolls it back."""

TURN = db.text(
    "SELECT set_config('idle_in_transaction_session_timeout', :idle, true), "
    "pg_advisory_xact_lock('pg_class'::regclass::oid::int, 'event_logs'::regclass::oid::int)"
)
"""Waits for one's turn to be given ids, and holds it until the transaction's end.

The order of ids is the order of commits by that, and one transaction at a time writes events to a
table of them: the network and the disk between a writer and Postgres bound how many events a second
all runs together can store. The table is the one that the connection's schema has, so that the
records of two branches do not wait for each other. A process that is stopped or cut off from
Postgres amid its turn would hold up every run, hence the limit: its events are not stored then, and
it is told so.
"""


class PooledPostgresEventLogStorage(
    PooledPostgres, BatchedEventLogStorage, PostgresEventLogStorage
):
    """The stock storage's place in `dagster.yaml`, and its configuration."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - the stock storage's
        self._held = threading.local()
        self._tables: set[str] = set()
        super().__init__(*arguments, **named)

    @contextmanager
    def _connect(self) -> Iterator[db.Connection]:
        held: db.Connection | None = getattr(self._held, "connection", None)
        if held is not None:
            yield held
            return
        with super()._connect() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.index_transaction() as connection:
            # Before any row is locked: two that wait for each other there are none.
            connection.execute(TURN, {"idle": f"{IDLE_SECONDS}s"})
            self._held.connection = connection
            try:
                yield
            finally:
                self._held.connection = None

    def has_table(self, table_name: str) -> bool:
        """Whether a table is there; it is asked for amid the turn, with every materialization."""
        # A migration makes tables, and none takes them away.
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _insert(
        self, events: Sequence[dg.EventLogEntry], rows: Sequence[dict[str, Any]]
    ) -> EventIds:
        with self._connect() as connection:
            ids = insert_rows(connection, rows)
        return [pair for pair in zip(events, ids, strict=True) if is_indexed(pair[0])]
