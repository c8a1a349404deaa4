"""Whether what the model is given, and what it says of it, is distributed as in the days before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlops_assets.ml.samples import Sample
from mlops_assets.monitors.charts import Chart, compared, nearest_limits
from mlops_assets.monitors.concept import SCORE
from mlops_assets.monitors.distribution import FEWEST_ROWS, Shift, shift
from mlops_assets.monitors.finding import Finding, Findings, Look, Unjudged, subject_of
from mlops_assets.monitors.history import History, Values

NAME = "drift"


@dataclass(frozen=True)
class Drift:
    """What is looked at.

    Attributes:
        features: The columns that the model is given.
        probability: How likely an index beyond its limit shall be without a shift.
    """

    features: tuple[str, ...]
    probability: float

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [SCORE, *self.features]

    def look(self, history: History) -> Look:
        """Judge a day."""
        findings: list[Finding] = []
        unjudged: list[Unjudged] = []
        for column in self.columns:
            days = history.comparable(column, FEWEST_ROWS)
            found = shift(days, history.today.values(column), self.probability)
            if found is not None:
                findings += self._findings(history, column, found)
                continue
            reason = history.incomparable(column, FEWEST_ROWS)
            subject = subject_of(column)
            unjudged.append(Unjudged(subject=subject, name="psi", of=column, reason=reason))
        judged = Findings(
            monitor=NAME,
            day=history.today.day.isoformat(),
            reference_days=len(history.reference()),
            findings=tuple(findings),
            unjudged=tuple(unjudged),
        )
        of_score = [found for found in findings if found.subject == SCORE and found.name == "psi"]
        figures = {
            "mean score": _mean(history.today.values(SCORE)),
            "PSI of the score": max([found.value for found in of_score], default=0.0),
            "largest share of a limit": judged.nearest,
        }
        limits = [
            Sample(name=f"{found.name}_limit", labels=found.labels, value=found.high)
            for found in findings
            if found.high is not None
        ]
        return Look(judged, figures, list(self._charts(history, judged)), limits)

    def _charts(self, history: History, found: Findings) -> Iterator[Chart]:
        psi = [finding for finding in found.findings if finding.name == "psi"]
        yield from nearest_limits("Nearest to a limit", psi, "indices")
        alarmed = [dict(finding.labels)["feature"] for finding in found.alarms]
        for column in [*alarmed, SCORE][:1]:
            days = history.comparable(column, FEWEST_ROWS)
            yield from compared(column, days, history.today.values(column))

    def _findings(self, history: History, column: str, found: Shift) -> Iterator[Finding]:
        indices: Sequence[tuple[str, float | None, float | None]] = (
            ("psi", found.psi, found.psi_limit),
            ("ks", found.ks, found.ks_limit),
        )
        for name, value, limit in indices:
            if value is None or limit is None:
                continue
            yield Finding(
                subject=subject_of(column),
                name=name,
                labels=(("feature", column),),
                value=value,
                high=limit,
                alarm=found.beyond,
                sentence=(
                    f"{column}: on {history.today.day} its distribution is not that of the "
                    f"{len(history.reference())} days before: {name.upper()} {value:.2f} against "
                    f"a limit of {limit:.2f}; look at where it comes from."
                ),
            )


def _mean(values: Values) -> float:
    return (
        float((values.distinct * values.counts).sum() / values.present) if values.present else 0.0
    )
