"""Who is let in: keys made beforehand, the embedded server's own, and what lies on the disk."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import socket
import stat
import threading
from pathlib import Path
from typing import NoReturn

import pytest
from clients import Raw, client_of, exposed
from lakefs.repository import Repository

from mlops_assets.lakefs_server import EmbeddedServer, Endpoint, ExposedServer, NoAccessKeyError
from mlops_assets.lakefs_server.credentials import access_keys, signing_key

FORMER = {
    "access_key_id": "AKIA0123",
    "secret_access_key": "a-secret-in-clear",
    "signing_key": "ab" * 32,
}


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


# -- the embedded server --------------------------------------------------------------------------


def test_only_the_servers_own_key_is_let_in(repository: Repository, raw: Raw) -> None:
    for path in ("config", "repositories", f"repositories/{repository.id}/refs/main/objects/ls"):
        assert raw("GET", path).status == 200
        assert raw("GET", path, anonymous=True).status == 401
        refused = raw("GET", path, Authorization=basic("nobody:nothing"))
        assert (refused.status, "message" in json.loads(refused.body)) == (401, True)


def test_health_needs_no_key_and_nothing_else_is_told_without_one(raw: Raw) -> None:
    assert raw("GET", "healthcheck", anonymous=True).status == 204
    for method, path in (("GET", "nothing/here"), ("PATCH", "config"), ("GET", "/elsewhere")):
        assert raw(method, path, anonymous=True).status == 401
        assert raw(method, path).status == 404


def test_an_embedded_server_listens_on_loopback_alone(raw: Raw) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", raw.endpoint.url)


def test_an_embedded_servers_key_is_its_own_and_never_on_the_disk(tmp_path: Path) -> None:
    with (
        EmbeddedServer(tmp_path / "lake") as first,
        EmbeddedServer(tmp_path / "lake") as second,
    ):
        assert first.secret_access_key != second.secret_access_key
        assert Raw(second)("GET", "config").status == 200
        stolen = second._replace(secret_access_key=first.secret_access_key)
        assert Raw(stolen)("GET", "config").status == 401
        made = Repository("lake", client_of(first)).create("local://lake")
        made.branch("main").object("x").upload(b"1")
        assert made.branch("main").commit("x").get_commit().committer == "embedded"
        stored = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(first.secret_access_key.encode() in content for content in stored)


def test_an_access_key_of_the_store_does_not_open_an_embedded_server(tmp_path: Path) -> None:
    with access_keys(tmp_path / "lake") as keys:
        key = keys.create()
    with EmbeddedServer(tmp_path / "lake") as endpoint:
        assert Raw(Endpoint(endpoint.url, *key))("GET", "config").status == 401


# -- the key that signs URLs ----------------------------------------------------------------------


def test_the_signing_key_stays_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first = signing_key(tmp_path)
    assert signing_key(tmp_path) == first
    assert [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()] == [0o600]


@pytest.mark.parametrize("refused", [None, errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_threads_that_race_for_the_first_signing_key_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int | None
) -> None:
    if refused is not None:

        def no_links(*_: object) -> NoReturn:
            raise OSError(refused, os.strerror(refused))

        monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "credentials.json").write_text(json.dumps(FORMER))
    found = []
    gate = threading.Barrier(8)

    def create() -> None:
        gate.wait()
        found.append(signing_key(tmp_path))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.secret for key in found} == {FORMER["signing_key"]}
    assert len(found) == 8
    assert [file.name for file in tmp_path.iterdir()] == ["signing.key"]


def test_an_earlier_stores_secret_in_clear_goes_and_its_links_stay_good(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, pre_sign=True) as endpoint:
        made = Repository("lake", client_of(endpoint)).create("s3://lake")
        stat_of = made.branch("main").object("x").upload(b"kept").stat(pre_sign=True)
        link = stat_of.physical_address.removeprefix(endpoint.url)
    secret = (tmp_path / "signing.key").read_text()
    (tmp_path / "signing.key").unlink()
    former = json.dumps({**FORMER, "signing_key": secret})
    (tmp_path / "credentials.json").write_text(former)
    with EmbeddedServer(tmp_path, pre_sign=True) as endpoint:
        assert Raw(endpoint)("GET", link, anonymous=True).body == b"kept"
    assert not (tmp_path / "credentials.json").exists()


# -- the exposed server ---------------------------------------------------------------------------


def test_a_key_is_kept_as_a_salted_hash_and_refused_once_it_is_deleted(tmp_path: Path) -> None:
    with exposed(tmp_path) as endpoint:
        raw = Raw(endpoint)
        assert raw("GET", "config").status == 200
        stored = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
        assert not any(endpoint.secret_access_key.encode() in content for content in stored)
        with access_keys(tmp_path) as keys:
            assert [known.access_key_id for known in keys.known()] == [endpoint.access_key_id]
            keys.delete(endpoint.access_key_id)
        assert raw("GET", "config").status == 401


def test_whatever_else_is_presented_is_refused(tmp_path: Path) -> None:
    with exposed(tmp_path) as endpoint:
        raw = Raw(endpoint)
        key, secret = endpoint.access_key_id, endpoint.secret_access_key
        presented = [
            "",
            "Basic",
            "Basic ",
            "Basic ====",
            "Basic \xff",
            f"Bearer {secret}",
            f"Digest {secret}",
            *map(basic, ("", ":", key, f"{key}:", f":{secret}", f"{key}:{secret}x", "x" * 30_000)),
            *map(basic, (f"{key.lower()}:{secret}", f"{key}:{secret}\n", f"{secret}:{key}")),
            basic(f"nobody:{secret}"),
            "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        ]
        answers = {header: raw("GET", "config", Authorization=header) for header in presented}
        assert {header: answer.status for header, answer in answers.items()} == dict.fromkeys(
            presented, 401
        )


def test_the_committer_is_the_key_that_a_request_came_with(tmp_path: Path) -> None:
    with exposed(tmp_path) as endpoint:
        with access_keys(tmp_path) as keys:
            second = Endpoint(endpoint.url, *keys.create())
        main = Repository("lake", client_of(endpoint)).create("local://lake").branch("main")
        main.object("x").upload(b"1")
        by_second = Repository("lake", client_of(second)).branch("main")
        by_second.commit("second's")
        main.commit("first's", allow_empty=True)
        committers = [commit.committer for commit in main.log()]
        assert committers == [endpoint.access_key_id, second.access_key_id, ""]


def test_a_store_without_a_key_is_not_served(tmp_path: Path) -> None:
    server = ExposedServer(tmp_path, host="127.0.0.1", port=0, pre_sign=False)
    with pytest.raises(NoAccessKeyError, match="has no access key"), server:
        raise AssertionError("it is served")


def test_a_taken_port_is_an_error_that_leaves_nothing_open(tmp_path: Path) -> None:
    with access_keys(tmp_path) as keys:
        keys.create()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match="in use"),
            ExposedServer(tmp_path, host="127.0.0.1", port=port, pre_sign=False),
        ):
            raise AssertionError("it is served")
    with ExposedServer(tmp_path, host="127.0.0.1", port=port, pre_sign=False) as server:
        assert server.url == f"http://127.0.0.1:{port}"


# -- links that the client can reach --------------------------------------------------------------


def signed_link(raw: Raw, **headers: str) -> str:
    answer = raw("GET", "repositories/lake/refs/main/objects?path=x&presign=true", **headers)
    assert answer.status == 302
    return answer.headers["location"]


def test_a_link_leads_where_the_client_called(tmp_path: Path) -> None:
    with exposed(tmp_path, pre_sign=True) as endpoint:
        raw = Raw(endpoint)
        main = Repository("lake", client_of(endpoint)).create("s3://lake").branch("main")
        main.object("x").upload(b"1")
        assert signed_link(raw).startswith(f"{endpoint.url}/api/v1/signed/")
        for host in ("lake.example.org", "lake.example.org:8000", "10.0.0.7:8000", "[::1]:8000"):
            assert signed_link(raw, Host=host).startswith(f"http://{host}/api/v1/signed/")
        behind_tls = signed_link(raw, Host="lake.example.org", X_Forwarded_Proto="https")
        assert behind_tls.startswith("https://lake.example.org/api/v1/signed/")


@pytest.mark.parametrize(
    "host",
    ["a/b", "user@host", "a b", "x\xe9y", "[::1", "h:port", "h:1:2", "a?b", "a#b", "x" * 254],
)
def test_a_host_that_is_none_is_refused(raw: Raw, host: str) -> None:
    answer = raw("GET", "config", Host=host)
    assert (answer.status, json.loads(answer.body)["message"][:5]) == (400, "host:")
    assert raw("GET", "config", Host=host, anonymous=True).status == 401
