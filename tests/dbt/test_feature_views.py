"""Feature views hold what was known at their hour: no more, no less, in whatever window built."""

import datetime as dt
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import pytest
from dbt_warehouse import FIRST_DAY, LAST_DAY, LONG_DAY, MODELS, Warehouse, parquet_view
from flight_outcomes import Outcome, outcome, read_flights, read_zones, scheduled_at


class History(NamedTuple):
    """What a view of outcomes declares."""

    prefix: str
    entities: tuple[str, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    cancelled: bool = False


class Congestion(NamedTuple):
    """What a view of departures declares."""

    prefix: str
    entities: tuple[str, ...]
    step: int
    hours: tuple[int, ...]


HISTORIES = {
    "carrier_history": History("carrier", ("origin", "carrier"), (6,), (1, 7, 28), True),
    "route_history": History("route", ("origin", "dest"), (6,), (1, 7)),
    "origin_history": History("origin", ("origin",), (6,), (1,), True),
    "destination_history": History("destination", ("dest",), (6,), (1, 7)),
    "flight_number_history": History("flight_number", ("carrier", "flight_number"), (), (7, 28)),
    "aircraft_history": History("aircraft", ("tail_number",), (), (1, 28)),
}
CONGESTIONS = {
    "origin_congestion": Congestion("origin", ("origin",), 10, (1, 3)),
    "carrier_congestion": Congestion("carrier", ("origin", "carrier"), 15, (3,)),
}
FEATURE_VIEWS = [*HISTORIES, *CONGESTIONS, "weather_now", "calendar"]
HOME = ZoneInfo("America/New_York")
RAW_NAMES = {"flight_number": "flight", "tail_number": "tailnum"}
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)

Rows = dict[tuple, dict[str, float | None]]


@pytest.fixture(scope="module")
def outcomes(raw: Path) -> list[Outcome]:
    zones = read_zones(raw)
    return [known for flight in read_flights(raw) if (known := outcome(flight, zones))]


def local_day(instant: dt.datetime) -> dt.date:
    return instant.replace(tzinfo=dt.UTC).astimezone(HOME).date()


def entity_of(flight: dict, entities: tuple[str, ...]) -> tuple:
    return tuple(flight[RAW_NAMES.get(name, name)] for name in entities)


def rate(count: float, rows: int) -> float | None:
    return count / rows if rows else None


def history_at(now: dt.datetime, outcomes: list[Outcome], view: History) -> Rows:
    """What is known of each entity at `now`, by looking at every outcome there is."""
    begins = {f"{n}h": now.replace(minute=0) - n * HOUR for n in view.hours}
    first_days = {f"{n}d": local_day(now) - n * DAY for n in view.days}
    looked_back = defaultdict(lambda: {name: [] for name in (*begins, *first_days)})
    for known in outcomes:
        entity = entity_of(known.flight, view.entities)
        if None in entity or known.known_at > now:
            continue
        if known.known_at - known.scheduled_at > dt.timedelta(hours=36):
            continue
        for name, begin in begins.items():
            if known.known_at > begin:
                looked_back[entity][name].append(known)
        for name, day in first_days.items():
            if local_day(known.known_at) >= day:
                looked_back[entity][name].append(known)
    return {
        entity: {
            name: value
            for look_back, found in by_look_back.items()
            for name, value in told(found, view, look_back).items()
        }
        for entity, by_look_back in looked_back.items()
    }


def told(found: list[Outcome], view: History, look_back: str) -> dict[str, float | None]:
    arrived = [one for one in found if not one.is_cancelled]
    late = sum(one.delay > 15 for one in arrived)
    cancelled = len(found) - len(arrived)
    named = {
        "flights": len(found),
        "late_rate": rate(late, len(arrived)),
        **({"cancelled_rate": rate(cancelled, len(found))} if view.cancelled else {}),
        "mean_delay_minutes": rate(sum(one.delay for one in arrived), len(arrived)),
    }
    return {f"{view.prefix}_{name}_{look_back}": value for name, value in named.items()}


def newest_rows(whole: Warehouse, view: str, now: dt.datetime, entities: tuple[str, ...]) -> Rows:
    """The newest row of each entity that is not after `now`, if it is of the same local day."""
    names = whole.columns(f"features.{view}")
    rows = whole.rows(
        f"select * from features.{view} where feature_at <= '{now}' "
        f"and feature_day = '{local_day(now)}' "
        f"qualify row_number() over (partition by {', '.join(entities)} "
        "order by feature_at desc) = 1"
    )
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return {
        tuple(row[name] for name in entities): {
            name: value
            for name, value in row.items()
            if name not in ("feature_day", "feature_at", *entities)
        }
        for row in found
    }


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_equals_a_recount_of_all_outcomes_known_at_that_minute(
    whole: Warehouse, outcomes: list[Outcome], name: str
) -> None:
    view = HISTORIES[name]
    moments = [
        dt.datetime(2013, 10, 20, 13, 37),
        dt.datetime(2013, 10, 31, 23, 0),
        *(dt.datetime(2013, 11, 3, hour, 59) for hour in (3, 4, 5, 6, 20)),
        dt.datetime(2013, 11, 4, 5, 0),
        dt.datetime(2013, 11, 7, 4, 59),
    ]
    for now in moments:
        expected = history_at(now, outcomes, view)
        found = newest_rows(whole, name, now, view.entities)
        assert len(expected) > 0
        longest = f"{view.prefix}_flights_{view.days[-1]}d"
        assert {entity: row for entity, row in found.items() if row[longest]} == expected
        gone = found.keys() - expected.keys()
        assert all(found[entity][longest] == 0 for entity in gone)


def sightings_at(now: dt.datetime, flights: list[dict], view: Congestion) -> Rows:
    """What can be seen of each entity at `now`, by looking at every flight there is."""
    seen: Rows = {}
    for entity in {entity_of(flight, view.entities) for flight in flights}:
        own = [flight for flight in flights if entity_of(flight, view.entities) == entity]
        moments = [
            (scheduled_at(flight), departed_at(flight), flight["dep_delay"])
            for flight in own
            if flight["dep_time"] is not None
        ]
        row: dict[str, float | None] = {}
        for hours in view.hours:
            left = [delay for _, at, delay in moments if now - hours * HOUR < at <= now]
            late = sum(delay > 15 for delay in left)
            row[f"{view.prefix}_departures_{hours}h"] = len(left)
            row[f"{view.prefix}_late_departure_rate_{hours}h"] = rate(late, len(left))
            row[f"{view.prefix}_mean_departure_delay_minutes_{hours}h"] = rate(sum(left), len(left))
        overdue = [
            (now - due) // dt.timedelta(minutes=1)
            for due, at, _ in moments
            if due <= now < min(at, due + 6 * HOUR)
        ]
        row[f"{view.prefix}_overdue_flights"] = len(overdue)
        row[f"{view.prefix}_mean_overdue_minutes"] = rate(sum(overdue), len(overdue))
        if any(row.values()):
            seen[entity] = row
    return seen


def departed_at(flight: dict) -> dt.datetime:
    return scheduled_at(flight) + dt.timedelta(minutes=flight["dep_delay"])


@pytest.mark.parametrize("name", CONGESTIONS)
def test_congestion_equals_a_recount_of_all_departures_seen_by_then(
    whole: Warehouse, raw: Path, name: str
) -> None:
    view = CONGESTIONS[name]
    flights = read_flights(raw)
    for now in (
        dt.datetime(2013, 10, 20, 13, 0),
        dt.datetime(2013, 11, 1, 21, 30),
        *(dt.datetime(2013, 11, 3, hour, 30) for hour in (3, 5, 6, 12)),
    ):
        near = [flight for flight in flights if abs(scheduled_at(flight) - now) < DAY]
        expected = sightings_at(now, near, view)
        names = whole.columns(f"features.{name}")
        found = {}
        for row in whole.rows(f"select * from features.{name} where feature_at = '{now}'"):
            named = dict(zip(names, row, strict=True))
            entity = tuple(named[key] for key in view.entities)
            found[entity] = {key: named[key] for key in names[2 + len(view.entities) :]}
        assert {entity: row for entity, row in found.items() if any(row.values())} == expected


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
            "select feature_day, count(distinct date_trunc('hour', feature_at)) "
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


def flights_at_the_limits(day: dt.date) -> list[tuple[dt.date, str, str | None, str | None, str]]:
    """Flights on which `day` depends although they flew as far from it as the rules let them.

    Returns:
        Of each the flight date, when (UTC) it was due to leave, left and arrived, and the airport
        that it alone leaves from.
    """

    def slow(days: int, airport: str) -> tuple[dt.date, str, str | None, str | None, str]:
        """Known 36 hours after schedule; `day` is the first that has forgotten it."""
        known = day - (days + 1) * DAY
        due = known - 2 * DAY
        return (due, f"{due} 17:00", f"{known} 04:00", f"{known} 05:00", airport)

    early, late = day + DAY, day - 2 * DAY
    return [
        *(slow(days, f"S{days:02}") for days in (1, 7, 28)),
        (early, f"{early} 05:05", f"{early} 04:50", f"{early} 08:00", "ERL"),
        (late, f"{day - DAY} 01:30", f"{day} 01:30", f"{day} 03:30", "LAT"),
        (late - DAY, f"{late} 01:30", f"{day} 04:30", f"{day} 07:00", "TOO"),
    ]


def test_a_view_of_a_day_built_alone_equals_that_day_of_a_longer_build(
    whole: Warehouse, warehouse: Callable[..., Warehouse], tmp_path: Path
) -> None:
    day = LONG_DAY
    crafted = " union all ".join(
        f"(select * replace (date '{date}' as flight_date, "
        f"timestamp '{due}' as scheduled_departure_at, timestamp '{left}' as departed_at, "
        f"timestamp '{arrived}' as arrived_at, timestamp '{arrived}' as outcome_known_at, "
        f"'{airport}' as origin, '{airport}' as dest, '{airport}' as carrier, "
        f"'{airport}' as tail_number, 20 as departure_delay_minutes, 30 as arrival_delay_minutes, "
        "true as is_late, false as is_cancelled) from marts.fct_flights limit 1)"
        for date, due, left, arrived, airport in flights_at_the_limits(day)
    )
    flights, weather = tmp_path / "fct_flights.parquet", tmp_path / "stg_weather.parquet"
    whole.execute(
        f"copy (from marts.fct_flights union all {crafted}) to '{flights}' (format parquet)",
        f"copy staging.stg_weather to '{weather}' (format parquet)",
    )

    def build(first: dt.date, last: dt.date, views: list[str], look_back: int) -> Warehouse:
        built = warehouse(days="false")
        seen = f"between '{first - look_back * DAY}' and '{last}'"
        built.execute(
            parquet_view("marts", "fct_flights", flights, f"flight_date {seen}"),
            parquet_view("staging", "stg_weather", weather, f"observation_date {seen}"),
        )
        assert built.build(*views, first_day=first, last_day=last) == []
        return built

    look_backs = {
        node["name"]: node["config"]["meta"]["feature_view"]["look_back_days"]
        for node in whole.manifest()["nodes"].values()
        if "feature_view" in node["config"].get("meta", {})
    }
    assert look_backs.keys() == set(FEATURE_VIEWS)
    on_day = f"feature_day = '{day}'"
    longer = build(FIRST_DAY, LAST_DAY, FEATURE_VIEWS, 0)
    for look_back in sorted(set(look_backs.values())):
        views = [view for view, days in look_backs.items() if days == look_back]
        alone = build(day, day, views, look_back)
        for view in views:
            expected = longer.rows(f"select * from features.{view} where {on_day}")
            assert alone.rows(f"select * from features.{view}") == expected, view
            assert expected
    for view, seen in (("origin_history", "S01"), ("carrier_history", "S28")):
        assert (seen,) in longer.rows(f"select origin from features.{view} where {on_day}")
    assert longer.rows(
        f"select distinct origin from features.origin_congestion where {on_day} "
        "and origin in ('ERL', 'LAT', 'TOO')"
    ) == [("LAT",)]


def with_another_future(raw: Path, folder: Path, now: dt.datetime) -> None:
    """Copy the raw tables with all that became known after `now` (UTC) changed or left out."""
    zones = read_zones(raw)
    shutil.copytree(raw, folder, ignore=shutil.ignore_patterns("*.csv"), dirs_exist_ok=True)
    dropped, cancelled, delayed, later = [], [], [], []
    for flight in read_flights(raw):
        known = outcome(flight, zones)
        key = (flight["time_hour"], flight["origin"], flight["carrier"], flight["flight"])
        if scheduled_at(flight) > now and not (flight["dep_time"] and departed_at(flight) <= now):
            (dropped if flight["flight"] % 2 else cancelled).append(key)
        elif known is not None and known.known_at > now:
            # A departure is seen when it happens, hours before the outcome.
            later.append(key)
            if departed_at(flight) > now:
                delayed.append(key)
    assert dropped
    assert cancelled
    assert delayed
    assert len(later) > len(delayed)
    with duckdb.connect() as connection:
        for name, keys in (
            ("dropped", dropped),
            ("cancelled", cancelled),
            ("delayed", delayed),
            ("later", later),
        ):
            connection.execute(
                f"create table {name} (time_hour timestamp, origin text, carrier text, flight int)"
            )
            connection.executemany(f"insert into {name} values (?, ?, ?, ?)", keys)
        outcomes = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
        is_in = "(time_hour, origin, carrier, flight) in (from {})".format
        changed = ", ".join(
            f"case when {is_in('cancelled')} then null "
            f"when {is_in(moved)} then {value} else {name} end as {name}"
            for name, (moved, value) in zip(
                outcomes,
                (
                    ("later", "dep_time"),
                    ("delayed", "dep_delay + 300"),
                    ("later", "(arr_time // 100 + 5) % 24 * 100 + arr_time % 100"),
                    ("later", "arr_delay + 300"),
                    ("later", "air_time"),
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
    for view in (*HISTORIES, *CONGESTIONS, "weather_now"):
        future = f"select * from features.{view} where feature_at > '{now}'"
        assert other.rows(future) != whole.rows(future)
