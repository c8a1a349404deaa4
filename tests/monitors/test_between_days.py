"""A day is held to what days differ by, and to what chance adds to so few rows."""

import numpy as np
import pytest
from scipy.stats import t

from mlops_assets.monitors.between_days import Estimate, departure


def test_days_that_differ_by_chance_alone_are_weighted_by_their_rows() -> None:
    # Means 1, 2 and 6 of variance 4, 4 and 1: weights 1/4, 1/4 and 1 give a mean of 4.5. Their
    # scatter of 7/3 + ... is DerSimonian and Laird's example worked by hand:
    # Q = (12.25 + 6.25) / 4 + 2.25 = 6.875; (6.875 - 2) / (1.5 - 1.125 / 1.5) = 6.5.
    found = departure(
        [Estimate(1, 4), Estimate(2, 4), Estimate(6, 1)], Estimate(9, 2), fewest_days=3
    )
    assert found is not None
    weights = np.array([1 / 10.5, 1 / 10.5, 1 / 7.5])
    expected = (weights * [1, 2, 6]).sum() / weights.sum()
    assert found.expected == pytest.approx(expected)
    assert found.spread == pytest.approx(np.sqrt(6.5 + 2 + 1 / weights.sum()))


def test_limits_are_those_of_students_t() -> None:
    days = [Estimate(value, 0.01) for value in (1.0, 1.2, 0.8, 1.1, 0.9, 1.0)]
    found = departure(days, Estimate(1.0, 0.01), fewest_days=3)
    assert found is not None
    low, high = found.limits(0.01)
    reach = t.isf(0.005, 4) * found.spread
    assert (low, high) == (
        pytest.approx(found.expected - reach),
        pytest.approx(found.expected + reach),
    )
    assert found.limits(0.01, "below")[1] is None
    assert found.limits(0.01, "above")[0] is None


def test_fewer_days_than_it_takes_are_no_reference() -> None:
    days = [Estimate(value, 1) for value in range(5)]
    assert departure(days, Estimate(1, 1), fewest_days=5) is not None
    assert departure(days, Estimate(1, 1), fewest_days=6) is None


def test_days_that_were_all_equal_grant_no_more_than_is_granted() -> None:
    days = [Estimate(0.5, 0.0)] * 20
    strict = departure(days, Estimate(0.51, 0.0), fewest_days=14)
    granted = departure(days, Estimate(0.51, 0.0), fewest_days=14, least_variance=0.02**2)
    assert strict is not None
    assert granted is not None
    assert strict.beyond(1e-6)
    assert not granted.beyond(1e-6)


@pytest.mark.parametrize("rows", [5, 30, 200, 1000, 5000])
@pytest.mark.parametrize("between", [0.0, 0.3])
def test_without_a_shift_no_more_days_lie_beyond_their_limit_than_stated(
    rows: int, between: float
) -> None:
    draw, trials, stated = np.random.default_rng(rows), 400, 0.05
    # A day's mean of rows with variance 1, whose days have a mean of their own.
    noise = np.sqrt(between**2 + 1 / rows)
    means = draw.normal(0, noise, (trials, 29))
    beyond = 0
    for trial in means:
        days = [Estimate(mean, 1 / rows) for mean in trial]
        found = departure(days[:-1], days[-1], fewest_days=14)
        beyond += found is not None and found.beyond(stated)
    assert beyond / trials <= stated + 3 * np.sqrt(stated * (1 - stated) / trials)


@pytest.mark.parametrize("rows", [5, 30, 200, 1000, 5000])
def test_a_shift_of_many_deviations_lies_beyond_its_limit(rows: int) -> None:
    draw = np.random.default_rng(rows)
    days = [Estimate(mean, 1 / rows) for mean in draw.normal(0, np.sqrt(0.09 + 1 / rows), 28)]
    found = departure(days, Estimate(12 * np.sqrt(0.09 + 1 / rows), 1 / rows), fewest_days=14)
    assert found is not None
    assert found.beyond(1e-6)
