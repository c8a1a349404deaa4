import json
from itertools import pairwise, product
from math import log

import numpy as np
import pytest

from mlops_assets.ml.calibration import recalibrate
from mlops_assets.ml.evaluation import CURVE_POINTS, Evaluation, evaluate
from mlops_assets.ml.labels import UnusableRowsError
from mlops_assets.ml.threshold import Costs


def judged(labels, scores, baseline=None, **slices):
    baseline = np.full(len(labels), 0.5) if baseline is None else baseline
    return evaluate(
        labels,
        scores,
        baseline,
        baseline_name="even odds",
        costs=Costs(false_alarm=1, miss=3),
        slices=slices,
    )


@pytest.fixture(scope="module")
def calibrated():
    rng = np.random.default_rng(11)
    scores = rng.beta(2, 5, 20_000)
    return (rng.random(20_000) < scores).astype(int), scores


def test_the_numbers_of_five_rows_are_those_worked_out_by_hand():
    found = judged([0, 0, 1, 1, 1], [0.1, 0.6, 0.6, 0.8, 0.3])
    assert (found.n, found.positives) == (5, 3)
    assert found.model.brier == pytest.approx((0.01 + 0.36 + 0.16 + 0.04 + 0.49) / 5)
    expected = -(log(0.9) + log(0.4) + log(0.6) + log(0.8) + log(0.3)) / 5
    assert found.model.log_loss == pytest.approx(expected)
    assert found.model.pr_auc == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3 + 1 / 3 * 3 / 4)
    assert found.baseline.brier == 0.25
    assert found.brier_skill == pytest.approx(1 - found.model.brier / 0.25)


def test_roc_auc_is_the_share_of_pairs_ranked_rightly():
    rng = np.random.default_rng(5)
    labels, scores = rng.integers(0, 2, 80), rng.integers(0, 12, 80) / 12
    pairs = list(product(scores[labels == 1], scores[labels == 0]))
    right = sum((one > zero) + (one == zero) / 2 for one, zero in pairs)
    assert judged(labels, scores).model.roc_auc == pytest.approx(right / len(pairs))


def test_a_calibrated_model_has_the_identity_as_its_line(calibrated):
    found = judged(*calibrated)
    assert found.recalibration is not None
    assert found.recalibration.intercept == pytest.approx(0, abs=0.06)
    assert found.recalibration.slope == pytest.approx(1, abs=0.06)
    assert found.calibration_error < 0.015


@pytest.mark.parametrize(("intercept", "slope"), [(2, 1), (-2, 1), (0, 0.5), (1, 2)])
def test_the_line_undoes_what_was_done_to_the_log_odds(calibrated, intercept, slope):
    labels, scores = calibrated
    true = judged(labels, scores).recalibration
    odds = (np.log(scores / (1 - scores)) - intercept) / slope
    found = judged(labels, 1 / (1 + np.exp(-odds))).recalibration
    assert true is not None
    assert found is not None
    assert found.slope == pytest.approx(true.slope * slope, abs=0.01)
    assert found.intercept == pytest.approx(true.intercept + true.slope * intercept, abs=0.01)


def test_the_line_is_the_likeliest_one(calibrated):
    labels, scores = calibrated
    odds = np.log(scores / (1 - scores))
    found = recalibrate(labels, scores)
    assert found is not None

    def likelihood(intercept, slope):
        line = intercept + slope * odds
        return (labels * line - np.log1p(np.exp(line))).sum()

    best = likelihood(found.intercept, found.slope)
    for nudge in product((-1e-3, 0, 1e-3), repeat=2):
        assert likelihood(found.intercept + nudge[0], found.slope + nudge[1]) <= best


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([0, 1, 0, 1], [0.5] * 4), ([0, 0, 1, 1], [0.2, 0.3, 0.6, 0.7])],
    ids=["constant scores", "outcomes split by a threshold"],
)
def test_where_no_line_fits_best_there_is_none(labels, scores):
    assert judged(labels, scores).recalibration is None


def test_calibration_bins_hold_every_row_once_and_keep_equal_scores_together(calibrated):
    labels, scores = calibrated
    scores = scores.round(1)
    found = judged(labels, scores).calibration
    assert sum(part.n for part in found) == len(labels)
    assert sum(part.positives for part in found) == labels.sum()
    assert all(low.highest < high.lowest for low, high in pairwise(found))
    for part in found:
        inside = (scores >= part.lowest) & (scores <= part.highest)
        assert (part.n, part.positives) == (inside.sum(), labels[inside].sum())


def test_calibration_error_is_the_mean_distance_over_the_bins():
    found = judged([0, 1, 1, 1], [0.2, 0.2, 0.9, 0.9])
    assert [(part.n, part.positives) for part in found.calibration] == [(2, 1), (2, 2)]
    assert found.calibration_error == pytest.approx((0.3 * 2 + 0.1 * 2) / 4)


def test_the_curve_is_thinned_and_still_goes_from_corner_to_corner(calibrated):
    curve = judged(*calibrated).roc
    points = [(point.false_positive_rate, point.true_positive_rate) for point in curve]
    assert len(points) == CURVE_POINTS
    assert (points[0], points[-1]) == ((0, 0), (1, 1))
    assert points == sorted(points)


def test_the_precision_recall_curve_goes_from_all_flagged_to_none(calibrated):
    labels, scores = calibrated
    curve = judged(labels, scores).precision_recall
    assert len(curve) == CURVE_POINTS
    assert (curve[0].recall, curve[-1].recall) == (1, 0)
    assert curve[0].precision == pytest.approx(labels.mean())
    for point in curve[:-1:40]:
        threshold = np.quantile(scores[labels == 1], 1 - point.recall, method="lower")
        flagged = scores >= threshold
        assert point.precision == pytest.approx(labels[flagged].mean(), abs=0.01)


def test_costs_decide_the_threshold_and_what_it_leads_to():
    found = judged([0, 0, 1, 1], [0.1, 0.3, 0.2, 0.9], [0.3] * 4).operation
    assert found.threshold == 0.25
    model, baseline = found.model, found.baseline
    assert (model.true_positives, model.false_positives) == (1, 1)
    assert (model.true_negatives, model.false_negatives) == (1, 1)
    assert model.cost == (1 + 3) / 4
    assert (baseline.true_positives, baseline.false_positives) == (2, 2)
    assert baseline.cost == found.cost_of_flagging_all == 0.5
    assert found.cost_of_flagging_none == 1.5


def test_the_threshold_of_the_costs_is_the_cheapest_for_calibrated_scores(calibrated):
    labels, scores = calibrated
    found = judged(labels, scores).operation

    def cost(threshold):
        flagged = scores >= threshold
        return ((labels == 1) & ~flagged).mean() * 3 + ((labels == 0) & flagged).mean()

    assert found.model.cost == pytest.approx(cost(found.threshold))
    assert min(map(cost, np.linspace(0.05, 0.6, 56))) > 0.99 * found.model.cost


def test_importance_is_told_from_the_most_important_on():
    found = evaluate(
        [0, 1],
        [0.2, 0.8],
        [0.5, 0.5],
        baseline_name="even odds",
        costs=Costs(false_alarm=1, miss=1),
        importance={"a": 0.1, "c": 0.5, "b": 0.1},
    )
    assert [entry.feature for entry in found.importance] == ["c", "a", "b"]


def test_slices_carry_their_support_and_no_ranking_of_a_single_class():
    found = judged(
        [0, 1, 1, 0, 1],
        [0.2, 0.9, 0.8, 0.4, 0.7],
        carrier=["UA", "UA", "AA", None, "UA"],
        hour=[10, 9, 9, 10, 10],
    )
    table = [(row.column, row.value, row.n, row.positives, row.roc_auc) for row in found.slices]
    assert table == [
        ("carrier", "AA", 1, 1, None),
        ("carrier", "UA", 3, 2, 1.0),
        ("carrier", "(missing)", 1, 0, None),
        ("hour", "9", 2, 2, None),
        ("hour", "10", 3, 1, 1.0),
    ]
    assert found.slices[0].brier == pytest.approx(0.04)
    assert found.slices[0].baseline_brier == 0.25


def test_the_order_of_the_rows_leaves_no_trace(calibrated):
    labels, scores = calibrated
    rng = np.random.default_rng(2)
    baseline, hours = rng.random(len(labels)), rng.integers(0, 24, len(labels))
    order = rng.permutation(len(labels))
    whole = judged(labels, scores, baseline, hour=hours.tolist())
    shuffled = judged(labels[order], scores[order], baseline[order], hour=hours[order].tolist())
    assert whole.to_json() == shuffled.to_json()


def test_json_holds_everything_and_is_plain(calibrated):
    found = judged(*calibrated, hour=[1] * 20_000)
    assert Evaluation.from_json(found.to_json()) == found
    assert json.loads(found.to_json())["brier_skill"] == found.brier_skill


@pytest.mark.parametrize(
    ("labels", "scores", "baseline", "message"),
    [
        ([], [], [], "was given no rows"),
        (
            [1, 1],
            [0.1, 0.2],
            [0.5, 0.5],
            "needs both outcomes in the labels, and all 2 rows have 1",
        ),
        ([0, 2], [0.1, 0.2], [0.5, 0.5], "needs 0 or 1"),
        ([0, None], [0.1, 0.2], [0.5, 0.5], "needs 0 or 1"),
        ([0, 1], [0.1], [0.5, 0.5], "1 scores for 2 labels"),
        ([0, 1], [0.1, 1.2], [0.5, 0.5], "scores that are probabilities"),
        ([0, 1], [0.1, float("nan")], [0.5, 0.5], "scores that are probabilities"),
        ([0, 1], [0.1, 0.2], [0, 1], "the baseline is right on every row"),
    ],
)
def test_what_cannot_be_judged_is_refused(labels, scores, baseline, message):
    with pytest.raises(UnusableRowsError, match=message):
        judged(labels, scores, baseline)


def test_a_slice_of_another_length_is_refused():
    with pytest.raises(UnusableRowsError, match="1 values of the slice 'hour' for 2 labels"):
        judged([0, 1], [0.1, 0.2], hour=[3])
