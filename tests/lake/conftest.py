"""The lake on every kind of server: local paths, pre-signed links, or the one that is named."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from installation import open_lake
from named_server import named_server, repository_of

from mlops_assets.lake import Lake
from mlops_assets.lakefs_server import EmbeddedServer, Endpoint

LOCAL, PRE_SIGNED, NAMED = "local", "pre-signed", "named"

_serial = count()


@pytest.fixture(scope="session", params=[NAMED] if named_server() else [LOCAL, PRE_SIGNED])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """A server of each kind, for all tests; each test gets a repository of its own."""
    named = named_server()
    if named is not None:
        yield named
        return
    pre_sign = request.param == PRE_SIGNED
    with EmbeddedServer(tmp_path_factory.mktemp("lakefs"), pre_sign=pre_sign) as endpoint:
        yield endpoint


@pytest.fixture
def lake(server: Endpoint, tmp_path: Path) -> Lake:
    repository = repository_of(next(_serial))
    return open_lake(server, tmp_path / "scratch", repository=repository)
