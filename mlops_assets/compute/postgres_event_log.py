"""Dagster's Postgres event log on connections that stay open, a batch of events in one transaction.

Tables, rows and statements are the stock storage's own, so that either reads what the other wrote.
One thing is left out: the stock storage sends a NOTIFY with every single event, none with a batch,
for webservers of years ago that listened; nothing has since they poll. It would be another round
trip, and Postgres commits the transactions that notify one after the other.
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


class PooledPostgresEventLogStorage(
    PooledPostgres, BatchedEventLogStorage, PostgresEventLogStorage
):
    """The stock storage's place in `dagster.yaml`, and its configuration."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - the stock storage's
        self._held = threading.local()
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
            self._held.connection = connection
            try:
                yield
            finally:
                self._held.connection = None

    def _insert(
        self, events: Sequence[dg.EventLogEntry], rows: Sequence[dict[str, Any]]
    ) -> EventIds:
        with self._connect() as connection:
            ids = insert_rows(connection, rows)
        return [pair for pair in zip(events, ids, strict=True) if is_indexed(pair[0])]
