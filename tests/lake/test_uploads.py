"""The way of a file's bytes to the server: whichever it is, the object holds them."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest
from lakefs.branch import Branch

from mlops_assets.lake import Credentials, Lake, upload
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


def test_a_large_file_goes_to_a_server_on_this_machine_without_a_copy(
    lake: Lake, branch: Branch, source: Path
) -> None:
    inode = source.stat().st_ino

    upload_file(lake, branch, "table/data.parquet", source)

    check(branch)
    assert lake.on_this_machine is not lake.pre_signed
    assert source.exists() is lake.pre_signed
    if lake.on_this_machine:
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


@pytest.mark.parametrize("place", ["no folder of this machine", "another folder by its name"])
def test_a_server_with_folders_of_its_own_gets_the_bytes_in_a_request(
    lake: Lake, branch: Branch, source: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == "no folder of this machine":
        monkeypatch.setattr(upload, "_local_place", lambda _: None)
    else:
        monkeypatch.setattr(upload, "_give", lambda *_: None)

    upload_file(lake, branch, "table/data.parquet", source)

    check(branch)
    assert source.read_bytes() == LARGE


def test_a_server_elsewhere_never_says_where_this_machine_writes(tmp_path: Path) -> None:
    def lake(endpoint: str) -> Lake:
        found = Lake(
            Credentials(endpoint, "key", "secret"),
            repository="tables",
            base_branch="main",
            scratch=tmp_path,
        )
        found.__dict__["pre_signed"] = False
        return found

    hosts = ("http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000")
    assert all(lake(host).on_this_machine for host in hosts)
    hosts = ("http://10.0.0.1:8000", "http://lakefs:8000", "https://lakefs.example.com")
    assert not any(lake(host).on_this_machine for host in hosts)


def test_a_place_that_holds_a_file_already_is_never_written_over(
    lake: Lake, branch: Branch, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.write_bytes(b"somebody's")
    monkeypatch.setattr(upload, "_local_place", lambda _: taken)

    if lake.on_this_machine:
        with pytest.raises(FileExistsError):
            upload_file(lake, branch, "table/data.parquet", source)

    assert taken.read_bytes() == b"somebody's"
