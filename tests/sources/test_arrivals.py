"""The sensor over a history: what arrives starts its partition once, and trouble is shown."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from landed_files import content_of, land

from mlops_assets.defs.automation import arrivals as sensor
from mlops_assets.defs.raw.sources import source
from mlops_assets.settings import settings
from mlops_assets.sources import storage

Tick = Callable[[], dg.SensorResult]

DAY = "2013-01-01"


class Clock:
    """The time as the sensor and the storage see it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def time_ns(self) -> int:
        return time.time_ns() + int(self.ahead * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sensor, "time", clock)
    monkeypatch.setattr(storage, "time", clock)
    return clock


@pytest.fixture
def landing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "landing"
    place.mkdir()
    monkeypatch.setenv("MLOPS_LANDING", str(place))
    settings.cache_clear()
    yield place
    settings.cache_clear()


@pytest.fixture
def tick(landing: Path, clock: Clock) -> Tick:
    """One more tick, half a minute after the last."""
    cursor: str | None = None

    def look() -> dg.SensorResult:
        nonlocal cursor
        clock.ahead += 30
        result = sensor.arrivals(dg.build_sensor_context(cursor=cursor))
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor or cursor
        return result

    return look


def requested(result: dg.SensorResult) -> list[tuple[str, str | None]]:
    return [
        (request.asset_selection[0].path[-1], request.partition_key)
        for request in result.run_requests or []
    ]


def reason(result: dg.SensorResult) -> str:
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message)


def test_a_landed_day_starts_its_partition_once(landing: Path, tick: Tick) -> None:
    assert reason(tick()) == "Nothing has arrived."
    land(landing, "flights", DAY)
    result = tick()
    assert requested(result) == [("flights", DAY)]
    assert result.run_requests[0].tags["mlops/started_by"] == "arrivals"
    assert requested(tick()) == []


def test_days_that_land_together_are_runs_of_their_own(landing: Path, tick: Tick) -> None:
    for table in ("flights", "weather"):
        for day in ("2013-01-01", "2013-01-02"):
            land(landing, table, day)
    (landing / "airlines.csv").write_text("carrier,name\nAA,American\n")
    found = requested(tick())
    assert len(found) == 5
    assert ("airlines", None) in found


def test_a_replaced_file_starts_its_day_again_even_with_the_times_of_the_old_one(
    landing: Path, tick: Tick
) -> None:
    path = land(landing, "flights", DAY)
    times = path.stat()
    first = tick().run_requests[0]
    land(landing, "flights", DAY, content_of("flights", DAY, rows=800))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    [again] = tick().run_requests
    assert (again.partition_key, again.run_key == first.run_key) == (DAY, False)
    # Back to what it was: the same content as at first, and yet something new.
    land(landing, "flights", DAY)
    assert len({first.run_key, again.run_key, tick().run_requests[0].run_key}) == 3


def test_a_late_file_for_an_earlier_day_starts_that_day_alone(landing: Path, tick: Tick) -> None:
    land(landing, "flights", "2013-01-05")
    tick()
    late = land(landing, "flights", "2013-01-02")
    os.utime(late, (0, 0))
    assert requested(tick()) == [("flights", "2013-01-02")]


def test_a_folder_that_is_moved_in_with_its_old_files_arrives(
    landing: Path, tick: Tick, clock: Clock
) -> None:
    elsewhere = landing.with_name("prepared")
    land(elsewhere, "weather", DAY)
    clock.ahead = 24 * 3600
    land(landing, "flights", DAY)
    for name in ("2013-01-02", "2013-01-03"):
        os.utime(land(landing, "flights", name), (clock.time(), clock.time()))
    clock.ahead += 3600
    assert len(requested(tick())) == 3
    (elsewhere / "weather").rename(landing / "weather")
    assert requested(tick()) == [("weather", DAY)]


def test_a_file_that_is_being_written_has_not_arrived(
    landing: Path, tick: Tick, clock: Clock
) -> None:
    folder = landing / "flights"
    folder.mkdir()
    for name in (".2013-01-01.csv", "2013-01-01.csv.part", "2013-01-01.csv.tmp"):
        (folder / name).write_text("year")
    assert reason(tick()) == "Nothing has arrived."
    growing = folder / "2013-01-01.csv"
    growing.write_text("year")
    clock.ahead = -60
    assert requested(tick()) == []
    growing.write_text(content_of("flights", DAY))
    clock.ahead = 0
    assert requested(tick()) == [("flights", DAY)]


@pytest.mark.parametrize("ahead", [20.0, 3600.0, 50 * 365 * 86_400.0])
def test_a_file_whose_time_lies_ahead_arrives_once_it_stays_as_it_is(
    landing: Path, tick: Tick, clock: Clock, ahead: float
) -> None:
    path = land(landing, "flights", DAY)
    later = clock.time() + 60 + ahead
    os.utime(path, (later, later))
    assert requested(tick()) == []
    path.write_text(content_of("flights", DAY, rows=800))
    os.utime(path, (later, later))
    assert requested(tick()) == []
    [request] = tick().run_requests
    assert request.partition_key == DAY
    assert [requested(tick()) for _ in range(3)] == [[], [], []]
    land(landing, "flights", "2013-01-02")
    assert requested(tick()) == [("flights", "2013-01-02")]
    clock.ahead += ahead + 60
    again = {one.run_key for one in tick().run_requests or []}
    assert again <= {request.run_key}


def test_files_that_come_after_the_clock_was_set_back_arrive(
    landing: Path, tick: Tick, clock: Clock
) -> None:
    clock.ahead = 24 * 3600
    land(landing, "flights", DAY)
    [first] = tick().run_requests
    clock.ahead = 3600
    land(landing, "flights", DAY, content_of("flights", DAY, rows=800))
    land(landing, "weather", DAY)
    found = [one for _ in range(3) for one in tick().run_requests or []]
    assert first.run_key not in {one.run_key for one in found}
    assert sorted(one.asset_selection[0].path[-1] for one in found) == ["flights", "weather"]
    assert requested(tick()) == []


def test_what_belongs_to_no_partition_is_named_and_stops_nothing_else(
    landing: Path, tick: Tick, caplog: pytest.LogCaptureFixture
) -> None:
    land(landing, "flights", "2014-01-01", "x\n")
    land(landing, "trains", DAY, "x\n")
    land(landing, "flights", "2013-02-30", "x\n")
    (landing / "readme.txt").write_text("hello")
    (landing / "flights.csv").write_text("x\n")
    land(landing, "weather", DAY)
    assert requested(tick()) == [("weather", DAY)]
    told = reason(tick())
    assert "2014-01-01.csv' is of no day of 2013-01-01..2013-12-31" in told
    assert "trains/2013-01-01.csv' is of no table that exists" in told
    assert "2013-02-30.csv' is of no day" in told
    assert "readme.txt' names no partition" in told
    assert "flights.csv' names no partition" in told


def test_ten_thousand_files_are_requested_a_part_each_tick_and_none_twice(
    landing: Path, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [f"{date(2013, 1, 1) + timedelta(offset)}" for offset in range(365)]
    for table in ("flights", "weather"):
        (landing / table).mkdir()
        for day in days:
            (landing / table / f"{day}.csv").write_text("x\n")
    for number in range(10_000 - 730):
        (landing / "flights" / f"{number}.csv").write_text("x\n")
    monkeypatch.setattr(sensor, "RUNS_A_TICK", 300)
    results = [tick() for _ in range(4)]
    assert [len(requested(result)) for result in results] == [300, 300, 130, 0]
    assert len({key for result in results for key in requested(result)}) == 730
    assert all(len(str(result.cursor)) < 30_000 for result in results)
    assert "And 9265 more." in reason(results[-1])


def test_a_source_that_is_down_is_asked_less_and_less_often_shown_and_then_read_again(
    landing: Path, tick: Tick, clock: Clock
) -> None:
    land(landing, "flights", DAY)
    away = landing.rename(landing.with_name("unmounted"))
    asked, red = [], []
    for number in range(4 * 60):
        try:
            result = tick()
        except ValueError as error:
            red.append(str(error))
        else:
            assert "make or mount it" in reason(result)
            if result.cursor:
                asked.append(number)
    # Ticks are half a minute apart: after 1, 2, 4 … 32 minutes, then every hour.
    assert [later - earlier for earlier, later in pairwise(asked)] == [2, 4, 8, 16, 32, 64]
    assert len(red) > 100
    assert all("make or mount it" in told and "Tried again after" in told for told in red)
    away.rename(landing)
    clock.ahead += 60 * 60
    assert requested(tick()) == [("flights", DAY)]


def test_a_tick_that_was_killed_after_its_requests_asks_for_the_same_runs(
    landing: Path, clock: Clock
) -> None:
    land(landing, "flights", DAY)
    clock.ahead = 30
    keys = [sensor.arrivals(dg.build_sensor_context()).run_requests[0].run_key for _ in range(2)]
    assert keys[0] == keys[1]


def test_another_source_is_looked_at_from_its_beginning(
    landing: Path, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(landing, "flights", DAY)
    assert requested(tick()) == [("flights", DAY)]
    other = landing.with_name("other")
    land(other, "flights", DAY)
    monkeypatch.setenv("MLOPS_LANDING", str(other))
    settings.cache_clear()
    assert requested(tick()) == [("flights", DAY)]


def test_the_packaged_year_never_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLOPS_LANDING", raising=False)
    settings.cache_clear()
    assert source().arrivals("", limit=5).arrivals == ()


def test_the_sensor_is_off_until_somebody_turns_it_on() -> None:
    assert sensor.arrivals.default_status is dg.DefaultSensorStatus.STOPPED
    assert sensor.arrivals.description
