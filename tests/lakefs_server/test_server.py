"""The server as a whole: errors, many processes on one store, kills, full disks, formats."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import Raw, client_of
from lakefs.exceptions import ConflictException
from lakefs.repository import Repository
from small_disk import read_only

from mlops_assets.lakefs_server import (
    EmbeddedServer,
    Endpoint,
    StoreFormatError,
    blobs,
    server,
)

SPAWN = multiprocessing.get_context("spawn")


def nodes_stored(state_dir: Path) -> int:
    with sqlite3.connect(state_dir / "metadata.sqlite") as connection:
        return int(connection.execute("SELECT count(*) FROM nodes").fetchone()[0])


# -- errors ----------------------------------------------------------------------------------------


def test_errors_are_json_sentences_and_never_tracebacks(repository: Repository, raw: Raw) -> None:
    base = f"repositories/{repository.id}"
    asked = {
        ("GET", "nothing/here"): 404,
        ("GET", "/elsewhere"): 404,
        ("PUT", "repositories"): 404,
        ("GET", "repositories/absent"): 404,
        ("GET", f"{base}/refs/absent/objects/stat?path=x"): 404,
        ("GET", f"{base}/refs/main/objects/stat"): 400,
        ("GET", f"{base}/refs/main/objects/ls?amount=many"): 400,
        ("POST", f"{base}/branches"): 400,
        ("POST", f"{base}/branches/main/objects?path="): 400,
        ("PUT", f"{base}/branches/main/staging/backing?path=x"): 400,
        ("GET", "../../../etc/passwd"): 404,
        ("GET", "signed/..%2F..%2Fsigning.key"): 403,
    }
    for (method, path), status in asked.items():
        answer = raw(method, path)
        assert (path, answer.status) == (path, status)
        assert "Traceback" not in answer.body.decode()
        assert json.loads(answer.body)["message"]


def test_a_body_that_is_no_json_is_refused(repository: Repository, raw: Raw) -> None:
    for body in (b"{", b"[]", b'"text"'):
        path = f"repositories/{repository.id}/branches/main/commits"
        assert raw("POST", path, body).status == 400


def test_a_bug_is_a_500_that_is_logged_and_not_shown(
    repository: Repository, raw: Raw, state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(state_dir / "metadata.sqlite") as connection:
        connection.execute("UPDATE repositories SET protection = 'unreadable'")
    answer = raw("GET", f"repositories/{repository.id}/refs/main/objects/ls")
    assert answer.status == 500
    assert "JSON" not in answer.body.decode()
    assert "JSONDecodeError" in caplog.text


def test_damage_of_the_store_is_a_500_that_is_logged_and_says_what_to_do(
    repository: Repository, raw: Raw, state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main = repository.branch("main")
    main.object("x").upload(b"1")
    made = main.commit("x")
    with sqlite3.connect(state_dir / "metadata.sqlite") as connection:
        connection.execute("UPDATE commits SET tree = 'missing' WHERE id = ?", (made.id,))
    answer = raw("GET", f"repositories/{repository.id}/refs/main/objects/ls")
    assert answer.status == 500
    for told in (answer.body.decode(), caplog.text):
        assert "damaged: restore its folder from a backup" in told


def test_importing_the_package_imports_no_web_server() -> None:
    script = (
        "import sys, mlops_assets.lakefs_server\n"
        "heavy = {'uvicorn', 'starlette', 'sqlite3', 'lakefs', 'httptools'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# -- life -----------------------------------------------------------------------------------------


def test_starting_twice_is_one_server_and_stopping_frees_the_port(tmp_path: Path) -> None:
    embedded = EmbeddedServer(tmp_path / "lake")
    endpoint = embedded.start()
    assert embedded.start() == endpoint
    assert Raw(endpoint)("GET", "healthcheck").status == 204
    embedded.stop()
    embedded.stop()
    with pytest.raises(ConnectionRefusedError):
        Raw(endpoint)("GET", "healthcheck")


def test_a_restarted_server_has_the_same_store(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake") as endpoint:
        repository = Repository("lake", client_of(endpoint)).create("local://lake")
        repository.branch("main").object("x").upload(b"kept")
    with EmbeddedServer(tmp_path / "lake") as endpoint:
        again = Repository("lake", client_of(endpoint)).branch("main").object("x")
        assert again.reader().read() == b"kept"


def test_a_store_of_a_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "format").write_text("99\n")
    with pytest.raises(StoreFormatError, match=r"format 99.*use the newer version"):
        EmbeddedServer(tmp_path).start()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["format"]


def test_a_store_of_an_earlier_format_becomes_one_that_earlier_versions_refuse(
    tmp_path: Path,
) -> None:
    with EmbeddedServer(tmp_path):
        written = (tmp_path / "format").read_text()
    (tmp_path / "format").write_text("1\n")
    with EmbeddedServer(tmp_path):
        assert (tmp_path / "format").read_text() == written


def test_responses_do_not_wait_for_the_clients_acknowledgement() -> None:
    with server._listener("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 3 << 20])
def test_a_full_disk_is_a_507_that_leaves_nothing_behind(
    repository: Repository,
    raw: Raw,
    state_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {file for file in state_dir.rglob("*") if file.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(blobs.os, "fsync", full)
        path = f"repositories/{repository.id}/branches/main/objects?path=x"
        answer = raw("POST", path, os.urandom(size))
    assert (answer.status, list(json.loads(answer.body))) == (507, ["message"])
    assert {file for file in state_dir.rglob("*") if file.is_file()} <= before
    assert not repository.branch("main").object("x").exists()


def test_a_blob_cut_short_is_written_anew(repository: Repository) -> None:
    main = repository.branch("main")
    stat = main.object("x").upload(b"whole content").stat()
    blob = Path(stat.physical_address.removeprefix("local://"))
    blob.write_bytes(b"whole")
    main.object("y").upload(b"whole content")
    assert blob.read_bytes() == b"whole content"


def test_a_commit_of_ten_objects_among_twenty_thousand_writes_few_ranges(
    state_dir: Path, repository: Repository
) -> None:
    main = repository.branch("main")
    main.object("seed").upload(b"1")
    fill_staging(state_dir, repository.id, 20_000)
    main.commit("many")
    assert nodes_stored(state_dir) > 1000
    work = repository.branch("work").create("main")
    before = nodes_stored(state_dir)
    for number in range(10):
        work.object(f"day=0{number}/part").upload(b"new")
    work.commit("ten")
    written = nodes_stored(state_dir) - before
    assert written <= 14
    work.merge_into("main")
    assert nodes_stored(state_dir) == before + written
    assert main.object("day=03/part").reader().read() == b"new"


def fill_staging(state_dir: Path, repository: str, count: int) -> None:
    """Stage a file many times over without as many requests, as a hard-linking client might."""
    with sqlite3.connect(state_dir / "metadata.sqlite") as connection:
        branch, entry = connection.execute(
            "SELECT s.branch, s.entry FROM staging s JOIN branches b ON b.id = s.branch "
            "JOIN repositories r ON r.id = b.repository WHERE r.name = ?",
            (repository,),
        ).fetchone()
        rows = ((branch, f"raw/{number:06d}", entry) for number in range(count))
        connection.executemany("INSERT INTO staging VALUES (?, ?, ?)", rows)


# -- many processes -------------------------------------------------------------------------------


def publish(state_dir: str, worker: int, rounds: int) -> None:
    with EmbeddedServer(Path(state_dir)) as endpoint:
        repository = Repository("lake", client_of(endpoint))
        for number in range(rounds):
            work = repository.branch(f"tx-{worker}-{number}").create("main")
            work.object(f"own/{worker}/{number}").upload(f"{worker}.{number}")
            work.object("shared").upload(f"{worker}.{number}")
            work.commit("work")
            try:
                work.merge_into("main", metadata={"worker": str(worker)})
            except ConflictException:
                continue


def test_processes_that_publish_at_once_lose_nothing_and_never_mix(tmp_path: Path) -> None:
    state_dir = tmp_path / "lake"
    with EmbeddedServer(state_dir) as endpoint:
        repository = Repository("lake", client_of(endpoint)).create("local://lake")
        workers = [
            SPAWN.Process(target=publish, args=(str(state_dir), worker, 8)) for worker in (1, 2)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0, 0]
        main = repository.branch("main")
        merges = [c for c in main.log(first_parent=True) if len(c.parents) == 2]
        assert merges
        published = set()
        for merge in merges:
            at = repository.ref(merge.id)
            last = at.object("shared").reader().read().decode()
            published.add(last)
            worker, number = last.split(".")
            assert merge.metadata["worker"] == worker
            assert at.object(f"own/{worker}/{number}").reader().read().decode() == last
        assert {found.path for found in main.objects(prefix="own/")} == {
            f"own/{name.replace('.', '/')}" for name in published
        }


def upload_for_ever(state_dir: str, ready: str) -> None:
    with EmbeddedServer(Path(state_dir)) as endpoint:
        main = Repository("lake", client_of(endpoint)).branch("main")
        number = 0
        while True:
            main.object(f"k/{number}").upload(os.urandom(200_000))
            if number % 3 == 2:
                main.commit(f"commit {number}")
            number += 1
            if number == 5:
                Path(ready).touch()


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.031])
def test_a_killed_process_leaves_a_whole_store(tmp_path: Path, delay: float) -> None:
    state_dir, ready = tmp_path / "lake", tmp_path / "ready"
    with EmbeddedServer(state_dir) as endpoint:
        repository = Repository("lake", client_of(endpoint)).create("local://lake")
        victim = SPAWN.Process(target=upload_for_ever, args=(str(state_dir), str(ready)))
        victim.start()
        while not ready.exists():
            assert victim.is_alive()
            victim.join(0.005)
        victim.join(delay)
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        main = repository.branch("main")
        for found in main.objects():
            assert len(main.object(found.path).reader().read()) == found.size_bytes == 200_000
        for number, made in enumerate(reversed(list(main.log()))):
            assert len(list(repository.ref(made.id).objects())) == 3 * number
        main.object("after").upload(b"1")
        main.commit("after the kill")


# -- pre-signing ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with EmbeddedServer(tmp_path_factory.mktemp("signing") / "lake", pre_sign=True) as endpoint:
        Repository("lake", client_of(endpoint)).create("s3://lake")
        yield endpoint


def test_a_pre_signing_server_hides_paths_and_gives_urls_that_need_no_credentials(
    signing: Endpoint,
) -> None:
    client = client_of(signing)
    main = Repository("lake", client).branch("main")
    assert client.storage_config.pre_sign_support
    obj = main.object("a b/ü").upload(b"by url", metadata={"k": "v"}, mode="xb")
    assert obj.reader().read() == b"by url"
    stat = obj.stat()
    assert stat.physical_address.startswith("s3://")
    assert stat.metadata == {"k": "v"}
    url = obj.stat(pre_sign=True).physical_address
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"by url"


def test_a_signed_url_allows_nothing_but_what_it_says(signing: Endpoint) -> None:
    client, raw = client_of(signing), Raw(signing)
    obj = Repository("lake", client).branch("main").object("x").upload(b"1")
    other = Repository("lake", client).branch("main").object("y").upload(b"2")
    url = obj.stat(pre_sign=True).physical_address
    path = url.removeprefix(signing.url)
    assert raw("GET", path, anonymous=True).status == 200
    assert raw("PUT", path, b"3", anonymous=True).status == 403
    later = re.sub(r"expires=(\d+)", lambda m: f"expires={int(m[1]) + 1}", path)
    assert raw("GET", later, anonymous=True).status == 403
    names = [o.stat().physical_address.rpartition("/")[2] for o in (obj, other)]
    assert raw("GET", path.replace(*names), anonymous=True).status == 403


def test_linking_takes_only_the_servers_own_address_for_the_object(
    signing: Endpoint,
) -> None:
    raw = Raw(signing)
    base = "repositories/lake/branches/main/staging/backing"
    place = json.loads(raw("GET", f"{base}?path=p&presign=true").body)
    assert raw("PUT", place["presigned_url"].removeprefix(signing.url), b"12").status == 200
    said = {"staging": place, "checksum": "c20ad4d76fe97759aa27a0c99bff6710", "size_bytes": 2}
    body = json.dumps(said).encode()
    assert raw("PUT", f"{base}?path=q", body).status == 400
    wrong = json.dumps({**said, "size_bytes": 3}).encode()
    assert raw("PUT", f"{base}?path=p", wrong).status == 400
    assert raw("PUT", f"{base}?path=p", body).status == 200
    assert raw("PUT", f"{base}?path=p", body).status == 200


def test_a_client_on_this_machine_links_a_file_it_wrote(repository: Repository, raw: Raw) -> None:
    base = f"repositories/{repository.id}/branches/main/staging/backing?path=p"
    place = json.loads(raw("GET", base).body)
    Path(place["physical_address"].removeprefix("local://")).write_bytes(b"12")
    said = {"staging": place, "checksum": "c20ad4d76fe97759aa27a0c99bff6710", "size_bytes": 2}
    assert raw("PUT", base, json.dumps(said).encode()).status == 200
    assert repository.branch("main").object("p").reader().read() == b"12"


@pytest.mark.parametrize("logged", [False, True])
def test_a_store_that_cannot_be_written_is_read(tmp_path: Path, *, logged: bool) -> None:
    stored, kept = tmp_path / "store", tmp_path / "kept"
    with EmbeddedServer(stored) as endpoint:
        made = Repository("lake", client_of(endpoint)).create("local://lake")
        made.branch("main").object("x").upload(b"kept")
        made.branch("main").commit("x")
        shutil.copytree(stored, kept)
    assert (kept / "metadata.sqlite-wal").exists()
    assert not (stored / "metadata.sqlite-wal").exists()
    with (
        read_only(kept if logged else stored, tmp_path / "mounted") as place,
        EmbeddedServer(place) as endpoint,
    ):
        found = Repository("lake", client_of(endpoint))
        assert found.ref("main").object("x").reader("rb").read() == b"kept"
        with pytest.raises(Exception, match="the lake's folder cannot be written"):
            found.branch("other").create("main")
