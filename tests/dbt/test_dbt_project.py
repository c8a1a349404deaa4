"""The project as a whole: what it declares, how it reads a window, and its calendar."""

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from dbt_warehouse import FIRST_DAY, RAW_TABLES, Warehouse

YEAR_START, YEAR_END = dt.date(2014, 1, 1), dt.date(2014, 12, 31)
HOLIDAYS_2014 = [
    dt.date(2014, month, day)
    for month, day in [
        *((1, 1), (1, 20), (2, 17), (5, 26), (7, 4)),
        *((9, 1), (10, 13), (11, 11), (11, 27), (12, 25)),
    ]
]


@pytest.fixture(scope="module")
def year_ahead(warehouse: Callable[..., Warehouse]) -> Warehouse:
    """The calendar of 2014, and its weather, of which nothing has arrived."""
    built = warehouse(days="false")
    models = ("staging/stg_weather", "features/weather_now", "features/calendar")
    assert built.build(*models, first_day=YEAR_START, last_day=YEAR_END) == []
    return built


def test_every_model_and_every_column_is_described(whole: Warehouse) -> None:
    manifest = whole.manifest()
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) == 13
    for node in [*models, *manifest["sources"].values()]:
        assert node["description"], node["name"]
        described = {name for name, column in node["columns"].items() if column["description"]}
        assert described == set(whole.columns(f"{node['schema']}.{node['name']}")), node["name"]
    assert {node["name"] for node in manifest["sources"].values()} == set(RAW_TABLES)


def test_every_model_declares_its_partition_and_its_order(whole: Warehouse) -> None:
    for node in whole.manifest()["nodes"].values():
        if node["resource_type"] != "model":
            continue
        config = node["config"]
        assert config["materialized"] == "lake_table"
        assert node["fqn"][1] == node["schema"]
        assert config["partition_by"] in node["columns"]
        assert set(config["unique_key"]) < set(node["columns"])


def test_every_feature_view_lists_all_its_columns(whole: Warehouse) -> None:
    views = 0
    for node in whole.manifest()["nodes"].values():
        if node["schema"] != "features" or node["resource_type"] != "model":
            continue
        views += 1
        view = node["config"]["meta"]["feature_view"]
        declared = [*view["entities"], *view["features"]]
        assert {view["timestamp"], node["config"]["partition_by"], *declared} == set(
            whole.columns(f"features.{node['name']}")
        )
    assert views == 10


def test_tables_hold_every_raw_row_of_the_window_in_the_order_of_their_key(
    whole: Warehouse,
) -> None:
    for table, source in (
        ("staging.stg_flights", "flights"),
        ("marts.fct_flights", "flights"),
        ("staging.stg_weather", "weather"),
    ):
        counts = whole.rows(
            f"select (select count(*) from {table}), (select count(*) from raw.{source})"
        )
        assert counts[0][0] == counts[0][1] > 0
    key = "scheduled_departure_at, origin, carrier, flight_number"
    rows = whole.rows(f"select {key} from marts.fct_flights")
    assert rows == sorted(rows)


def test_a_landing_in_the_hour_that_comes_twice_is_told_by_its_delay(whole: Warehouse) -> None:
    assert whole.rows(
        "select departed_at, arrived_at, air_minutes from staging.stg_flights "
        "where carrier = 'VX' and flight_number = 413 and flight_date = '2013-11-02'"
    ) == [(dt.datetime(2013, 11, 3, 2, 17), dt.datetime(2013, 11, 3, 8, 14), 339)]


def test_labels_exist_for_arrived_flights_only(whole: Warehouse) -> None:
    assert whole.rows(
        "select count(*) from marts.fct_flights join raw.flights as raw "
        "on flight_date = make_date(raw.year, raw.month, raw.day) and flight_number = raw.flight "
        "and fct_flights.carrier = raw.carrier and fct_flights.origin = raw.origin "
        "where is_late is distinct from (raw.arr_delay > 15)"
    ) == [(0,)]
    assert whole.rows(
        "select count(*) filter (is_cancelled and outcome_known_at <> scheduled_departure_at), "
        "count(*) filter (not is_cancelled and outcome_known_at is distinct from arrived_at) "
        "from marts.fct_flights"
    ) == [(0, 0)]


def test_holidays_follow_their_rules(year_ahead: Warehouse) -> None:
    found = year_ahead.rows(
        "select distinct flight_date from features.calendar where days_since_holiday = 0 "
        "and flight_date < '2015-01-01' order by 1"
    )
    assert [row[0] for row in found] == HOLIDAYS_2014
    assert year_ahead.rows(
        "select distinct days_since_holiday, days_until_holiday, day_of_week, week_of_year, "
        "month_of_year, is_weekend from features.calendar where flight_date = '2014-12-28'"
    ) == [(3, 4, 7, 52, 12, True)]


def test_each_day_publishes_its_own_calendar_and_the_next_days(year_ahead: Warehouse) -> None:
    assert year_ahead.rows(
        "select feature_at, flight_date from features.calendar where feature_day = '2014-07-03'"
    ) == [
        (dt.datetime(2014, 7, 3, 4), dt.date(2014, 7, 3)),
        (dt.datetime(2014, 7, 3, 4), dt.date(2014, 7, 4)),
    ]


@pytest.mark.parametrize("table", ["staging.stg_weather", "features.weather_now"])
def test_a_window_without_rows_makes_an_empty_table(year_ahead: Warehouse, table: str) -> None:
    assert year_ahead.rows(f"select count(*) from {table}") == [(0,)]


def test_a_build_without_a_window_is_refused_with_the_remedy(
    warehouse: Callable[..., Warehouse],
) -> None:
    (failure,) = warehouse().build("staging/stg_weather", first_day=FIRST_DAY)
    assert "'last_day' must be a local day like 2013-06-14" in failure
    assert "--vars" in failure


def test_a_build_leaves_the_parsed_project_that_processes_share_as_it_was(
    warehouse: Callable[..., Warehouse],
) -> None:
    def written() -> dict[str, tuple[int, int]]:
        found = {path.name: path.stat() for path in made.prepared.iterdir()}
        return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}

    made = warehouse()
    before = written()

    assert made.build("features/calendar", first_day=FIRST_DAY, last_day=FIRST_DAY) == []

    assert written() == before


def test_a_build_writes_and_reads_its_own_files_whatever_their_folder_is_called(
    warehouse: Callable[..., Warehouse], tmp_path: Path
) -> None:
    made = warehouse()
    own, neighbour = tmp_path / "it's [x]* 100%\"", tmp_path / "it's x! 100%\""
    own.mkdir()
    found = replace(made, path=made.path.rename(own / made.path.name))
    for _ in range(2):
        assert found.build("features/calendar", first_day=FIRST_DAY, last_day=FIRST_DAY) == []
        assert found.rows("select count(*) from features.calendar") == [(2,)]
        shutil.copytree(own, neighbour, dirs_exist_ok=True)
