"""What a step read, as its commit records it: which partitions, in which version.

Small and the same for the same inputs: a year of a table is one digest, which its partitions at the
commit's pin can be held against.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.lake.partition import Partition, TablePartition, by_table

if TYPE_CHECKING:
    from mlops_assets.lake.snapshot import Snapshot

PREFIX = "inputs/"
"""What the names of these records start with in a commit's metadata; the partition follows."""

FEW = 32
"""Up to this many partitions of a table are recorded one by one."""


class Version(NamedTuple):
    """A partition in one version.

    Attributes:
        key: Its table and partition.
        data_version: The digest of what it consisted of.
    """

    key: TablePartition
    data_version: str


@dataclass(frozen=True)
class Input:
    """What was read of one table.

    Attributes:
        table: The table.
        partitions: How many of its partitions.
        first: The path of the first of them.
        last: The path of the last.
        digest: Digest of the paths and data versions of all.
        versions: All of them where they are few, else none.
    """

    table: str
    partitions: int
    first: str
    last: str
    digest: str
    versions: tuple[Version, ...] = ()

    @classmethod
    def of(cls, versions: Iterable[Version]) -> Input:
        """Describe versions of the partitions of one table."""
        found = sorted(versions)
        pairs = [[version.key.partition.path, version.data_version] for version in found]
        return cls(
            table=found[0].key.table,
            partitions=len(found),
            first=pairs[0][0],
            last=pairs[-1][0],
            digest=hashlib.sha256(json.dumps(pairs).encode()).hexdigest(),
            versions=tuple(found) if len(found) <= FEW else (),
        )

    def found_at(self, snapshot: Snapshot) -> list[Version] | None:
        """The partitions that were read, where they were too many to be recorded one by one.

        Args:
            snapshot: The pin of the step that read them.

        Returns:
            Them; None if what the pin holds between the first and the last has another digest.
        """
        if self.versions:
            return list(self.versions)
        first, last = Partition.from_path(self.first), Partition.from_path(self.last)
        between = [
            Version(part.key, part.manifest.data_version)
            for partition, part in snapshot.stored(self.table).items()
            if first <= partition <= last
        ]
        return between if between and Input.of(between).digest == self.digest else None


def to_json(versions: Iterable[Version]) -> str:
    """Record what was read for one result; the same versions give the same text."""
    by_key: dict[TablePartition, set[Version]] = {}
    for version in versions:
        by_key.setdefault(version.key, set()).add(version)
    recorded: dict[str, list[Any]] = {}
    for table, keys in by_table(by_key):
        found = Input.of(version for key in keys for version in by_key[key])
        recorded[table] = [found.partitions, found.first, found.last, found.digest]
        if found.versions:
            recorded[table] = [[key.partition.path, version] for key, version in found.versions]
    return json.dumps(recorded, separators=(",", ":"))


def from_json(text: str) -> list[Input]:
    """Read back what was read, by table."""
    recorded: Mapping[str, list[Any]] = json.loads(text)
    return [_input(table, entry) for table, entry in recorded.items()]


def _input(table: str, entry: list[Any]) -> Input:
    if isinstance(entry[0], int):
        return Input(table, *entry)
    return Input.of(
        Version(TablePartition(table, Partition.from_path(path)), version)
        for path, version in entry
    )
