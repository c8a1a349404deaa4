"""Freeing what nothing names: everything that is named stays, whoever writes meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clients import Raw, client_of
from lakefs.branch import Branch
from lakefs.exceptions import BadRequestException, ConflictException, NotFoundException
from lakefs.reference import Reference
from lakefs.repository import Repository

from mlops_assets.lakefs_server import EmbeddedServer, Endpoint, retention
from mlops_assets.lakefs_server.retention import sweep

YOUNG = 0.2
"""Seconds after which a test may free a blob: as long as file times can lag, and some."""


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def endpoint(state_dir: Path) -> Iterator[Endpoint]:
    with EmbeddedServer(state_dir) as endpoint:
        yield endpoint


def blobs(state_dir: Path) -> set[str]:
    return {file.parent.name + file.name for file in (state_dir / "blobs").glob("*/*")}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def upload(branch: Branch, objects: Mapping[str, bytes]) -> None:
    for path, content in objects.items():
        branch.object(path).upload(content)


def committed(branch: Branch, objects: Mapping[str, bytes]) -> str:
    upload(branch, objects)
    return branch.commit("more").get_commit().id


def content(reference: Reference) -> dict[str, bytes]:
    return {
        found.path: reference.object(found.path).reader("rb").read()
        for found in reference.objects()
    }


def aged(state_dir: Path) -> None:
    """Make everything that was put down two days old."""
    then = time.time() - 2 * 24 * 3600
    for folder in ("blobs", "drafts", "incoming"):
        for file in (state_dir / folder).rglob("*"):
            os.utime(file, (then, then))


def test_what_a_dropped_branch_alone_held_goes_and_all_else_stays(
    repository: Repository, state_dir: Path
) -> None:
    main = repository.branch("main")
    committed(main, {f"kept/{number}": b"kept %d" % number for number in range(200)})
    other = repository.branch("other").create("main")
    gone = committed(other, {"kept/7": b"changed", "gone": b"gone"})
    upload(other, {"staged": b"staged"})
    upload(main, {"staged": b"staged on main"})
    other.delete()
    aged(state_dir)

    swept = sweep(state_dir, ())

    assert (swept.commits, swept.blobs, swept.size) == (1, 3, len(b"changedgonestaged"))
    assert swept.nodes > 0
    assert blobs(state_dir) == {digest(found) for found in content(main).values()}
    assert content(main)["staged"] == b"staged on main"
    with pytest.raises(NotFoundException):
        repository.ref(gone).get_commit()
    assert sweep(state_dir, ()) == swept.__class__(0, 0, 0, 0, 0, 0)


def test_the_whole_history_of_branches_and_tags_stays(
    repository: Repository, state_dir: Path
) -> None:
    main = repository.branch("main")
    first = committed(main, {"table": b"first"})
    committed(main, {"table": b"second"})
    other = repository.branch("other").create(first)
    tagged = committed(other, {"table": b"tagged"})
    repository.tag("release").create(tagged)
    other.delete()
    aged(state_dir)

    swept = sweep(state_dir, ())

    assert (swept.commits, swept.nodes, swept.blobs) == (0, 0, 0)
    assert content(repository.ref(first)) == {"table": b"first"}
    assert content(repository.tag("release")) == {"table": b"tagged"}


def test_a_pin_keeps_a_commit_that_no_branch_leads_to_with_all_that_it_was_made_from(
    repository: Repository, state_dir: Path
) -> None:
    other = repository.branch("other").create("main")
    inputs = committed(other, {"input": b"input"})
    model = committed(other, {"input": b"a later input", "model": b"model"})
    committed(other, {"model": b"a later model"})
    other.delete()
    aged(state_dir)

    swept = sweep(state_dir, {model, "f" * 64})

    assert (swept.commits, swept.blobs, swept.unknown_pins) == (1, 1, 1)
    assert content(repository.ref(model)) == {"input": b"a later input", "model": b"model"}
    assert content(repository.ref(inputs)) == {"input": b"input"}
    assert [found.id for found in repository.ref(model).log()][:2] == [model, inputs]


def test_the_objects_of_a_deleted_repository_go_unless_another_shares_them(
    new_repository: Callable[[], Repository], state_dir: Path
) -> None:
    left, right = new_repository(), new_repository()
    committed(left.branch("main"), {"shared": b"shared", "own": b"own"})
    committed(right.branch("main"), {"shared": b"shared"})
    left.delete()
    aged(state_dir)

    assert sweep(state_dir, ()).blobs == 1
    assert content(right.branch("main")) == {"shared": b"shared"}


def test_bytes_that_were_just_put_down_stay_though_nothing_names_them_yet(
    repository: Repository, state_dir: Path
) -> None:
    other = repository.branch("other").create("main")
    upload(other, {"new": b"new"})
    other.delete()

    assert sweep(state_dir, ()).blobs == 0
    time.sleep(YOUNG + 0.05)
    assert sweep(state_dir, (), young=YOUNG).blobs == 1


def test_an_old_object_that_is_uploaded_again_is_young_again(
    repository: Repository, state_dir: Path
) -> None:
    other = repository.branch("other").create("main")
    upload(other, {"object": b"bytes"})
    other.delete()
    aged(state_dir)
    branch = repository.branch("again").create("main")
    upload(branch, {"object": b"bytes"})
    branch.delete()

    assert sweep(state_dir, ()).blobs == 0


def test_a_dry_run_tells_what_would_go_and_changes_nothing(
    repository: Repository, state_dir: Path
) -> None:
    main = repository.branch("main")
    committed(main, {"kept": b"kept"})
    for name in ("gone", "going"):
        branch = repository.branch(name).create("main")
        committed(branch, {"object": name.encode()})
        upload(branch, {"staged": b"staged on " + name.encode()})
    repository.branch("gone").delete()
    (state_dir / "drafts" / "left").write_bytes(b"half of an upl")
    (state_dir / "incoming" / "left").write_bytes(b"never linked")
    aged(state_dir)
    before = state_of(state_dir)

    found = sweep(state_dir, (), dry_run=True)
    further = sweep(state_dir, (), dry_run=True, without={(repository.id, "going")})

    assert state_of(state_dir) == before
    assert (found.commits, found.blobs, found.leftovers) == (1, 2, 2)
    assert (further.commits, further.blobs) == (2, 4)
    assert sweep(state_dir, ()) == found
    repository.branch("going").delete()
    assert sweep(state_dir, ()).commits == 1


def state_of(state_dir: Path) -> object:
    """Every file but the database's own, with its bytes and time, and every row."""
    files = {
        file.relative_to(state_dir): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in state_dir.rglob("*")
        if file.is_file() and not file.name.startswith("metadata.sqlite")
    }
    with sqlite3.connect(state_dir / "metadata.sqlite") as connection:
        return files, list(connection.iterdump())


def test_places_go_after_a_day_linked_or_not(state_dir: Path) -> None:
    with EmbeddedServer(state_dir, pre_sign=True) as endpoint:
        raw = Raw(endpoint)
        repository = Repository("lake-places", client_of(endpoint)).create("s3://lake-places")
        api = client_of(endpoint).sdk_client.staging_api
        for path in ("linked", "left"):
            place = api.get_physical_address(repository.id, "main", path, presign=True)
            target = place.presigned_url.removeprefix(endpoint.url)
            assert raw("PUT", target, path.encode(), anonymous=True).status == 200
            if path == "linked":
                api.link_physical_address(
                    repository.id,
                    "main",
                    path,
                    {
                        "staging": place.to_dict(),
                        "checksum": hashlib.md5(path.encode()).hexdigest(),
                        "size_bytes": len(path),
                    },
                )
        assert (sweep(state_dir, ()).leftovers, len(blobs(state_dir))) == (0, 2)
        aged(state_dir)

        swept = sweep(state_dir, ())

        assert (swept.leftovers, swept.blobs) == (2, 1)
        assert content(repository.branch("main")) == {"linked": b"linked"}


@pytest.mark.parametrize("step", ["_forget_commits", "_mark", "_drop_nodes", "_unmarked"])
def test_what_is_named_again_in_the_middle_of_a_sweep_stays(
    repository: Repository, state_dir: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    objects = {f"table/{number}": b"%d" % number for number in range(100)}
    gone = repository.branch("gone").create("main")
    dropped = committed(gone, objects)
    gone.delete()
    aged(state_dir)
    proceed = getattr(retention._Sweep, step)

    def interrupted(*given: object) -> object:
        monkeypatch.undo()
        with contextlib.suppress(NotFoundException):
            repository.branch("by-name").create(dropped)
        committed(repository.branch("by-content").create("main"), objects)
        return proceed(*given)

    monkeypatch.setattr(retention._Sweep, step, interrupted)
    sweep(state_dir, ())

    for branch in repository.branches():
        assert content(branch) == ({} if branch.id == "main" else objects)
    assert {"by-content"} <= {branch.id for branch in repository.branches()}


SWEEPER = """
import sys, time
from pathlib import Path
from mlops_assets.lakefs_server.retention import sweep
state_dir, stop, young = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
print("ready", flush=True)
while not stop.exists():
    swept = sweep(state_dir, (), young=young)
    print(swept.commits, swept.nodes, swept.blobs, flush=True)
"""


def sweeper(state_dir: Path, stop: Path, young: float) -> subprocess.Popen[str]:
    """Another process that sweeps until it is stopped; it is ready when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-c", SWEEPER, str(state_dir), str(stop), str(young)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def write_at_random(repository: Repository, seed: int, until: threading.Event) -> int:
    """Upload, commit, and merge or drop, over and over; how many merges came about.

    Few paths, and few contents at a time, so that blobs and tree nodes which just became garbage
    are needed again.
    """
    draw, merges = random.Random(seed), 0
    while not until.is_set():
        branch = repository.branch(f"work-{seed}-{draw.getrandbits(64)}").create("main")
        for _ in range(draw.randint(1, 4)):
            path = f"path-{draw.randrange(40):02d}"
            number = draw.randrange(300) + int(time.time() / 3) * 300
            branch.object(path).upload(b"content %d" % number)
        # Nothing has changed, or another writer of the path was first.
        with contextlib.suppress(BadRequestException, ConflictException):
            branch.commit(f"by {seed}")
            if draw.random() < 0.4:
                branch.merge_into("main")
                merges += 1
        branch.delete()
    return merges


def check_everything(repository: Repository) -> int:
    """Look at every object of every commit that a branch leads to; each holds what its name says.

    Returns:
        How many there are; equal contents are read once.
    """
    objects, contents = 0, set()
    for branch in repository.branches():
        for commit in branch.log():
            reference = repository.ref(commit.id)
            for found in reference.objects():
                objects += 1
                if found.checksum not in contents:
                    stored = reference.object(found.path).reader("rb").read()
                    assert found.physical_address.endswith(digest(stored)[2:]), found.path
                    contents.add(found.checksum)
    return objects


@pytest.mark.parametrize("seconds", [6, pytest.param(120, marks=pytest.mark.soak)])
def test_sweeps_while_eight_writers_upload_commit_and_merge_lose_nothing(
    repository: Repository, state_dir: Path, tmp_path: Path, seconds: float
) -> None:
    stop, until = tmp_path / "stop", threading.Event()
    with sweeper(state_dir, stop, YOUNG) as process, ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write_at_random, repository, seed, until) for seed in range(8)]
        time.sleep(seconds)
        until.set()
        merges = sum(writer.result() for writer in writers)
        stop.touch()
        told = process.communicate()[0]
    assert process.returncode == 0
    swept = [tuple(map(int, line.split())) for line in told.splitlines()]
    commits, nodes, freed = (sum(column) for column in zip(*swept, strict=True))

    assert min(merges, commits, nodes, freed) > 0
    assert check_everything(repository) > 0
    print(f"{merges} merges, {len(swept)} sweeps: {commits} commits, {nodes} nodes, {freed} blobs")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.soak)])
def test_a_sweep_that_is_killed_at_any_moment_leaves_a_whole_store(
    repository: Repository, state_dir: Path, tmp_path: Path, kills: int
) -> None:
    main = repository.branch("main")
    for number in range(8):
        committed(main, {f"kept/{number}/{part}": b"%d" % part for part in range(10)})
    draw, halves = random.Random(0), 0
    for _ in range(kills):
        for _ in range(3):
            other = repository.branch("other").create("main")
            for _ in range(4):
                committed(other, {f"o/{part}": draw.randbytes(9) for part in range(10)})
            other.delete()
        aged(state_dir)
        with sweeper(state_dir, tmp_path / "never", 60) as process:
            time.sleep(draw.uniform(0, 0.1))
            os.kill(process.pid, signal.SIGKILL)
        left = sweep(state_dir, (), dry_run=True)
        halves += left.commits == 0 < left.blobs
        assert check_everything(repository) == 8 * 9 // 2 * 10
    print(f"{kills} kills, {halves} between commits and contents")
    sweep(state_dir, ())
    assert len(blobs(state_dir)) == 10
