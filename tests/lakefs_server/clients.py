"""Clients of a server under test: the official one, and plain HTTP for what that one hides."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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


class PlainLake:
    """One repository by plain HTTP: each call gives the status and the body."""

    def __init__(self, raw: Raw, name: str) -> None:
        self._raw = raw
        self.name = name

    def __call__(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        sent = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        answer = self._raw(method, f"repositories/{self.name}{path}", sent, **headers)
        kind = answer.headers.get("content-type", "")
        return answer.status, json.loads(
            answer.body
        ) if answer.body and "json" in kind else answer.body

    def put(self, branch: str, path: str, content: bytes) -> None:
        assert self("POST", f"/branches/{branch}/objects?path={path}", content)[0] == 201

    def commit(self, branch: str, **objects: bytes | None) -> str:
        """Put (or, None, delete) objects and commit; the commit's id."""
        for path, content in objects.items():
            if content is None:
                assert self("DELETE", f"/branches/{branch}/objects?path={path}")[0] == 204
            else:
                self.put(branch, path, content)
        status, made = self("POST", f"/branches/{branch}/commits", {"message": "m"})
        assert status == 201, made
        return str(made["id"])

    def branch(self, name: str, source: str = "main") -> None:
        assert self("POST", "/branches", {"name": name, "source": source})[0] == 201

    def merge(self, source: str, branch: str = "main", **more: object) -> tuple[int, Any]:
        return self("POST", f"/refs/{source}/merge/{branch}", more)

    def head(self, ref: str) -> str:
        return str(self("GET", f"/commits/{ref}")[1]["id"])

    def paths(self, path: str) -> list[str]:
        return [line["path"] for line in self("GET", path)[1]["results"]]


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
