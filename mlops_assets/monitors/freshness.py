"""How old what the model was given was at the moment of the prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlops_assets.ml.samples import Sample
from mlops_assets.monitors.finding import Finding, Findings, Look
from mlops_assets.monitors.history import DayRows, History
from mlops_assets.monitors.quality import share_departure, share_limit

NAME = "freshness"
AGE = "__age_hours"
"""What a view's name is followed by in the column of its rows' ages."""
MOST_DAYS_BEHIND = 0


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

    def look(self, history: History, days_behind: Mapping[str, int]) -> Look:
        """Judge a day.

        Args:
            history: The day and those before it.
            days_behind: How many days the newest partition of each input lies before the day.
        """
        findings = [self._expired(history, view) for view in self.views]
        findings += [_behind(history.today, table, days) for table, days in days_behind.items()]
        measured = [sample for view in self.views for sample in _ages(history.today, view)]
        return Look(
            Findings(
                monitor=NAME,
                day=history.today.day.isoformat(),
                reference_days=len(history.reference()),
                findings=tuple(finding for finding in findings if finding is not None),
            ),
            measured,
        )

    def _expired(self, history: History, view: str) -> Finding | None:
        today = history.today.values(f"{view}{AGE}")
        shares = [
            (day.values(f"{view}{AGE}").missing, day.rows)
            for day in history.reference()
            if day.rows
        ]
        judged = share_departure(shares, (today.missing, history.today.rows))
        if judged is None:
            return None
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
        yield Sample.of("age_hours_mean", mean, view=view)
        yield Sample.of("age_hours_max", float(ages.distinct[-1]), view=view)
