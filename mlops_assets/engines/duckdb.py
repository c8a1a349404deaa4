"""DuckDB over pinned tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.lake import Manifest, Partition, Snapshot
from mlops_assets.lake.manifest import File

if TYPE_CHECKING:
    import duckdb


def quote(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """A text as a SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def create_view(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    table: str,
    partitions: Iterable[Partition] | None = None,
    *,
    schema: str,
    name: str,
) -> None:
    """Show pinned partitions of a table as the view `schema.name`.

    A column that was added to the table later reads as null in the partitions that lack it.

    Args:
        connection: Where the view is made; the schema too, where it is missing.
        snapshot: The pin to read from.
        table: The table's name in the lake.
        partitions: The partitions that the view shows, each of which must exist; all if None.
        schema: The schema of the view.
        name: Its name.

    Raises:
        MissingPartitionError: A partition does not exist at the pin.
    """
    stored = list(snapshot.require(table, partitions).values())
    # Reading every file's footer for its columns costs 0.1 s for a year of files, and the
    # manifests know whether it is needed.
    one_schema = len({tuple(part.manifest.schema.items()) for part in stored}) == 1
    paths = ", ".join(literal(path) for path in snapshot.files(stored))
    connection.execute(f"create schema if not exists {quote(schema)}")
    connection.execute(
        f"create or replace view {quote(schema)}.{quote(name)} as "
        f"from read_parquet([{paths}], union_by_name = {not one_schema}, "
        "hive_partitioning = false)"
    )


def columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """The columns of every view, by the name `schema/view`."""
    found = connection.execute(
        "select schema_name || '/' || table_name, list(column_name order by column_index) "
        "from duckdb_columns() where not internal group by all"
    )
    return dict(found.fetchall())


def describe_tables(folders: Iterable[Path]) -> dict[Path, Manifest]:
    """Describe folders that hold Parquet files, each the whole content of one partition.

    Returns:
        The manifest of each folder, with its number of rows and its columns' types.
    """
    import pyarrow.parquet as pq

    manifests = {}
    for folder in folders:
        files, rows, schema = [], 0, {}
        for path in sorted(folder.iterdir()):
            metadata = pq.read_metadata(path)
            rows += metadata.num_rows
            schema = {field.name: str(field.type) for field in metadata.schema.to_arrow_schema()}
            files.append(File.of(path.name, path))
        manifests[folder] = Manifest(files=tuple(files), rows=rows, schema=schema)
    return manifests
