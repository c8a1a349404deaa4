"""The databases that Dagster records in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster_homes import Homes
from postgres_server import server

from bench.postgres_server import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with server() as running:
        yield running


@pytest.fixture
def in_postgres(tmp_path: Path, postgres: PostgresServer) -> Homes:
    return Homes(tmp_path, postgres)


@pytest.fixture(params=["sqlite", "postgres"])
def homes(request: pytest.FixtureRequest, tmp_path: Path) -> Homes:
    if request.param == "sqlite":
        return Homes(tmp_path)
    found: Homes = request.getfixturevalue("in_postgres")
    return found
