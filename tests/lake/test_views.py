"""Engines see pinned partitions as views."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_tables import FIRST, SECOND, THIRD

from mlops_assets.engines.duckdb import create_view, describe_tables
from mlops_assets.lake import Lake, MissingPartitionError, TablePartition


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


def test_a_column_added_later_is_null_in_older_partitions(lake: Lake) -> None:
    publish_rows(lake, "tx-a", {FIRST: pa.table({"n": [1]})})
    publish_rows(lake, "tx-b", {SECOND: pa.table({"added": ["x"], "n": [2]})})
    with duckdb.connect() as connection:
        create_view(connection, lake.snapshot(), "raw/flights", schema="raw", name="flights")
        rows = connection.execute("select n, added from raw.flights order by n").fetchall()
    assert rows == [(1, None), (2, "x")]


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
