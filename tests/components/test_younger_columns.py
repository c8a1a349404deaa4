"""A column that is declared as younger than some days: read, checked and refused by that day."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from landed_files import land

from mlops_assets.components import younger
from mlops_assets.components.contract import enforce
from mlops_assets.components.raw_table import raw_table
from mlops_assets.components.training_set import Spine, TrainingSet
from mlops_assets.defs.raw.contracts import CONTRACTS, FLIGHTS
from mlops_assets.defs.raw.sources import SPAN, bundled_directory, folder
from mlops_assets.engines.as_of import FeatureView
from mlops_assets.sources.landing import LandingArea
from mlops_assets.sources.storage import LocalStorage
from mlops_assets.sources.window import DayWindow

FIRST, SECOND = date(2013, 1, 1), date(2013, 1, 2)
YOUNG = replace(FLIGHTS, since={"distance": "2013-01-02"})


def land_without(place: Path, day: date, column: str) -> None:
    """Put a day's file down as its source made it before it had a column."""
    path = land(place, "flights", str(day))
    lines = [line.split(",") for line in path.read_text().splitlines()]
    at = lines[0].index(column)
    text = "".join(",".join(line[:at] + line[at + 1 :]) + "\n" for line in lines)
    path.write_text(text)


def test_a_file_of_a_day_before_the_column_is_taken_and_keeps_the_contract(tmp_path: Path) -> None:
    land_without(tmp_path, FIRST, "distance")
    land(tmp_path, "flights", str(SECOND))
    area = LandingArea(
        LocalStorage(tmp_path, rest_seconds=0), CONTRACTS, SPAN, folder(bundled_directory())
    )
    window = DayWindow(FIRST, SECOND)

    rows = area.read(YOUNG, window)

    assert not rows.refused
    checked = enforce(YOUNG, rows.table, window, rows.days)
    assert checked.quarantined.num_rows == 0
    assert (
        checked.of([FIRST]).accepted["distance"].null_count == checked.of([FIRST]).accepted.num_rows
    )
    assert checked.of([SECOND]).accepted["distance"].null_count == 0
    assert "lacks the column distance" in area.read(FLIGHTS, window).refused[FIRST]


def test_a_file_of_a_later_day_has_to_have_the_column(tmp_path: Path) -> None:
    land_without(tmp_path, SECOND, "distance")
    area = LandingArea(
        LocalStorage(tmp_path, rest_seconds=0), CONTRACTS, SPAN, folder(bundled_directory())
    )
    refused = area.read(YOUNG, DayWindow(SECOND, SECOND)).refused
    assert "lacks the column distance" in refused[SECOND]


def test_the_columns_rules_hold_from_its_first_day_on() -> None:
    rows = folder(bundled_directory()).read(FLIGHTS, DayWindow(FIRST, SECOND))
    place, kind = (
        FLIGHTS.schema().get_field_index("distance"),
        FLIGHTS.schema().field("distance").type,
    )
    spoilt = rows.table.set_column(
        place, FLIGHTS.schema().field("distance"), [pa.array([-1] * rows.table.num_rows, kind)]
    )
    checked = enforce(YOUNG, spoilt, DayWindow(FIRST, SECOND), rows.days)
    assert checked.quarantined_days is not None
    assert set(checked.quarantined_days.to_pylist()) == {SECOND}


@pytest.mark.parametrize(
    ("since", "says"),
    [
        ({"distanc": "2013-01-02"}, "since names 'distanc'"),
        ({"flight": "2013-01-02"}, "no column beside the key"),
        ({"distance": "January"}, "distance has since: January, which is no day"),
        ({"distance": 2013}, "which is no day"),
    ],
)
def test_a_contracts_mistake_is_told_when_it_is_declared(since: dict[str, Any], says: str) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=says):
        made(since)


def made(since: dict[str, Any]) -> dg.AssetsDefinition:
    contract = replace(FLIGHTS, since=since)
    bundled = folder(bundled_directory())
    partitions = dg.DailyPartitionsDefinition(start_date="2013-01-01")
    return raw_table(
        contract,
        lambda: bundled,
        description="Flights.",
        owner="team:tests",
        code="mlops_assets.defs.raw",
        partitions=partitions,
    )


def test_what_a_contract_declares_is_known_of_its_table_and_of_its_quarantine() -> None:
    graph = dg.Definitions(
        [made({"distance": "2013-01-02"})], resources={"lake": "none"}
    ).resolve_asset_graph()
    for table in ("raw/flights", "raw/flights_quarantine"):
        assert younger.since_of(graph, table) == {"distance": "2013-01-02"}
    assert younger.since_of(graph, "raw/weather") == {}


def model(**columns: Any) -> dict[str, Any]:
    return {"name": "facts", "patch_path": "mlops_assets://models/marts.yml", "columns": columns}


def test_a_dbt_column_declares_its_first_day_in_its_meta() -> None:
    node = model(
        a={"meta": {}},
        b={"meta": {"since": "2013-06-01"}},
        c={"config": {"meta": {"since": "2013-07-01"}}},
    )
    assert younger.of_dbt(node) == {"b": "2013-06-01", "c": "2013-07-01"}
    with pytest.raises(
        dg.DagsterInvalidDefinitionError, match=r"models/marts\.yml: facts: b has since"
    ):
        younger.of_dbt(model(b={"meta": {"since": "soon"}}))


def test_what_is_made_of_a_younger_column_is_as_young() -> None:
    view = FeatureView(
        table="features/seat",
        entities=["plane"],
        timestamp="at",
        features=["pitch"],
        owner="team:t",
    )
    spine = Spine(
        table="marts/facts",
        keys=["key"],
        day="day",
        event_time="time",
        lead_minutes=1,
        label="late",
        label_known_at="known",
        features=["gate"],
    )
    since = {
        "marts/facts": {"gate": "2013-06-01", "unread": "2013-06-01"},
        "features/seat": {"pitch": "2013-07-01", "at": "2013-05-01"},
    }
    made = TrainingSet(spine, [view], 1, "segment", "UTC", since=since)
    assert made.own_since == {
        "gate": "2013-06-01",
        "seat__pitch": "2013-07-01",
        "seat__known_at": "2013-05-01",
    }
    # Declaring a first day rebuilds nothing.
    assert repr(made) == repr(replace(made, since={}))
