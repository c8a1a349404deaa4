"""A lake, and an MLflow registry beside it."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from installation import open_lake

from mlops_assets.lake import Lake
from mlops_assets.lakefs_server import EmbeddedServer, Endpoint
from mlops_assets.tracking.connection import Registry
from mlops_assets.tracking.projection import Tracking

_serial = count()


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A lakeFS server for all tests; each gets a repository of its own."""
    with EmbeddedServer(tmp_path_factory.mktemp("lakefs")) as found:
        yield found


@pytest.fixture
def lake(endpoint: Endpoint, tmp_path: Path) -> Lake:
    return open_lake(endpoint, tmp_path / "scratch", repository=f"tracked-{next(_serial)}")


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty registry; making its database takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    with Registry(None, folder).opened():
        return folder


@pytest.fixture
def folder(empty_registry: Path, tmp_path: Path) -> Path:
    """An empty registry, the test's own."""
    return Path(shutil.copytree(empty_registry, tmp_path / "mlflow"))


@pytest.fixture
def tracking(folder: Path) -> Tracking:
    return Tracking(Registry(None, folder))
