"""Clients of a server under test: the official one, and plain HTTP for what that one hides."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lakefs.client import Client

from mlops_assets.lakefs_server import Endpoint, ExposedServer
from mlops_assets.lakefs_server.credentials import access_keys


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


@contextmanager
def exposed(state_dir: Path, *, pre_sign: bool = False) -> Iterator[Endpoint]:
    """A store served to others, with a fresh key."""
    with access_keys(state_dir) as keys:
        key = keys.create()
    with ExposedServer(state_dir, host="127.0.0.1", port=0, pre_sign=pre_sign) as server:
        yield Endpoint(server.url, *key)
