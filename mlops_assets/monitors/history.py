"""A day's rows as arrays, and the days before it that it is compared with.

What is read of which table is decided in `components.monitored_days`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import isnan
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

T = TypeVar("T")

LONGEST_WINDOW = 7
"""Alarms look at this many days at most, taken together."""


class Values(NamedTuple):
    """The distinct values of a column on one day, sorted, and how often each occurs."""

    distinct: npt.NDArray[Any]
    counts: npt.NDArray[np.int64]
    missing: int

    @property
    def present(self) -> int:
        """How many rows have a value."""
        return int(self.counts.sum())

    @property
    def missing_share(self) -> float:
        """The share of rows without a value; 1 of a day without rows."""
        rows = self.present + self.missing
        return self.missing / rows if rows else 1.0


@dataclass(frozen=True)
class DayRows:
    """One day's predictions, with what became of them.

    Attributes:
        day: The day.
        rows: How many rows it has.
        columns: By name: numbers as floats, each within what one of 32 bits can carry, with NaN
            where there is none; else text with None.
    """

    day: date
    rows: int
    columns: Mapping[str, npt.NDArray[Any]]
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def remember(self, name: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once: a day is in the windows of weeks."""
        if name not in self._kept:
            self._kept[name] = make()
        kept: T = self._kept[name]
        return kept

    def values(self, column: str) -> Values:
        """The distinct values of a column."""
        return self.remember(("values", column), lambda: _values(self.columns[column]))


def _values(entries: npt.NDArray[Any]) -> Values:
    import numpy as np

    if entries.dtype.kind == "f":
        present = entries[~np.isnan(entries)]
    else:
        present = np.array([entry for entry in entries if entry is not None], dtype=str)
    distinct, counts = np.unique(present, return_counts=True)
    return Values(distinct, counts, len(entries) - len(present))


class RawCount(NamedTuple):
    """What became of a raw table's rows of one day."""

    accepted: int
    quarantined: int


@dataclass(frozen=True)
class Inputs:
    """What the lake says of a day's inputs, beside the rows that were joined.

    Attributes:
        raw: By raw table and day, what became of its rows.
        days_behind: By table how many days its newest partition lies before the day.
    """

    raw: Mapping[str, Mapping[date, RawCount]] = field(default_factory=dict)
    days_behind: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """A day and the days before it.

    Attributes:
        today: The day.
        before: Those of the days before it that exist, oldest first.
        reference_days: How many days a window of days is compared with.
        fewest_days: With fewer of them that have a figure, the figure is no alarm.
        inputs: What the lake says of its inputs.
    """

    today: DayRows
    before: Sequence[DayRows]
    reference_days: int
    fewest_days: int
    inputs: Inputs = Inputs()

    def window(self, days: int) -> list[DayRows]:
        """The last days, today among them, that exist."""
        return [found for found in [*self.before, self.today] if self._age(found) < days]

    def reference(self, window: int = 1) -> list[DayRows]:
        """The days before a window that it is compared with; none where there are too few."""
        found = self._before(window)
        return found if len(found) >= self.fewest_days else []

    def _before(self, window: int) -> list[DayRows]:
        last = window + self.reference_days
        return [found for found in self.before if window <= self._age(found) < last]

    def comparable(self, column: str, fewest_rows: int = 1) -> list[Values]:
        """A column on those days of the reference whose values a day's can be compared with.

        Days that have them in so many rows at least, and of the day's kind: a column of text that
        became one of numbers starts anew. None where the days are too few.
        """
        kind = self.today.values(column).distinct.dtype.kind
        days = [day.values(column) for day in self.reference()]
        found = [
            values
            for values in days
            if values.present >= fewest_rows and values.distinct.dtype.kind == kind
        ]
        return found if len(found) >= self.fewest_days else []

    def incomparable(self, column: str, fewest_rows: int) -> str:
        """Why a day's values of a column cannot be compared with those of the days before."""
        today = self.today.values(column)
        if today.present < fewest_rows:
            return f"the day has {today.present} values, and it takes {fewest_rows}"
        found = [day for day in self.reference() if day.values(column).present >= fewest_rows]
        if len(found) < self.fewest_days:
            return self.few(len(found), f"have {fewest_rows} values or more")
        alike = self.comparable(column, fewest_rows)
        if not alike:
            return "on the days before it was text and is a number now, or the reverse"
        return "it has one value, on the day and before"

    def few(self, days: int, what: str) -> str:
        """Why so few days are no reference."""
        if not self.reference():
            days, what = len(self._before(1)), "exist"
        return f"{days} of the days before {what}, and it takes {self.fewest_days}"

    def _age(self, found: DayRows) -> int:
        return (self.today.day - found.day).days


def codes_of(day: DayRows, column: str) -> npt.NDArray[np.str_]:
    """A column's values as text, one a row, empty where there is none: names of slices."""
    import numpy as np

    entries = day.columns[column]
    if entries.dtype.kind == "f":
        return np.array([_number_name(entry) for entry in entries.tolist()], dtype=str)
    return np.array(["" if entry is None else str(entry) for entry in entries], dtype=str)


def _number_name(number: float) -> str:
    """A number as the name of a slice, all of its digits: two numbers are two slices."""
    if isnan(number):
        return ""
    return str(int(number)) if number.is_integer() else repr(number)
