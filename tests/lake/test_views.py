"""Engines see pinned partitions as views."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_tables import FIRST, SECOND, THIRD, day

from mlops_assets.engines.duckdb import create_view, describe_tables
from mlops_assets.engines.schemas import SchemaError, require_one_schema
from mlops_assets.lake import Lake, MissingPartitionError, StoredPartition, TablePartition
from mlops_assets.notebook import Past

StoredAs = Callable[..., StoredPartition]


@pytest.fixture
def stored_as(tmp_path: Path) -> StoredAs:
    """Makes a partition of a table's rows as a pin would hold it."""

    def make(key: TablePartition, table: pa.Table, written: int = 0) -> StoredPartition:
        folder = tmp_path / key.folder
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "part-0.parquet")
        return StoredPartition(key, describe_tables([folder])[folder], {}, written)

    return make


def publish_rows(lake: Lake, branch: str, tables: dict[TablePartition, pa.Table]) -> None:
    with lake.transaction(branch, ["raw/flights"]) as transaction:
        folders: dict[Path, TablePartition] = {}
        for key, table in tables.items():
            folder = transaction.scratch / key.folder
            folder.mkdir(parents=True)
            pq.write_table(table, folder / "part-0.parquet")
            folders[folder] = key
        transaction.write(
            {folders[folder]: (found, folder) for folder, found in describe_tables(folders).items()}
        )
        transaction.publish("rows", {})


def rows_of(lake: Lake, *days: TablePartition, **declared: Any) -> list[tuple[Any, ...]]:
    """The table as the engine shows it, its columns in the order of their names."""
    with duckdb.connect() as connection:
        partitions = [day.partition for day in days] or None
        create_view(
            connection,
            lake.snapshot(),
            "raw/flights",
            partitions,
            schema="raw",
            name="flights",
            **declared,
        )
        view = connection.sql("from raw.flights")
        return view.project(", ".join(sorted(view.columns))).order("all").fetchall()


def test_a_column_is_null_in_partitions_that_are_declared_as_older(lake: Lake) -> None:
    publish_rows(lake, "tx-a", {FIRST: pa.table({"n": [1]})})
    publish_rows(lake, "tx-b", {SECOND: pa.table({"added": ["x"], "n": [2]})})
    declared = {"added": "2013-01-02"}
    assert rows_of(lake, since=declared) == [("x", 2), (None, 1)]
    assert rows_of(lake, FIRST, since=declared, needed=["added"]) == [(None, 1)]


def test_a_younger_column_keeps_its_type_where_no_partition_that_is_shown_has_it(
    lake: Lake,
) -> None:
    publish_rows(
        lake, "tx-a", {FIRST: pa.table({"n": [1]}), SECOND: pa.table({"n": [2], "at": [b"x"]})}
    )
    with duckdb.connect() as connection:
        create_view(
            connection,
            lake.snapshot(),
            "raw/flights",
            [FIRST.partition],
            schema="raw",
            name="flights",
            since={"at": "2013-01-02"},
        )
        found = connection.sql("from raw.flights")
        assert [str(kind) for kind in found.types] == ["BIGINT", "BLOB"]


ONE = pa.table({"n": pa.array([1], pa.int32())})
OTHERS = {
    "a column is missing": pa.table({"m": ["x"]}),
    "a column is new": ONE.append_column("m", pa.array(["x"])),
    "another type": pa.table({"n": ["1"]}),
    "a wider number": pa.table({"n": [1]}),
    "a number that is a truth value": pa.table({"n": [True]}),
    "no row": pa.table({"n": pa.array([], pa.string())}),
    "another case": pa.table({"N": pa.array([1], pa.int32())}),
}
PAIRS = {
    "time zone": (pa.timestamp("us"), pa.timestamp("us", "UTC")),
    "unit": (pa.timestamp("us"), pa.timestamp("ns")),
    "scale": (pa.decimal128(9, 2), pa.decimal128(9, 3)),
    "nested": (pa.struct({"a": pa.int32()}), pa.struct({"a": pa.int32(), "b": pa.int32()})),
    "list": (pa.list_(pa.int32()), pa.list_(pa.string())),
}
DIFFERING = {
    **{name: (ONE, other) for name, other in OTHERS.items()},
    **{
        name: tuple(pa.table({"n": pa.array([None], kind)}) for kind in pair)
        for name, pair in PAIRS.items()
    },
}


@pytest.mark.parametrize("tables", DIFFERING.values(), ids=DIFFERING)
def test_partitions_whose_schemas_differ_otherwise_are_not_read_together(
    stored_as: StoredAs, tables: tuple[pa.Table, pa.Table]
) -> None:
    old, new = tables
    parts = [stored_as(FIRST, old), stored_as(SECOND, old), stored_as(THIRD, new, written=1)]
    for since in ({}, {"n": "2013-01-01", "m": "2013-01-01"}):
        with pytest.raises(SchemaError) as refusal:
            require_one_schema(parts, since)
        assert "raw/flights" in str(refusal.value)
        assert "2013-01-01..2013-01-02 (2 partitions)" in str(refusal.value)
        command = "`mlops-assets backfill raw/flights --partitions 2013-01-01..2013-01-02`"
        assert command in str(refusal.value)


SAME = [
    (pa.string(), pa.large_string()),
    (pa.string(), pa.string_view()),
    (pa.string(), pa.dictionary(pa.int32(), pa.string())),
    (pa.binary(), pa.large_binary()),
    (pa.timestamp("us"), pa.timestamp("ms")),
    (pa.timestamp("us", "UTC"), pa.timestamp("us", "America/New_York")),
    (pa.date32(), pa.date64()),
    (pa.time64("us"), pa.time32("ms")),
    (pa.decimal128(9, 2), pa.decimal256(9, 2)),
    (pa.list_(pa.int32()), pa.large_list(pa.field("item", pa.int32(), nullable=False))),
]


@pytest.mark.parametrize("pair", SAME, ids=str)
def test_how_a_writer_held_a_column_in_memory_is_no_difference(
    stored_as: StoredAs, pair: tuple[pa.DataType, pa.DataType]
) -> None:
    old, new = (pa.table({"n": pa.array([], kind)}) for kind in pair)
    require_one_schema([stored_as(FIRST, old), stored_as(SECOND, new, written=1)], {})


def test_what_was_written_last_is_what_others_are_rebuilt_to(stored_as: StoredAs) -> None:
    parts = [
        stored_as(FIRST, pa.table({"n": [1]}), written=5),
        stored_as(SECOND, pa.table({"n": ["1"]})),
        stored_as(THIRD, pa.table({"n": ["1"]})),
    ]
    with pytest.raises(
        SchemaError, match=r"as string in 2013-01-02\.\.2013-01-03 \(2 partitions\)"
    ):
        require_one_schema(parts, {})


def test_a_column_may_be_missing_only_before_its_first_day(stored_as: StoredAs) -> None:
    parts = [
        stored_as(FIRST, pa.table({"n": [1]})),
        stored_as(SECOND, pa.table({"n": [1]})),
        stored_as(THIRD, pa.table({"n": [1], "m": [1]})),
    ]
    require_one_schema(parts, {"M": "2013-01-03"})
    with pytest.raises(SchemaError, match=r"lacks the column m in 2013-01-02 \(1 partition\)"):
        require_one_schema(parts, {"m": "2013-01-02"})


def test_a_column_that_is_read_and_that_no_day_has_is_refused(stored_as: StoredAs) -> None:
    parts = [stored_as(FIRST, pa.table({"n": [1]})), stored_as(SECOND, pa.table({"n": [1]}))]
    with pytest.raises(SchemaError, match=r"lacks the column m in 2013-01-01\.\.2013-01-02"):
        require_one_schema(parts, {}, needed=["N", "m"])


def test_the_order_of_columns_does_not_matter(lake: Lake) -> None:
    publish_rows(lake, "tx-a", {FIRST: pa.table({"n": [1], "who": ["a"]})})
    publish_rows(lake, "tx-b", {SECOND: pa.table({"who": ["b"], "n": [2]})})
    assert rows_of(lake) == [(1, "a"), (2, "b")]


def test_a_refused_view_names_the_days_of_the_lake(lake: Lake) -> None:
    publish_rows(lake, "tx-a", {FIRST: pa.table({"n": [1]}), SECOND: pa.table({"n": [2]})})
    publish_rows(lake, "tx-b", {THIRD: pa.table({"n": ["3"]})})
    with pytest.raises(SchemaError, match=r"n as int64 in 2013-01-01\.\.2013-01-02 .*as string"):
        rows_of(lake)
    assert rows_of(lake, FIRST, SECOND) == [(1,), (2,)]


def test_a_notebook_reads_what_is_declared_and_refuses_the_rest(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_rows(lake, "tx-a", {FIRST: pa.table({"n": [1]})})
    publish_rows(lake, "tx-b", {SECOND: pa.table({"added": ["x"], "n": [2]})})
    spec = dg.AssetSpec(["raw", "flights"], metadata={"since": {"added": "2013-01-02"}})
    past = Past(lake.snapshot())
    for specs, refused in (([spec], False), ([], True)):
        monkeypatch.setattr(
            "mlops_assets.definitions.defs", lambda specs=specs: dg.Definitions(specs)
        )
        if refused:
            with pytest.raises(SchemaError, match="lacks the column added"):
                past.arrow("raw/flights")
        else:
            assert past.arrow("raw/flights")["added"].to_pylist() == [None, "x"]
    assert past.arrow("raw/flights", "2013-01-01").column_names == ["n"]


def test_a_quarantine_is_rebuilt_with_its_raw_table(stored_as: StoredAs) -> None:
    parts = [
        stored_as(day(date, "raw/flights_quarantine"), pa.table({"n": values}))
        for date, values in (("2013-01-01", [1]), ("2013-01-02", ["1"]))
    ]
    with pytest.raises(SchemaError, match="`mlops-assets backfill raw/flights --partitions 2013-"):
        require_one_schema(parts, {})


def test_files_of_one_partition_have_one_schema(tmp_path: Path) -> None:
    for name, values in (("part-0.parquet", [1]), ("part-1.parquet", ["1"])):
        pq.write_table(pa.table({"n": values}), tmp_path / name)
    with pytest.raises(SchemaError, match=r"part-1\.parquet .*other columns or types"):
        describe_tables([tmp_path])


def test_a_view_shows_the_partitions_asked_for_and_needs_them_all(lake: Lake) -> None:
    publish_rows(lake, "tx-a", {FIRST: pa.table({"n": [1]}), SECOND: pa.table({"n": [2, 3]})})
    snapshot = lake.snapshot()
    with duckdb.connect() as connection:
        create_view(
            connection, snapshot, "raw/flights", [SECOND.partition], schema="raw", name="flights"
        )
        assert connection.execute("from raw.flights").fetchall() == [(2,), (3,)]
        with pytest.raises(MissingPartitionError, match="day=2013-01-03"):
            create_view(
                connection,
                snapshot,
                "raw/flights",
                [SECOND.partition, THIRD.partition],
                schema="raw",
                name="flights",
            )


def test_a_manifest_says_rows_and_columns_of_its_table(lake: Lake) -> None:
    publish_rows(lake, "tx-a", {FIRST: pa.table({"n": [1, 2], "who": ["a", "b"]})})
    [part] = lake.snapshot().stored("raw/flights").values()
    assert part.manifest.rows == 2
    assert part.manifest.schema == {"n": "int64", "who": "string"}
