"""A column that was constant, or was not there, is judged, or it is said why it is not."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from made_up_days import Columns, history, made_up_day

from mlops_assets.monitors.charts import compared
from mlops_assets.monitors.concept import Concept
from mlops_assets.monitors.distribution import bin_names
from mlops_assets.monitors.drift import Drift
from mlops_assets.monitors.finding import Findings, Look, Monitor
from mlops_assets.monitors.freshness import Freshness
from mlops_assets.monitors.history import DayRows, History
from mlops_assets.monitors.performance import Performance
from mlops_assets.monitors.quality import Quality

PROBABILITY = 1e-6
FEATURE = "weather__knots"
DRIFT, QUALITY = Drift((FEATURE,), PROBABILITY), Quality((FEATURE,), (), PROBABILITY)
CONCEPT, PERFORMANCE = Concept(("carrier",), (), PROBABILITY), Performance((), PROBABILITY)
FRESHNESS = Freshness(("weather",), PROBABILITY)


def after(
    days: Sequence[Callable[[Columns], None]], today: Callable[[Columns], None], rows: int = 400
) -> History:
    made: list[DayRows] = [
        made_up_day(place, rows=rows, change=change) for place, change in enumerate([*days, today])
    ]
    return History(made[-1], made[:-1], 28, 14)


def share_of(value: float, share: float, usual: float = 0.0) -> Callable[[Columns], None]:
    """A column of one value, of whose rows a share has another."""

    def change(columns: Columns) -> None:
        rows = len(columns["label"])
        values = np.full(rows, usual)
        values[: round(rows * share)] = value
        columns[FEATURE] = values

    return change


def constant(name: str, value: float) -> Callable[[Columns], None]:
    return lambda columns: columns.update({name: np.full(len(columns[name]), value)})


def reasons(look: Look) -> dict[str, str]:
    return {one.name: one.reason for one in look.findings.unjudged}


@pytest.mark.parametrize("monitor", [DRIFT, QUALITY])
@pytest.mark.parametrize("usual", [0.0, 7.5, -3e38])
@pytest.mark.parametrize("rows", [50, 400])
def test_a_number_that_was_constant_is_an_alarm_when_most_of_it_is_not(
    monitor: Monitor, usual: float, rows: int
) -> None:
    never = share_of(usual, 0, usual)
    for value in (usual + 1 if usual > -1e38 else 0.0, -1000.0):
        look = monitor.look(after([never] * 28, share_of(value, 0.6, usual), rows))
        assert look.findings.subjects == ["weather"]
    assert monitor.look(after([never] * 28, share_of(1, 0.002, usual), rows)).findings.alarms == []


@pytest.mark.parametrize("share", [0.0, 0.04])
def test_a_column_that_is_nearly_always_at_its_highest_value_is_judged(share: float) -> None:
    usually = [share_of(-1, share)] * 28
    assert DRIFT.look(after(usually, share_of(-1, 0.6))).findings.subjects == ["weather"]
    assert DRIFT.look(after(usually, share_of(-1, share + 0.01))).findings.alarms == []


def test_a_constant_has_bins_below_and_above_it() -> None:
    made = after([share_of(0, 0)] * 28, share_of(1, 0.6))
    days = made.comparable(FEATURE)
    assert bin_names(days) == ["below 0", "0", "above 0"]
    [chart] = compared(FEATURE, days, made.today.values(FEATURE))
    # Nothing ever lay below.
    assert chart.bins == ["0", "above 0"]
    assert chart.before == [1, 0]
    assert chart.today == [0.4, 0.6]


def test_a_constant_that_stays_is_said_not_to_be_judged() -> None:
    look = DRIFT.look(after([share_of(0, 0)] * 28, share_of(0, 0)))
    assert reasons(look) == {"psi": "it has one value, on the day and before"}


@pytest.mark.parametrize("monitor", [DRIFT, QUALITY])
def test_values_where_there_were_none_are_said_not_to_be_judged(monitor: Monitor) -> None:
    look = monitor.look(after([constant(FEATURE, np.nan)] * 28, share_of(1, 0.6)))
    told = [one for one in look.findings.unjudged if one.of == FEATURE]
    assert {one.reason.partition(" values")[0] for one in told} <= {
        "0 of the days before have 5",
        "0 of the days before have 1",
    }
    assert told


def test_scores_that_are_missing_are_said_not_to_be_judged() -> None:
    missing = constant("score", np.nan)
    look = DRIFT.look(history(last=missing))
    [told] = [one for one in look.findings.unjudged if one.subject == "score"]
    assert told.reason == "the day has 0 values, and it takes 5"
    assert "0 scored rows" in reasons(PERFORMANCE.look(history(last=missing)))["roc_auc"]
    assert CONCEPT.look(history(last=missing)).findings.unjudged


def test_a_score_that_becomes_constant_is_an_alarm() -> None:
    assert DRIFT.look(history(last=constant("score", 0.5))).findings.subjects == ["score"]
    assert PERFORMANCE.look(history(last=constant("score", 0.5))).findings.subjects == ["ranking"]


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_that_are_all_alike_have_no_ranking_and_it_is_said(label: float) -> None:
    look = PERFORMANCE.look(history(last=constant("label", label)))
    assert "0 scored rows have the rarer label" in reasons(look)["roc_auc"]


def test_one_late_flight_after_days_without_any_is_no_alarm() -> None:
    def none(columns: Columns) -> None:
        columns["label"][:] = 0
        columns["score"][:] = 0.02

    def one(columns: Columns) -> None:
        none(columns)
        columns["label"][3] = 1

    def half(columns: Columns) -> None:
        none(columns)
        columns["label"][::2] = 1

    assert "all rows" not in CONCEPT.look(after([none] * 28, one)).findings.subjects
    assert "all rows" in CONCEPT.look(after([none] * 28, half)).findings.subjects


def test_a_slice_of_all_rows_has_no_others_and_it_is_said() -> None:
    def one_carrier(columns: Columns) -> None:
        columns["carrier"][:] = "UA"

    look = CONCEPT.look(after([one_carrier] * 28, one_carrier))
    assert "0 of the others" in reasons(look)["residual"]


@pytest.mark.parametrize("monitor", [DRIFT, QUALITY, CONCEPT, PERFORMANCE, FRESHNESS])
@pytest.mark.parametrize("days", [0, 1, 13])
def test_each_figure_without_enough_days_before_it_says_so(monitor: Monitor, days: int) -> None:
    found = monitor.look(history(days + 1)).findings
    assert not found.alarms
    assert any(f"{days} of the days before" in one.reason for one in found.unjudged)
    assert Findings.from_json(found.to_json()) == found


def test_a_day_without_rows_says_so() -> None:
    for monitor in (QUALITY, FRESHNESS):
        look = monitor.look(history(last_rows=0))
        assert "the day has no rows" in reasons(look).values()
