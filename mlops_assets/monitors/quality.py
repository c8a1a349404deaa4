"""Whether rows are there and look like those before: missing and new values, rows, quarantine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import TYPE_CHECKING, Any

from mlops_assets.monitors.between_days import Departure, Estimate, departure
from mlops_assets.monitors.charts import Chart, Series, nearest_limits
from mlops_assets.monitors.finding import Finding, Findings, Look, Unjudged, parted, subject_of
from mlops_assets.monitors.history import LONGEST_WINDOW, History, RawCount
from mlops_assets.monitors.novelty import ALARM_SHARE, far_outside_share, novelty

if TYPE_CHECKING:
    import numpy.typing as npt

NAME = "quality"

FEWEST_ROWS = 5
LEAST_RISE = 0.25
"""A share that rises by less is no alarm, however steady it was before."""
DAY_TO_DAY = 0.02**2
"""The variance that a share is granted between days, where it was the same on all of them."""
FAR_SHARE = 0.5
ROWS_RATIO = (0.5, 2.0)
"""Thanksgiving has two thirds of a Thursday's flights."""
SAME_WEEKDAYS = 2


@dataclass(frozen=True)
class Quality:
    """What is looked at.

    Attributes:
        features: The columns that the model is given.
        dated: Those among them that follow from the date alone, and are new by nature.
        probability: How likely a share beyond its limit shall be without a change.
    """

    features: tuple[str, ...]
    dated: tuple[str, ...]
    probability: float

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return list(self.features)

    def look(self, history: History) -> Look:
        """Judge a day."""
        judged = list(self._rows(history))
        for column in self.features:
            judged += self._missing(history, column)
            if column not in self.dated:
                judged += self._values(history, column)
        for table, counts in history.inputs.raw.items():
            judged += self._quarantined(history, table, counts)
        findings, unjudged = parted(judged)
        found = Findings(
            monitor=NAME,
            day=history.today.day.isoformat(),
            reference_days=len(history.reference()),
            findings=findings,
            unjudged=unjudged,
        )
        raw = [days.get(history.today.day) for days in history.inputs.raw.values()]
        missing = [history.today.values(column).missing_share for column in self.features]
        figures = {
            "rows": float(history.today.rows),
            "mean missing share": sum(missing) / len(missing),
            "largest share of new values": found.largest("new_value_share"),
            "quarantined rows": float(sum(count.quarantined for count in raw if count)),
        }
        return Look(found, figures, list(self._charts(history, found)))

    def _charts(self, history: History, found: Findings) -> Iterator[Chart]:
        yield from nearest_limits("Nearest to a limit", found.findings, "figures")
        days = history.window(LONGEST_WINDOW * 4)
        yield Series(
            "Rows and missing values",
            "Rows of each day, in thousands, and the mean share of missing values.",
            "thousands, share",
            [day.day for day in days],
            {
                "rows, thousands": [day.rows / 1000 for day in days],
                "mean missing share": [
                    sum(day.values(column).missing_share for column in self.features)
                    / len(self.features)
                    for day in days
                ],
            },
        )

    def _rows(self, history: History) -> Iterator[Finding | Unjudged]:
        weekday = history.today.day.weekday()
        alike = [day.rows for day in history.reference() if day.day.weekday() == weekday]
        if len(alike) < SAME_WEEKDAYS:
            reason = f"fewer than {SAME_WEEKDAYS} days before it are of the same weekday"
            yield Unjudged(subject="rows", name="rows_of_day", reason=reason)
            return
        usual, rows = median(alike), history.today.rows
        low, high = (usual * ratio for ratio in ROWS_RATIO)
        yield Finding(
            subject="rows",
            name="rows_of_day",
            labels=(),
            value=float(rows),
            low=low,
            high=high,
            alarm=not low <= rows <= high,
            sentence=(
                f"rows: {history.today.day} has {rows:,} against {usual:,.0f} on the same weekday "
                "of the weeks before; look at whether the day is whole, or there twice."
            ),
        )

    def _missing(self, history: History, column: str) -> Iterator[Finding | Unjudged]:
        today = history.today.values(column)
        shares = [(day.values(column).missing, day.rows) for day in history.reference()]
        judged = share_departure(
            shares, (today.missing, history.today.rows), fewest_days=history.fewest_days
        )
        if judged is None:
            reason = lacking_rows(history, shares)
            subject = subject_of(column)
            yield Unjudged(subject=subject, name="missing_share", of=column, reason=reason)
            return
        limit = share_limit(shares, judged, self.probability)
        yield Finding(
            subject=subject_of(column),
            name="missing_share",
            labels=(("feature", column),),
            value=judged.value,
            high=limit,
            alarm=judged.value > limit,
            sentence=(
                f"{column}: on {history.today.day} {judged.value:.0%} of the rows have none, "
                f"usually {judged.expected:.0%}, at most {limit:.0%}; look at whether its source "
                "came."
            ),
        )

    def _values(self, history: History, column: str) -> Iterator[Finding | Unjudged]:
        reference, today = history.comparable(column), history.today.values(column)
        if not reference or today.present < FEWEST_ROWS:
            reason = history.incomparable(column, FEWEST_ROWS if reference else 1)
            for name in ("new_value_share", "far_outside_share"):
                yield Unjudged(subject=subject_of(column), name=name, of=column, reason=reason)
            return
        found = novelty(reference, today)
        labels = (("feature", column),)
        if found.recurring:
            yield Finding(
                subject=subject_of(column),
                name="new_value_share",
                labels=labels,
                value=found.share,
                high=ALARM_SHARE,
                alarm=found.alarm,
                sentence=(
                    f"{column}: on {history.today.day} {found.share:.0%} of the values were never "
                    f"there in the {len(reference)} days before, whose values come back day after "
                    f"day; look at the unit, and at how it is rounded ({_some(today.distinct)})."
                ),
            )
        far = far_outside_share(reference, today)
        yield Finding(
            subject=subject_of(column),
            name="far_outside_share",
            labels=labels,
            value=far,
            high=FAR_SHARE,
            alarm=far > FAR_SHARE,
            sentence=(
                f"{column}: on {history.today.day} {far:.0%} of the values lie beyond the range of "
                f"the {len(reference)} days before by more than its width; look at the unit "
                f"({_some(today.distinct)})."
            ),
        )

    def _quarantined(
        self, history: History, table: str, counts: Mapping[date, RawCount]
    ) -> Iterator[Finding | Unjudged]:
        today = counts.get(history.today.day, RawCount(0, 0))
        days = [counts.get(day.day) for day in history.reference()]
        shares = [(day.quarantined, day.accepted + day.quarantined) for day in days if day]
        rows = today.accepted + today.quarantined
        judged = share_departure(
            shares,
            (today.quarantined, rows),
            fewest_days=history.fewest_days,
            least_variance=0.002**2,
        )
        if judged is None:
            reason = lacking_rows(history, shares, rows=rows)
            yield Unjudged(subject=table, name="quarantined_share", reason=reason)
            return
        _, limit = judged.limits(self.probability, "above")
        yield Finding(
            subject=table,
            name="quarantined_share",
            labels=(("table", table),),
            value=judged.value,
            high=limit,
            alarm=judged.beyond(self.probability, "above"),
            sentence=(
                f"{table}: {today.quarantined} rows of {history.today.day} are quarantined, "
                f"{judged.value:.1%} against {judged.expected:.1%} before; look at their reasons "
                f"in {table}_quarantine."
            ),
        )


def share_departure(
    reference: Sequence[tuple[int, int]],
    found: tuple[int, int],
    *,
    fewest_days: int,
    least_variance: float = DAY_TO_DAY,
) -> Departure | None:
    """A share of a day's rows against the days before, each as (rows that count, rows).

    None where the day has no rows, or too few of the days before have any.
    """
    days = [(count, rows) for count, rows in reference if rows]
    count, rows = found
    if not rows:
        return None
    whole = sum(size for _, size in days)
    # Half a row of each kind is added: a share that was always 0 has a variance by chance too.
    usual = (sum(part for part, _ in days) + 0.5) / (whole + 1)
    variance = usual * (1 - usual)
    return departure(
        [Estimate(part / size, variance / size) for part, size in days],
        Estimate(count / rows, variance / rows),
        fewest_days=fewest_days,
        least_variance=least_variance,
    )


def lacking_rows(
    history: History, reference: Sequence[tuple[int, int]], rows: int | None = None
) -> str:
    """Why `share_departure` gave nothing; `rows` are those of the day, if not its predictions."""
    if not (history.today.rows if rows is None else rows):
        return "the day has no rows"
    return history.few(sum(size > 0 for _, size in reference), "have rows")


def share_limit(
    reference: Sequence[tuple[int, int]], judged: Departure, probability: float
) -> float:
    """What a share has to exceed to be an alarm.

    Beyond what chance and the days explain, and clearly above every day of the reference: a share
    that comes and goes, as a station's pressure did in 2013, is no news when it comes.
    """
    highest = max(part / size for part, size in reference if size)
    _, limit = judged.limits(probability, "above")
    return max(limit or 0.0, highest + LEAST_RISE)


def _some(values: npt.NDArray[Any]) -> str:
    chosen = [values[place] for place in sorted({0, len(values) // 2, len(values) - 1})]
    return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in chosen)
