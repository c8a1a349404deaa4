"""Connections to Postgres that Dagster's storages keep open while they are in use.

The stock storages open a connection for every statement, so as not to accumulate them: a fork of
the server and an authentication each, several for each event. Here an idle connection is kept for
seconds and then closed, so that a burst of events shares one and a run that computes for hours
holds none.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet, ref

import sqlalchemy as db
from dagster._serdes import ConfigurableClassData
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
)

if TYPE_CHECKING:
    from dagster_postgres.auth import PgTokenProvider

KEPT = 2
"""Idle connections that a storage keeps for a while."""
MORE = 20
"""Connections beside those that a storage opens at need, as many as Dagster's webserver does."""
IDLE_SECONDS = 5.0
RECYCLE_SECONDS = 3600


class PooledPostgres:
    """A mixin for Dagster's Postgres storages: theirs in everything but how they connect.

    In a webserver, which asks for a pool with a time limit of its own, that one is used.
    """

    _engine: db.Engine
    postgres_url: str

    def __init__(
        self,
        postgres_url: str,
        *arguments: Any,  # noqa: ANN401 - the stock storages'
        token_provider: PgTokenProvider | None = None,
        **named: Any,  # noqa: ANN401 - likewise
    ) -> None:
        super().__init__(  # type: ignore[call-arg] # the storage's that this is mixed into
            with_driver(postgres_url), *arguments, token_provider=token_provider, **named
        )
        self._engine = pooled_engine(self.postgres_url, token_provider)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Open the storage that the stock one would open by the same configuration."""
        return cls(
            pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
            token_provider=get_token_provider_from_config(config_value),
        )

    def dispose(self) -> None:
        """Close the storage and its connections."""
        super().dispose()  # type: ignore[misc]
        self._engine.dispose()


def with_driver(url: str) -> str:
    """An address of a Postgres that names its driver.

    The stock storages leave that to SQLAlchemy, which chooses another since 2.1 than the one that
    they require and install.
    """
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg2{separator}{rest}" if scheme in ("postgresql", "postgres") else url


def pooled_engine(url: str, token_provider: PgTokenProvider | None = None) -> db.Engine:
    """An engine with at most `KEPT` + `MORE` connections, of which none stays idle for long.

    A connection is tried before it is used, so a Postgres that was restarted meanwhile is not
    noticed. A forked process opens connections of its own.
    """
    engine = create_pg_engine(
        url,
        token_provider,
        isolation_level="AUTOCOMMIT",
        poolclass=db.QueuePool,
        pool_size=KEPT,
        max_overflow=MORE,
        pool_recycle=RECYCLE_SECONDS,
        pool_pre_ping=True,
    )
    idle = _IdleConnections(engine)
    db.event.listen(engine, "checkin", idle.returned)
    _watched.add(idle)
    return engine


class _IdleConnections:
    """Closes an engine's idle connections some seconds after the last use of one.

    A timer a burst, not one a use: it looks when the last use was, and waits for the rest.
    """

    def __init__(self, engine: db.Engine) -> None:
        self._engine = ref(engine)
        self.forget()

    def forget(self) -> None:
        """Begin anew: in a forked process, where neither threads nor connections are ours."""
        self._lock = threading.Lock()
        self._waiting = False
        self._last_use = 0.0

    def returned(self, *_: object) -> None:
        """A connection was returned."""
        with self._lock:
            self._last_use = time.monotonic()
            if not self._waiting:
                self._waiting = True
                self._wait(IDLE_SECONDS)

    def _wait(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._look)
        timer.daemon = True
        timer.start()

    def _look(self) -> None:
        engine = self._engine()
        if engine is None:
            return
        with self._lock:
            left = self._last_use + IDLE_SECONDS - time.monotonic()
            if left > 0:
                self._wait(left)
                return
            self._waiting = False
        # Those in use are closed when they are returned.
        engine.dispose()

    def leave_to_parent(self) -> None:
        """In a forked process: use none of the connections, which the parent goes on using."""
        self.forget()
        engine = self._engine()
        if engine is not None:
            engine.dispose(close=False)


_watched: WeakSet[_IdleConnections] = WeakSet()


def _after_fork() -> None:
    for idle in list(_watched):
        idle.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
