"""PSI and KS tell a shift from a small day, and from a day that is merely another day."""

from math import log

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import ks_2samp

from mlops_assets.monitors.distribution import binned, ks, psi, shift
from mlops_assets.monitors.history import Values


def values(entries: npt.ArrayLike) -> Values:
    distinct, counts = np.unique(np.asarray(entries), return_counts=True)
    return Values(distinct, counts, 0)


def test_the_index_is_what_its_formula_says() -> None:
    found = (30.5 / 101, 70.5 / 101)
    usual = (500.5 / 1001, 500.5 / 1001)
    expected = sum((a - b) * log(a / b) for a, b in zip(found, usual, strict=True))
    assert psi(np.array([30, 70]), np.array([500, 500])) == pytest.approx(expected)


def test_the_distance_is_scipys_where_every_value_has_a_bin() -> None:
    draw = np.random.default_rng(1)
    today, before = draw.integers(0, 6, 80), draw.integers(1, 8, 900)
    counts = [np.bincount(entries, minlength=8) for entries in (today, before)]
    assert ks(*counts) == pytest.approx(ks_2samp(today, before).statistic)


def test_bins_are_tenths_of_the_reference_and_what_lies_below_and_above() -> None:
    reference = values(np.arange(1000.0))
    today = values(np.repeat([-0.5, 998.5, 999.5], [20, 10, 50]))
    before, now = binned([reference, today], reference=1)
    assert before.tolist() == [0, *[100] * 10, 0]
    assert now.tolist() == [20, *[0] * 9, 10, 50]


def test_a_text_never_seen_is_counted_with_the_rare_ones() -> None:
    reference, today = values(["UA"] * 50 + ["DL"] * 30), values(["DL"] * 5 + ["ZZ"] * 5)
    before, now = binned([reference, today], reference=1)
    assert before.tolist() == [50, 30, 0]
    assert now.tolist() == [0, 5, 5]


@pytest.mark.parametrize("rows", [5, 20, 100, 1000, 5000])
def test_without_a_shift_no_more_days_lie_beyond_their_limit_than_stated(rows: int) -> None:
    draw, trials, stated = np.random.default_rng(rows), 100, 0.05
    beyond = 0
    for _ in range(trials):
        days = [values(draw.normal(draw.normal(0, 0.3), 1, 1000)) for _ in range(20)]
        found = shift(days, values(draw.normal(draw.normal(0, 0.3), 1, rows)), stated)
        assert found is not None
        beyond += found.beyond
    assert beyond / trials <= stated + 3 * np.sqrt(stated * (1 - stated) / trials)


@pytest.mark.parametrize("rows", [100, 1000, 5000])
def test_a_shift_lies_beyond_the_limits(rows: int) -> None:
    draw = np.random.default_rng(rows)
    days = [values(draw.choice(4, 1000, p=[0.4, 0.3, 0.2, 0.1]).astype(float)) for _ in range(28)]
    found = shift(days, values(draw.choice(4, rows, p=[0.05, 0.1, 0.25, 0.6]).astype(float)), 1e-6)
    assert found is not None
    assert found.beyond


def test_a_column_that_moves_from_day_to_day_may_move() -> None:
    draw = np.random.default_rng(0)
    days = [values(draw.normal(draw.normal(0, 3), 1, 500)) for _ in range(28)]
    found = shift(days, values(draw.normal(5, 1, 500)), 1e-6)
    assert found is not None
    assert found.psi > 1
    assert not found.beyond


def test_four_rows_are_not_judged() -> None:
    days = [values(np.arange(100.0))] * 20
    assert shift(days, values([1.0, 2.0, 3.0, 4.0]), 1e-6) is None


def test_a_column_that_has_one_value_is_not_judged() -> None:
    days = [values(np.zeros(100))] * 20
    assert shift(days, values(np.zeros(100)), 1e-6) is None
