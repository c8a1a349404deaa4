"""The SQLite file of a store directory: its schema, its format version, its transactions.

Belongs here: opening connections (one a thread, kept open), and the two kinds of transaction.
Does not: what the rows mean; the modules that write a table say so.

One file in WAL mode serves every process on the machine at once. Readers never wait. Writers
take the write lock when they begin (`BEGIN IMMEDIATE`) and so never fail half-way on a stale
snapshot. A killed process leaves an unfinished transaction that SQLite ignores.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from mlops_assets.lakefs_server.errors import StoreFormatError

FORMAT = 2
"""Version of the store directory's layout; a directory of a newer one is refused.

In format 1 a tree's node was one JSON text. Those are read still, and a directory of it becomes one
of this format when it is opened, which earlier versions refuse.
"""

_FORMAT_FILE = "format"
_BUSY_SECONDS = 60.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS repositories (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    storage_namespace TEXT NOT NULL,
    default_branch TEXT NOT NULL,
    created INTEGER NOT NULL,
    read_only INTEGER NOT NULL,
    protection TEXT NOT NULL,
    metadata TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS namespaces (
    name TEXT PRIMARY KEY
) WITHOUT ROWID;
INSERT OR IGNORE INTO namespaces SELECT rtrim(storage_namespace, '/') FROM repositories
    WHERE NOT read_only;
CREATE TABLE IF NOT EXISTS branches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repository INTEGER NOT NULL,
    name TEXT NOT NULL,
    head TEXT NOT NULL,
    hidden INTEGER NOT NULL,
    UNIQUE (repository, name)
);
CREATE TABLE IF NOT EXISTS tags (
    repository INTEGER NOT NULL,
    name TEXT NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    repository INTEGER NOT NULL,
    id TEXT NOT NULL,
    tree TEXT NOT NULL,
    parents TEXT NOT NULL,
    message TEXT NOT NULL,
    committer TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (repository, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS staging (
    branch INTEGER NOT NULL,
    path TEXT NOT NULL,
    entry TEXT,
    PRIMARY KEY (branch, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nodes (
    id TEXT PRIMARY KEY,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS access_keys (
    id TEXT PRIMARY KEY,
    salt BLOB NOT NULL,
    hash BLOB NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS placements (
    token TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL
) WITHOUT ROWID;
"""


class Database:
    """Connections to one store's SQLite file. Use from any thread; not across a fork."""

    def __init__(self, state_dir: Path) -> None:
        _check_format(state_dir)
        self._address = _address(state_dir / "metadata.sqlite")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        connection = self.connection()
        if not os.access(state_dir, os.W_OK):
            return
        connection.execute("PRAGMA journal_mode = WAL")
        with self.writing() as writer:
            for statement in _SCHEMA.split(";"):
                writer.execute(statement)

    def connection(self) -> sqlite3.Connection:
        """This thread's connection; a single statement on it is a transaction of its own."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._address,
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                cached_statements=256,
                check_same_thread=False,  # only for `close`, which another thread calls
            )
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            self._local.connection = connection
            self._opened.append(connection)
        return connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Several statements over one unmoving state of the store."""
        connection = self.connection()
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is durable when it returns, and rolled back on any error.

        `synchronous = FULL` syncs the log, and with it every staged row written before: what a
        commit says survives a power cut, though staging alone may not.
        """
        connection = self.connection()
        connection.execute("PRAGMA synchronous = FULL")
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        finally:
            connection.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        """Close every thread's connection; no thread may be using one."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._local = threading.local()


def _address(path: Path) -> str:
    """Where SQLite finds the file, as it is to be opened.

    It makes files beside one that it reads, which a place that cannot be written refuses it: so it
    is told there that nobody writes, unless a writer's log shows that somebody may.
    """
    if os.access(path.parent, os.W_OK):
        return path.as_uri()
    logged = path.with_name(f"{path.name}-wal").exists()
    return f"{path.as_uri()}?mode=ro{'' if logged else '&immutable=1'}"


def _check_format(state_dir: Path) -> None:
    path = state_dir / _FORMAT_FILE
    found = path.read_text().strip() if path.exists() else "0"
    if not found.isdecimal() or int(found) > FORMAT:
        raise StoreFormatError(
            f"The lake in {state_dir} has format {found}, which this version (format {FORMAT}) "
            "does not know: use the newer version that wrote it, or another directory."
        )
    if int(found) < FORMAT:
        draft = path.with_name(f"{_FORMAT_FILE}.{os.getpid()}.{threading.get_ident()}")
        draft.write_text(f"{FORMAT}\n")
        draft.replace(path)
