"""Feature views hold what was known at their hour: no more, no less, in whatever window built."""

import datetime as dt
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from dbt_warehouse import FIRST_DAY, LAST_DAY, LONG_DAY, MODELS, Warehouse, parquet_view
from flight_outcomes import Outcome, outcome, read_flights, read_zones, scheduled_at

HISTORIES = {"carrier_history": ("origin", "carrier"), "route_history": ("origin", "dest")}
FEATURE_VIEWS = [*HISTORIES, "weather_now", "calendar"]
# From this day on, the ten days of look-back lie in the window.
FIRST_WHOLE_DAY = FIRST_DAY + dt.timedelta(days=10)
HOME = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def outcomes(raw: Path) -> list[Outcome]:
    zones = read_zones(raw)
    return [known for flight in read_flights(raw) if (known := outcome(flight, zones))]


def history_at(hour: dt.datetime, outcomes: list[Outcome], entities: tuple[str, str]) -> set[tuple]:
    """What a history view must hold at `hour`, by looking at every outcome there is."""
    recent = defaultdict(list)
    for known in outcomes:
        in_time = known.known_at - known.scheduled_at <= dt.timedelta(hours=36)
        if in_time and hour - dt.timedelta(days=8) < known.known_at <= hour:
            recent[tuple(known.flight[name] for name in entities)].append(known)
    rows = set()
    for entity, known in recent.items():
        counted = [one for one in known if one.known_at > hour - dt.timedelta(days=7)]
        arrived = [one for one in counted if not one.is_cancelled]
        late = sum(one.delay > 15 for one in arrived)
        delay = sum(one.delay for one in arrived)
        cancelled = len(counted) - len(arrived)
        rows.add(
            (
                *entity,
                *(len(counted), late, cancelled, delay),
                late / len(arrived) if arrived else None,
                cancelled / len(counted) if counted else None,
                delay / len(arrived) if arrived else None,
            )
        )
    return rows


@pytest.mark.parametrize("view", HISTORIES)
def test_history_equals_a_recount_of_all_outcomes_known_at_that_hour(
    whole: Warehouse, outcomes: list[Outcome], view: str
) -> None:
    hours = [
        dt.datetime(2013, 10, 28, 4),
        dt.datetime(2013, 10, 31, 23),
        *(dt.datetime(2013, 11, 3, hour) for hour in (4, 5, 6, 7, 20)),
        dt.datetime(2013, 11, 7, 4),
    ]
    zeros = 0
    for hour in hours:
        found = whole.rows(
            f"select * exclude (feature_day, feature_at) from features.{view} "
            f"where feature_at = '{hour}'"
        )
        expected = history_at(hour, outcomes, HISTORIES[view])
        assert len(found) == len(expected)
        assert set(found) == expected
        zeros += sum(row[2] == 0 for row in found)
    if view == "route_history":
        assert zeros > 0, "no route in these hours is remembered at zero: choose others"


def test_weather_is_used_an_hour_after_it_began(whole: Warehouse) -> None:
    raw_rows = f"from raw.weather where time_hour < '{LAST_DAY}'"
    (expected,) = whole.rows(f"select count(*) {raw_rows}")
    assert expected[0] > 0
    assert whole.rows(
        f"select count(*) from (select origin, time_hour, temp {raw_rows}) as raw "
        "join features.weather_now as now on now.origin = raw.origin "
        "and now.feature_at = raw.time_hour + interval 1 hour "
        "and now.temperature_f is not distinct from raw.temp"
    ) == [expected]


@pytest.mark.parametrize("view", FEATURE_VIEWS)
def test_every_row_lies_on_the_local_day_of_its_timestamp(whole: Warehouse, view: str) -> None:
    found = whole.rows(f"select distinct feature_at, feature_day from features.{view}")
    assert {day for _, day in found} <= {
        FIRST_DAY + dt.timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)
    }
    for feature_at, feature_day in found:
        assert feature_at.replace(tzinfo=dt.UTC).astimezone(HOME).date() == feature_day


def test_the_day_on_which_clocks_go_back_has_25_hours(whole: Warehouse) -> None:
    hours = dict(
        whole.rows(
            "select feature_day, count(distinct feature_at) "
            "from features.carrier_history group by 1"
        )
    )
    assert hours[LONG_DAY] == 25
    assert hours[LONG_DAY - dt.timedelta(days=1)] == 24


def test_a_day_built_alone_equals_that_day_of_a_longer_build(
    whole: Warehouse, warehouse: Callable[..., Warehouse], tmp_path: Path
) -> None:
    day = LONG_DAY
    alone = warehouse(days=f"make_date(year, month, day) = '{day}'")
    marts = [model for model in MODELS if not model.startswith("features/")]
    assert alone.build(*marts, first_day=day, last_day=day) == []

    partition_columns = {
        "staging.stg_flights": "flight_date",
        "staging.stg_weather": "observation_date",
        "marts.fct_flights": "flight_date",
    }
    for table, column in partition_columns.items():
        expected = whole.rows(f"select * from {table} where {column} = '{day}'")
        assert alone.rows(f"select * from {table}") == expected
        assert expected

    pinned = warehouse(days="false")
    look_back = {
        node["name"]: node["config"]["meta"]["feature_view"]["look_back_days"]
        for node in whole.manifest()["nodes"].values()
        if "feature_view" in node["config"].get("meta", {})
    }
    for table, days in (
        ("marts.fct_flights", look_back["carrier_history"]),
        ("staging.stg_weather", look_back["weather_now"]),
    ):
        file = tmp_path / f"{table}.parquet"
        whole.execute(f"copy {table} to '{file}' (format parquet)")
        first = day - dt.timedelta(days=days)
        seen = f"{partition_columns[table]} between '{first}' and '{day}'"
        pinned.execute(parquet_view(*table.split("."), file, seen))
    assert pinned.build(*FEATURE_VIEWS, first_day=day, last_day=day) == []
    for view in FEATURE_VIEWS:
        expected = whole.rows(f"select * from features.{view} where feature_day = '{day}'")
        assert pinned.rows(f"select * from features.{view}") == expected
        assert expected


def with_another_future(raw: Path, folder: Path, now: dt.datetime) -> None:
    """Copy the raw tables with all that became known after `now` (UTC) changed or left out."""
    zones = read_zones(raw)
    shutil.copytree(raw, folder, ignore=shutil.ignore_patterns("*.csv"), dirs_exist_ok=True)
    dropped, cancelled, later = [], [], []
    for flight in read_flights(raw):
        known = outcome(flight, zones)
        key = (flight["time_hour"], flight["origin"], flight["carrier"], flight["flight"])
        if scheduled_at(flight) > now:
            (dropped if flight["flight"] % 2 else cancelled).append(key)
        elif known is not None and known.known_at > now:
            later.append(key)
    assert dropped
    assert cancelled
    assert later
    with duckdb.connect() as connection:
        for name, keys in (("dropped", dropped), ("cancelled", cancelled), ("later", later)):
            connection.execute(
                f"create table {name} (time_hour timestamp, origin text, carrier text, flight int)"
            )
            connection.executemany(f"insert into {name} values (?, ?, ?, ?)", keys)
        outcomes = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
        is_in = "(time_hour, origin, carrier, flight) in (from {})".format
        changed = ", ".join(
            f"case when {is_in('cancelled')} then null "
            f"when {is_in('later')} then {value} else {name} end as {name}"
            for name, value in zip(
                outcomes,
                (
                    "dep_time",
                    "dep_delay + 300",
                    "(arr_time // 100 + 5) % 24 * 100 + arr_time % 100",
                    "arr_delay + 300",
                    "air_time",
                ),
                strict=True,
            )
        )
        connection.execute(
            f"copy (select * replace ({changed}) from read_parquet('{raw / 'flights.parquet'}') "
            f"where not {is_in('dropped')}) to '{folder / 'flights.parquet'}'"
        )
        is_known = f"time_hour + interval 1 hour <= '{now}'"
        connection.execute(
            f"copy (select * replace (case when {is_known} then temp else temp + 20 end as temp) "
            f"from read_parquet('{raw / 'weather.parquet'}') "
            f"where {is_known} or hour % 2 = 0) to '{folder / 'weather.parquet'}'"
        )


def test_another_future_leaves_every_feature_of_the_past_as_it_was(
    whole: Warehouse, warehouse: Callable[..., Warehouse], raw: Path, tmp_path: Path
) -> None:
    now = dt.datetime(2013, 11, 2, 21)
    with_another_future(raw, tmp_path / "raw", now)
    other = warehouse(folder=tmp_path / "raw")
    assert other.build(first_day=FIRST_DAY, last_day=LAST_DAY) == []
    for view in FEATURE_VIEWS:
        past = f"select * from features.{view} where feature_at <= '{now}'"
        assert other.rows(past) == whole.rows(past)
    for view in ("carrier_history", "route_history", "weather_now"):
        future = f"select * from features.{view} where feature_at > '{now}'"
        assert other.rows(future) != whole.rows(future)
