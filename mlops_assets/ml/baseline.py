"""The rate anyone could look up: how often the label was 1 in a group of rows.

It is what a model has to beat to be worth its keep. It is counted in integers and divided once, so
that it is exact whatever the order of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from mlops_assets.ml.labels import binary_labels, require_columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

DEFAULT_SMOOTHING = 20


@dataclass(frozen=True)
class RateBaseline:
    """Rates by group, each drawn towards the overall rate as if by `smoothing` more rows.

    A group that was never seen has the overall rate. `groups` counts (rows, positives) by the
    values of `columns`.
    """

    columns: tuple[str, ...]
    smoothing: int
    rows: int
    positives: int
    groups: dict[tuple[Any, ...], tuple[int, int]]

    @classmethod
    def fit(
        cls,
        rows: pa.Table,
        *,
        columns: Sequence[str],
        label: str,
        smoothing: int = DEFAULT_SMOOTHING,
    ) -> Self:
        """Count `label` in training `rows` by `columns`.

        Raises:
            UnusableRowsError: A column or an outcome is missing.
        """
        labels = binary_labels(rows, label, "The baseline").tolist()
        named = _groups_of(rows, columns)
        sizes = Counter(named)
        positives = Counter(group for group, late in zip(named, labels, strict=True) if late)
        return cls(
            columns=tuple(columns),
            smoothing=smoothing,
            rows=len(labels),
            positives=sum(labels),
            groups={group: (size, positives[group]) for group, size in sizes.items()},
        )

    @property
    def name(self) -> str:
        """The baseline's name for people: its columns, then "rate"."""
        return " \N{MULTIPLICATION SIGN} ".join(self.columns) + " rate"

    def predict(self, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Return the rate of each row's group, in the rows' order.

        Raises:
            UnusableRowsError: A column is missing.
        """
        import numpy as np

        return np.array([self._rate(group) for group in _groups_of(rows, self.columns)])

    def _rate(self, group: tuple[Any, ...]) -> float:
        if group not in self.groups:
            return self.positives / self.rows
        size, positives = self.groups[group]
        drawn = positives * self.rows + self.smoothing * self.positives
        return drawn / ((size + self.smoothing) * self.rows)


def _groups_of(rows: pa.Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    require_columns(rows, list(columns), "The baseline")
    return list(zip(*(rows.column(name).to_pylist() for name in columns), strict=True))
