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
_STEPS = 100
_CLOSE = 1e-10
_FLAT = 1e-12
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
    separates the outcomes. Newton's method on two numbers in place of scikit-learn's regression,
    which penalizes the slope unless told otherwise and stops early. A step that makes the fit worse
    is halved: from the identity, whole steps ran away on scores that were off by 2 in log-odds.
    """
    import numpy as np

    clipped = np.clip(scores, _CLIP, 1 - _CLIP)
    odds = np.log(clipped / (1 - clipped))
    line = np.array([0.0, 1.0])
    loss = _loss(labels, odds, line)
    for _ in range(_STEPS):
        step = _newton_step(labels, odds, line)
        if step is None:
            return None
        while (reached := _loss(labels, odds, line + step)) > loss and np.abs(step).max() > _CLOSE:
            step = step / 2
        line, loss = line + step, reached
        if abs(line[1]) > _STEEPEST:
            return None
        if np.abs(step).max() <= _CLOSE:
            return Recalibration(intercept=line[0], slope=line[1])
    return None


def _loss(
    labels: npt.NDArray[np.int64], odds: npt.NDArray[np.float64], line: npt.NDArray[np.float64]
) -> float:
    import numpy as np

    fitted = line[0] + line[1] * odds
    return float((np.logaddexp(0, fitted) - labels * fitted).sum())


def _newton_step(
    labels: npt.NDArray[np.int64], odds: npt.NDArray[np.float64], line: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64] | None:
    """Return the step towards the likeliest line, `None` where the odds do not vary enough."""
    import numpy as np

    expected = np.exp(-np.logaddexp(0, -(line[0] + line[1] * odds)))
    weights = expected * (1 - expected)
    total, first, second = weights.sum(), (weights * odds).sum(), (weights * odds**2).sum()
    spread = total * second - first**2
    if spread <= _FLAT * total * second:
        return None
    missed, tilted = (labels - expected).sum(), ((labels - expected) * odds).sum()
    across, along = second * missed - first * tilted, total * tilted - first * missed
    return np.array([across / spread, along / spread])
