"""A range of partitions publishes what can be made of it, and fails by the names of the rest."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from installation import Installation, asset_key, reading
from small_source import Row as SourceRow
from small_source import small_source
from toy_problem import Row, Toy, made_up

from mlops_assets.lake import Partition, TablePartition

MODEL, REPORT, CHAMPION = (f"toy/{name}" for name in ("model", "evaluation_report", "champion"))
MONTHS = ("2013-04", "2013-05", "2013-06")
SPAN = (f"{MONTHS[0]}|JFK", f"{MONTHS[-1]}|JFK")


def publish(toy: Toy, *months: str, change: Callable[[Row], None] = lambda _: None) -> None:
    for month in months:
        rows = [
            row
            for origin in ("EWR", "JFK")
            for row in made_up(month, origin, rows=600, change=change)
        ]
        toy.publish(month, rows)


def recorded(instance: dg.DagsterInstance, asset: str) -> set[str]:
    return set(instance.get_materialized_partitions(asset_key(asset)))


def held(toy: Toy, asset: str) -> set[str]:
    stored = toy.lake.snapshot().stored(asset)
    return {"|".join(value for _, value in partition.values) for partition in stored}


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


def test_a_month_without_its_input_holds_no_other_month_back(toy: Toy) -> None:
    publish(toy, "2013-04", "2013-06")

    result = toy.run(*SPAN, assets=[MODEL])

    assert not result.success
    assert "toy/model: 1 of 3 partitions were not made: 2013-05|JFK." in failure(result)
    assert "materialize toy/training_set first" in failure(result)
    assert "The other 2 are published." in failure(result)
    made = {"2013-04|JFK", "2013-06|JFK"}
    assert held(toy, MODEL) == recorded(toy.instance, MODEL) == made
    assert toy.lake.work_branches() == []


def test_a_month_whose_rows_cannot_be_used_fails_by_its_name_with_the_gates_of_the_others_recorded(
    toy: Toy,
) -> None:
    def on_time(row: Row) -> None:
        if row["split"] == "evaluate":
            row["is_late"] = False

    publish(toy, "2013-04", "2013-06")
    publish(toy, "2013-05", change=on_time)
    assert toy.run(*SPAN, assets=[MODEL]).success

    result = toy.run(*SPAN, assets=[REPORT])

    assert "2013-05|JFK: toy month=2013-05/origin=JFK: " in failure(result)
    assert recorded(toy.instance, REPORT) == {"2013-04|JFK", "2013-06|JFK"}
    judged = {(check.check_name, check.partition) for check in result.get_asset_check_evaluations()}
    assert {partition for _, partition in judged} == {"2013-04|JFK", "2013-06|JFK"}


def test_a_champion_is_not_decided_after_a_month_that_could_not_be(toy: Toy) -> None:
    publish(toy, *MONTHS)
    first, last = f"{MONTHS[0]}|EWR", f"{MONTHS[-1]}|JFK"
    assert toy.run(first, last, assets=[MODEL, REPORT]).success
    with toy.lake.transaction("tx-spoil", [REPORT]) as transaction:
        month = Partition.of({"month": "2013-05", "origin": "JFK"})
        transaction.remove([TablePartition(REPORT, month)])
        transaction.publish("a report goes", {})

    result = toy.run(first, last, assets=[CHAMPION])

    assert "2 of 6 partitions were not made: 2013-05|JFK, 2013-06|JFK." in failure(result)
    made = {"2013-04|JFK", "2013-04|EWR", "2013-05|EWR", "2013-06|EWR"}
    assert recorded(toy.instance, CHAMPION) == held(toy, CHAMPION) == made


def test_a_range_of_which_nothing_can_be_made_publishes_and_records_nothing(toy: Toy) -> None:
    head = toy.lake.head()
    result = toy.run(*SPAN, assets=[MODEL])
    assert "3 of 3 partitions were not made" in failure(result)
    assert "Nothing was published." in failure(result)
    assert toy.lake.head() == head
    assert recorded(toy.instance, MODEL) == set()


def test_a_lake_that_fails_holds_the_whole_range_back(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(toy, *MONTHS)
    head = toy.lake.head()
    asked = 0

    def full(*_: object, **__: object) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlops_assets.components.problem_assets.Manifest.of_folder", full)
    assert not toy.run(*SPAN, assets=[MODEL]).success
    assert asked == 2
    assert toy.lake.head() == head
    assert recorded(toy.instance, MODEL) == set()


def test_a_part_of_a_range_is_recorded_as_the_whole_of_it_is(toy: Toy) -> None:
    publish(toy, "2013-04", "2013-06")
    toy.run(*SPAN, assets=[MODEL])
    publish(toy, "2013-05")
    part = tags(toy, "2013-06|JFK")
    assert toy.run("2013-06|JFK", assets=[MODEL]).success
    assert part == tags(toy, "2013-06|JFK")


def tags(toy: Toy, key: str) -> dict[str, str]:
    """How Dagster tells whether a partition is stale."""
    [record] = toy.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key(MODEL), asset_partitions=[key]), limit=1
    ).records
    assert record.asset_materialization is not None
    found = record.asset_materialization.tags or {}
    return {name: value for name, value in found.items() if "version" in name}


DAYS = ("2013-01-01", "2013-01-04")
FLIGHTS = "raw/flights"


def test_a_broken_day_and_an_absent_one_hold_no_other_day_back(
    built: Installation, tmp_path: Path
) -> None:
    before = built.manifests()[FLIGHTS]

    def spoilt(row: SourceRow) -> None:
        if row["day"] == "3":
            row["origin"] = "SFO"

    with reading(small_source(tmp_path / "three", spoilt, days=3, every=2)):
        result = built.materialize([FLIGHTS], DAYS)

    assert not result.success
    assert "2 of 4 partitions were not made: 2013-01-03, 2013-01-04." in failure(result)
    checks = {check.partition: check for check in result.get_asset_check_evaluations()}
    assert {day for day, check in checks.items() if check.passed} == {"2013-01-01", "2013-01-02"}
    assert "rows of 2013-01-03" in str(checks["2013-01-03"].description)
    assert "has no rows for 2013-01-04" in str(checks["2013-01-04"].description)
    after = built.manifests()[FLIGHTS]
    changed = {dict(part.values)["day"] for part in after if after[part] != before[part]}
    assert changed == {"2013-01-01", "2013-01-02"}
    made = {
        event.partition
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
    }
    assert made == changed
    [kept] = built.lake.work_branches()
    assert kept in failure(result)
    assert Partition.of({"day": "2013-01-03"}) in built.lake.snapshot(kept).stored(
        "raw/flights_quarantine"
    )
