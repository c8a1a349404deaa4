"""A real server on loopback for each test module, and the official client to speak to it."""

from __future__ import annotations

import base64
import http.client
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from lakefs.client import Client
from lakefs.repository import Repository

from mlops_assets.lakefs_server import EmbeddedServer, Endpoint

_serial = itertools.count()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Raw:
    """Plain HTTP, for what the official client hides: statuses, headers, missing credentials."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection = http.client.HTTPConnection(endpoint.url.removeprefix("http://"))
        pair = f"{endpoint.access_key_id}:{endpoint.secret_access_key}".encode()
        self._authorization = "Basic " + base64.b64encode(pair).decode()

    def __call__(
        self, method: str, path: str, body: bytes = b"", *, anonymous: bool = False, **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if not anonymous:
            sent.setdefault("Authorization", self._authorization)
        target = path if path.startswith("/") else f"/api/v1/{path}"
        self._connection.request(method, target, body, sent)
        answer = self._connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())


def client_of(endpoint: Endpoint) -> Client:
    return Client(
        host=endpoint.url,
        username=endpoint.access_key_id,
        password=endpoint.secret_access_key,
    )


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
