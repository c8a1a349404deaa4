"""Where a table's partition lies in the repository.

A table is named by its asset key (`raw/flights`) and a partition by the value of each of its
dimensions in order (`day=2013-06-14`, or `month=2013-12/origin=JFK`). A table without
partitions has one, the empty one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlops_assets.lake.errors import LakeError

MANIFEST_NAME = "_manifest.json"

# Both become path segments in the lake, and paths on disk when a step stages its files: what is
# allowed here cannot climb out of either.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")


@dataclass(frozen=True, order=True)
class Partition:
    """One partition of a table: its dimensions and their values, in order.

    Attributes:
        values: Pairs of dimension and value; empty for a table without partitions.
    """

    values: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in (part for pair in self.values for part in pair):
            if not NAME.match(name):
                raise LakeError(
                    f"{name!r} cannot name a partition: use letters, digits, '_', '.' and '-'."
                )

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Partition:
        """Make a partition from a mapping of dimension to value, in the mapping's order."""
        return cls(tuple(values.items()))

    @property
    def path(self) -> str:
        """The partition's folder below its table, `''` for a table without partitions."""
        return "/".join(f"{name}={value}" for name, value in self.values)

    @classmethod
    def from_path(cls, path: str) -> Partition:
        """Read a partition back from its folder's path; the inverse of `path`."""
        if not path:
            return cls()
        pairs = [segment.partition("=") for segment in path.split("/")]
        return cls(tuple((name, value) for name, _, value in pairs))

    def __str__(self) -> str:
        return self.path or "(whole table)"


@dataclass(frozen=True, order=True)
class TablePartition:
    """A partition of a certain table.

    Attributes:
        table: The table's name, its asset key joined by `/`.
        partition: The partition in it.
    """

    table: str
    partition: Partition = Partition()

    def __post_init__(self) -> None:
        for segment in self.table.split("/"):
            if not NAME.match(segment) or segment == MANIFEST_NAME:
                raise LakeError(
                    f"{self.table!r} cannot name a table: use letters, digits, '_', '.' and '-' "
                    "in segments parted by '/'."
                )

    @property
    def folder(self) -> str:
        """The folder of the partition's files, with a closing `/`."""
        return f"{self.table}/{self.partition.path}/" if self.partition.path else f"{self.table}/"

    @property
    def manifest_path(self) -> str:
        """The one object that every writer of this partition writes, so that two conflict."""
        return f"{self.folder}{MANIFEST_NAME}"

    @classmethod
    def from_folder(cls, folder: str) -> TablePartition:
        """The partition whose files lie in a folder of the lake, named without a closing `/`."""
        segments = folder.split("/")
        at = next((place for place, part in enumerate(segments) if "=" in part), len(segments))
        return cls("/".join(segments[:at]), Partition.from_path("/".join(segments[at:])))

    def __str__(self) -> str:
        return f"{self.table} {self.partition}" if self.partition.path else self.table


def by_table(keys: Iterable[TablePartition]) -> Iterator[tuple[str, list[TablePartition]]]:
    """Partitions by their table, in order."""
    tables: dict[str, list[TablePartition]] = {}
    for key in sorted(keys):
        tables.setdefault(key.table, []).append(key)
    yield from tables.items()
