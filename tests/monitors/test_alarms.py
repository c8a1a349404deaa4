"""What each monitor calls an alarm on a day, and what it leaves alone."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from made_up_days import FIRST, Columns, history, made_up_day

from mlops_assets.monitors.concept import Concept
from mlops_assets.monitors.drift import Drift
from mlops_assets.monitors.finding import Look, Monitor
from mlops_assets.monitors.freshness import Freshness
from mlops_assets.monitors.history import History, Inputs, RawCount
from mlops_assets.monitors.performance import Performance
from mlops_assets.monitors.quality import Quality

PROBABILITY = 1e-6
FEATURES = ("weather__knots", "weather__pressure", "distance")

CONCEPT = Concept(("carrier",), ("minutes",), PROBABILITY)
DRIFT = Drift(FEATURES, PROBABILITY)
QUALITY = Quality(FEATURES, (), PROBABILITY)
PERFORMANCE = Performance(("carrier",), PROBABILITY)
FRESHNESS = Freshness(("weather",), PROBABILITY)
MONITORS = (CONCEPT, DRIFT, QUALITY, PERFORMANCE, FRESHNESS)

Change = Callable[[Columns], None]


def doubled(columns: Columns) -> None:
    columns["minutes"] = np.where(columns["carrier"] == "UA", 2, 1) * columns["minutes"]


def storm(columns: Columns) -> None:
    columns["minutes"] = np.abs(columns["minutes"]) + 30
    columns["label"] = np.ones(len(columns["label"]))


def in_metres(columns: Columns) -> None:
    columns["weather__knots"] = columns["weather__knots"] * 0.5144


def no_weather(columns: Columns) -> None:
    for name in ("weather__knots", "weather__pressure", "weather__age_hours"):
        columns[name] = np.full(len(columns[name]), np.nan)


def far_routes(columns: Columns) -> None:
    columns["distance"] = np.where(columns["distance"] < 1000, 2500.0, columns["distance"])


def scores_of_no_use(columns: Columns) -> None:
    columns["score"] = np.where(columns["label"] == 1, 0.2, 0.3) + 0.001 * np.arange(
        len(columns["label"])
    ) / len(columns["label"])


def subjects(look: Look) -> list[str]:
    return look.findings.subjects


@pytest.mark.parametrize(
    ("monitor", "change", "subject"),
    [
        (CONCEPT, doubled, "carrier UA"),
        (QUALITY, in_metres, "weather"),
        (QUALITY, no_weather, "weather"),
        (FRESHNESS, no_weather, "weather"),
        (DRIFT, far_routes, "distance"),
        (PERFORMANCE, scores_of_no_use, "ranking"),
    ],
)
def test_a_change_is_an_alarm_about_what_changed(
    monitor: Monitor, change: Change, subject: str
) -> None:
    look = monitor.look(history(last=change))
    assert subjects(look) == [subject]
    assert look.findings.sentence.startswith(subject)


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize("first", [0, 100, 200])
@pytest.mark.parametrize("rows", [12, 400])
def test_another_day_of_the_same_kind_is_none(monitor: Monitor, first: int, rows: int) -> None:
    assert subjects(monitor.look(history(first=first, last_rows=rows))) == [] or (
        monitor is QUALITY and rows == 12
    )


@pytest.mark.parametrize("monitor", MONITORS)
def test_few_days_before_it_are_no_reference(monitor: Monitor) -> None:
    look = monitor.look(history(10, last=in_metres))
    assert subjects(look) == []
    assert "too few days" in look.findings.sentence


@pytest.mark.parametrize("monitor", MONITORS)
def test_days_that_are_missing_are_left_out(monitor: Monitor) -> None:
    look = monitor.look(history(missing=(10, 11, 20, 30)))
    assert subjects(look) == []
    assert look.findings.reference_days == 24


@pytest.mark.parametrize("monitor", MONITORS)
def test_the_same_days_give_the_same_bytes(monitor: Monitor) -> None:
    first, second = (monitor.look(history()) for _ in range(2))
    assert first.findings.to_json() == second.findings.to_json()
    assert first.samples.to_json() == second.samples.to_json()


def test_a_storm_that_delays_everyone_is_no_drift_of_any_carrier() -> None:
    assert not any("carrier" in subject for subject in subjects(CONCEPT.look(history(last=storm))))


def test_a_day_with_half_of_its_rows_is_an_alarm_and_a_holiday_none() -> None:
    assert subjects(QUALITY.look(history(last_rows=270))) == []
    assert subjects(QUALITY.look(history(last_rows=190))) == ["rows"]


def test_a_share_that_comes_and_goes_may_come() -> None:
    def patchy(columns: Columns) -> None:
        columns["weather__pressure"][: int(columns["score"][0] * 800)] = np.nan

    look = QUALITY.look(history(spoilt=36, last=patchy))
    assert subjects(look) == []


def test_quarantined_rows_are_an_alarm_where_there_were_none() -> None:
    def counts(today: int) -> Inputs:
        days = {date(2013, 4, day): RawCount(900, 1) for day in range(1, 31)}
        return Inputs(raw={"raw/flights": days | {date(2013, 5, 6): RawCount(900 - today, today)}})

    assert subjects(QUALITY.look(history(inputs=counts(2)))) == []
    assert subjects(QUALITY.look(history(inputs=counts(60)))) == ["raw/flights"]


def test_an_input_whose_newest_day_lies_behind_is_an_alarm() -> None:
    inputs = Inputs(days_behind={"features/weather": 2, "features/calendar": 0})
    look = FRESHNESS.look(history(inputs=inputs))
    assert subjects(look) == ["weather"]
    assert "its newest day lies 2 days before 2013-05-06" in look.findings.sentence


def test_an_alarm_has_a_sample_that_says_of_what() -> None:
    samples = CONCEPT.look(history(last=doubled)).samples
    assert samples.by_name("alarm") == {(("subject", "carrier UA"),): 1.0}
    assert samples.by_name("alarms") == {(): 1.0}
    assert CONCEPT.look(history()).samples.by_name("alarm") == {}


def test_what_is_measured_has_its_slice_and_window_as_labels() -> None:
    samples = PERFORMANCE.look(history()).samples
    assert {dict(labels)["days"] for labels in samples.by_name("roc_auc")} == {"1", "7", "28"}
    assert (("carrier", "UA"), ("days", "28")) in samples.by_name("brier")


def test_labels_that_are_not_known_yet_are_left_out() -> None:
    def unknown(columns: Columns) -> None:
        columns["label"][:] = np.nan
        columns["minutes"][:] = np.nan

    assert "ROC AUC" not in PERFORMANCE.look(history(last=unknown)).figures
    assert subjects(PERFORMANCE.look(history(last=unknown))) == []
    assert subjects(CONCEPT.look(history(last=unknown))) == []


def filled(**values: Any) -> Change:
    """Gives whole columns one value."""

    def change(columns: Columns) -> None:
        for name, value in values.items():
            kind = object if value is None or isinstance(value, str) else float
            columns[name] = np.full(len(columns[name]), value, dtype=kind)

    return change


def only_on(places: range, change: Change, *, today: Change) -> History:
    """A history in which nothing but those days is as ever; the others before it are spoilt."""
    made = history(last=today)
    before = [
        day if place in places else made_up_day((day.day - FIRST).days, change=change)
        for place, day in enumerate(made.before)
    ]
    return replace(made, before=before)


def at_100_times(columns: Columns) -> None:
    columns["weather__knots"] = columns["weather__knots"] * 100 + 1000


@pytest.mark.parametrize("monitor", [DRIFT, QUALITY])
@pytest.mark.parametrize(("days", "expected"), [(13, []), (14, ["weather"])])
@pytest.mark.parametrize("instead", [np.nan, None, "text"])
def test_a_column_is_judged_by_days_that_have_such_values_if_they_are_enough(
    monitor: Monitor, days: int, expected: list[str], instead: Any
) -> None:
    looked = monitor.look(
        only_on(range(20, 20 + days), filled(weather__knots=instead), today=at_100_times)
    )
    of_knots = [found for found in looked.findings.alarms if "weather__knots" in found.caption]
    assert [found.subject for found in of_knots][:1] == expected


@pytest.mark.parametrize(("days", "judged"), [(13, False), (14, True)])
def test_residuals_are_judged_by_days_whose_labels_are_known(days: int, judged: bool) -> None:
    unknown = filled(label=np.nan, minutes=np.nan)
    look = CONCEPT.look(only_on(range(20, 20 + days), unknown, today=filled(label=1.0)))
    assert ("all rows" in {found.subject for found in look.findings.findings}) == judged


@pytest.mark.parametrize(("days", "judged"), [(13, False), (14, True)])
@pytest.mark.parametrize(
    ("monitor", "name"), [(QUALITY, "missing_share"), (FRESHNESS, "expired_share")]
)
def test_shares_are_judged_by_days_that_have_rows(
    monitor: Monitor, name: str, days: int, judged: bool
) -> None:
    made = history(last=no_weather)
    before = [
        day if place in range(20, 20 + days) else made_up_day(place, rows=0)
        for place, day in enumerate(made.before)
    ]
    look = monitor.look(replace(made, before=before))
    assert (name in {found.name for found in look.findings.alarms}) == judged


def new_carrier(columns: Columns) -> None:
    columns["carrier"] = np.where(columns["carrier"] == "UA", "ZZ", columns["carrier"])


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize("spoilt", [1, 36])
@pytest.mark.parametrize(
    "change",
    [
        filled(label=0.0),
        filled(label=1.0),
        filled(label=np.nan, minutes=np.nan),
        filled(weather__knots=np.nan),
        filled(weather__knots=None),
        filled(weather__knots="calm"),
        filled(carrier=None),
        filled(score=0.5),
        filled(score=np.nan),
        filled(minutes=0.0),
        filled(weather__knots=3e38, weather__age_hours=3e38, minutes=-3e38),
        new_carrier,
    ],
)
def test_a_day_of_any_values_has_findings_that_can_be_stored(
    monitor: Monitor, spoilt: int, change: Change
) -> None:
    look = monitor.look(history(last=change, spoilt=spoilt))
    assert look.findings.to_json()
    assert look.samples.to_json()


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize("empty", [(35,), (10, 20), tuple(range(35)), tuple(range(36))])
def test_days_without_rows_have_findings_that_can_be_stored(
    monitor: Monitor, empty: tuple[int, ...]
) -> None:
    *before, today = [made_up_day(place, rows=0 if place in empty else 400) for place in range(36)]
    look = monitor.look(History(today, before, 28, 14))
    assert look.findings.to_json()
    assert look.samples.to_json()
    assert set(subjects(look)) <= {"rows"}
