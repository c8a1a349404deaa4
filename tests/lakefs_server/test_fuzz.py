"""Hostile requests to every endpoint: an answer to each, and nothing touched but the store."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from api_requests import HostileRequest, one_by_one, requests
from clients import exposed
from hypothesis import HealthCheck, Phase, given, settings

from mlops_assets.lakefs_server import Endpoint

RENEWED_AFTER = 60
"""Requests after which there is a fresh repository: some delete the one there is."""

STORE_FILES = {"blobs", "blobs.lock", "drafts", "format", "incoming", "metadata.sqlite"}
STORE_FILES |= {"mark", "metadata.sqlite-shm", "metadata.sqlite-wal", "signing.key"}


class Victim:
    """A served store under hostile requests.

    Attributes:
        answered: How often each status was answered.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.answered: Counter[int] = Counter()
        self._address = endpoint.url.removeprefix("http://")
        good = f"{endpoint.access_key_id}:{endpoint.secret_access_key}"
        bad = f"{endpoint.access_key_id}:{endpoint.secret_access_key[:-1]}"
        self._keys = {"good": _basic(good), "bad": _basic(bad)}
        self._connection = http.client.HTTPConnection(self._address, timeout=60)
        self._names: dict[str, str] = {}

    def hit(self, request: HostileRequest) -> None:
        """Send a request and check what holds for every answer."""
        if self.answered.total() % RENEWED_AFTER == 0:
            self._names = self._fresh()
        sent = request.filled(self._names)
        status, kind, body = self._send(sent)
        self.answered[status] += 1
        assert status < 500 or status == 501, (sent, status, body)
        assert b"Traceback" not in body
        if sent.key != "good":
            health = sent.target.partition("?")[0] == "/api/v1/healthcheck"
            signed = sent.target.startswith("/api/v1/signed/")
            # What is no HTTP is refused by the parser, which knows no keys: in plain text.
            parsed = status != 400 or not kind.startswith("text/plain")
            allowed = {204, 400, 401} if health else {401, 403} if signed else {401}
            assert not parsed or status in allowed, (sent, status, body)
        if status >= 400 and kind == "application/json" and body:
            assert json.loads(body), (sent, body)

    def _send(self, request: HostileRequest) -> tuple[int, str, bytes]:
        headers = dict(request.headers)
        if request.key in self._keys:
            headers["Authorization"] = self._keys[request.key]
        try:
            self._connection.request(request.method, request.target, request.body, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.getheader("content-type", ""), answer.read()
        except (http.client.HTTPException, ConnectionError):
            # A request that is none ends its connection; what matters is that the next one works.
            self._connection.close()
            return 400, "text/plain", b""

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, str]:
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        status, _, answer = self._send(
            HostileRequest(method, f"/api/v1/{path}", {}, content, "good")
        )
        assert status < 300, (path, status, answer)
        found = json.loads(answer)
        assert isinstance(found, dict)
        return found

    def _fresh(self) -> dict[str, str]:
        """A repository with something of everything; the names of what is there."""
        name = f"fuzz-{secrets.token_hex(6)}"
        self._ask("POST", "repositories", {"name": name, "storage_namespace": f"s3://{name}"})
        main = f"repositories/{name}/branches/main"
        self._ask("POST", f"{main}/objects?path=a%2Fb", b"first")
        head = self._ask("POST", f"{main}/commits", {"message": "first"})["id"]
        self._ask("POST", f"{main}/objects?path=a%2Fc", b"second")
        self._ask("POST", f"repositories/{name}/tags", {"id": "v1", "ref": head})
        place = self._ask("GET", f"{main}/staging/backing?path=a%2Fb")["physical_address"]
        return {
            "repository": name,
            "branch": "main",
            "ref": head,
            "tag": "v1",
            "path": "a/b",
            "place": place,
            "token": place.rpartition("/")[2],
            "digest": hashlib.sha256(b"first").hexdigest(),
            "checksum": "8b04d5e3775d298e78455efc5ca404d5",
        }

    def still_serves(self) -> None:
        """Check that a fresh repository works, whatever was asked before."""
        names = self._fresh()
        path = f"repositories/{names['repository']}/refs/v1/objects?path=a%2Fb"
        assert self._send(HostileRequest("GET", f"/api/v1/{path}", {}, b"", "good"))[2] == b"first"


def _basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


def tree(folder: Path, without: Path) -> dict[str, bytes]:
    """Every file under a folder but those of the store, with its content."""
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_relative_to(without)
    }


@pytest.fixture(params=[False, True], ids=["local paths", "signed links"])
def victim(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Victim]:
    """A served store; afterwards nothing outside it was touched, and nothing in it left over."""
    store = tmp_path / "a" / "b" / "store"
    store.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "a", store.parent):
        (folder / "signing.key").write_text("of somebody else")
    before = tree(tmp_path, store)
    with exposed(store, pre_sign=request.param) as endpoint:
        victim = Victim(endpoint)
        yield victim
        victim.still_serves()
    assert tree(tmp_path, store) == before
    assert {path.name for path in store.iterdir()} <= STORE_FILES
    assert list((store / "drafts").iterdir()) == []
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


def fuzz(victim: Victim, examples: int) -> None:
    """Send so many hostile requests; one that does harm is made as simple as can be."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=True,
    )
    @given(requests())
    def hit(request: HostileRequest) -> None:
        victim.hit(request)

    hit()


def test_some_hundred_hostile_requests_do_no_harm(victim: Victim) -> None:
    fuzz(victim, 300)
    assert {200, 401, 404, 400} <= set(victim.answered)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_nasty_text_in_every_place_does_no_harm(victim: Victim) -> None:
    for request in one_by_one():
        victim.hit(request)
    print(f"\n{victim.answered.total()} requests: {dict(sorted(victim.answered.items()))}")
    assert victim.answered.total() >= 10_000


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_hostile_requests_do_no_harm(victim: Victim) -> None:
    fuzz(victim, 10_000)
    print(f"\n{victim.answered.total()} requests: {dict(sorted(victim.answered.items()))}")
    assert victim.answered.total() >= 10_000


def test_bytes_that_are_no_requests_do_no_harm(victim: Victim) -> None:
    host, port = victim._address.split(":")
    for sent in (b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 200_000):
        # The server may have closed before it has read all; what it said is lost then.
        with (
            suppress(ConnectionError),
            socket.create_connection((host, int(port)), timeout=30) as connection,
        ):
            connection.sendall(sent)
            assert b" 5" not in connection.recv(65536)[:12]
