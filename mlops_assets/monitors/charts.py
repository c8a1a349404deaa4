"""What a report draws, as numbers: drawing them is `pictures`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from mlops_assets.monitors.finding import Finding
from mlops_assets.monitors.history import Values


@dataclass(frozen=True)
class Series:
    """A figure by day, the day itself the last.

    Attributes:
        title: What the picture is called.
        explanation: What it shows.
        unit: Of the figures, as an axis names it.
        lines: By name the figure of each day; None where a day has none.
        days: Those days.
        limits: Lines that the day's own figure is held to.
    """

    title: str
    explanation: str
    unit: str
    days: Sequence[date]
    lines: Mapping[str, Sequence[float | None]]
    limits: Sequence[float] = ()


@dataclass(frozen=True)
class Bars:
    """Figures beside their limits, by name.

    Attributes:
        title: What the picture is called.
        explanation: What it shows.
        entries: Name, and the figure as a share of its limit.
    """

    title: str
    explanation: str
    entries: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Comparison:
    """How a column is distributed on a day and before, as shares of rows in common bins.

    Attributes:
        title: What the picture is called.
        explanation: What it shows.
        bins: The bins by name.
        today: The day's share of each.
        before: The reference's share of each.
    """

    title: str
    explanation: str
    bins: Sequence[str]
    today: Sequence[float]
    before: Sequence[float]


Chart = Series | Bars | Comparison

MOST_BARS = 12


def nearest_limits(title: str, findings: Sequence[Finding], unit: str) -> Iterator[Bars]:
    """Bars of the findings that lie nearest to their limits, or farthest beyond; none of none."""
    ranked = sorted(findings, key=lambda found: (-found.share_of_limit, found.caption))
    if ranked:
        yield Bars(
            title,
            f"The {min(len(ranked), MOST_BARS)} of {len(ranked)} {unit} that lie nearest to their "
            "limit, which is 1; a bar beyond it stands out.",
            [(found.caption, found.share_of_limit) for found in ranked[:MOST_BARS]],
        )


def compared(column: str, reference: Sequence[Values], today: Values) -> Iterator[Comparison]:
    """How a column's values are distributed on a day and before; nothing where there are none."""
    import numpy as np

    from mlops_assets.monitors.distribution import bin_names, binned

    if not reference or not today.present:
        return
    counts = np.array(binned([*reference, today], reference=len(reference)))
    there = counts.any(axis=0)
    before, now = counts[:-1, there].sum(axis=0), counts[-1, there]
    yield Comparison(
        f"{column}",
        f"The share of rows with each value of {column}, or in each tenth of what the "
        f"{len(reference)} days before had.",
        np.array(bin_names(reference))[there].tolist(),
        (now / now.sum()).tolist(),
        (before / before.sum()).tolist(),
    )
