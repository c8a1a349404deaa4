"""Values that the days before never had, in a column whose values come back day after day.

An instrument records in steps: a wind in whole knots, a temperature in whole degrees. Written in
another unit hardly one of its values was ever seen before, on the first row, while its mean may
still be that of a cold day. A record is new as well: values just beyond the range of the reference
are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.monitors.history import Values

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

RECURRING = 0.05
"""A column is judged if no more of the reference's rows than this have a value of one day only."""
ALARM_SHARE = 0.7
FEWEST_NEW = 3
MARGIN = 0.1
"""What counts as just beyond the range, in widths of the range."""


class Novelty(NamedTuple):
    """How new a day's values are.

    `share` is of the rows that have another value than the one that more than half of the reference
    has, if there is such a value (no rain); `share_of_all` is of all.
    """

    share: float
    share_of_all: float
    new_values: int
    recurring: bool

    @property
    def alarm(self) -> bool:
        """Whether values that used to come back do so no more."""
        enough = self.new_values >= FEWEST_NEW or self.share_of_all >= ALARM_SHARE
        return self.recurring and self.share >= ALARM_SHARE and enough


def novelty(reference: Sequence[Values], today: Values) -> Novelty:
    """Look for values of a day that no day of the reference had, all of which have values."""
    import numpy as np

    counts = np.concatenate([day.counts for day in reference])
    distinct, places, days_with = np.unique(
        np.concatenate([day.distinct for day in reference]),
        return_inverse=True,
        return_counts=True,
    )
    rows = np.bincount(places, counts)
    once = float(rows[days_with == 1].sum() / rows.sum())
    usual = distinct[rows.argmax()] if rows.max() > rows.sum() / 2 else None
    counted = np.ones(len(today.distinct), dtype=bool) if usual is None else today.distinct != usual
    new = ~np.isin(today.distinct, distinct) & ~_just_beyond(today.distinct, distinct) & counted
    new_rows, judged = int(today.counts[new].sum()), int(today.counts[counted].sum())
    return Novelty(
        share=new_rows / judged if judged else 0.0,
        share_of_all=new_rows / today.present,
        new_values=int(new.sum()),
        recurring=once <= RECURRING,
    )


def _just_beyond(values: npt.NDArray[Any], reference: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    import numpy as np

    if values.dtype.kind != "f":
        return np.zeros(len(values), dtype=bool)
    lowest, highest = reference[0], reference[-1]
    margin = MARGIN * (highest - lowest)
    below = (values < lowest) & (values >= lowest - margin)
    above = (values > highest) & (values <= highest + margin)
    beyond: npt.NDArray[np.bool_] = below | above
    return beyond


def far_outside_share(reference: Sequence[Values], today: Values) -> float:
    """The share of a day's values that lie beyond the reference's range by more than its width.

    All of the days have values. The range of a constant is its value; text has none, and a share
    of 0.
    """
    if today.distinct.dtype.kind != "f":
        return 0.0
    lowest = min(day.distinct[0] for day in reference)
    highest = max(day.distinct[-1] for day in reference)
    width = highest - lowest
    far = (today.distinct < lowest - width) | (today.distinct > highest + width)
    return float(today.counts[far].sum() / today.present)
