"""Promotion is earned on the same rows, and its record is the same wherever it is made."""

import numpy as np
import pytest

from mlops_assets.ml.comparison import compare
from mlops_assets.ml.decision import Decision, ModelPin, decide, ordered
from mlops_assets.ml.gates import GateResult
from mlops_assets.ml.labels import UnusableRowsError

CANDIDATE = ModelPin.of("month=2013-12/origin=JFK", b"candidate")
CHAMPION = ModelPin.of("month=2013-11/origin=JFK", b"champion")


def gate(passed=True):
    told = "it is fine." if passed else "it is not."
    return GateResult(name="brier_skill", passed=passed, sentence=told, value=0, limit="above 0")


@pytest.fixture(scope="module")
def month():
    rng = np.random.default_rng(6)
    odds = rng.normal(-1, 1, 5_000)
    labels = (rng.random(5_000) < 1 / (1 + np.exp(-odds))).astype(int)
    return labels, odds


def scores(odds, noise=0.0):
    rng = np.random.default_rng(9)
    return 1 / (1 + np.exp(-odds - rng.normal(0, 1, len(odds)) * noise))


def compared(month, candidate_noise, champion_noise, seed=1):
    labels, odds = month
    return compare(labels, scores(odds, candidate_noise), scores(odds, champion_noise), seed=seed)


def test_a_better_candidate_improves_surely_and_is_promoted(month):
    comparison = compared(month, 0, 1)
    assert comparison.low > 0
    decision = decide(CANDIDATE, [gate()], CHAMPION, comparison)
    assert (decision.outcome, decision.champion) == ("promoted", CANDIDATE)
    assert "is better" in decision.reason
    assert CHAMPION.partition in decision.reason


@pytest.mark.parametrize(("candidate", "champion"), [(1, 0), (0.05, 0.05), (0, 0)])
def test_what_is_not_surely_better_leaves_the_champion(month, candidate, champion):
    decision = decide(CANDIDATE, [gate()], CHAMPION, compared(month, candidate, champion))
    assert (decision.outcome, decision.champion) == ("kept", CHAMPION)
    assert "not surely better" in decision.reason


def test_the_first_that_passes_every_gate_is_champion():
    decision = decide(CANDIDATE, [gate()], None, None)
    assert (decision.outcome, decision.champion) == ("promoted", CANDIDATE)


@pytest.mark.parametrize("previous", [None, CHAMPION])
def test_a_refused_candidate_is_no_champion_however_good(month, previous):
    decision = decide(CANDIDATE, [gate(), gate(passed=False)], previous, compared(month, 0, 1))
    assert (decision.outcome, decision.champion) == ("kept", previous)
    assert "brier_skill: it is not." in decision.reason


def test_a_champion_that_cannot_be_scored_any_more_gives_way():
    decision = decide(CANDIDATE, [gate()], CHAMPION, None)
    assert decision.outcome == "promoted"
    assert "cannot be scored" in decision.reason


def test_an_order_is_obeyed_and_told():
    decision = ordered(CANDIDATE, [gate(passed=False)], CANDIDATE, CHAMPION, "it was steadier")
    assert (decision.outcome, decision.champion) == ("promoted", CHAMPION)
    assert decision.ordered
    assert "it was steadier" in decision.reason


def test_the_record_names_models_by_content_and_reads_back(month):
    decision = decide(CANDIDATE, [gate()], CHAMPION, compared(month, 0, 1))
    assert Decision.from_json(decision.to_json()) == decision


def test_the_interval_is_the_bootstraps_own(month):
    labels, odds = month
    candidate, champion = scores(odds), scores(odds, 0.5)
    gains = (champion - labels) ** 2 - (candidate - labels) ** 2
    rng = np.random.default_rng(77)
    means = [gains[rng.integers(0, len(gains), len(gains))].mean() for _ in range(2_000)]
    found = compare(labels, candidate, champion, seed=1)
    assert found.improvement == pytest.approx(gains.mean())
    spread = found.high - found.low
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(means, [0.05, 0.95])), abs=0.06 * spread
    )


def test_the_order_of_the_rows_leaves_no_trace_and_the_seed_does(month):
    labels, odds = month
    order = np.random.default_rng(2).permutation(len(labels))
    candidate, champion = scores(odds), scores(odds, 0.5)
    whole = compare(labels, candidate, champion, seed=1)
    assert compare(labels[order], candidate[order], champion[order], seed=1) == whole
    assert compare(labels, candidate, champion, seed=2).low != whole.low


def test_rows_of_one_outcome_decide_nothing():
    with pytest.raises(UnusableRowsError, match="both outcomes"):
        compare([1, 1], [0.5, 0.5], [0.4, 0.4], seed=1)
