"""The real graph's conditions over its own dependencies: exactly what a change touches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from bench.long_history import lengthened, record
from bench.long_history import tell as tell_of

FIRST = datetime(2013, 4, 1, tzinfo=UTC)
DAYS = 60
NIGHT = datetime(2014, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def graph(definitions: dg.Definitions) -> dg.Definitions:
    return lengthened(definitions, since=FIRST, count=DAYS)


class Ticks:
    """Ticks of a sensor, a day apart, each after the night's time."""

    def __init__(self, graph: dg.Definitions, instance: dg.DagsterInstance, sensor: str) -> None:
        found = graph.get_repository_def().get_sensor_def(sensor)
        assert found.asset_selection is not None
        self._selection = found.asset_selection
        self._graph, self._instance, self._nights = graph, instance, 0
        self._cursor: Any = None

    def next(self) -> dict[str, set[str]]:
        """What is asked for by the two ticks after the next night."""
        asked: dict[str, set[str]] = {}
        for seconds in (0, 15):
            found = dg.evaluate_automation_conditions(
                self._graph,
                self._instance,
                asset_selection=self._selection,
                evaluation_time=NIGHT + timedelta(days=self._nights, seconds=seconds),
                cursor=self._cursor,
            )
            self._cursor = found.cursor
            for one in found._requested_asset_partitions:
                asked.setdefault(one.asset_key.to_user_string(), set()).add(str(one.partition_key))
        self._nights += 1
        return asked


def days(first: str, count: int) -> set[str]:
    start = datetime.fromisoformat(first)
    return {f"{start + timedelta(days=place):%Y-%m-%d}" for place in range(count)}


def test_a_late_day_touches_what_looks_back_on_it_and_nothing_else(graph: dg.Definitions) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        record(instance, graph)
        tables = Ticks(graph, instance, "flow_of_tables")
        data = Ticks(graph, instance, "flow_of_data")
        tables.next()
        data.next()
        assert (tables.next(), data.next()) == ({"features/calendar": {"2013-05-30"}}, {})

        tell(instance, "raw/flights", "2013-04-10")
        assert tables.next() == {
            "staging/stg_flights": {"2013-04-10"},
            "marts/fct_flights": {"2013-04-10"},
        }
        tell(instance, "marts/fct_flights", "2013-04-10", by="flow_of_tables")
        asked = tables.next()
        assert set(asked) == {
            f"features/{name}"
            for name in (
                "aircraft_history",
                "carrier_congestion",
                "carrier_history",
                "destination_history",
                "flight_number_history",
                "origin_congestion",
                "origin_history",
                "route_history",
            )
        }
        assert set(map(frozenset, asked.values())) == {frozenset(days("2013-04-10", 32))}
        assert tables.next() == {}
        assert data.next() == {"flight_delay/predictions": {"2013-04-10"}}


def test_weather_that_comes_late_touches_no_flight(graph: dg.Definitions) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        record(instance, graph)
        tables = Ticks(graph, instance, "flow_of_tables")
        tables.next()
        tables.next()
        tell(instance, "raw/weather", "2013-04-10")
        assert tables.next() == {"staging/stg_weather": {"2013-04-10"}}
        tell(instance, "staging/stg_weather", "2013-04-10", by="flow_of_tables")
        assert tables.next() == {"features/weather_now": days("2013-04-10", 2)}


def tell(instance: dg.DagsterInstance, name: str, day: str, by: str = "") -> None:
    """A partition is made, with another content."""
    tags = {"mlops/started_by": by} if by else {}
    tell_of(instance, [(dg.AssetKey(name.split("/")), day)], f"{name} {day} anew", tags)
