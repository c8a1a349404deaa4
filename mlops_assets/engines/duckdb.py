"""DuckDB over pinned tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.engines.schemas import SchemaError, Since, last_written, require_one_schema
from mlops_assets.lake import Manifest, Partition, Snapshot, StoredPartition
from mlops_assets.lake.manifest import File

if TYPE_CHECKING:
    import duckdb


PATTERN = re.compile(r"[*?[]")

FROM_HOME = (
    "autoinstall_known_extensions",
    "autoload_known_extensions",
    "allow_persistent_secrets",
)
"""The settings by which DuckDB takes code and secrets from the home of whoever runs it."""


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


def connect(database: Path | str = ":memory:") -> duckdb.DuckDBPyConnection:
    """Open a database whose answers depend on what is in it alone.

    DuckDB takes the time zone of the machine, so that an instant compared with a moment without
    zone gave a training set of 37 rows where one in UTC gave 48; and it would install a function
    that it lacks, of whichever version, into the home of whoever runs it.

    Args:
        database: Its file; one in memory by default.
    """
    import duckdb

    connection = duckdb.connect(database, config=dict.fromkeys(FROM_HOME, False))
    connection.execute("set TimeZone = 'UTC'; set Calendar = 'gregorian'")
    return connection


def create_view(  # noqa: PLR0913 - what is shown, from where, as what
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    table: str,
    partitions: Iterable[Partition] | None = None,
    *,
    schema: str,
    name: str,
    required: Iterable[Partition] | None = None,
    since: Since | None = None,
    needed: Collection[str] = (),
) -> None:
    """Show pinned partitions of a table as the view `schema.name`.

    A column that is declared as younger than a partition reads as null where the partition lacks
    it.

    Args:
        connection: Where the view is made; the schema too, where it is missing.
        snapshot: The pin to read from.
        table: The table's name in the lake.
        partitions: The partitions that the view shows; all if None.
        schema: The schema of the view.
        name: Its name.
        required: Those of them that must exist, where not all must.
        since: By column the first day on which it exists, where some partitions are older.
        needed: Columns that the view has to have.

    Raises:
        MissingPartitionError: A partition that must exist does not at the pin.
        SchemaError: The partitions' schemas differ otherwise than declared.
    """
    rows, since = "", since or {}
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
        stored = [last_written(snapshot.require(table).values())]
    younger = _younger(snapshot, table, stored, since)
    lacking = [name for name in needed if name.lower() not in map(str.lower, younger)]
    # Reading every file's footer for its columns costs 0.1 s for a year of files, and the
    # manifests know whether it is needed.
    one_schema = require_one_schema(stored, since, needed=lacking)
    paths = ", ".join(file_of(path) for path in snapshot.files(stored))
    nulls = "".join(
        f" union all by name select {quote(column)} from read_parquet({file_of(path)}) where false"  # noqa: S608  # all quoted
        for column, path in younger.items()
    )
    connection.execute(f"create schema if not exists {quote(schema)}")
    connection.execute(
        f"create or replace view {quote(schema)}.{quote(name)} as "
        f"from read_parquet([{paths}], union_by_name = {not one_schema}, "
        f"hive_partitioning = false){rows}{nulls}"
    )


def _younger(
    snapshot: Snapshot, table: str, stored: Sequence[StoredPartition], since: Since
) -> dict[str, Path]:
    """The declared columns that no partition of some has, each with a file that says its type."""
    held = {name.lower() for part in stored for name in part.manifest.schema}
    wanted = [name for name in since if name.lower() not in held]
    if not wanted:
        return {}
    # Their types alone are looked at: no reading of the partitions' content.
    snapshot = snapshot.unseen()
    having: dict[str, list[StoredPartition]] = {}
    for part in snapshot.stored(table).values():
        for name in part.manifest.schema:
            having.setdefault(name.lower(), []).append(part)
    return {
        name: snapshot.files([last_written(having[name.lower()])])[0]
        for name in wanted
        if name.lower() in having
    }


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
        files, rows, schema = list[File](), 0, dict[str, str]()
        for path in sorted(folder.iterdir()):
            metadata = pq.read_metadata(path)
            rows += metadata.num_rows
            found = {field.name: str(field.type) for field in metadata.schema.to_arrow_schema()}
            if files and found != schema:
                raise SchemaError(
                    f"{path.name} in {folder.name} has other columns or types than "
                    f"{files[-1].name}: write all files of a partition with one schema."
                )
            schema = found
            files.append(File.of(path.name, path))
        manifests[folder] = Manifest(files=tuple(files), rows=rows, schema=schema)
    return manifests
