"""How far some days lie from those before them, measured by how days differ from each other.

Rows of one day share its weather and its traffic: a thousand flights are no thousand independent
draws, and a test that takes them for such calls every second day a drift. So a day's mean is an
estimate with an error of its own, days differ by more than that error, and both are estimated from
the reference: the random-effects model of DerSimonian and Laird (Meta-analysis in clinical trials,
1986). A new day is held to the prediction interval of Higgins, Thompson and Spiegelhalter (A
re-evaluation of random-effects meta-analysis, 2009), by Student's t with two degrees less than
there are days. A small day has a large error, a short reference wide tails: neither cries wolf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from typing import Literal

Side = Literal["above", "below", "both"]


@dataclass(frozen=True)
class Estimate:
    """A figure of one day, and the variance that it has by chance, its rows being drawn anew."""

    value: float
    variance: float


@dataclass(frozen=True)
class Departure:
    """A figure against what the reference predicts for it.

    Attributes:
        value: The figure.
        expected: Its mean over the reference.
        spread: The standard deviation of what was to be expected.
        days: How many days the reference has.
    """

    value: float
    expected: float
    spread: float
    days: int

    @property
    def deviations(self) -> float:
        """How many such deviations the figure lies above what was expected."""
        return (self.value - self.expected) / self.spread

    def limits(self, probability: float, side: Side = "both") -> tuple[float | None, float | None]:
        """The lowest and the highest figure that are just not less likely than that."""
        tail = probability / 2 if side == "both" else probability
        reach = _reach(tail, self.days - 2) * self.spread
        lowest = None if side == "above" else self.expected - reach
        highest = None if side == "below" else self.expected + reach
        return lowest, highest

    def beyond(self, probability: float, side: Side = "both") -> bool:
        """Whether so much, or more, is less likely than that without any change."""
        low, high = self.limits(probability, side)
        return (low is not None and self.value < low) or (high is not None and self.value > high)


@cache
def _reach(tail: float, freedom: int) -> float:
    from scipy.stats import t  # type: ignore[import-untyped]

    return float(t.isf(tail, freedom))


def departure(
    reference: Sequence[Estimate],
    found: Estimate,
    *,
    fewest_days: int,
    least_variance: float = 0.0,
) -> Departure | None:
    """Compare a figure of one or more days with a figure of each day before them.

    Days in a row resemble each other, a week's wind above all: a mean over seven of them is given
    no smaller variance between days than one of a single day. Divided by seven, it called nine
    weeks of the year 2013 an alarm that were none.

    Args:
        reference: The figure of each day of the reference that has one.
        found: The figure to judge, with its variance by chance.
        fewest_days: So many of them it takes to judge by; three at least.
        least_variance: Of a day against another, where the reference shows none: days that were
            all equal so far need not be so tomorrow.

    Returns:
        None with fewer days in the reference.
    """
    if len(reference) < fewest_days:
        return None
    between = max(_between(reference), least_variance)
    weights = [1 / _positive(between + day.variance) for day in reference]
    expected = sum(w * day.value for w, day in zip(weights, reference, strict=True)) / sum(weights)
    variance = between + found.variance + 1 / sum(weights)
    return Departure(found.value, expected, sqrt(_positive(variance)), len(reference))


def _between(reference: Sequence[Estimate]) -> float:
    """The variance of days beyond that by chance: DerSimonian and Laird's moment estimate."""
    weights = [1 / _positive(day.variance) for day in reference]
    total = sum(weights)
    mean = sum(w * day.value for w, day in zip(weights, reference, strict=True)) / total
    scatter = sum(w * (day.value - mean) ** 2 for w, day in zip(weights, reference, strict=True))
    excess = scatter - (len(reference) - 1)
    return max(0.0, excess / (total - sum(w * w for w in weights) / total))


def _positive(variance: float) -> float:
    """Days that are all equal to the last digit would divide by zero."""
    return max(variance, 1e-12)
