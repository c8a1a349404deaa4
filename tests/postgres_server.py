"""A Postgres of the test's own, where one is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from required import program

from bench.postgres_server import FOLDERS, PASSWORD, PROGRAM, USER, PostgresServer, postgres_server

__all__ = ["PASSWORD", "USER", "postgres", "server"]


@contextmanager
def server(administrator: str = USER) -> Iterator[PostgresServer]:
    """Run a server, which syncs nothing; where none is installed the test is skipped.

    Args:
        administrator: Its only user, with `PASSWORD`.
    """
    pg_ctl = Path(program(PROGRAM, "postgresql", FOLDERS))
    with postgres_server(pg_ctl, administrator=administrator, durable=False) as running:
        yield running


@contextmanager
def postgres(administrator: str = USER) -> Iterator[int]:
    """Run a server as `server` does; its port."""
    with server(administrator) as running:
        yield running.port
