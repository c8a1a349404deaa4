"""When each flight's outcome became known, told again in plain Python from the raw rows.

It shares nothing with the SQL but the rules: the zone database is Python's, the arithmetic is on
aware datetimes.
"""

import datetime as dt
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb

CARIBBEAN = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")


class Outcome(NamedTuple):
    """A flight that arrived or was cancelled, and when (naive UTC) that was known."""

    known_at: dt.datetime
    scheduled_at: dt.datetime
    flight: dict[str, Any]

    @property
    def is_cancelled(self) -> bool:
        return self.flight["dep_time"] is None

    @property
    def delay(self) -> int:
        return self.flight["arr_delay"] or 0


def read_flights(folder: Path) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        connection.execute(f"select * from read_parquet('{folder / 'flights.parquet'}')")
        names = [column[0] for column in connection.description]
        return [dict(zip(names, row, strict=True)) for row in connection.fetchall()]


def read_zones(folder: Path) -> dict[str, ZoneInfo]:
    with duckdb.connect() as connection:
        zones = connection.execute(
            f"select faa, tzone from read_parquet('{folder / 'airports.parquet'}') "
            "where tzone is not null"
        ).fetchall()
    return {faa: ZoneInfo(zone) for faa, zone in [*zones, *CARIBBEAN.items()]}


def scheduled_at(flight: dict[str, Any]) -> dt.datetime:
    return flight["time_hour"] + dt.timedelta(minutes=flight["minute"])


def outcome(flight: dict[str, Any], zones: dict[str, ZoneInfo]) -> Outcome | None:
    """The outcome of a raw flight, or None for one that was diverted."""
    leaves = scheduled_at(flight)
    if flight["dep_time"] is None:
        return Outcome(leaves, leaves, flight)
    if flight["arr_delay"] is None:
        return None
    zone = zones[flight["dest"]]
    leaves_there = leaves.replace(tzinfo=dt.UTC).astimezone(zone)
    clock = dt.time(flight["sched_arr_time"] // 100 % 24, flight["sched_arr_time"] % 100)
    arrives = dt.datetime.combine(leaves_there.date(), clock, tzinfo=zone)
    if arrives.replace(tzinfo=None) < leaves_there.replace(tzinfo=None):
        arrives = dt.datetime.combine(
            leaves_there.date() + dt.timedelta(days=1), clock, tzinfo=zone
        )
    arrived = arrives.astimezone(dt.UTC) + dt.timedelta(minutes=flight["arr_delay"])
    return Outcome(arrived.replace(tzinfo=None), leaves, flight)
