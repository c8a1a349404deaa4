"""What each raw table must look like: columns, keys, and the rules that every row keeps.

Here belong facts about the data, each bound chosen so that what it refuses cannot be true. How a
contract is enforced is `components/contract.py`; a judgement on plausible values (is this delay
an outlier?) belongs to the warehouse.

What the year 2013 holds against these rules, all of it quarantined and nothing else: one weather
row with a wind of 1,048 mph (EWR, 2013-02-12, 03:00); three airports on the wrong side of the
globe (DVT and MYF without the minus of their longitude, EEN with coordinates in the Barents Sea).
No flight, plane or airline. Odd but possible, therefore accepted: a flight from EWR to LGA of 17
miles, the tail number D942DN, fighters and two-seaters registered under airliners' tail numbers,
70 planes without a year, three airports without a named time zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.components.contract import Contract, row_rule
from mlops_assets.defs.raw.days import LOCAL_DAY, hour_agrees

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pandera

ORIGINS = ("EWR", "JFK", "LGA")

_CARRIER = r"^[A-Z0-9]{2}\Z"
_AIRPORT = r"^[A-Z0-9]{3}\Z"
_TAIL_NUMBER = r"^[A-Z0-9]{3,6}\Z"


def _minutes(clock: pd.Series) -> pd.Series:
    """Minutes since midnight of times written as HHMM."""
    return clock // 100 * 60 + clock % 100


def _delay_fits(scheduled: pd.Series, actual: pd.Series, delay: pd.Series) -> pd.Series:
    return (_minutes(actual) - _minutes(scheduled) - delay) % 1440 == 0


def _calendar(hours: tuple[int, int]) -> dict[str, pandera.Column]:
    import pandera.pandas as pandera

    return {
        "year": pandera.Column("Int32", pandera.Check.in_range(1987, 2100)),
        "month": pandera.Column("Int32", pandera.Check.in_range(1, 12)),
        "day": pandera.Column("Int32", pandera.Check.in_range(1, 31)),
        "hour": pandera.Column("Int32", pandera.Check.in_range(*hours)),
        "time_hour": pandera.Column("datetime64[us, UTC]"),
    }


def _flight_rules() -> pandera.DataFrameSchema:
    import pandera.pandas as pandera

    clock = pandera.Check(
        lambda times: times.between(0, 2400) & (times % 100 < 60), error="the form HHMM"
    )
    text = pandera.Category
    return pandera.DataFrameSchema(
        {
            **_calendar((0, 23)),
            "minute": pandera.Column("Int32", pandera.Check.in_range(0, 59)),
            "sched_dep_time": pandera.Column("Int32", clock),
            "sched_arr_time": pandera.Column("Int32", clock),
            "dep_time": pandera.Column("Int32", clock, nullable=True),
            "arr_time": pandera.Column("Int32", clock, nullable=True),
            # Two hours early is beyond any schedule's slack; three days late is another flight.
            "dep_delay": pandera.Column("Int32", pandera.Check.in_range(-120, 4320), nullable=True),
            "arr_delay": pandera.Column("Int32", pandera.Check.in_range(-240, 4320), nullable=True),
            "carrier": pandera.Column(text, pandera.Check.str_matches(_CARRIER)),
            "flight": pandera.Column("Int32", pandera.Check.in_range(1, 9999)),
            "tailnum": pandera.Column(text, pandera.Check.str_matches(_TAIL_NUMBER), nullable=True),
            "origin": pandera.Column(text, pandera.Check.isin(ORIGINS)),
            "dest": pandera.Column(text, pandera.Check.str_matches(_AIRPORT)),
            "air_time": pandera.Column("Int32", pandera.Check.in_range(5, 1440), nullable=True),
            # Half the Earth's circumference is 12,450 miles.
            "distance": pandera.Column("Int32", pandera.Check.in_range(1, 12450)),
        },
        checks=[
            row_rule("time_hour is another hour than year, month, day and hour state", hour_agrees),
            row_rule(
                "sched_dep_time is not hour and minute",
                lambda f: f["sched_dep_time"] == f["hour"] * 100 + f["minute"],
            ),
            row_rule(
                "dest is origin",
                lambda f: f["dest"].astype("string") != f["origin"].astype("string"),
            ),
            row_rule(
                "dep_delay is not the time between sched_dep_time and dep_time",
                lambda f: _delay_fits(f["sched_dep_time"], f["dep_time"], f["dep_delay"]),
            ),
            row_rule(
                "only one of dep_time and dep_delay is there",
                lambda f: f["dep_time"].isna() == f["dep_delay"].isna(),
            ),
            row_rule(
                "the flight arrives without having left",
                lambda f: (
                    f["dep_time"].notna()
                    | (f["arr_time"].isna() & f["arr_delay"].isna() & f["air_time"].isna())
                ),
            ),
            row_rule(
                "arr_delay is there without arr_time and air_time",
                lambda f: f["arr_delay"].isna() | (f["arr_time"].notna() & f["air_time"].notna()),
            ),
        ],
    )


def _weather_rules() -> pandera.DataFrameSchema:
    import pandera.pandas as pandera

    def measure(low: float, high: float, *, nullable: bool = True) -> pandera.Column:
        return pandera.Column("Float64", pandera.Check.in_range(low, high), nullable=nullable)

    return pandera.DataFrameSchema(
        {
            **_calendar((0, 23)),
            "origin": pandera.Column(pandera.Category, pandera.Check.isin(ORIGINS)),
            # The bounds are the world's records: degrees Fahrenheit, percent, degrees, miles an
            # hour, inches an hour, hectopascals at sea level, miles.
            "temp": measure(-129, 135),
            "dewp": measure(-129, 100),
            "humid": measure(0, 100),
            "wind_dir": measure(0, 360),
            "wind_speed": measure(0, 254),
            "wind_gust": measure(0, 254),
            "precip": measure(0, 12),
            "pressure": measure(870, 1085),
            "visib": measure(0, 100),
        },
        checks=[
            row_rule("time_hour is another hour than year, month, day and hour state", hour_agrees),
            row_rule("dewp is above temp", lambda w: w["dewp"] <= w["temp"]),
            row_rule("wind_gust is below wind_speed", lambda w: w["wind_gust"] >= w["wind_speed"]),
        ],
    )


def _plane_rules() -> pandera.DataFrameSchema:
    import pandera.pandas as pandera

    text = pandera.Category
    return pandera.DataFrameSchema(
        {
            "tailnum": pandera.Column(text, pandera.Check.str_matches(_TAIL_NUMBER)),
            "year": pandera.Column("Int32", pandera.Check.in_range(1903, 2100), nullable=True),
            "type": pandera.Column(
                text,
                pandera.Check.isin(
                    ("Fixed wing multi engine", "Fixed wing single engine", "Rotorcraft")
                ),
            ),
            "manufacturer": pandera.Column(text),
            "model": pandera.Column(text),
            "engines": pandera.Column("Int32", pandera.Check.in_range(1, 8)),
            "seats": pandera.Column("Int32", pandera.Check.in_range(1, 900)),
            "speed": pandera.Column("Int32", pandera.Check.in_range(1, 1500), nullable=True),
            "engine": pandera.Column(text),
        }
    )


def _airport_rules() -> pandera.DataFrameSchema:
    import pandera.pandas as pandera

    text = pandera.Category
    return pandera.DataFrameSchema(
        {
            "faa": pandera.Column(text, pandera.Check.str_matches(_AIRPORT)),
            "name": pandera.Column(text),
            "lat": pandera.Column("Float64", pandera.Check.in_range(-90, 90)),
            "lon": pandera.Column("Float64", pandera.Check.in_range(-180, 180)),
            "alt": pandera.Column("Int32", pandera.Check.in_range(-1500, 30000)),
            # From American Samoa to Puerto Rico.
            "tz": pandera.Column("Int32", pandera.Check.in_range(-11, -4)),
            "dst": pandera.Column(text, pandera.Check.isin(("A", "N", "U"))),
            "tzone": pandera.Column(
                text, pandera.Check.str_matches(r"^[A-Za-z_]+/[A-Za-z_/]+\Z"), nullable=True
            ),
        },
        checks=[
            # Legal time strays from the sun's by up to 3.4 hours (Shemya in the Aleutians). A
            # longitude that lost its sign or its place strays further.
            row_rule(
                "lon is more than four hours from the time zone",
                lambda a: ((a["lon"] / 15 - a["tz"] + 12) % 24 - 12).abs() <= 4,
            )
        ],
    )


def _airline_rules() -> pandera.DataFrameSchema:
    import pandera.pandas as pandera

    text = pandera.Category
    return pandera.DataFrameSchema(
        {
            "carrier": pandera.Column(text, pandera.Check.str_matches(_CARRIER)),
            "name": pandera.Column(text),
        }
    )


FLIGHTS = Contract(
    table="flights",
    columns={
        "year": "whole",
        "month": "whole",
        "day": "whole",
        "dep_time": "whole",
        "sched_dep_time": "whole",
        "dep_delay": "whole",
        "arr_time": "whole",
        "sched_arr_time": "whole",
        "arr_delay": "whole",
        "carrier": "text",
        "flight": "whole",
        "tailnum": "text",
        "origin": "text",
        "dest": "text",
        "air_time": "whole",
        "distance": "whole",
        "hour": "whole",
        "minute": "whole",
        "time_hour": "instant",
    },
    # Without the origin: one flight number cannot leave two of the three airports in one hour.
    key=("time_hour", "carrier", "flight"),
    rules=_flight_rules,
    max_quarantined_share=0.01,
    days=LOCAL_DAY,
)

WEATHER = Contract(
    table="weather",
    columns={
        "origin": "text",
        "year": "whole",
        "month": "whole",
        "day": "whole",
        "hour": "whole",
        "temp": "measure",
        "dewp": "measure",
        "humid": "measure",
        "wind_dir": "measure",
        "wind_speed": "measure",
        "wind_gust": "measure",
        "precip": "measure",
        "pressure": "measure",
        "visib": "measure",
        "time_hour": "instant",
    },
    # In UTC: the local hour repeats when summer time ends.
    key=("time_hour", "origin"),
    rules=_weather_rules,
    # A day has 72 rows, so a single one is 1.4 %.
    max_quarantined_share=0.05,
    days=LOCAL_DAY,
)

PLANES = Contract(
    table="planes",
    columns={
        "tailnum": "text",
        "year": "whole",
        "type": "text",
        "manufacturer": "text",
        "model": "text",
        "engines": "whole",
        "seats": "whole",
        "speed": "whole",
        "engine": "text",
    },
    key=("tailnum",),
    rules=_plane_rules,
    max_quarantined_share=0.01,
)

AIRPORTS = Contract(
    table="airports",
    columns={
        "faa": "text",
        "name": "text",
        "lat": "measure",
        "lon": "measure",
        "alt": "whole",
        "tz": "whole",
        "dst": "text",
        "tzone": "text",
    },
    key=("faa",),
    rules=_airport_rules,
    max_quarantined_share=0.01,
)

AIRLINES = Contract(
    table="airlines",
    columns={"carrier": "text", "name": "text"},
    key=("carrier",),
    rules=_airline_rules,
    max_quarantined_share=0.0,
)

CONTRACTS = {
    contract.table: contract for contract in (FLIGHTS, WEATHER, PLANES, AIRPORTS, AIRLINES)
}
