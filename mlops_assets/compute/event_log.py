"""Dagster's SQLite event log on connections that stay open, a batch of events in one transaction.

The stock storage opens and closes a connection for every statement group of every event; closing
the last one checkpoints the write-ahead log, and a new engine compiles every statement anew. A
year of partitions is some ten thousand events, and that opening and closing was two thirds of
their cost; most of the rest was a transaction with its fsync for each. Tables, files, rows and
locking are the stock storage's own.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from typing import Any, Self

import dagster as dg
import sqlalchemy as db
from dagster._config import UserConfigSchema
from dagster._core.events import EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

from mlops_assets.compute.event_batches import (
    BatchedEventLogStorage,
    EventIds,
    insert_rows,
    is_indexed,
)

OPEN_RUNS = 8


@dataclass
class _Batch:
    """A batch that is being stored: by which thread, in which transactions."""

    thread: int
    transactions: ExitStack
    connections: dict[str, db.Connection] = field(default_factory=dict)


class PooledSqliteEventLogStorage(BatchedEventLogStorage, SqliteEventLogStorage):
    """The stock storage, with one open connection to the index and to each of the latest runs.

    Configured in `dagster.yaml` by the folder that the stock storage uses by default, so that
    either can read what the other wrote. `_connect` is Dagster's internal; a test runs both
    storages side by side on every upgrade.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, db.Engine] = OrderedDict()
        self._batch: _Batch | None = None
        self._has_asset_index = False
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """One setting: Dagster's home."""
        return {"dagster_home": dg.StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Open the storage under Dagster's home, where the stock one keeps its files."""
        folder = Path(config_value["dagster_home"]) / "history" / "runs"
        return cls(str(folder), inst_data)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._db_lock:
            with ExitStack() as transactions:
                batch = self._batch = _Batch(get_ident(), transactions)
                try:
                    yield
                finally:
                    self._batch = None
            # Who watches a run waits for its file to change. Until a connection is closed only the
            # write-ahead log beside it does, and the UI showed no event before the run's end.
            for shard in batch.connections.keys() - {INDEX_SHARD_NAME}:
                os.utime(self.path_for_shard(shard))

    def _insert(
        self, events: Sequence[dg.EventLogEntry], rows: Sequence[dict[str, Any]]
    ) -> EventIds:
        of_runs: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            of_runs.setdefault(row["run_id"], []).append(row)
        for run_id, of_run in of_runs.items():
            with self.run_connection(run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), of_run)
        # The index holds what is asked for across runs: of assets, of checks, and runs' states.
        mirrored = [
            place
            for place, event in enumerate(events)
            if is_indexed(event) or event.dagster_event_type in EVENT_TYPE_TO_PIPELINE_RUN_STATUS
        ]
        if not mirrored:
            return []
        with self.index_connection() as connection:
            ids = insert_rows(connection, [rows[place] for place in mirrored])
        found = ((events[place], row) for place, row in zip(mirrored, ids, strict=True))
        return [(event, row) for event, row in found if is_indexed(event)]

    @contextmanager
    def _connect(self, shard: str) -> Iterator[db.Connection]:
        batch = self._batch
        if batch is not None and batch.thread == get_ident():
            if shard not in batch.connections:
                opened = batch.transactions.enter_context(self._opened(shard))
                batch.connections[shard] = opened
            yield batch.connections[shard]
            return
        with self._db_lock, self._opened(shard) as connection:
            yield connection

    @contextmanager
    def _opened(self, shard: str) -> Iterator[db.Connection]:
        engine = self._engine(shard)
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        with engine.connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> db.Engine:
        if shard not in self._engines:
            self._engines[shard] = db.create_engine(
                self.conn_string_for_shard(shard),
                poolclass=db.StaticPool,
                connect_args={
                    "timeout": SQLITE_BUSY_TIMEOUT_SECONDS,
                    # Threads take turns under the storage's own lock.
                    "check_same_thread": False,
                },
            )
            runs = [name for name in self._engines if name != INDEX_SHARD_NAME]
            if len(runs) > OPEN_RUNS:
                self._engines.pop(runs[0]).dispose()
        self._engines.move_to_end(shard)
        return self._engines[shard]

    def _has_asset_key_index_cols_on_connection(self, conn: db.Connection) -> bool:
        # Asked for every event of an asset, it was a third of what a single one costs. Columns are
        # added by a migration and stay.
        if not self._has_asset_index:
            self._has_asset_index = super()._has_asset_key_index_cols_on_connection(conn)
        return self._has_asset_index

    def wipe(self) -> None:
        """Close every connection, then delete all events."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close every connection."""
        super().dispose()
        self._close()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()
