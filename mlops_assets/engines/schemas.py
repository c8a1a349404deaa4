"""Whether partitions that are read together have one schema.

An engine joins files by the names of their columns: a column that some files lack reads as null,
and one of two types is widened, so that a number turns into a text and a model's number into a
category. Null is right for a column that is declared as younger than the partition, and for no
other. Manifests hold the schemas, so that the comparison reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from mlops_assets.lake import LakeError, StoredPartition

Since = Mapping[str, str]
"""By column the first day (`2013-06-01`) on which it exists."""

QUARANTINE = "_quarantine"
"""What ends the name of the table of a raw table's bad rows, which the same step makes."""

# How Arrow holds a column in memory, which a writer may note beside it, is no part of its type.
_HELD = (
    (re.compile(r"\blarge_(?=string|binary|list)|(?<=string|binary)_view\b| not null"), ""),
    (re.compile(r"dictionary<values=([^,<>]+), [^>]*>"), r"\1"),
    (re.compile(r"<item:"), "<element:"),
    (re.compile(r"decimal\d+\("), "decimal("),
    (re.compile(r"timestamp\[ms"), "timestamp[us"),
    (re.compile(r"time32\[ms\]"), "time64[us]"),
    (re.compile(r"tz=[^]]+"), "tz=UTC"),
)
_DATED = re.compile(r"\d{4}-\d\d")
_SHOWN = 3


class SchemaError(LakeError):
    """Partitions that are read together have different schemas."""


def require_one_schema(
    stored: Sequence[StoredPartition],
    since: Since,
    *,
    columns: Collection[str] | None = None,
    needed: Collection[str] = (),
) -> bool:
    """Refuse partitions of one table whose schemas differ otherwise than declared.

    The order of columns does not matter. What the partition says that was written last is taken
    for what today's code writes.

    Args:
        stored: The partitions that are read together.
        since: The columns that are younger than some partitions.
        columns: The columns that are read, as SQL reads names; all if None.
        needed: Columns that a partition has to have, unless it is older.

    Returns:
        Whether all schemas are equal, to the order of the columns.

    Raises:
        SchemaError: They differ; the sentence names the table, the column and the partitions, and
            the command that rebuilds them.
    """
    schemas = {tuple(part.manifest.schema.items()) for part in stored}
    present = list(dict.fromkeys(name for schema in schemas for name, _ in schema))
    written = {name.lower() for name in present}
    absent = [name for name in needed if name.lower() not in written]
    if len(schemas) < 2 and not absent:
        return True
    read = None if columns is None else {name.lower() for name in columns}
    days = {name.lower(): day for name, day in since.items()}
    found = [
        _difference(name, stored, days.get(name.lower()))
        for name in sorted(present)
        if read is None or name.lower() in read
    ]
    found += [_Difference(name, None, stored) for name in absent]
    differences = [difference for difference in found if difference.partitions]
    if differences:
        raise SchemaError(_sentence(differences))
    return False


class _Difference(NamedTuple):
    """A column that some partitions do not have as it is written today."""

    name: str
    kind: str | None
    partitions: Sequence[StoredPartition]


def _difference(name: str, stored: Sequence[StoredPartition], since: str | None) -> _Difference:
    judged = [part for part in stored if name in part.manifest.schema or not _older(part, since)]
    last = last_written(judged)
    differing = [part for part in judged if _stored_as(part, name) != _stored_as(last, name)]
    return _Difference(name, last.manifest.schema.get(name), differing)


def _stored_as(part: StoredPartition, name: str) -> str | None:
    """The type of a column, by one name for all that readers of Parquet do not tell apart."""
    kind = part.manifest.schema.get(name)
    if kind is not None:
        for pattern, instead in _HELD:
            kind = pattern.sub(instead, kind)
    return kind


def last_written(stored: Iterable[StoredPartition]) -> StoredPartition:
    """The partition that was written last: what it holds is what today's code writes."""
    return max(stored, key=lambda part: (part.written, part.key))


def _older(part: StoredPartition, since: str | None) -> bool:
    """Whether a partition lies before a day; that of the month that the day is in does not."""
    return since is not None and any(date < since[: len(date)] for date in _dates(part))


def _sentence(differences: Sequence[_Difference]) -> str:
    (name, kind, partitions), *others = differences
    table = partitions[0].key.table
    held = sorted({part.manifest.schema.get(name, "") for part in partitions} - {""})
    where = f"{_span(partitions)} ({len(partitions)} partition{'s' * (len(partitions) > 1)})"
    way = ""
    if not held:
        what = f"lacks the column {name} in {where}"
        what += f"; others that are read with them have it ({kind})" if kind else ""
        way = f", or declare the first day of {name} with `since`" if kind else ""
    elif kind is None:
        what = f"has the column {name} ({' and '.join(held)}) in {where}, and in no other"
    else:
        what = f"has the column {name} as {' and '.join(held)} in {where}, elsewhere as {kind}"
    if others:
        what += f"; {', '.join(other.name for other in others[:_SHOWN])} differ too"
    rebuilt = [part for difference in differences for part in difference.partitions]
    return f"{table} {what}: rebuild what differs with `{_command(table, rebuilt)}`{way}."


def _command(table: str, partitions: Sequence[StoredPartition]) -> str:
    asset, span = table.removesuffix(QUARANTINE), _span(partitions)
    return f"mlops-assets backfill {asset}" + (f" --partitions {span}" if span else "")


def _span(partitions: Sequence[StoredPartition]) -> str:
    """The days or months of partitions as `--partitions` takes them."""
    dates = sorted({date for part in partitions for date in _dates(part)})
    return "..".join(dict.fromkeys([*dates[:1], *dates[-1:]]))


def _dates(part: StoredPartition) -> list[str]:
    return [value for _, value in part.key.partition.values if _DATED.match(value)]
