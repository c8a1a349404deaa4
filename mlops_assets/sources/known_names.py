"""Names of partitions in few bytes: days of a table as the unbroken runs that they mostly are."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta

Packed = Mapping[str, Sequence[str]]
"""By table, its days as `2013-01-01..2013-06-30`; by the empty name, names without a day."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def pack(names: Collection[str]) -> Packed:
    """Names, some of which are `<table>/<YYYY-MM-DD>`."""
    packed: dict[str, list[str]] = {}
    days: dict[str, list[date]] = {}
    for name in sorted(names):
        table, _, text = name.rpartition("/")
        if table and _DAY.fullmatch(text):
            days.setdefault(table, []).append(date.fromisoformat(text))
        else:
            packed.setdefault("", []).append(name)
    for table, found in days.items():
        runs: list[tuple[date, date]] = []
        for day in found:
            if runs and day == runs[-1][1] + timedelta(days=1):
                runs[-1] = (runs[-1][0], day)
            else:
                runs.append((day, day))
        packed[table] = [f"{first}..{last}" for first, last in runs]
    return packed


def unpack_names(packed: Packed) -> frozenset[str]:
    """What `pack` was given."""
    names = set(packed.get("", ()))
    for table, runs in packed.items():
        for run in runs if table else ():
            first, last = map(date.fromisoformat, run.split(".."))
            days = (last - first).days + 1
            names |= {f"{table}/{first + timedelta(days=offset)}" for offset in range(days)}
    return frozenset(names)
