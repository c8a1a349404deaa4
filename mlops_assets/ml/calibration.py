"""Whether a probability means what it says: among rows scored 0.3, three in ten should be 1.

Only the measuring belongs here; models are stored as they were trained and never recalibrated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.ml.stored import Number, Stored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BINS = 10

_CLIP = 1e-6
_STEPS = 50
_TOLERANCE = 1e-10
_STEEPEST = 1e3


class Bin(Stored):
    """Rows of similar score, and how often their label was 1."""

    lowest: Number
    highest: Number
    n: int
    positives: int
    mean_score: Number


class Recalibration(Stored):
    """The line that maps the scores' log-odds onto the outcomes': 0 and 1 when calibrated.

    A negative intercept means scores too high, a slope below 1 scores too extreme.
    """

    intercept: Number
    slope: Number


def quantile_bins(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64], bins: int = BINS
) -> tuple[Bin, ...]:
    """Cut the rows into at most `bins` groups of about equal size by their score.

    Equal sizes rather than equal widths: most flights are scored between 0.1 and 0.3, and ten equal
    widths would hold a handful of rows in each of the upper five. Equal scores stay together.
    """
    import numpy as np

    shares = np.arange(1, bins) / bins
    cuts = np.unique(np.quantile(scores, shares, method="inverted_cdf"))
    places = np.searchsorted(cuts, scores, side="left")
    members = (places == place for place in range(len(cuts) + 1))
    return tuple(
        Bin(
            lowest=float(scores[inside].min()),
            highest=float(scores[inside].max()),
            n=int(inside.sum()),
            positives=int(labels[inside].sum()),
            mean_score=float(scores[inside].mean()),
        )
        for inside in members
        if inside.any()
    )


def expected_error(bins: tuple[Bin, ...]) -> float:
    """Return the mean distance of score and rate over `bins`, weighted by their rows."""
    distances = (abs(found.mean_score * found.n - found.positives) for found in bins)
    return sum(distances) / sum(found.n for found in bins)


def recalibrate(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]
) -> Recalibration | None:
    """Fit the outcomes' log-odds as a line in the scores' log-odds, by maximum likelihood.

    Returns `None` where no finite line fits best: the scores are constant, or one threshold
    separates the outcomes. Newton's method with two sums in place of scikit-learn's regression:
    that one penalizes the slope unless told otherwise and stops early.
    """
    import numpy as np

    clipped = np.clip(scores, _CLIP, 1 - _CLIP)
    odds = np.log(clipped / (1 - clipped))
    intercept, slope = 0.0, 1.0
    for _ in range(_STEPS):
        expected = 1 / (1 + np.exp(-(intercept + slope * odds)))
        weights = expected * (1 - expected)
        total, first, second = weights.sum(), (weights * odds).sum(), (weights * odds**2).sum()
        spread = total * second - first**2
        if spread <= _TOLERANCE * max(total * second, _TOLERANCE):
            return None
        missed, tilted = (labels - expected).sum(), ((labels - expected) * odds).sum()
        steps = (
            (second * missed - first * tilted) / spread,
            (total * tilted - first * missed) / spread,
        )
        intercept, slope = intercept + float(steps[0]), slope + float(steps[1])
        if abs(slope) > _STEEPEST:
            return None
        if max(map(abs, steps)) < _TOLERANCE:
            return Recalibration(intercept=intercept, slope=slope)
    return None
