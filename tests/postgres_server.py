"""A Postgres of the test's own, where one is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from required import program

from bench import postgres_server
from bench.postgres_server import FOLDERS, PASSWORD, PROGRAM, USER, PostgresServer

__all__ = ["PASSWORD", "USER", "postgres", "server"]


@contextmanager
def server() -> Iterator[PostgresServer]:
    """Run a server, which syncs nothing; where none is installed the test is skipped."""
    pg_ctl = Path(program(PROGRAM, "postgresql", FOLDERS))
    with postgres_server.postgres_server(pg_ctl, durable=False) as running:
        yield running


@contextmanager
def postgres() -> Iterator[int]:
    """Run a server; its port."""
    with server() as running:
        yield running.port
