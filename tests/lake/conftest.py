"""The lake over both kinds of address that a real server gives: local paths, pre-signed links."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from installation import open_lake

from mlops_assets.lake import Lake
from mlops_assets.lakefs_server import EmbeddedServer, Endpoint

_serial = count()


@pytest.fixture(scope="session", params=[False, True], ids=["local", "pre-signed"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Endpoint, bool]]:
    """A server of each kind, for all tests; each test gets a repository of its own."""
    with EmbeddedServer(tmp_path_factory.mktemp("lakefs"), pre_sign=request.param) as endpoint:
        yield endpoint, request.param


@pytest.fixture
def lake(server: tuple[Endpoint, bool], tmp_path: Path) -> Lake:
    endpoint, pre_signed = server
    lake = open_lake(endpoint, tmp_path / "scratch", repository=f"tables-{next(_serial)}")
    assert lake.pre_signed is pre_signed
    return lake
