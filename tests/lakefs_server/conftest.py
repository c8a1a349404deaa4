"""A real server on loopback for each test module, and the official client to speak to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import PlainLake, Raw, client_of
from lakefs.repository import Repository

from mlops_assets.lakefs_server import EmbeddedServer, Endpoint

_serial = itertools.count()


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "lake"


@pytest.fixture(scope="module")
def endpoint(state_dir: Path) -> Iterator[Endpoint]:
    with EmbeddedServer(state_dir) as endpoint:
        yield endpoint


@pytest.fixture
def raw(endpoint: Endpoint) -> Raw:
    return Raw(endpoint)


@pytest.fixture
def new_repository(endpoint: Endpoint) -> Callable[[], Repository]:
    def make() -> Repository:
        name = f"lake-{next(_serial)}"
        return Repository(name, client_of(endpoint)).create(f"local://{name}")

    return make


@pytest.fixture
def repository(new_repository: Callable[[], Repository]) -> Repository:
    return new_repository()


@pytest.fixture
def lake(repository: Repository, raw: Raw) -> PlainLake:
    return PlainLake(raw, repository.id)
