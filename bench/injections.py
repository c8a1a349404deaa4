"""Faults that are put into good data, to see which monitor tells of them and when.

A fault is put into raw files, where it starts for real, or into the rows that monitors read, which
takes seconds in place of minutes. The second leaves out what follows from the fault: the histories
of the next hours, and the scores.
"""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.monitors.history import DayRows

if TYPE_CHECKING:
    import numpy.typing as npt

Columns = dict[str, "npt.NDArray[Any]"]
Row = dict[str, str]

LATE_AFTER = 15
WEATHER = "weather_now__"
MILE = 1.609344


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: What is wrong.
        rows: Puts it into the columns that monitors read.
        raw: Puts it into a row of a raw table; None where it is not tried there.
        table: That table.
    """

    name: str
    rows: Callable[[Columns], None]
    raw: Callable[[Row], Row | None] | None = None
    table: str = "weather"

    def into(self, day: DayRows) -> DayRows:
        """The same day with the fault."""
        columns = dict(day.columns)
        self.rows(columns)
        return DayRows(day.day, day.rows, columns)


def in_unit(name: str, fields: Mapping[str, str], convert: Callable[[float], float]) -> Fault:
    """Fields of the weather written in another unit.

    Args:
        name: What is wrong.
        fields: The raw fields by the names of their features.
        convert: From the right unit to the wrong one.
    """

    def rows(columns: Columns) -> None:
        import numpy as np

        for feature in fields:
            column = f"{WEATHER}{feature}"
            if column in columns:
                columns[column] = np.round(convert(columns[column]), 2)

    def raw(row: Row) -> Row:
        known = {field: row[field] for field in fields.values() if row[field] not in ("", "NA")}
        return {**row, **{field: f"{convert(float(v)):.2f}" for field, v in known.items()}}

    return Fault(name, rows, raw)


def doubled(carrier: str, *, early_too: bool = True) -> Fault:
    """A carrier's departure and arrival delays doubled."""

    def rows(columns: Columns) -> None:
        import numpy as np

        for name in ("departure_delay_minutes", "arrival_delay_minutes"):
            if name in columns:
                minutes = columns[name]
                wanted = (columns["carrier"] == carrier) & ((minutes > 0) | early_too)
                columns[name] = np.where(wanted, 2 * minutes, minutes)
        if "label" in columns and "arrival_delay_minutes" in columns:
            minutes = columns["arrival_delay_minutes"]
            late = np.where(np.isnan(minutes), np.nan, minutes > LATE_AFTER)
            columns["label"] = np.where(columns["carrier"] == carrier, late, columns["label"])

    def raw(row: Row) -> Row:
        if row["carrier"] != carrier:
            return row
        changed = dict(row)
        for delay, scheduled, actual in (
            ("dep_delay", "sched_dep_time", "dep_time"),
            ("arr_delay", "sched_arr_time", "arr_time"),
        ):
            if row[delay] not in ("", "NA") and (early_too or float(row[delay]) > 0):
                minutes = 2 * int(float(row[delay]))
                changed[delay] = str(minutes)
                changed[actual] = _clock(row[scheduled], minutes)
        known = [changed[name] for name in ("arr_delay", "dep_delay", "air_time")]
        if not {"", "NA"} & set(known):
            # Twice the time made up on the way is less time on the way, and a test of the
            # warehouse refuses more minutes in the air than that.
            gained = sum(
                sign * (int(float(changed[name])) - int(float(row[name])))
                for name, sign in (("arr_delay", 1), ("dep_delay", -1))
            )
            changed["air_time"] = str(max(5, int(float(row["air_time"])) + min(0, gained)))
        return changed

    name = "delays" if early_too else "late minutes alone"
    return Fault(f"{carrier}: {name} doubled", rows, raw, "flights")


def _clock(scheduled: str, minutes: int) -> str:
    """The time, as HHMM, so many minutes after a scheduled one."""
    time = int(float(scheduled))
    minute = (time // 100 * 60 + time % 100 + minutes) % 1440
    return str(minute // 60 * 100 + minute % 60)


def _absent(columns: Columns) -> None:
    import numpy as np

    for name in columns:
        if name.startswith((WEATHER, "weather_now")):
            columns[name] = np.full(len(columns[name]), np.nan)


CELSIUS = in_unit(
    "temperature and dew point in Celsius",
    {"temperature_f": "temp", "dew_point_f": "dewp"},
    lambda value: (value - 32) / 1.8,
)
KILOMETRES_AN_HOUR = in_unit(
    "wind in kilometres an hour",
    {"wind_speed_mph": "wind_speed", "wind_gust_mph": "wind_gust"},
    lambda value: value * MILE,
)
METRES_A_SECOND = in_unit(
    "wind in metres a second",
    {"wind_speed_mph": "wind_speed", "wind_gust_mph": "wind_gust"},
    lambda value: value * 0.44704,
)
KILOMETRES = in_unit(
    "visibility in kilometres", {"visibility_miles": "visib"}, lambda value: value * MILE
)
MILLIMETRES = in_unit(
    "precipitation in millimetres",
    {"precipitation_inches": "precip"},
    lambda value: value * 25.4,
)
INCHES_OF_MERCURY = in_unit(
    "pressure in inches of mercury",
    {"pressure_millibars": "pressure"},
    lambda value: value * 0.02953,
)
NO_WEATHER = Fault("weather missing", _absent, lambda _: None)

UNITS = (
    CELSIUS,
    KILOMETRES_AN_HOUR,
    METRES_A_SECOND,
    KILOMETRES,
    MILLIMETRES,
    INCHES_OF_MERCURY,
)


def write_source(good: Path, folder: Path, fault: Fault, first: date, last: date) -> Path:
    """Write the raw files again, with a fault in some days.

    Args:
        good: The folder of the good files.
        folder: Where; made here.
        fault: What is wrong.
        first: The first day that has it.
        last: The last.
    """
    folder.mkdir(parents=True)
    for name in ("planes.csv", "airports.csv", "airlines.csv"):
        shutil.copy(good / name, folder)
    for table in ("flights", "weather"):
        rows = csv.DictReader(io.StringIO(_text(good, table)))
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows.fieldnames or ()), lineterminator="\n")
            writer.writeheader()
            for row in rows:
                day = date(int(row["year"]), int(row["month"]), int(row["day"]))
                wrong = fault.raw and table == fault.table and first <= day <= last
                written = fault.raw(row) if wrong and fault.raw else row
                if written is not None:
                    writer.writerow(written)
    return folder


def _text(good: Path, table: str) -> str:
    if (good / f"{table}.csv").exists():
        return (good / f"{table}.csv").read_text(encoding="utf-8")
    with zipfile.ZipFile(good / f"{table}.csv.zip") as archive:
        return archive.read(f"{table}.csv").decode()
