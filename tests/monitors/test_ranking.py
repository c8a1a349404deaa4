"""How a small day is weighed among those that the ROC AUC is compared with."""

from math import sqrt

import numpy as np
import pytest
from made_up_days import Columns, made_up_day
from test_alarms import PERFORMANCE

from mlops_assets.monitors.finding import Finding
from mlops_assets.monitors.history import History
from mlops_assets.monitors.performance import Ranking, area_variance, measure, usual_area


def ranked_rightly(columns: Columns) -> None:
    columns["label"] = (np.argsort(np.argsort(-columns["score"])) < 5).astype(float)


def upside_down(columns: Columns) -> None:
    columns["score"] = 1 - columns["score"]


def judged(*small: int) -> list[Finding]:
    """A day ranked upside down, after days of which some are small and ranked without a fault."""
    before = [
        made_up_day(place, rows=35, change=ranked_rightly) if place in small else made_up_day(place)
        for place in range(35)
    ]
    today = made_up_day(35, change=upside_down)
    return PERFORMANCE.look(History(today, before, 28, 14)).findings.alarms


def test_a_small_day_without_a_fault_does_not_outweigh_all_others() -> None:
    without, small = judged()[0], judged(20)[0]
    assert without.low is not None
    assert small.low is not None
    assert small.low > without.low - 0.1


def test_an_ordinary_day_keeps_the_variance_that_is_its_own() -> None:
    for place in range(100):
        found = measure([made_up_day(place)])
        assert found is not None
        assert found.ranking is not None
        assert found.ranking.estimate(0.72).variance == found.ranking.variance


def test_the_variance_is_hanley_and_mcneils() -> None:
    # Their example: 51 abnormal and 58 normal images, an area of 0.893, a standard error of 0.032.
    assert sqrt(area_variance(0.893, 51, 58)) == pytest.approx(0.032, abs=0.001)


def test_the_usual_area_is_that_of_pairs_and_never_without_a_fault() -> None:
    days = [Ranking(1.0, 0.0, 5, 30), Ranking(0.7, 0.001, 100, 300)]
    assert usual_area(days) == pytest.approx((150 + 21000.5) / 30151)
    assert usual_area(days[:1]) < 1
    assert days[0].estimate(usual_area(days[:1])).variance > 0
