"""How old what the model was given was at the moment of the prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlops_assets.ml.samples import Sample
from mlops_assets.monitors.charts import Chart, Series
from mlops_assets.monitors.finding import Finding, Findings, Look, Unjudged, parted
from mlops_assets.monitors.history import LONGEST_WINDOW, DayRows, History
from mlops_assets.monitors.quality import lacking_rows, share_departure, share_limit

NAME = "freshness"
AGE = "__age_hours"
"""What a view's name is followed by in the column of its rows' ages."""
MOST_DAYS_BEHIND = 0
MEAN_AGE = "age_hours_mean"
MOST_LINES = 4


@dataclass(frozen=True)
class Freshness:
    """What is looked at.

    Attributes:
        views: The feature views.
        probability: How likely a share beyond its limit shall be without a change.
    """

    views: tuple[str, ...]
    probability: float

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [f"{view}{AGE}" for view in self.views]

    def look(self, history: History) -> Look:
        """Judge a day."""
        behind = history.inputs.days_behind
        judged: list[Finding | Unjudged] = [self._expired(history, view) for view in self.views]
        judged += [_behind(history.today, table, days) for table, days in behind.items()]
        findings, unjudged = parted(judged)
        found = Findings(
            monitor=NAME,
            day=history.today.day.isoformat(),
            reference_days=len(history.reference()),
            findings=findings,
            unjudged=unjudged,
        )
        ages = [sample for view in self.views for sample in _ages(history.today, view)]
        means = [sample.value for sample in ages if sample.name == MEAN_AGE]
        figures = {
            "largest share without a young enough row": found.largest("expired_share"),
            "oldest mean age, hours": max(means, default=0.0),
            "most days behind": float(max(behind.values(), default=0)),
        }
        return Look(found, figures, list(self._charts(history)), ages)

    def _charts(self, history: History) -> Iterator[Chart]:
        if not self.views:
            return
        days = history.window(LONGEST_WINDOW * 4)
        lines = {
            view: [day.values(f"{view}{AGE}").missing_share for day in days] for view in self.views
        }
        moving = sorted(self.views, key=lambda view: (min(lines[view]) - max(lines[view]), view))
        yield Series(
            "Without a young enough row",
            f"The share of predictions that had none of a feature view, for the {MOST_LINES} "
            "views where it changes most.",
            "share of predictions",
            [day.day for day in days],
            {view: lines[view] for view in moving[:MOST_LINES]},
        )

    def _expired(self, history: History, view: str) -> Finding | Unjudged:
        today = history.today.values(f"{view}{AGE}")
        shares = [(day.values(f"{view}{AGE}").missing, day.rows) for day in history.reference()]
        judged = share_departure(
            shares, (today.missing, history.today.rows), fewest_days=history.fewest_days
        )
        if judged is None:
            reason = lacking_rows(history, shares)
            return Unjudged(subject=view, name="expired_share", reason=reason)
        limit = share_limit(shares, judged, self.probability)
        return Finding(
            subject=view,
            name="expired_share",
            labels=(("view", view),),
            value=judged.value,
            high=limit,
            alarm=judged.value > limit,
            sentence=(
                f"{view}: on {history.today.day} {judged.value:.0%} of the predictions had no row "
                f"of it that was young enough, usually {judged.expected:.0%}; look at whether its "
                "source came."
            ),
        )


def _behind(today: DayRows, table: str, days: int) -> Finding:
    return Finding(
        subject=table.rpartition("/")[2],
        name="days_behind",
        labels=(("table", table),),
        value=float(days),
        high=float(MOST_DAYS_BEHIND),
        alarm=days > MOST_DAYS_BEHIND,
        sentence=(
            f"{table}: its newest day lies {days} days before {today.day}; look at whether its "
            "source came."
        ),
    )


def _ages(today: DayRows, view: str) -> Iterator[Sample]:
    ages = today.values(f"{view}{AGE}")
    if ages.present:
        mean = float((ages.distinct * ages.counts).sum() / ages.present)
        yield Sample.of(MEAN_AGE, mean, view=view)
        yield Sample.of("age_hours_max", float(ages.distinct[-1]), view=view)
