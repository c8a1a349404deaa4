"""A pin reads what its manifests list, and nothing that was damaged or never listed."""

import dataclasses
import json

import pytest
from lake_tables import FIRST, SECOND, content, day, publish, put

from mlops_assets.lake import Lake, LakeError, Manifest, MissingPartitionError, Partition
from mlops_assets.lake.snapshot import FEW_PARTITIONS, METADATA_KEY


def test_an_object_that_no_manifest_lists_is_not_read(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    put(lake, f"{FIRST.folder}stray", b"stray")
    put(lake, f"{SECOND.folder}stray", b"a folder without a manifest is no partition")
    snapshot = lake.snapshot()

    assert content(snapshot) == {"day=2013-01-01": {"a": b"1"}}
    [path] = snapshot.files(list(snapshot.stored("raw/flights").values()))
    assert path.read_bytes() == b"1"


def test_few_partitions_and_all_are_found_alike(lake: Lake) -> None:
    days = [day(f"2013-01-{number:02}") for number in range(1, FEW_PARTITIONS + 4)]
    publish(lake, "tx-a", {key: {"a": str(key).encode()} for key in days})
    snapshot = lake.snapshot()
    everything = snapshot.stored("raw/flights")
    few = [key.partition for key in days[3:6]]

    assert list(everything) == [key.partition for key in days]
    assert snapshot.stored("raw/flights", [key.partition for key in days]) == everything
    assert snapshot.stored("raw/flights", few) == {part: everything[part] for part in few}
    assert [file.read_bytes() for file in snapshot.files([everything[few[0]]])] == [
        str(days[3]).encode()
    ]


def test_a_missing_partition_is_named_with_what_to_do(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    snapshot = lake.snapshot()
    with pytest.raises(
        MissingPartitionError,
        match=r"^raw/flights day=2013-01-02 and 1 more does not exist at commit \w{12}: "
        "materialize raw/flights first",
    ):
        snapshot.require(
            "raw/flights", [key.partition for key in (FIRST, SECOND, day("2013-01-03"))]
        )
    with pytest.raises(MissingPartitionError, match="raw/weather does not exist"):
        snapshot.require("raw/weather")
    with pytest.raises(LakeError, match="raw/flights day=2013-01-01 has no file 'b'"):
        snapshot.read(FIRST, "b")


def test_a_file_that_its_manifest_lists_and_the_lake_lacks_is_named(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    branch = lake.repo().branch("by-hand").create(lake.base_branch)
    branch.object(f"{FIRST.folder}a").delete()
    branch.commit("lose a file")
    branch.merge_into(lake.base_branch)
    with pytest.raises(LakeError, match=f"{FIRST.folder}a at commit .* is missing"):
        lake.snapshot().stored("raw/flights")


def test_a_manifest_of_a_newer_format_is_refused(lake: Lake) -> None:
    newer = json.loads(Manifest(files=()).to_json()) | {"format": 2}
    put(lake, FIRST.manifest_path, b"{}", {METADATA_KEY: json.dumps(newer)})
    with pytest.raises(LakeError, match=r"has manifest format 2, newer than the 1 .* upgrade"):
        lake.snapshot().stored("raw/flights")


@pytest.mark.parametrize("metadata", [{}, {METADATA_KEY: "[]"}, {METADATA_KEY: "{"}])
def test_a_manifest_that_something_else_wrote_is_refused(
    lake: Lake, metadata: dict[str, str]
) -> None:
    put(lake, FIRST.manifest_path, b"{}", metadata)
    with pytest.raises(LakeError, match=r"something else than mlops_assets wrote there"):
        lake.snapshot().stored("raw/flights")


@pytest.mark.parametrize("bytes_there", [b"cut sho", b"damage"])
def test_bytes_that_differ_from_their_manifest_are_not_handed_out(
    lake: Lake, bytes_there: bytes
) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"intact"}})
    put(lake, f"{FIRST.folder}a", bytes_there)
    snapshot = lake.snapshot()
    stored = list(snapshot.stored("raw/flights").values())
    for _ in range(2):
        with pytest.raises(LakeError, match=r"its bytes are damaged; run `mlops-assets doctor"):
            snapshot.read(FIRST, "a")
        with pytest.raises(LakeError, match=r"its bytes are damaged; run `mlops-assets doctor"):
            snapshot.files(stored)


@pytest.mark.parametrize("status", [404, 410])
def test_bytes_that_a_server_no_longer_has_are_named_with_what_to_do(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A lakeFS whose storage lost an object answers 410, a signed link to it 404."""
    from lakefs.exceptions import ServerException
    from lakefs.object import ObjectReader

    def gone(*_: object) -> None:
        raise ServerException(status, "No data", "{}")

    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    elsewhere = Lake(
        lake.credentials, repository=lake.repository, base_branch="main", scratch=lake.scratch
    )
    elsewhere.store = None
    monkeypatch.setattr(ObjectReader, "read", gone)
    with pytest.raises(LakeError, match=f"{FIRST.folder}a at commit .* is missing, .*doctor"):
        elsewhere.snapshot().read(FIRST, "a")


def test_an_address_on_another_machine_is_downloaded_and_checked(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    snapshot = lake.snapshot()
    stored = snapshot.stored("raw/flights")[FIRST.partition]
    elsewhere = dataclasses.replace(stored, addresses={"a": "local:///not/on/this/machine"})
    [path] = snapshot.files([elsewhere])
    assert path.read_bytes() == b"1"
    assert lake.scratch in path.parents


def test_a_snapshot_reads_the_same_when_the_base_branch_has_moved(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    pinned = lake.snapshot()
    publish(lake, "tx-b", {FIRST: {"a": b"2"}, SECOND: {"a": b"3"}})
    assert content(pinned) == {"day=2013-01-01": {"a": b"1"}}


def test_a_table_without_partitions_has_one(lake: Lake) -> None:
    from mlops_assets.lake import TablePartition

    planes = TablePartition("raw/planes")
    publish(lake, "tx-a", {planes: {"a": b"1"}})
    assert lake.snapshot().read(planes, "a") == b"1"
    assert list(lake.snapshot().stored("raw/planes")) == [Partition()]
