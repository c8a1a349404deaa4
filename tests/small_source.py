"""A folder of source files with the first days of the real data, for tests to change."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from pathlib import Path

from mlops_assets.defs.raw.sources import bundled_directory

FIRST_DAY = date(2013, 1, 1)

Row = dict[str, str]


def small_source(
    folder: Path,
    change: Callable[[Row], None] = lambda _: None,
    *,
    days: int = 4,
    every: int = 1,
) -> Path:
    """Write the first days of 2013 as a source.

    Args:
        folder: Where; made here.
        change: Called with each flight, to change it in place.
        days: How many.
        every: Of so many flights one is kept.
    """
    folder.mkdir(parents=True)
    for name in ("planes.csv", "airports.csv", "airlines.csv"):
        shutil.copy(bundled_directory() / name, folder)
    (folder / "weather.csv").write_text(_first_days(days)[1])
    flights = list(csv.DictReader(io.StringIO(_first_days(days)[0])))
    with (folder / "flights.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(flights[0]), lineterminator="\n")
        writer.writeheader()
        for row in flights[::every]:
            change(row)
            writer.writerow(row)
    return folder


@cache
def _first_days(days: int) -> tuple[str, str]:
    source = bundled_directory()
    with zipfile.ZipFile(source / "flights.csv.zip") as archive:
        flights = archive.read("flights.csv").decode()
    weather = (source / "weather.csv").read_text()
    return _of_first_days(flights, days), _of_first_days(weather, days)


def _of_first_days(text: str, days: int) -> str:
    header, *lines = text.splitlines()
    names = header.split(",")
    month, day = names.index("month"), names.index("day")
    kept = [
        line
        for line in lines
        if (fields := line.split(",", day + 1))
        and date(2013, int(fields[month]), int(fields[day])) < FIRST_DAY + timedelta(days)
    ]
    return "\n".join([header, *kept, ""])
