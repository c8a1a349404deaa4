"""Champions are earned, by segment and in the order of months, whatever the order of runs."""

import random
from pathlib import Path

import pytest
from toy_problem import ORIGINS, Row, Toy, made_up

ROWS = 3_000


def flights(month: str, **options: object) -> list[Row]:
    return [row for origin in ORIGINS for row in made_up(month, origin, rows=ROWS, **options)]


def useless(row: Row) -> None:
    """A month whose training rows say little: its model is worse than an earlier one."""
    if row["split"] == "train" and row["flight_number"] % 40 != 1:
        row["distance_miles"] = 100 + row["flight_number"] * 7919 % 2400


def test_the_first_champion_of_a_segment_has_only_the_baseline_to_beat(toy: Toy) -> None:
    toy.publish("2013-04", flights("2013-04"))
    assert toy.run("2013-04|JFK").success
    decision = toy.decision("2013-04|JFK")
    assert decision.outcome == "promoted"
    assert decision.champion == decision.candidate
    assert decision.previous is None


def test_a_range_of_months_decides_each_against_the_newest_before_it(toy: Toy) -> None:
    for month in ("2013-04", "2013-05", "2013-06"):
        toy.publish(month, flights(month, **({"change": useless} if month == "2013-05" else {})))
    assert toy.run("2013-04|EWR", "2013-06|JFK").success
    first, worse, third = (toy.decision(f"2013-0{month}|EWR") for month in (4, 5, 6))
    assert worse.outcome == "kept"
    assert worse.champion == worse.previous == first.candidate
    assert worse.comparison is not None or any(not gate.passed for gate in worse.gates)
    assert third.previous == first.candidate


def test_a_range_decides_as_months_one_by_one_do(toy: Toy, tmp_path: Path) -> None:
    months = ("2013-04", "2013-05", "2013-06")
    for month in months:
        toy.publish(month, flights(month))
    assert toy.run("2013-04|JFK", "2013-06|JFK").success
    together = [toy.decision(f"{month}|JFK") for month in months]
    for month in months:
        assert toy.run(f"{month}|JFK").success
    assert [toy.decision(f"{month}|JFK") for month in months] == together


def test_an_older_month_never_moves_a_newer_champion(toy: Toy) -> None:
    for month in ("2013-04", "2013-08"):
        toy.publish(month, flights(month))
    assert toy.run("2013-08|JFK").success
    newest = toy.decision("2013-08|JFK")
    assert toy.run("2013-04|JFK").success
    older = toy.decision("2013-04|JFK")
    assert older.previous is None
    assert toy.decision("2013-08|JFK") == newest
    assert toy.run("2013-04|JFK").success
    assert toy.decision("2013-04|JFK") == older
    assert toy.decision("2013-08|JFK") == newest


def test_segments_have_champions_of_their_own(toy: Toy) -> None:
    for month in ("2013-04", "2013-05"):
        toy.publish(month, flights(month))
    assert toy.run("2013-04|EWR").success
    assert toy.run("2013-05|JFK").success
    assert toy.decision("2013-05|JFK").previous is None


def test_a_champion_whose_partition_was_trained_anew_is_met_as_it_was(toy: Toy) -> None:
    for month in ("2013-04", "2013-05"):
        toy.publish(month, flights(month))
    assert toy.run("2013-04|JFK").success
    first = toy.decision("2013-04|JFK").candidate
    toy.publish("2013-04", flights("2013-04", change=useless))
    order = {"partition": first.partition, "sha256": first.sha256}
    assert toy.run("2013-04|JFK", order=order).success
    assert toy.decision("2013-04|JFK").candidate != first
    assert toy.run("2013-05|JFK").success
    decision = toy.decision("2013-05|JFK")
    assert decision.previous == first
    assert decision.comparison is not None


def shuffled(toy: Toy, month: str) -> None:
    rows = flights(month)
    taught = [row for row in rows if row["split"] == "train"]
    labels = [row["is_late"] for row in taught]
    random.Random(7).shuffle(labels)
    for row, label in zip(taught, labels, strict=True):
        row["is_late"] = label
    toy.publish(month, rows)


def corrupted_carrier(toy: Toy, month: str) -> None:
    def mirror(row: Row) -> None:
        if row["split"] == "evaluate" and row["carrier"] == "DL":
            row["distance_miles"] = 2600 - row["distance_miles"]

    toy.publish(month, flights(month, change=mirror))


@pytest.mark.parametrize(
    ("spoil", "gate"),
    [
        (shuffled, "brier_skill"),
        (corrupted_carrier, "slice_roc_auc"),
    ],
)
def test_a_spoilt_model_is_refused_by_a_gate_that_is_named(toy: Toy, spoil, gate: str) -> None:
    toy.publish("2013-04", flights("2013-04"))
    spoil(toy, "2013-05")
    assert toy.run("2013-04|JFK", "2013-05|JFK").success
    before, decision = toy.decision("2013-04|JFK"), toy.decision("2013-05|JFK")
    assert gate in {failed.name for failed in toy.failed_gates("2013-05|JFK")}
    assert gate in decision.reason
    assert decision.outcome == "kept"
    assert decision.champion == before.candidate


def test_each_partition_has_its_own_result_of_each_gate(toy: Toy) -> None:
    toy.publish("2013-04", flights("2013-04"))
    shuffled(toy, "2013-05")
    result = toy.run("2013-04|EWR", "2013-05|JFK")
    assert result.success
    found = {
        (evaluation.check_name, evaluation.partition): evaluation.passed
        for evaluation in result.get_asset_check_evaluations()
    }
    partitions = [f"2013-0{month}|{origin}" for month in (4, 5) for origin in ORIGINS]
    gates = ("brier_skill", "calibration_slope", "slice_roc_auc")
    assert found.keys() == {(gate, key) for gate in gates for key in partitions}
    assert found["brier_skill", "2013-04|JFK"]
    assert not found["brier_skill", "2013-05|JFK"]


def test_somebody_can_order_an_earlier_model_back(toy: Toy) -> None:
    for month in ("2013-04", "2013-05"):
        toy.publish(month, flights(month))
    assert toy.run("2013-04|JFK", "2013-05|JFK").success
    first = toy.decision("2013-04|JFK").candidate
    order = {"partition": first.partition, "sha256": first.sha256, "reason": "it was steadier"}
    assert toy.run("2013-05|JFK", order=order).success
    decision = toy.decision("2013-05|JFK")
    assert decision.champion == first
    assert "it was steadier" in decision.reason


def test_a_model_that_never_was_cannot_be_ordered(toy: Toy) -> None:
    toy.publish("2013-04", flights("2013-04"))
    assert toy.run("2013-04|JFK").success
    before = toy.decision("2013-04|JFK")
    order = {"partition": "month=2013-04/origin=JFK", "sha256": "0" * 64}
    assert not toy.run("2013-04|JFK", order=order).success
    assert toy.decision("2013-04|JFK") == before


@pytest.mark.parametrize("split", ["train", "evaluate"])
def test_rows_of_one_class_fail_with_their_place(toy: Toy, split: str) -> None:
    def on_time(row: Row) -> None:
        if row["split"] == split:
            row["is_late"] = False

    toy.publish("2013-04", flights("2013-04", change=on_time))
    head = toy.lake.head()
    result = toy.run("2013-04|JFK")
    assert not result.success
    told = [str(event.event_specific_data) for event in result.all_events if event.is_step_failure]
    assert "toy month=2013-04/origin=JFK" in told[0]
    assert "both outcomes" in told[0]
    assert split == "evaluate" or toy.lake.head() == head
