"""Two models on the same rows: how much better one is, and how sure that is.

Rows are resampled in pairs (Efron and Tibshirani, An Introduction to the Bootstrap, 1993), so that
what makes a month hard for both models cancels out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.ml.labels import checked_labels
from mlops_assets.ml.stored import Number, Stored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ROUNDS = 2_000
CONFIDENCE = 0.9
_AT_ONCE = 100
"""Rounds drawn at once: 100 rounds of 10,000 rows take 8 MB."""


class Comparison(Stored):
    """A candidate against a champion; improvements are in Brier score, above 0 is better."""

    n: int
    candidate_brier: Number
    champion_brier: Number
    improvement: Number
    """The champion's Brier score less the candidate's."""
    low: Number
    high: Number
    """The two-sided interval of the improvement, at `confidence`."""
    confidence: Number
    rounds: int


def compare(
    labels: npt.ArrayLike,
    candidate_scores: npt.ArrayLike,
    champion_scores: npt.ArrayLike,
    *,
    seed: int,
) -> Comparison:
    """Compare two models' scores on rows that neither was trained on.

    The order of the rows does not matter.

    Raises:
        UnusableRowsError: There are no rows, or one outcome only.
    """
    import numpy as np

    outcomes = checked_labels(labels, "the labels", "The comparison")
    candidate = (np.asarray(candidate_scores, dtype=np.float64) - outcomes) ** 2
    champion = (np.asarray(champion_scores, dtype=np.float64) - outcomes) ** 2
    gains = np.sort(champion - candidate)
    means = np.sort(_resampled_means(gains, np.random.Generator(np.random.PCG64(seed))))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Comparison(
        n=len(gains),
        candidate_brier=np.sort(candidate).mean(),
        champion_brier=np.sort(champion).mean(),
        improvement=gains.mean(),
        low=low,
        high=high,
        confidence=CONFIDENCE,
        rounds=ROUNDS,
    )


def _resampled_means(
    values: npt.NDArray[np.float64], draw: np.random.Generator
) -> npt.NDArray[np.float64]:
    import numpy as np

    size = len(values)
    return np.concatenate(
        [
            values[draw.integers(size, size=(_AT_ONCE, size), dtype=np.int32)].mean(axis=1)
            for _ in range(ROUNDS // _AT_ONCE)
        ]
    )
