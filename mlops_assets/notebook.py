"""Reading any asset as it was: for notebooks and scripts.

    from mlops_assets import notebook

    then = notebook.at("flight_delay.JFK@champion")
    flights = then.read("marts/fct_flights", "2013-06-01..2013-06-30")

Nothing read here can change under the reader: a name is resolved once, to a commit. Where an MLflow
run is active, it notes that commit and the digest of what was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.engines.schemas import SchemaError, require_one_schema
from mlops_assets.lake import (
    LakeError,
    MissingPartitionError,
    Partition,
    Snapshot,
    StoredPartition,
    UnreachableLakeError,
)
from mlops_assets.settings import settings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mlops_assets.lake import Lake

SHORT = 12
SPAN = ".."


def at(name: str | None = None) -> Past:
    """Everything as it was at a commit, or at what a name stands for.

    Args:
        name: A commit or the beginning of one, a branch, a tag or an expression (`main~3`); or a
            result as `mlops-assets lineage` takes it (`flight_delay.JFK@champion`,
            `marts/fct_flights:2013-06-14`), which stands for the commit that made it. The base
            branch's head if None.

    Raises:
        RequestError: Nothing has that name.
        LakeError: The lake does not answer or refuses.
    """
    from mlops_assets.defs.resources import find_lake

    lake = find_lake(settings())
    return Past(lake.snapshot(_commit(lake, name)))


def _commit(lake: Lake, name: str | None) -> str:
    try:
        return lake.head(name)
    except UnreachableLakeError:
        raise
    except LakeError:
        if name is None:
            raise
    # Loading what is declared takes seconds, and only results are named by it.
    from mlops_assets.cli.names import open_names
    from mlops_assets.definitions import defs

    return open_names(settings(), defs().resolve_asset_graph()).find(name).commit


@dataclass(frozen=True)
class Past:
    """The tables of the lake at one commit.

    Attributes:
        snapshot: The pin.
    """

    snapshot: Snapshot

    @property
    def commit(self) -> str:
        """The commit's id."""
        return self.snapshot.commit

    def tables(self) -> list[str]:
        """The names of all tables, which are the keys of their assets."""
        return self.snapshot.tables()

    def partitions(self, table: str) -> list[str]:
        """The keys of a table's partitions, as Dagster shows them; none where it has none."""
        return [_key(partition) for partition in self.snapshot.stored(table) if partition.path]

    def read(self, table: str, partitions: str | Iterable[str] | None = None) -> pd.DataFrame:
        """The rows of a table.

        Args:
            table: Its name, the key of its asset: `marts/fct_flights`.
            partitions: A partition's key (`2013-06-14`, `2013-12|JFK`), a span of them with both
                ends (`2013-06-01..2013-06-30`), or several keys; all if None.

        Raises:
            MissingPartitionError: A partition does not exist at this commit.
            LakeError: The table's files hold no rows (a model, a report): see `files`.
        """
        rows: pd.DataFrame = self.arrow(table, partitions).to_pandas()
        return rows

    def arrow(self, table: str, partitions: str | Iterable[str] | None = None) -> pa.Table:
        """The rows of a table as Arrow has them; as `read` otherwise.

        A column that is declared as younger than a partition is null there.

        Raises:
            SchemaError: The partitions' schemas differ otherwise than declared.
        """
        import pyarrow.parquet as pq
        from pyarrow import concat_tables

        stored = self._stored(table, partitions)
        files = self.snapshot.files(stored)
        if any(part.manifest.rows is None for part in stored):
            raise LakeError(f"{table} holds files, not rows: use `files` for what it consists of.")
        try:
            require_one_schema(stored, {})
        except SchemaError:
            # Loading what is declared takes seconds, and only partitions that differ need it.
            from mlops_assets.components.younger import since_of
            from mlops_assets.definitions import defs

            require_one_schema(stored, since_of(defs().resolve_asset_graph(), table))
        # Each file by itself: told to look for partitions in paths, Arrow takes those of the
        # store for columns.
        read = [pq.ParquetFile(file).read() for file in files]
        self._note(stored)
        return concat_tables(read, promote_options="permissive")

    def files(self, table: str, partition: str | None = None) -> dict[str, Path]:
        """The files of one partition by name, to be read and never written: models, reports.

        Args:
            table: The table's name.
            partition: The partition's key; None for a table without partitions.

        Raises:
            MissingPartitionError: The partition does not exist at this commit.
        """
        [stored] = self._stored(table, partition)
        self._note([stored])
        names = [file.name for file in stored.manifest.files]
        return dict(zip(names, self.snapshot.files([stored]), strict=True))

    def _stored(
        self, table: str, partitions: str | Iterable[str] | None
    ) -> Sequence[StoredPartition]:
        held = {_key(part): stored for part, stored in self.snapshot.require(table).items()}
        if partitions is None:
            return list(held.values())
        wanted = [partitions] if isinstance(partitions, str) else list(partitions)
        found: dict[str, StoredPartition] = {}
        for key in wanted:
            first, span, last = key.partition(SPAN)
            chosen = {
                name: part
                for name, part in held.items()
                if (first <= name <= last if span else name == key)
            }
            if not chosen or (span and {first, last} - chosen.keys()):
                near = ", ".join([*list(held)[:1], *list(held)[1:][-1:]])
                raise MissingPartitionError(
                    f"{table} has no partition {key!r} at commit {self.commit[:SHORT]}: it has "
                    f"{len(held)}, from and to {near}."
                )
            found |= chosen
        return list(found.values())

    def _note(self, stored: Sequence[StoredPartition]) -> None:
        from mlops_assets.tracking.reads import note_read

        note_read(self.snapshot, stored)

    def __repr__(self) -> str:
        return f"Past(commit={self.commit!r})"


def _key(partition: Partition) -> str:
    """A partition's key as Dagster shows it."""
    return "|".join(value for _, value in partition.values)
