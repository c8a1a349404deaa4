"""Days of the real year as the files that would be put down for them."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

from mlops_assets.defs.raw.sources import bundled_directory


@cache
def _lines(table: str) -> tuple[str, dict[str, list[str]]]:
    """The header of a daily table's file, and the lines of each day."""
    packed = bundled_directory() / f"{table}.csv.zip"
    if packed.exists():
        with zipfile.ZipFile(packed) as archive:
            text = archive.read(f"{table}.csv").decode()
    else:
        text = (bundled_directory() / f"{table}.csv").read_text()
    header, *lines = text.splitlines()
    names = header.split(",")
    places = [names.index(name) for name in ("year", "month", "day")]
    by_day: dict[str, list[str]] = {}
    for line in lines:
        fields = line.split(",", max(places) + 1)
        year, month, day = (int(fields[place]) for place in places)
        by_day.setdefault(f"{year}-{month:02}-{day:02}", []).append(line)
    return header, by_day


def content_of(table: str, day: str, *, rows: int | None = None) -> str:
    """The file of a day of the year.

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
