"""Intervals against their definitions."""

from itertools import product

import numpy as np
import pytest

from mlops_assets.ml.intervals import rate_interval, roc_auc_interval


@pytest.mark.parametrize(
    ("positives", "n", "low", "high"),
    [(0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1)],
)
def test_a_rates_interval_is_wilsons(positives, n, low, high):
    found = rate_interval(positives, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_an_areas_interval_is_delongs_by_comparing_every_pair():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 90)
    scores = (labels + rng.normal(0, 1.5, 90)).round(1)
    late, punctual = scores[labels == 1], scores[labels == 0]
    wins = np.array([[(x > y) + (x == y) / 2 for y in punctual] for x in late])
    variance = wins.mean(axis=1).var(ddof=1) / len(late) + wins.mean(axis=0).var(ddof=1) / len(
        punctual
    )
    half = 1.959964 * variance**0.5
    found = roc_auc_interval(labels, scores)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((wins.mean() - half, wins.mean() + half))


def test_an_areas_interval_holds_the_truth_in_nineteen_of_twenty_draws():
    rng = np.random.default_rng(4)
    held = 0
    truth = 0.7602499  # of two unit normals that lie one apart
    for _ in range(400):
        labels = np.repeat([0, 1], 60)
        found = roc_auc_interval(labels, labels + rng.normal(size=120))
        assert found is not None
        held += found.low <= truth <= found.high
    assert 0.92 < held / 400 < 0.98


@pytest.mark.parametrize("labels", [[0, 0, 1], [1, 1, 1, 0]])
def test_a_single_row_of_an_outcome_has_no_interval(labels):
    assert roc_auc_interval(np.array(labels), np.linspace(0, 1, len(labels))) is None


def test_ties_and_perfect_scores_stay_within_bounds():
    for scores in ([0.5] * 6, [0, 0, 0, 1, 1, 1]):
        found = roc_auc_interval(np.array([0, 0, 0, 1, 1, 1]), np.array(scores, float))
        assert found is not None
        assert 0 <= found.low <= found.high <= 1


def test_more_rows_make_a_narrower_interval():
    widths = [
        (found := rate_interval(count, 10 * count)).high - found.low for count in (1, 10, 100)
    ]
    assert widths == sorted(widths, reverse=True)
    assert all(0 <= bound <= 1 for bound, _ in product([found.low, found.high], [0]))
