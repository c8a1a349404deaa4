"""What each condition asks for over a simulated history, and what it avoids."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.declarative_automation.automation_condition_evaluator import (
    AutomationConditionEvaluator,
)
from simulated_history import History, asset, audit, days

from mlops_assets.defs.automation import conditions
from mlops_assets.defs.automation.run_tags import STARTED_BY

NEW_YORK = ZoneInfo("America/New_York")
NIGHTLY = ("0 3 * * *", "America/New_York")
MONTHLY = ("0 5 2 * *", "America/New_York")
MONTHS = dg.MonthlyPartitionsDefinition("2013-06", end_date="2013-07", fmt="%Y-%m")
SENSOR = "flow_of_tables"


def window(name: str, look_back: int) -> dg.AssetDep:
    mapping = dg.TimeWindowPartitionMapping(
        start_offset=-look_back, allow_nonexistent_upstream_partitions=True
    )
    return dg.AssetDep(name, partition_mapping=mapping)


def chain(condition: dg.AutomationCondition[Any], **target: Any) -> History:
    """A source and a table that is made of it, the sensor on before anything came."""
    history = History(
        [asset("source"), asset("table", condition, deps=[target.pop("dep", "source")], **target)]
    )
    assert history.tick() == set()
    return history


def test_a_day_that_arrives_is_followed_once() -> None:
    history = chain(conditions.flow())
    history.arrives("source", "a", "2013-06-03")
    assert history.tick() == days("table", "3")
    assert history.tick() == set()


def test_identical_content_starts_nothing() -> None:
    history = chain(conditions.flow())
    history.arrives("source", "a", "2013-06-03")
    history.arrives("table", "x", "2013-06-03")
    history.tick()
    history.arrives("source", "a", "2013-06-03")
    assert history.tick() == set()
    history.arrives("source", "b", "2013-06-03")
    assert history.tick() == days("table", "3")


def test_late_data_touches_exactly_the_days_that_look_back_on_it() -> None:
    history = chain(conditions.flow(), dep=window("source", 2))
    for day in range(1, 31):
        history.arrives("source", "a", f"2013-06-{day:02}")
    assert history.tick() == days("table", "1", "30")
    history.ends(history.begins(days("table", "1", "30")), "x")
    assert history.tick() == set()
    history.arrives("source", "b", "2013-06-03")
    assert history.tick() == days("table", "3", "5")


def test_what_lay_there_when_the_sensor_was_switched_on_is_made() -> None:
    history = History([asset("source"), asset("table", conditions.flow(), deps=["source"])])
    history.arrives("source", "a", "2013-06-03")
    assert history.tick() == days("table", "3")
    assert history.tick() == set()


def test_what_a_hand_made_of_unchanged_inputs_is_not_made_again() -> None:
    history = History([asset("source"), asset("table", conditions.flow(), deps=["source"])])
    history.arrives("source", "a", "2013-06-03")
    run = history.begins(days("table", "3"))
    assert history.tick() == set()
    history.ends(run, "x")
    assert history.tick() == set()


def test_nothing_is_asked_for_before_all_of_its_inputs_are_there() -> None:
    history = History(
        [
            asset("source"),
            asset("names", partitions=None),
            asset("table", conditions.flow(), deps=["source", "names"]),
        ]
    )
    history.tick()
    history.arrives("source", "a", "2013-06-03")
    assert history.tick() == set()
    history.arrives("names", "n")
    assert history.tick() == days("table", "3")


def test_changed_code_makes_what_there_is_anew() -> None:
    history = chain(conditions.flow())
    history.arrives("source", "a", "2013-06-03")
    history.tick()
    history.arrives("table", "x", "2013-06-03")
    assert history.tick() == set()
    history.assets = [
        asset("source"),
        asset("table", conditions.flow(), deps=["source"], code="2"),
    ]
    assert history.tick() == days("table", "3")
    assert history.tick() == set()


def test_what_is_recorded_during_a_tick_is_followed_by_the_next_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS", "0.001")
    history = chain(conditions.flow())
    prefetch = AutomationConditionEvaluator.prefetch

    def meanwhile(evaluator: AutomationConditionEvaluator) -> None:
        history.arrives("source", "a", "2013-06-03")
        monkeypatch.setattr(AutomationConditionEvaluator, "prefetch", prefetch)
        prefetch(evaluator)

    monkeypatch.setattr(AutomationConditionEvaluator, "prefetch", meanwhile)
    assert history.evaluate(history.now) == set()
    assert history.tick() == days("table", "3")
    assert history.tick() == set()


def test_an_input_that_comes_during_a_tick_is_not_used_and_then_counted_as_a_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS", "0.001")
    history = History(
        [
            asset("source"),
            asset("other"),
            asset("table", conditions.flow(), deps=["source", "other"]),
        ]
    )
    history.tick()
    history.arrives("source", "a", "2013-06-03")
    history.tick()
    prefetch = AutomationConditionEvaluator.prefetch

    def meanwhile(evaluator: AutomationConditionEvaluator) -> None:
        history.arrives("other", "a", "2013-06-03")
        monkeypatch.setattr(AutomationConditionEvaluator, "prefetch", prefetch)
        prefetch(evaluator)

    monkeypatch.setattr(AutomationConditionEvaluator, "prefetch", meanwhile)
    asked = [history.evaluate(history.now + timedelta(seconds=15)) for _ in range(4)]
    assert asked == [set(), days("table", "3"), set(), set()]


@pytest.mark.parametrize("seen_running", [True, False])
def test_a_change_while_the_target_is_running_is_not_lost(seen_running: bool) -> None:
    history = chain(conditions.flow())
    history.arrives("source", "a", "2013-06-03")
    assert history.tick() == days("table", "3")
    run = history.begins(days("table", "3"))
    history.arrives("source", "b", "2013-06-03")
    if seen_running:
        assert history.tick() == set()
    history.ends(run, "made of a")
    assert history.tick() == days("table", "3")
    assert history.tick() == set()


def test_a_change_while_an_input_is_being_made_waits_for_it() -> None:
    history = chain(conditions.flow())
    history.arrives("source", "a", "2013-06-03")
    run = history.begins(days("source", "3"))
    assert history.tick() == set()
    history.ends(run, "b")
    assert history.tick() == days("table", "3")


def test_a_failed_partition_is_asked_for_again_when_an_input_changes_and_not_before() -> None:
    history = chain(conditions.flow())
    history.arrives("source", "a", "2013-06-03")
    assert history.tick() == days("table", "3")
    history.fails(history.begins(days("table", "3")))
    assert [history.tick() for _ in range(5)] == [set()] * 5
    history.arrives("source", "corrected", "2013-06-03")
    assert history.tick() == days("table", "3")


def test_a_failed_partition_is_asked_for_again_when_its_code_changes() -> None:
    history = chain(conditions.flow())
    history.arrives("source", "a", "2013-06-03")
    history.tick()
    history.fails(history.begins(days("table", "3")))
    assert history.tick() == set()
    history.assets = [asset("source"), asset("table", conditions.flow(), deps=["source"], code="2")]
    assert history.tick() == days("table", "3")


def audited() -> History:
    history = History(
        [
            asset("source", checks=[audit("source")]),
            asset("table", conditions.flow(), deps=["source"]),
        ]
    )
    history.tick()
    return history


def test_a_partition_whose_audit_passed_is_followed() -> None:
    history = audited()
    history.runs("source", "2013-06-03", "a")
    assert history.tick() == days("table", "3")


def test_a_failed_audit_of_a_rerun_of_tests_alone_holds_the_flow_until_it_passes() -> None:
    history = audited()
    history.runs("source", "2013-06-03", "a")
    history.audits("source", audit="fails")
    assert [history.tick() for _ in range(3)] == [set()] * 3
    history.audits("source")
    assert history.tick() == days("table", "3")


def test_a_day_that_was_refused_holds_no_later_day_back() -> None:
    history = audited()
    history.runs("source", "2013-06-03", "a", audit="fails")
    assert history.tick() == set()
    history.runs("source", "2013-06-04", "b")
    assert history.tick() == days("table", "4")


def test_a_day_that_is_recorded_without_the_result_of_its_audit_is_followed() -> None:
    history = audited()
    history.arrives("source", "a", "2013-06-03")
    assert history.tick() == days("table", "3")


def step() -> History:
    group = dg.AssetSelection.groups("staging", "marts")
    condition = conditions.step_flow(group, SENSOR)
    history = History(
        [
            asset("source"),
            asset("names", partitions=None),
            asset("staged", condition, deps=["source"], group="staging"),
            asset("mart", condition, deps=["staged", "names"], group="marts"),
        ]
    )
    history.arrives("names", "n")
    history.tick()
    return history


def test_the_tables_of_a_step_are_asked_for_together_and_once() -> None:
    history = step()
    history.arrives("source", "a", "2013-06-03")
    history.arrives("source", "a", "2013-06-04")
    asked = days("staged", "3", "4") | days("mart", "3", "4")
    assert history.tick() == asked
    run = history.begins(asked, {STARTED_BY: SENSOR})
    assert history.tick() == set()
    history.ends(run, "x")
    assert history.tick() == set()


def test_a_table_that_a_hand_made_is_followed_within_its_step() -> None:
    history = step()
    history.arrives("source", "a", "2013-06-03")
    history.ends(history.begins(history.tick(), {STARTED_BY: SENSOR}), "x")
    assert history.tick() == set()
    history.arrives("staged", "y", "2013-06-03")
    assert history.tick() == days("mart", "3")


def test_a_table_of_a_step_that_was_held_back_is_made_when_it_can_be() -> None:
    group = dg.AssetSelection.groups("staging", "marts")
    condition = conditions.step_flow(group, SENSOR)
    history = step()
    history.assets = [
        *history.assets[:3],
        asset("late_names", partitions=None),
        asset("mart", condition, deps=["staged", "late_names"], group="marts"),
    ]
    history.arrives("source", "a", "2013-06-03")
    run = history.begins(history.tick(), {STARTED_BY: SENSOR})
    history.ends(run, "x")
    assert run.made == [("staged", "2013-06-03")]
    assert history.tick() == set()
    history.arrives("late_names", "n")
    assert history.tick() == days("mart", "3")


def looking_back() -> History:
    """A history whose days look back on five days, of which earlier ones may be missing."""
    needs = conditions.Needs(looked_back_on=[dg.AssetKey("mart")], calendar=dg.AssetKey("source"))
    history = History(
        [
            asset("source"),
            asset("mart", deps=["source"]),
            asset("view", conditions.flow(needs=needs), deps=[window("mart", 5)]),
        ]
    )
    history.tick()
    return history


def test_a_day_that_never_came_does_not_hold_back_the_days_after_it() -> None:
    history = looking_back()
    for day in (1, 2, 4, 5):
        history.arrives("mart", "a", f"2013-06-{day:02}")
    asked = days("view", "1", "2") | days("view", "4", "5")
    assert history.tick() == asked


def test_the_days_that_were_made_without_it_are_made_again_when_it_comes() -> None:
    history = looking_back()
    for day in (1, 2, 4, 5):
        history.arrives("mart", "a", f"2013-06-{day:02}")
    history.ends(history.begins(history.tick()), "without the third")
    assert history.tick() == set()
    history.arrives("mart", "a", "2013-06-03")
    assert history.tick() == days("view", "3", "5")


def night(day: int, month: int = 9, *, hour: int = 3, minute: int = 0) -> datetime:
    """A moment of 2014, when all days of the history's partitions are past."""
    return datetime(2014, month, day, hour, minute, tzinfo=NEW_YORK)


def nightly() -> History:
    history = History(
        [
            asset("mart"),
            asset("view", conditions.timed(*NIGHTLY), deps=[window("mart", 2)]),
        ]
    )
    history.tick(night(10, hour=2, minute=30))
    return history


def test_features_wait_for_the_night_and_are_made_once() -> None:
    history = nightly()
    for day in (1, 2, 3):
        history.arrives("mart", "a", f"2013-06-{day:02}")
        assert history.tick() == set()
    assert history.tick(night(10, minute=1)) == days("view", "1", "3")
    assert history.tick() == set()


def test_what_changes_after_the_night_waits_for_the_next() -> None:
    history = nightly()
    history.arrives("mart", "a", "2013-06-01")
    made = history.tick(night(10, minute=1))
    history.ends(history.begins(made), "x")
    history.arrives("mart", "b", "2013-06-01")
    assert history.tick() == set()
    assert history.tick(night(10, hour=23)) == set()
    assert history.tick(night(11, minute=1)) == days("view", "1")


def test_what_could_not_be_made_at_night_is_made_as_soon_as_it_can() -> None:
    history = nightly()
    history.arrives("mart", "a", "2013-06-01")
    run = history.begins(days("mart", "1"))
    assert history.tick(night(10, minute=1)) == set()
    history.ends(run, "b")
    assert history.tick() == days("view", "1")


def test_nights_that_passed_while_the_daemon_was_down_are_one_night() -> None:
    history = nightly()
    history.arrives("mart", "a", "2013-06-01")
    history.arrives("mart", "a", "2013-06-02")
    assert history.tick(night(13, hour=9)) == days("view", "1", "2")
    assert history.tick() == set()


@pytest.mark.parametrize(("month", "day"), [(3, 9), (11, 2)])
def test_every_night_comes_once_where_clocks_change(month: int, day: int) -> None:
    history = History([asset("mart"), asset("view", conditions.timed(*NIGHTLY), deps=["mart"])])
    asked = []
    now = night(day - 1, month, hour=12, minute=1)
    history.tick(now)
    for hours in range(3, 48, 3):
        history.arrives("mart", str(hours), "2013-06-01")
        tick = now.astimezone(ZoneInfo("UTC")) + timedelta(hours=hours)
        if history.tick(tick):
            asked.append(tick.astimezone(NEW_YORK))
    assert [when.day for when in asked] == [day, day + 1]
    assert all(when.hour in (3, 4, 5) for when in asked)


def test_a_missing_optional_input_holds_nothing_back_and_is_followed_when_it_comes() -> None:
    needs = conditions.Needs(optional=[dg.AssetKey("weather")])
    history = History(
        [
            asset("spine"),
            asset("weather"),
            asset("scores", conditions.flow(needs=needs), deps=["spine", "weather"]),
        ]
    )
    history.tick()
    history.arrives("spine", "a", "2013-06-03")
    assert history.tick() == days("scores", "3")
    history.ends(history.begins(days("scores", "3")), "without weather")
    history.arrives("weather", "w", "2013-06-03")
    assert history.tick() == days("scores", "3")


def test_a_scored_day_stays_as_it_is_under_a_new_model_and_new_code() -> None:
    model = dg.AssetSelection.assets("model")
    condition = conditions.scoring(unmoved_by=model)
    by_month = dg.AssetDep("model", partition_mapping=dg.TimeWindowPartitionMapping())
    history = History(
        [
            asset("spine"),
            asset("model", partitions=MONTHS),
            asset("scores", condition, deps=["spine", by_month]),
        ]
    )
    history.tick()
    history.arrives("spine", "a", "2013-06-03")
    assert history.tick() == set()
    history.arrives("model", "champion", "2013-06")
    assert history.tick() == days("scores", "3")
    history.ends(history.begins(days("scores", "3")), "x")
    history.arrives("model", "new champion", "2013-06")
    assert history.tick() == set()
    history.assets = [
        *history.assets[:2],
        asset("scores", condition, deps=["spine", by_month], code="2"),
    ]
    assert history.tick() == set()
    history.arrives("spine", "a", "2013-06-04")
    assert history.tick() == days("scores", "4")


def test_what_hangs_on_a_table_twice_is_made_once() -> None:
    history = History(
        [
            asset("spine"),
            asset("scores", conditions.flow(), deps=["spine"]),
            asset("monitor", conditions.following_flow(), deps=[window("spine", 1), "scores"]),
        ]
    )
    for day in range(1, 31):
        history.arrives("spine", "a", f"2013-06-{day:02}")
    history.ends(history.begins(history.tick()), "s")
    history.ends(history.begins(history.tick(evaluations=3)), "m")
    assert history.tick() == set()

    history.arrives("spine", "late label", "2013-06-03")
    assert history.tick() == days("scores", "3")
    run = history.begins(days("scores", "3"))
    assert history.tick() == days("monitor", "4")
    history.ends(history.begins(days("monitor", "4")), "m of the late label")
    history.ends(run, "s of the late label")
    assert history.tick(evaluations=4) == days("monitor", "3")
    history.ends(history.begins(days("monitor", "3")), "m of the late label")
    assert history.tick(evaluations=4) == set()


def monthly() -> History:
    history = History(
        [
            asset("view"),
            asset(
                "training_set",
                conditions.timed(*MONTHLY),
                partitions=MONTHS,
                deps=[dg.AssetDep("view", partition_mapping=dg.TimeWindowPartitionMapping())],
            ),
            asset("model", conditions.trained(*MONTHLY), partitions=MONTHS, deps=["training_set"]),
        ]
    )
    history.tick(night(1, hour=12))
    return history


def test_a_month_is_trained_at_its_time_once_all_of_its_days_are_there() -> None:
    history = monthly()
    for day in range(1, 31):
        history.arrives("view", "a", f"2013-06-{day:02}")
        assert history.tick() == set()
    assert history.tick(night(2, hour=5, minute=1)) == {("training_set", "2013-06")}
    history.ends(history.begins([("training_set", "2013-06")]), "t")
    assert history.tick() == {("model", "2013-06")}
    assert history.tick() == set()


def test_a_day_that_comes_after_the_months_time_completes_it() -> None:
    history = monthly()
    for day in range(1, 30):
        history.arrives("view", "a", f"2013-06-{day:02}")
    assert history.tick(night(2, hour=5, minute=1)) == set()
    history.arrives("view", "a", "2013-06-30")
    assert history.tick() == {("training_set", "2013-06")}


def test_the_code_of_models_takes_effect_at_the_months_time() -> None:
    history = monthly()
    history.arrives("training_set", "t", "2013-06")
    history.ends(history.begins(history.tick()), "m")
    history.assets = [
        *history.assets[:2],
        asset(
            "model",
            conditions.trained(*MONTHLY),
            partitions=MONTHS,
            deps=["training_set"],
            code="2",
        ),
    ]
    assert history.tick() == set()
    assert history.tick(night(2, 10, hour=5, minute=1)) == {("model", "2013-06")}


@pytest.mark.parametrize(
    "condition",
    [
        conditions.flow(),
        conditions.step_flow(dg.AssetSelection.groups("staging", "marts"), SENSOR),
        conditions.following_flow(),
        conditions.timed(*NIGHTLY),
        conditions.scoring(
            dg.AssetSelection.assets("model"),
            conditions.Needs(
                optional=[dg.AssetKey("weather")],
                looked_back_on=[dg.AssetKey("mart"), dg.AssetKey("weather")],
                calendar=dg.AssetKey("source"),
            ),
        ),
        conditions.trained(*MONTHLY),
    ],
    ids=["flow", "step", "settled", "timed", "scored", "trained"],
)
def test_no_two_parts_of_a_condition_remember_under_one_name(
    condition: dg.AutomationCondition[Any],
) -> None:
    """Dagster names what a part remembers by little of it; two of one name would swap memories."""
    parts: dict[str, set[str]] = {}

    def collect(part: dg.AutomationCondition[Any], above: str | None, place: int | None) -> None:
        name = part.get_node_unique_id(parent_unique_id=above, index=place, target_key=None)
        parts.setdefault(name, set()).add(repr(part))
        for index, child in enumerate(part.children):
            collect(child, name, index)

    collect(condition, None, None)
    assert {name: same for name, same in parts.items() if len(same) > 1} == {}
    assert condition.is_serializable, "the daemon evaluates what it can read by itself"
