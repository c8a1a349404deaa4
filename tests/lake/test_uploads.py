"""The way of a file's bytes to the server: whichever it is, the object holds them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from lake_tables import FIRST, publish
from lakefs.branch import Branch

from mlops_assets.lake import Lake, LakeError
from mlops_assets.lake.upload import BESIDE_BYTES, upload_file

LARGE = random.Random(0).randbytes(BESIDE_BYTES + 1)


@pytest.fixture
def branch(lake: Lake) -> Branch:
    return lake.repo().branch("uploads").create("main")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(LARGE)
    return path


def check(branch: Branch) -> None:
    """The object is there, under a name and with a checksum of its own."""
    found = branch.object("table/data.parquet")
    assert found.reader("rb").read() == LARGE
    assert found.stat().checksum == hashlib.md5(LARGE).hexdigest()
    assert found.stat().content_type == "application/vnd.apache.parquet"


def test_a_large_file_becomes_our_own_servers_on_this_machine_without_a_copy(
    lake: Lake, branch: Branch, source: Path
) -> None:
    inode = source.stat().st_ino

    upload_file(lake, branch, "table/data.parquet", source)

    check(branch)
    assert source.exists() is (lake.store is None)
    if lake.store is not None:
        address = branch.object("table/data.parquet").stat().physical_address
        blob = Path(address.removeprefix("local://"))
        assert (blob.stat().st_ino, blob.stat().st_nlink) == (inode, 1)


def test_a_file_that_somebody_else_has_too_is_copied_and_stays_his(
    lake: Lake, branch: Branch, source: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    os.link(source, other)

    upload_file(lake, branch, "table/data.parquet", source)
    other.write_bytes(b"written in place")

    check(branch)


def test_what_is_linked_is_never_removed(
    lake: Lake, branch: Branch, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a server makes of a linked file, from then on it is the server's."""
    removed: list[Path] = []
    unlink = Path.unlink

    def noted(path: Path, missing_ok: bool = False) -> None:
        removed.append(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", noted)
    upload_file(lake, branch, "table/data.parquet", source)

    check(branch)
    assert removed == ([source] if lake.store else [])


@pytest.fixture
def foreign(lake: Lake, tmp_path: Path) -> Callable[[str], Lake]:
    """Opens the lake as a client does whose server says something of its storage."""

    def opened(description: str) -> Lake:
        found = Lake(
            lake.credentials, repository=lake.repository, base_branch="main", scratch=tmp_path
        )
        found.storage = lake.storage.copy(update={"blockstore_description": description})
        return found

    return opened


@pytest.mark.parametrize(
    "description",
    [
        "",
        "a lakeFS with local blocks",
        "mlops-assets:",
        "mlops-assets::{folder}",
        "mlops-assets:another mark:{folder}",
        "mlops-assets:mark:{folder}/nowhere",
        "mlops-assets:mark:.",
    ],
)
def test_a_folder_that_is_not_proven_to_be_our_servers_is_left_alone(
    foreign: Callable[[str], Lake],
    branch: Branch,
    source: Path,
    tmp_path: Path,
    description: str,
) -> None:
    folder = tmp_path / "another server"
    folder.mkdir()
    (folder / "mark").write_text("mark")
    other = foreign(description.format(folder=folder))

    upload_file(other, branch, "table/data.parquet", source)

    check(branch)
    assert other.store is None
    assert source.read_bytes() == LARGE
    assert [path.name for path in folder.iterdir()] == ["mark"]


def test_a_path_that_only_looks_like_this_machines_is_not_read(
    foreign: Callable[[str], Lake], lake: Lake, tmp_path: Path
) -> None:
    """A server in a container, or elsewhere, names paths that are other files here."""
    publish(lake, "tx-a", {FIRST: {"a": b"right"}})
    (tmp_path / "a").write_bytes(b"wrong")
    snapshot = foreign("").snapshot()
    [stored] = snapshot.stored("raw/flights").values()
    elsewhere = dataclasses.replace(stored, addresses={"a": f"local://{tmp_path}/a"})

    [path] = snapshot.files([elsewhere])

    assert path.read_bytes() == b"right"


def test_our_server_never_has_a_client_write_outside_of_its_folder(
    lake: Lake, branch: Branch, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.write_bytes(b"somebody's")
    staging = lake.client.sdk_client.staging_api
    ask = staging.get_physical_address

    def astray(*args: object) -> object:
        place = ask(*args)
        place.physical_address = f"local://{taken}"
        return place

    monkeypatch.setattr(staging, "get_physical_address", astray)
    if lake.store is not None:
        with pytest.raises(LakeError, match="outside of it"):
            upload_file(lake, branch, "table/data.parquet", source)

    assert taken.read_bytes() == b"somebody's"
