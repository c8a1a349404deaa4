"""DuckDB over pinned tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.lake import Manifest, Partition, Snapshot
from mlops_assets.lake.manifest import File

if TYPE_CHECKING:
    import duckdb


PATTERN = re.compile(r"[*?[]")


def quote(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """A text as a SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def file_of(path: str | Path) -> str:
    """A path as a SQL string that DuckDB's readers take for this one file.

    They read a path with one of these characters as a pattern, and so its neighbours' files too.
    """
    return literal(PATTERN.sub(r"[\g<0>]", str(path)))


def create_view(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    table: str,
    partitions: Iterable[Partition] | None = None,
    *,
    schema: str,
    name: str,
    required: Iterable[Partition] | None = None,
) -> None:
    """Show pinned partitions of a table as the view `schema.name`.

    A column that was added to the table later reads as null in the partitions that lack it.

    Args:
        connection: Where the view is made; the schema too, where it is missing.
        snapshot: The pin to read from.
        table: The table's name in the lake.
        partitions: The partitions that the view shows; all if None.
        schema: The schema of the view.
        name: Its name.
        required: Those of them that must exist, where not all must.

    Raises:
        MissingPartitionError: A partition that must exist does not at the pin.
    """
    rows = ""
    if required is None:
        stored = list(snapshot.require(table, partitions).values())
    else:
        found = snapshot.stored(table, partitions)
        missing = [partition for partition in required if partition not in found]
        if missing:
            snapshot.require(table, missing)
        stored = list(found.values())
    if not stored:
        # No row, and the columns of any partition: a look that is no reading of its content.
        snapshot, rows = snapshot.unseen(), " where false"
        stored = list(snapshot.require(table).values())[-1:]
    # Reading every file's footer for its columns costs 0.1 s for a year of files, and the
    # manifests know whether it is needed.
    one_schema = len({tuple(part.manifest.schema.items()) for part in stored}) == 1
    paths = ", ".join(file_of(path) for path in snapshot.files(stored))
    connection.execute(f"create schema if not exists {quote(schema)}")
    connection.execute(
        f"create or replace view {quote(schema)}.{quote(name)} as "
        f"from read_parquet([{paths}], union_by_name = {not one_schema}, "
        f"hive_partitioning = false){rows}"
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
