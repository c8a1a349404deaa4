"""Whether a day's values are distributed as those of the days before it: PSI and KS.

Neither index knows how many rows it was computed from, and both grow where there are few: without
any shift PSI is about (1/n + 1/m) times a chi-square of bins - 1 (Yurdakul and Naranjo, Statistical
properties of the population stability index, 2020), and the distance of Kolmogorov and Smirnov
exceeds sqrt(-ln(p/2)/2) * sqrt(1/n + 1/m) with probability p. Nor do they know that a day is no
random sample of a month: a day has one weather. So each day of the reference is measured against
the others, and a limit is what a day differs by anyhow, plus what chance adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import TYPE_CHECKING, Any

from mlops_assets.monitors.history import Values

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BINS = 10
MOST_VALUES = 30
"""Of text, values beyond the most frequent are one bin."""
FEWEST_ROWS = 5


@dataclass(frozen=True)
class Shift:
    """How a day's distribution differs from the reference's.

    Attributes:
        psi: The population stability index of the day.
        psi_limit: What it stays under without a shift.
        ks: The largest distance between the two distribution functions, over the bins, or the share
            of rows in bins that the reference never had, if that is more: rows that moved between
            many values hardly move the distance. None of text, which has no order.
        ks_limit: What it stays under without a shift.
    """

    psi: float
    psi_limit: float
    ks: float | None
    ks_limit: float | None

    @property
    def beyond(self) -> bool:
        """Whether both lie beyond their limits, or PSI alone where there is no KS.

        A day of rain after three dry weeks moves the distance of a column that is nearly always 0,
        and one rare value the index: each cried wolf alone.
        """
        if self.ks is not None and self.ks_limit is not None and self.ks <= self.ks_limit:
            return False
        return self.psi > self.psi_limit


def shift(reference: Sequence[Values], today: Values, probability: float) -> Shift | None:
    """Compare a day's values with those of the days before it.

    Args:
        reference: The column on each of those days, with so many rows at least as are judged.
        today: The column on the day.
        probability: How likely an index beyond its limit shall be without a shift.

    Returns:
        None without a reference, with too few rows, or where all have one value.
    """
    import numpy as np

    if not reference or today.present < FEWEST_ROWS:
        return None
    counts = np.array(binned([*reference, today], reference=len(reference)))
    there = counts.any(axis=0)
    if there.sum() < 2:
        return None
    ordered = today.distinct.dtype.kind == "f"
    if ordered:
        # Where no day has a number is no bin: with it, each of them would be held to a wider limit.
        counts = counts[:, there]
    before, now = counts[:-1], counts[-1]
    pooled = before.sum(axis=0)
    psi_limit, ks_limit = _limits(before, pooled, now, probability)
    unseen = float(now[pooled == 0].sum() / now.sum())
    return Shift(
        psi=float(psi(now, pooled)),
        psi_limit=psi_limit,
        ks=max(float(ks(now, pooled)), unseen) if ordered else None,
        ks_limit=ks_limit if ordered else None,
    )


def _limits(
    before: npt.NDArray[np.int64],
    pooled: npt.NDArray[np.int64],
    now: npt.NDArray[np.int64],
    probability: float,
) -> tuple[float, float]:
    import numpy as np
    from scipy.stats import chi2  # type: ignore[import-untyped]

    bins = len(pooled)
    others = pooled - before
    sizes = 1 / before.sum(axis=1) + 1 / others.sum(axis=1)
    # Without the floor, days that happen to fit each other to a hair would set a limit of nothing.
    usual_psi = np.log(np.maximum(psi(before, others), (bins - 1) * sizes))
    usual_ks = np.log(np.maximum(ks(before, others), np.sqrt(sizes)))
    by_chance = 1 / now.sum() + 1 / pooled.sum()
    return (
        _usual_limit(usual_psi, probability) + float(chi2.isf(probability, bins - 1)) * by_chance,
        _usual_limit(usual_ks, probability) + sqrt(-log(probability / 2) / 2 * by_chance),
    )


def _usual_limit(logarithms: npt.NDArray[np.float64], probability: float) -> float:
    """What a further day stays under, by the logarithms of the days before it."""
    from scipy.stats import t

    days = len(logarithms)
    spread = float(logarithms.std(ddof=1)) * sqrt(1 + 1 / days)
    reach = float(logarithms.mean()) + float(t.isf(probability, days - 1)) * spread
    return exp(min(reach, 50.0))


def psi(counts: npt.NDArray[np.int64], expected: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The population stability index over the last axis, of counts in the same bins.

    Half a row is added to every bin: an empty one would make it infinite.
    """
    import numpy as np

    bins = counts.shape[-1]
    found = (counts + 0.5) / (counts.sum(axis=-1, keepdims=True) + 0.5 * bins)
    usual = (expected + 0.5) / (expected.sum(axis=-1, keepdims=True) + 0.5 * bins)
    index: npt.NDArray[np.float64] = ((found - usual) * np.log(found / usual)).sum(axis=-1)
    return index


def ks(counts: npt.NDArray[np.int64], expected: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The largest distance between two distribution functions over the last axis, at bins' ends."""
    import numpy as np

    found = np.cumsum(counts, axis=-1) / counts.sum(axis=-1, keepdims=True)
    usual = np.cumsum(expected, axis=-1) / expected.sum(axis=-1, keepdims=True)
    distance: npt.NDArray[np.float64] = np.abs(found - usual).max(axis=-1)
    return distance


def binned(days: Sequence[Values], reference: int) -> list[npt.NDArray[np.int64]]:
    """Count days' values in common bins: tenths of the reference's rows, or values if text.

    What lies outside the reference's numbers, or between few of them, has bins too: `_bin_ends`.

    Args:
        days: The column on each day.
        reference: How many of them, from the first, are the reference.
    """
    import numpy as np

    ends = _bin_ends(days[:reference])
    if ends.dtype.kind == "f":
        size = len(ends)
        found = [np.searchsorted(ends[:-1], day.distinct, side="left") for day in days]
    else:
        names = {name: place for place, name in enumerate(ends.tolist())}
        size = len(names) + 1
        found = [
            np.array([names.get(name, size - 1) for name in day.distinct.tolist()], dtype=np.int64)
            for day in days
        ]
    return [
        np.bincount(bins, day.counts, minlength=size).astype(np.int64)
        for bins, day in zip(found, days, strict=True)
    ]


def bin_names(reference: Sequence[Values]) -> list[str]:
    """The names of the bins that `binned` makes of such a reference."""
    import numpy as np

    ends = _bin_ends(reference)
    if ends.dtype.kind != "f":
        return [*ends.tolist(), "others"]
    names = [f"to {end:.4g}" for end in ends.tolist()]
    for place in range(1, len(ends)):
        # The one bin ends right below the other, which is that of a single value.
        if ends[place - 1] == np.nextafter(ends[place], -np.inf):
            names[place - 1 : place + 1] = f"below {ends[place]:.4g}", f"{ends[place]:.4g}"
    names[0] = f"below {np.nextafter(ends[0], np.inf) + 0.0:.4g}"
    names[-1] = f"above {ends[-2]:.4g}"
    return names


def _bin_ends(reference: Sequence[Values]) -> npt.NDArray[Any]:
    """The highest value of each bin, or the values that have a bin of their own.

    Of numbers these are tenths, and what lies below and above all of them has a bin each. A value
    that a tenth of the rows have, or that is the only one of its tenth, is separated from what lies
    between it and the tenth before: in one bin with it, no day that moves there would differ.
    """
    import numpy as np

    values = np.concatenate([day.distinct for day in reference])
    counts = np.concatenate([day.counts for day in reference])
    distinct, places = np.unique(values, return_inverse=True)
    total = np.bincount(places, counts).astype(np.int64)
    if values.dtype.kind != "f":
        frequent: npt.NDArray[Any] = distinct[np.lexsort((distinct, -total))[:MOST_VALUES]]
        return frequent
    reached = np.cumsum(total) * BINS
    wanted = np.arange(1, BINS + 1) * total.sum()
    last = np.isin(np.arange(len(distinct)), np.searchsorted(reached, wanted))
    parted = (total * BINS >= total.sum()) | (last & np.append(True, last[:-1]))
    parted[0] = True
    ends: npt.NDArray[Any] = np.unique(
        [*np.nextafter(distinct[parted], -np.inf), *distinct[last], np.inf]
    )
    return ends
