"""Days of the real year as the files that would be put down for them."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

from mlops_assets.defs.raw.sources import bundled_directory


@cache
def _lines(table: str) -> tuple[str, dict[str, list[str]]]:
    """The header of a daily table's file, and its first days' lines by day."""
    packed = bundled_directory() / f"{table}.csv.zip"
    if packed.exists():
        with zipfile.ZipFile(packed) as archive, archive.open(f"{table}.csv") as stream:
            text = stream.read(4 << 20).decode()
    else:
        text = (bundled_directory() / f"{table}.csv").read_text()
    header, *lines = text.splitlines()
    names = header.split(",")
    month, day = names.index("month"), names.index("day")
    by_day: dict[str, list[str]] = {}
    for line in lines:
        fields = line.split(",")
        if len(fields) == len(names) and fields[month] == "1":
            by_day.setdefault(f"2013-01-{int(fields[day]):02}", []).append(line)
    return header, by_day


def content_of(table: str, day: str, *, rows: int | None = None) -> str:
    """The file of a day of January 2013.

    Args:
        table: Which table's.
        day: The day.
        rows: How many of its rows; all if None.
    """
    header, by_day = _lines(table)
    return "\n".join([header, *by_day[day][:rows], ""])


def land(
    folder: Path, table: str, day: str, content: str | None = None, *, rows: int | None = None
) -> Path:
    """Put a day's file down as a careful writer does: under another name, then renamed."""
    target = folder / table / f"{day}.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.part")
    draft.write_text(content_of(table, day, rows=rows) if content is None else content)
    draft.rename(target)
    return target
