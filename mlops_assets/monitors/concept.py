"""Whether outcomes still follow from what is known before: residuals, and outcomes by slice.

A storm makes every carrier late at once and is no drift. So each slice is held against all others
on the same day, and the difference against the days before. An outcome in minutes says sooner than
the label what became of a slice: half of the flights leave early, by some five minutes, in any
weather; an airline whose delays are doubled leaves by ten, while its share of late flights moves
less than it does from one week to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.monitors.between_days import Departure, Estimate, departure
from mlops_assets.monitors.charts import Chart, Series, nearest_limits
from mlops_assets.monitors.finding import Finding, Findings, Look, Unjudged, parted
from mlops_assets.monitors.history import LONGEST_WINDOW, DayRows, History, codes_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NAME = "concept"
LABEL = "label"
SCORE = "score"
WINDOWS = (1, 2, 7)
FEWEST_ROWS = 5
"""In a window; a mean of fewer says more about its rows than about its slice."""

RESIDUAL = "residual"
CHANCE = "chance"


@dataclass(frozen=True)
class Totals:
    """Sums of a quantity over rows."""

    n: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """The mean; of no rows, 0."""
        return self.total / self.n if self.n else 0.0

    @property
    def scatter(self) -> float:
        """The sum of squared distances from the mean."""
        return max(0.0, self.squares - self.total * self.mean)

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.n + other.n, self.total + other.total, self.squares + other.squares)

    def __sub__(self, other: Totals) -> Totals:
        return Totals(self.n - other.n, self.total - other.total, self.squares - other.squares)


NOTHING = Totals(0, 0.0, 0.0)

Tally = Mapping[str, Mapping[tuple[str, str], Totals]]
"""By quantity, and by slice as column and value, the totals of a day; `("", "")` is all rows."""

ALL = ("", "")


@dataclass(frozen=True)
class Concept:
    """What is looked at.

    Attributes:
        slices: The columns by whose values rows are told apart.
        outcomes: Columns of what became of a row, below zero on one side and above on the other.
        probability: How likely a figure beyond its limit shall be without a change.
    """

    slices: tuple[str, ...]
    outcomes: tuple[str, ...]
    probability: float

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return list(dict.fromkeys([LABEL, SCORE, *self.slices, *self.outcomes]))

    def look(self, history: History) -> Look:
        """Judge a day."""
        tallies = _Tallies(self, history)
        judged = list(self._residual_of_all(tallies))
        for part in tallies.parts():
            for quantity in self.quantities:
                judged += self._against_others(tallies, quantity, part)
        findings, unjudged = parted(judged)
        found = Findings(
            monitor=NAME,
            day=history.today.day.isoformat(),
            reference_days=len(history.reference()),
            findings=findings,
            unjudged=unjudged,
        )
        residual = [
            finding.value
            for finding in findings
            if finding.subject == "all rows" and finding.days == 1
        ]
        figures = {
            "mean residual": sum(residual),
            "largest share of a limit": found.nearest,
        }
        return Look(found, figures, list(self._charts(history, tallies, found)))

    def _charts(self, history: History, tallies: _Tallies, found: Findings) -> Iterator[Chart]:
        yield from nearest_limits("Nearest to a limit", found.findings, "differences")
        days = history.window(LONGEST_WINDOW * 4)
        ranked = sorted(found.findings, key=lambda finding: -finding.share_of_limit)
        for finding in ranked[:1]:
            part, quantity = tallies.part_of(finding), dict(finding.labels)["quantity"]
            own = [tallies.of(day, quantity, part) for day in days]
            every = [tallies.of(day, quantity, ALL) for day in days]
            others = [whole - one for whole, one in zip(every, own, strict=True)]
            lines: dict[str, list[float | None]] = {
                finding.subject: [total.mean if total.n else None for total in own]
            }
            if part != ALL:
                lines["all others"] = [total.mean if total.n else None for total in others]
            yield Series(
                f"{finding.subject}: {quantity}",
                f"The mean {quantity} of {finding.subject} by day, which of all differences lies "
                "nearest to its limit.",
                quantity,
                [day.day for day in days],
                lines,
            )

    @property
    def quantities(self) -> list[str]:
        """What is compared: residuals, and how far outcomes lie below and above zero."""
        sides = [f"{name}_{side}" for name in self.outcomes for side in ("below", "above")]
        return [RESIDUAL, *sides]

    def _residual_of_all(self, tallies: _Tallies) -> Iterator[Finding | Unjudged]:
        for window in WINDOWS:
            own = tallies.window(window, RESIDUAL, ALL)
            days = tallies.reference(window, RESIDUAL, ALL)
            if own.n < FEWEST_ROWS:
                yield _unjudged(ALL, RESIDUAL, f"{own.n} rows have a known label")
                continue
            # Where scores and outcomes were all one, residuals have no variance until they differ.
            variance = max(_variance(days), tallies.reference_mean(window, CHANCE, ALL))
            judged = departure(
                [Estimate(day.mean, variance / day.n) for day in days if day.n],
                Estimate(own.mean, variance / own.n),
                fewest_days=tallies.fewest_days,
            )
            if judged is None:
                yield _unjudged(ALL, RESIDUAL, tallies.few(sum(day.n > 0 for day in days)))
                continue
            yield self._finding(tallies, RESIDUAL, ALL, window, own.n, judged)

    def _against_others(
        self, tallies: _Tallies, quantity: str, part: tuple[str, str]
    ) -> Iterator[Finding | Unjudged]:
        for window in WINDOWS:
            own = tallies.window(window, quantity, part)
            others = tallies.window(window, quantity, ALL) - own
            if own.n < FEWEST_ROWS or others.n < FEWEST_ROWS:
                few = f"{own.n} rows have such an outcome, and {others.n} of the others"
                yield _unjudged(part, quantity, few)
                continue
            days = tallies.reference(window, quantity, part)
            every = tallies.reference(window, quantity, ALL)
            pairs = [
                (day, whole - day)
                for day, whole in zip(days, every, strict=True)
                if day.n and whole.n - day.n
            ]
            variance = _variance([day for day, _ in pairs])
            if quantity == RESIDUAL:
                # A carrier that was always punctual has no variance, until the first late flight.
                variance = max(variance, tallies.reference_mean(window, CHANCE, part))
            rest = _variance([other for _, other in pairs])
            judged = departure(
                [
                    Estimate(day.mean - other.mean, variance / day.n + rest / other.n)
                    for day, other in pairs
                ],
                Estimate(own.mean - others.mean, variance / own.n + rest / others.n),
                fewest_days=tallies.fewest_days,
            )
            if judged is None:
                yield _unjudged(part, quantity, tallies.few(len(pairs)))
                continue
            yield self._finding(tallies, quantity, part, window, own.n, judged)

    def _finding(
        self,
        tallies: _Tallies,
        quantity: str,
        part: tuple[str, str],
        window: int,
        rows: int,
        judged: Departure,
    ) -> Finding:
        low, high = judged.limits(self.probability)
        column, value = part
        subject = _subject(part)
        against = f" against the other values of {column}" if column else ""
        name = RESIDUAL if quantity == RESIDUAL else "outcome_difference"
        labels = {"quantity": quantity, **({column: value} if column else {})}
        return Finding(
            subject=subject,
            name=name,
            labels=tuple(sorted(labels.items())),
            value=judged.value,
            low=low,
            high=high,
            days=window,
            alarm=judged.beyond(self.probability),
            sentence=(
                f"{subject}: {tallies.span(window)}, over {rows:,} rows, "
                f"{_measured(quantity, judged)}{against}, outside its limits of {low:.2f} and "
                f"{high:.2f}; look at the outcomes and the scores of {subject}."
            ),
        )


def _subject(part: tuple[str, str]) -> str:
    return "all rows" if part == ALL else " ".join(part)


def _unjudged(part: tuple[str, str], quantity: str, reason: str) -> Unjudged:
    name = RESIDUAL if quantity == RESIDUAL else "outcome_difference"
    return Unjudged(subject=_subject(part), name=name, of=quantity, reason=reason)


class _Tallies:
    """The totals of a history's days, by quantity and slice."""

    def __init__(self, concept: Concept, history: History) -> None:
        self._concept, self._history = concept, history
        self.fewest_days = history.fewest_days

    def window(self, days: int, quantity: str, part: tuple[str, str]) -> Totals:
        found = [self.of(day, quantity, part) for day in self._history.window(days)]
        return sum(found, NOTHING)

    def reference(self, window: int, quantity: str, part: tuple[str, str]) -> list[Totals]:
        return [self.of(day, quantity, part) for day in self._history.reference(window)]

    def reference_mean(self, window: int, quantity: str, part: tuple[str, str]) -> float:
        return sum(self.reference(window, quantity, part), NOTHING).mean

    def parts(self) -> list[tuple[str, str]]:
        """The slices of the last days, by column and value."""
        days = self._history.window(max(WINDOWS))
        found = {part for day in days for part in _tally(self._concept, day)[RESIDUAL]}
        return sorted(found - {ALL})

    def span(self, window: int) -> str:
        days = [day.day.isoformat() for day in self._history.window(window)]
        return f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"

    def few(self, days: int) -> str:
        return self._history.few(days, "have such outcomes")

    def part_of(self, finding: Finding) -> tuple[str, str]:
        parts = [pair for pair in finding.labels if pair[0] != "quantity"]
        return parts[0] if parts else ALL

    def of(self, day: DayRows, quantity: str, part: tuple[str, str]) -> Totals:
        return _tally(self._concept, day)[quantity].get(part, NOTHING)


def _tally(concept: Concept, day: DayRows) -> Tally:
    """A day's totals; kept with the day, which is in the windows of weeks."""
    return day.remember(("concept", concept), lambda: _count(concept, day))


def _count(concept: Concept, day: DayRows) -> Tally:
    import numpy as np

    labels, scores = day.columns[LABEL], day.columns[SCORE]
    amounts: dict[str, npt.NDArray[np.float64]] = {
        RESIDUAL: labels - scores,
        CHANCE: np.where(np.isnan(labels), np.nan, scores * (1 - scores)),
    }
    for name in concept.outcomes:
        minutes = day.columns[name]
        amounts[f"{name}_below"] = np.where(minutes < 0, -minutes, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            amounts[f"{name}_above"] = np.where(minutes > 0, np.log(minutes), np.nan)
    codes = {column: _codes(day, column) for column in concept.slices}
    tally: dict[str, dict[tuple[str, str], Totals]] = {}
    for quantity, values in amounts.items():
        there = ~np.isnan(values)
        kept = values[there]
        found = {ALL: Totals(len(kept), float(kept.sum()), float((kept * kept).sum()))}
        for column, (names, places) in codes.items():
            inside = places[there]
            sizes = np.bincount(inside, minlength=len(names))
            totals = np.bincount(inside, kept, minlength=len(names))
            squares = np.bincount(inside, kept * kept, minlength=len(names))
            for name, n, total, square in zip(names, sizes, totals, squares, strict=True):
                if n:
                    found[column, name] = Totals(int(n), float(total), float(square))
        tally[quantity] = found
    return tally


def _codes(day: DayRows, column: str) -> tuple[list[str], npt.NDArray[np.int64]]:
    import numpy as np

    names, places = np.unique(codes_of(day, column), return_inverse=True)
    return names.tolist(), places


def _variance(days: Sequence[Totals]) -> float:
    """The variance of a row about the mean of its day."""
    freedom = sum(day.n - 1 for day in days if day.n)
    return sum(day.scatter for day in days) / freedom if freedom else 0.0


def _measured(quantity: str, judged: Departure) -> str:
    if quantity == RESIDUAL:
        way = "exceed" if judged.value > 0 else "fall short of"
        return f"outcomes {way} scores by {abs(judged.value):.2f}"
    outcome, _, side = quantity.rpartition("_")
    unit = "log units" if side == "above" else "units"
    return f"{outcome} {side} zero differs by {judged.value:.2f} {unit}"
