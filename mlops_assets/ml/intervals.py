"""How far chance alone moves a figure: 95% intervals of rates and of areas under the curve."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from mlops_assets.ml.stored import Number, Stored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_NORMAL_95 = 1.959964


class Interval(Stored):
    """Where the true figure lies, at 95% confidence."""

    low: Number
    high: Number


def rate_interval(positives: int, rows: int) -> Interval:
    """The interval of a rate (Wilson, 1927); unlike the textbook one it stays within [0, 1]."""
    rate, square = positives / rows, _NORMAL_95**2
    centre = (rate + square / (2 * rows)) / (1 + square / rows)
    spread = sqrt(rate * (1 - rate) / rows + square / (4 * rows**2))
    half = _NORMAL_95 * spread / (1 + square / rows)
    return Interval(low=min(rate, centre - half), high=max(rate, centre + half))


def roc_auc_interval(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]
) -> Interval | None:
    """The interval of the area under the ROC curve; None with fewer than two of an outcome."""
    found = roc_auc_variance(labels, scores)
    if found is None:
        return None
    area, variance = found
    half = _NORMAL_95 * sqrt(variance)
    return Interval(low=max(0.0, area - half), high=min(1.0, area + half))


def roc_auc_variance(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]
) -> tuple[float, float] | None:
    """The area under the ROC curve and its variance; None with fewer than two of an outcome.

    DeLong, DeLong and Clarke-Pearson (1988), by ranks as Sun and Xu (2014) compute it.
    """
    import numpy as np
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    late, punctual = scores[labels == 1], scores[labels == 0]
    if min(len(late), len(punctual)) < 2:
        return None
    ranks = rankdata(np.concatenate([late, punctual]))
    above = (ranks[: len(late)] - rankdata(late)) / len(punctual)
    below = 1 - (ranks[len(late) :] - rankdata(punctual)) / len(late)
    variance = above.var(ddof=1) / len(late) + below.var(ddof=1) / len(punctual)
    return float(above.mean()), float(variance)
