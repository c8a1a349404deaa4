"""A monitor's report says first whether there is an alarm, and is the same bytes each time."""

import pytest
from made_up_days import history
from test_alarms import CONCEPT, DRIFT, FRESHNESS, MONITORS, PERFORMANCE, QUALITY, doubled

from mlops_assets.monitors.finding import Monitor
from mlops_assets.monitors.report import render


@pytest.mark.parametrize("monitor", MONITORS)
def test_a_report_is_the_same_bytes_each_time_and_small(monitor: Monitor) -> None:
    reports = [render(monitor.look(history()), "toy 2013-05-06", {"Table": "x"}) for _ in range(2)]
    assert reports[0].html == reports[1].html
    assert reports[0].markdown == reports[1].markdown
    assert len(reports[0].markdown) < 200_000
    assert "data:image/png" in reports[0].markdown


@pytest.mark.parametrize("monitor", [PERFORMANCE, DRIFT, CONCEPT, QUALITY, FRESHNESS])
def test_a_report_of_the_first_day_says_that_it_has_nothing_to_compare_with(
    monitor: Monitor,
) -> None:
    report = render(monitor.look(history(1)), "toy 2013-04-01", {})
    assert "too few days before it" in report.markdown


def test_an_alarm_stands_at_the_top() -> None:
    report = render(CONCEPT.look(history(last=doubled)), "toy 2013-05-06", {})
    assert "1 alarm: carrier UA" in report.markdown.splitlines()[0]
    assert b"1 alarm: carrier UA" in report.html
