"""Whether what the model is given, and what it says of it, is distributed as in the days before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlops_assets.ml.samples import Sample
from mlops_assets.monitors.concept import SCORE
from mlops_assets.monitors.distribution import Shift, shift
from mlops_assets.monitors.finding import Finding, Findings, Look, subject_of
from mlops_assets.monitors.history import History

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
        reference = history.reference()
        findings: list[Finding] = []
        measured: list[Sample] = []
        for column in self.columns if reference else ():
            today = history.today.values(column)
            found = shift([day.values(column) for day in reference], today, self.probability)
            if found is None:
                continue
            findings += self._findings(history, column, found)
            labels = {"feature": column}
            measured.append(Sample.of("psi_limit", found.psi_limit, **labels))
        if today_scores := history.today.values(SCORE).present:
            scores = history.today.values(SCORE)
            mean = float((scores.distinct * scores.counts).sum() / today_scores)
            measured.append(Sample.of("mean_score", mean))
        return Look(
            Findings(
                monitor=NAME,
                day=history.today.day.isoformat(),
                reference_days=len(reference),
                findings=tuple(findings),
            ),
            measured,
        )

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
