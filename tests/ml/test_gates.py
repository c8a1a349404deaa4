"""Gates refuse what is broken, by name, and say why in a sentence."""

import numpy as np
import pytest
from pydantic import ValidationError

from mlops_assets.ml.evaluation import evaluate
from mlops_assets.ml.gates import Gates
from mlops_assets.ml.threshold import Costs

GATES = Gates.model_validate(
    {
        "brier_skill": {"above": 0},
        "calibration_slope": {"from": 0.5, "to": 1.5},
        "slice_roc_auc": {
            "column": "carrier",
            "at_least": 0.55,
            "fewest_rows": 200,
            "fewest_of_each": 20,
        },
    }
)
CARRIERS = ("AA", "DL", "OO", "UA")


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(8)
    carriers = rng.choice(CARRIERS, 4_000, p=[0.4, 0.3, 0.02, 0.28])
    odds = rng.normal(-1.2, 1, 4_000)
    labels = (rng.random(4_000) < 1 / (1 + np.exp(-odds))).astype(int)
    return labels, odds, carriers


def judged(labels, odds, carriers, gates=GATES):
    evaluation = evaluate(
        labels,
        1 / (1 + np.exp(-odds)),
        np.full(len(labels), labels.mean()),
        baseline_name="overall rate",
        costs=Costs(false_alarm=1, miss=3),
        slices={"carrier": carriers.tolist()},
    )
    return {result.name: result for result in gates.judge(evaluation)}


def refused(results):
    return {name for name, result in results.items() if not result.passed}


def test_an_honest_model_passes_every_gate(world):
    assert refused(judged(*world)) == set()


def test_shuffled_labels_are_refused_by_the_skill_gate(world):
    labels, odds, carriers = world
    shuffled = np.random.default_rng(1).permutation(labels)
    assert "brier_skill" in refused(judged(shuffled, odds, carriers))


def test_an_offset_of_two_in_log_odds_is_refused_by_the_skill_gate(world):
    labels, odds, carriers = world
    for offset in (2, -2):
        found = judged(labels, odds + offset, carriers)
        assert refused(found) == {"brier_skill"}
        assert found["calibration_slope"].value == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("factor", [3, 0.4])
def test_scores_too_extreme_or_too_timid_are_refused_by_the_slope_gate(world, factor):
    labels, odds, carriers = world
    assert "calibration_slope" in refused(judged(labels, odds * factor, carriers))


def test_constant_scores_have_no_slope_and_do_not_pass(world):
    labels, odds, carriers = world
    found = judged(labels, np.full(len(odds), -1.0), carriers)["calibration_slope"]
    assert not found.passed
    assert found.value is None
    assert "cannot be determined" in found.sentence


def test_a_corrupted_carrier_is_refused_and_named_by_the_slice_gate(world):
    labels, odds, carriers = world
    spoilt = np.where(carriers == "UA", -odds - 2.4, odds)
    found = judged(labels, spoilt, carriers)
    assert "slice_roc_auc" in refused(found)
    assert "UA is ranked worst" in found["slice_roc_auc"].sentence


def test_a_carrier_too_small_to_judge_by_is_left_out(world):
    labels, odds, carriers = world
    spoilt = np.where(carriers == "OO", -odds - 2.4, odds)
    assert refused(judged(labels, spoilt, carriers)) == set()


def test_without_a_large_slice_the_slice_gate_passes_and_says_so(world):
    labels, odds, carriers = world
    found = judged(labels[:100], odds[:100], carriers[:100])["slice_roc_auc"]
    assert found.passed
    assert "enough rows" in found.sentence


def test_only_declared_gates_are_asked(world):
    one = Gates.model_validate({"brier_skill": {"above": 0.9}})
    assert refused(judged(*world, gates=one)) == {"brier_skill"}
    assert one.asked() == {"brier_skill": "Brier skill over the baseline above 0.9"}
    assert judged(*world, gates=Gates()) == {}


@pytest.mark.parametrize(
    "declared", [{"brier_skil": {"above": 0}}, {"brier_skill": {"over": 0}}, {"brier_skill": 0}]
)
def test_what_is_no_gate_is_refused(declared):
    with pytest.raises(ValidationError):
        Gates.model_validate(declared)
