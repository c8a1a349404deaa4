"""Damaged bytes: none is read as data, and who writes the right ones again repairs them."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from damage import cut, damages, flip
from installation import open_lake
from lake_tables import FIRST, SECOND, content, publish, put, stage
from named_server import only_embedded

from mlops_assets.components.partition_files import FILE, write_table
from mlops_assets.engines.duckdb import create_view
from mlops_assets.lake import Lake, LakeError
from mlops_assets.lake.snapshot import METADATA_KEY
from mlops_assets.lakefs_server import EmbeddedServer
from mlops_assets.lakefs_server.errors import DamagedStoreError
from mlops_assets.lakefs_server.retention import sweep

pytestmark = only_embedded("damages the files of its store")

Blob = Callable[[bytes], Path]


@pytest.fixture(params=[False, True], ids=["local", "pre-signed"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Lake, Blob]]:
    """A lake in a store of its own, and where that keeps bytes."""
    from hashlib import sha256

    def blob(data: bytes) -> Path:
        name = sha256(data).hexdigest()
        return tmp_path / "store" / "blobs" / name[:2] / name[2:]

    with EmbeddedServer(tmp_path / "store", pre_sign=request.param) as endpoint:
        yield open_lake(endpoint, tmp_path / "scratch", repository="tables"), blob


def parquet(tmp_path: Path) -> bytes:
    rows = pa.table({"tail": [f"N{n % 7}" for n in range(500)], "delay": list(range(500))})
    write_table(rows, tmp_path / "rows.parquet")
    return (tmp_path / "rows.parquet").read_bytes()


def test_no_flipped_bit_and_no_cut_of_a_table_is_read_as_rows(
    stored: tuple[Lake, Blob], tmp_path: Path
) -> None:
    lake, blob = stored
    data = parquet(tmp_path)
    publish(lake, "tx-a", {FIRST: {FILE: data}})
    pinned = lake.snapshot()
    for damage in damages(blob(data), flips=24, cuts=6):
        with duckdb.connect() as connection, pytest.raises(LakeError, match=FILE):
            create_view(connection, pinned, FIRST.table, schema="raw", name=damage)
        with pytest.raises(LakeError, match=FILE):
            pinned.read(FIRST, FILE)
    assert pinned.read(FIRST, FILE) == data


def test_bytes_that_change_after_they_were_read_are_refused(
    stored: tuple[Lake, Blob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops_assets.lake.copies._SETTLED_SECONDS", 0.0)
    lake, blob = stored
    publish(lake, "tx-a", {FIRST: {"a": b"what was published"}})
    [part] = lake.snapshot().stored(FIRST.table).values()
    [kept] = lake.snapshot().files([part])
    assert (kept == blob(b"what was published")) is not lake.pre_signed
    flip(blob(b"what was published"), random.Random(1))

    assert lake.snapshot().faults(part).keys() == {"a"}
    if lake.pre_signed:  # the copy is whole
        assert lake.snapshot().files([part]) == [kept]
    else:
        with pytest.raises(LakeError, match="its bytes are damaged"):
            lake.snapshot().files([part])


@pytest.mark.parametrize("size", [12, 2 << 20], ids=["small", "large"])
@pytest.mark.parametrize("damage", [flip, cut, lambda path, _: path.unlink()])
def test_writing_a_partition_again_repairs_its_bytes_and_keeps_its_name(
    stored: tuple[Lake, Blob], damage: Callable[[Path, random.Random], None], size: int
) -> None:
    lake, blob = stored
    data = random.Random(0).randbytes(size)
    first = publish(lake, "tx-a", {FIRST: {"a": data, "b": b"whole"}})
    for number in range(2):
        damage(blob(data), random.Random(number))
        [lost] = lake.snapshot().stored(FIRST.table).values()
        assert lake.snapshot().faults(lost).keys() == {"a"}

        again = publish(lake, f"tx-again-{number}", {FIRST: {"a": data, "b": b"whole"}})

        assert content(lake.snapshot())[str(FIRST.partition)] == {"a": data, "b": b"whole"}
        assert blob(data).read_bytes() == data
        [part] = again.partitions
        assert (part.commit, part.changed) == (first.commit, False)


def test_a_damaged_file_that_a_new_version_shares_is_put_again(stored: tuple[Lake, Blob]) -> None:
    lake, blob = stored
    publish(lake, "tx-a", {FIRST: {"a": b"shared by both", "b": b"old"}})
    flip(blob(b"shared by both"), random.Random(0))
    publish(lake, "tx-b", {FIRST: {"a": b"shared by both", "b": b"new"}})
    assert lake.snapshot().read(FIRST, "a") == b"shared by both"


def test_other_partitions_with_the_damaged_bytes_are_repaired_with_them(
    stored: tuple[Lake, Blob],
) -> None:
    lake, blob = stored
    publish(lake, "tx-a", {FIRST: {"a": b"of two days"}, SECOND: {"a": b"of two days"}})
    flip(blob(b"of two days"), random.Random(0))
    publish(lake, "tx-b", {FIRST: {"a": b"of two days"}})
    assert lake.snapshot().read(SECOND, "a") == b"of two days"


def test_a_file_that_the_lake_lost_is_put_again(stored: tuple[Lake, Blob]) -> None:
    lake, _ = stored
    publish(lake, "tx-a", {FIRST: {"a": b"1", "b": b"2"}})
    branch = lake.repo().branch("by-hand").create(lake.base_branch)
    branch.object(f"{FIRST.folder}a").delete()
    branch.commit("lose a file")
    branch.merge_into(lake.base_branch)
    publish(lake, "tx-b", {FIRST: {"a": b"1", "b": b"2"}})
    assert content(lake.snapshot()) == {str(FIRST.partition): {"a": b"1", "b": b"2"}}


def test_a_partition_whose_manifest_cannot_be_read_can_be_written_and_removed(
    stored: tuple[Lake, Blob],
) -> None:
    lake, _ = stored
    put(lake, FIRST.manifest_path, b"", {METADATA_KEY: "{"})
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    assert lake.snapshot().read(FIRST, "a") == b"1"
    put(lake, FIRST.manifest_path, b"", {METADATA_KEY: "{"})
    with lake.transaction("tx-b", [FIRST.table]) as transaction:
        transaction.remove([FIRST])
        transaction.publish("gone", {})
    assert content(lake.snapshot()) == {}


def test_a_damaged_copy_of_a_remote_file_is_fetched_again(stored: tuple[Lake, Blob]) -> None:
    lake, _ = stored
    publish(lake, "tx-a", {FIRST: {"a": b"from far away"}})
    if not lake.pre_signed:
        pytest.skip("nothing is copied from a server on this machine")
    parts = list(lake.snapshot().stored(FIRST.table).values())
    [copy] = lake.snapshot().files(parts)
    for damage in damages(copy, flips=8, cuts=4):
        assert lake.snapshot().files(parts) == [copy], damage
        assert copy.read_bytes() == b"from far away"
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_a_step_of_a_transaction_puts_again_what_is_lost_beside_what_it_changes(
    stored: tuple[Lake, Blob],
) -> None:
    lake, blob = stored
    publish(lake, "tx-a", {FIRST: {"a": b"stays the same"}, SECOND: {"a": b"will change"}})
    blob(b"stays the same").unlink()
    with lake.transaction("tx-b", [FIRST.table]) as transaction:
        stage(transaction, {FIRST: {"a": b"stays the same"}, SECOND: {"a": b"has changed"}})
        found = transaction.publish("two days", {})
    assert [part.changed for part in found.partitions] == [False, True]
    assert content(lake.snapshot()) == {
        str(FIRST.partition): {"a": b"stays the same"},
        str(SECOND.partition): {"a": b"has changed"},
    }


@pytest.mark.parametrize(
    ("table", "column", "sentence"),
    [
        ("nodes", "body", "damaged node"),
        ("commits", "message", "is damaged"),
        ("commits", "tree", "is damaged"),
        ("commits", "parents", "is damaged"),
        ("commits", "metadata", "is damaged"),
    ],
)
def test_a_flipped_bit_of_a_tree_or_a_commit_is_refused_by_the_server(
    tmp_path: Path, table: str, column: str, sentence: str
) -> None:
    store = tmp_path / "store"
    with EmbeddedServer(store) as endpoint:
        lake = open_lake(endpoint, tmp_path / "scratch")
        publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    with sqlite3.connect(store / "metadata.sqlite") as database:
        database.create_function("flipped", 1, flipped)
        database.execute(f"UPDATE {table} SET {column} = flipped({column})")
    with EmbeddedServer(store) as endpoint, pytest.raises(LakeError, match=sentence):
        open_lake(endpoint, tmp_path / "scratch").snapshot().read(FIRST, "a")


def flipped(value: bytes | str) -> bytes | str:
    content = bytearray(value if isinstance(value, bytes) else value.encode())
    if not content:  # the first commit's tree
        return value
    content[len(content) // 2] ^= 1
    return bytes(content) if isinstance(value, bytes) else content.decode()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE commits SET parents = flipped(parents) WHERE generation > 1",
        "UPDATE branches SET head = flipped(head)",
        "UPDATE nodes SET body = flipped(body)",
        "DELETE FROM commits WHERE generation = 2",
    ],
)
def test_by_a_damaged_store_nothing_is_freed(tmp_path: Path, damage: str) -> None:
    store = tmp_path / "store"
    with EmbeddedServer(store) as endpoint:
        publish(open_lake(endpoint, tmp_path / "scratch"), "tx-a", {FIRST: {"a": b"1"}})
    kept = sorted(store.glob("blobs/*/*"))
    with sqlite3.connect(store / "metadata.sqlite") as database:
        database.create_function("flipped", 1, flipped)
        database.execute(damage)
    time.sleep(0.2)
    with pytest.raises(DamagedStoreError, match="restore its folder from a backup"):
        sweep(store, [], young=0.1)
    assert sorted(store.glob("blobs/*/*")) == kept
