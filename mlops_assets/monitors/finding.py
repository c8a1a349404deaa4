"""What a monitor found on a day: numbers, their limits, and which of them are an alarm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mlops_assets.ml.samples import Sample, Samples
from mlops_assets.ml.stored import Number, Stored

if TYPE_CHECKING:
    from mlops_assets.monitors.charts import Chart
    from mlops_assets.monitors.history import History

FINDINGS_FILE = "findings.json"
"""What the file is called that a monitor's partition holds them in."""

ALARM = "alarm"
SHOWN = 3


class Finding(Stored):
    """One number of a day, held to a limit."""

    subject: str
    """Of what: a feature view, `carrier UA`. Findings of one subject are one alarm."""
    name: str
    """What was measured, as its sample is named."""
    labels: tuple[tuple[str, str], ...]
    """Of which part of the subject, as its sample is labelled."""
    value: Number
    low: Number | None = None
    """Below this it is an alarm."""
    high: Number | None = None
    """Above this it is an alarm."""
    days: int = 1
    """Over how many days it was taken, the day the last of them."""
    alarm: bool
    sentence: str = ""
    """What an alarm says."""

    @property
    def share_of_limit(self) -> float:
        """How much of the way to its limit the value has gone; above 1 it is beyond."""
        if self.low is not None and self.high is not None:
            middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
            return abs(self.value - middle) / half if half else float(self.value != middle) * 2
        if self.high is not None:
            return self.value / self.high if self.high else float(self.value > 0) * 2
        # What is judged from below only, a ROC AUC, lies between 0 and 1.
        return 0.0 if self.low is None else (1 - self.value) / (1 - self.low)

    @property
    def caption(self) -> str:
        """What is measured of what, in a few words."""
        of = [value for name, value in self.labels if name not in ("quantity", "table")]
        quantity = dict(self.labels).get("quantity", "")
        window = f", {self.days} days" if self.days > 1 else ""
        named = " ".join([*(of or [self.subject]), quantity]).strip()
        return f"{named}: {self.name}{window}"


class Unjudged(Stored):
    """A number that a day cannot be judged by, which is no sign that nothing has changed."""

    subject: str
    """Of what, as findings name it."""
    name: str
    """What would have been measured."""
    of: str = ""
    """Of which part of the subject."""
    reason: str
    """Why there is no finding."""


class Findings(Stored):
    """What a monitor found on a day."""

    monitor: str
    day: str
    reference_days: int
    """How many days before the day it was compared with; 0 where they are too few to judge by."""
    findings: tuple[Finding, ...]
    unjudged: tuple[Unjudged, ...] = ()

    @property
    def alarms(self) -> list[Finding]:
        """Those that are an alarm."""
        return [finding for finding in self.findings if finding.alarm]

    @property
    def subjects(self) -> list[str]:
        """What the alarms are about, each named once."""
        return list(dict.fromkeys(finding.subject for finding in self.alarms))

    def largest(self, name: str) -> float:
        """The largest value of that name; 0 where none was judged."""
        return max([found.value for found in self.findings if found.name == name], default=0.0)

    @property
    def nearest(self) -> float:
        """The largest share of a limit."""
        return max([found.share_of_limit for found in self.findings], default=0.0)

    @property
    def sentence(self) -> str:
        """What was found, for whoever is woken by it."""
        if self.alarms:
            first = {finding.subject: finding.sentence for finding in reversed(self.alarms)}
            shown = [first[subject] for subject in self.subjects[:SHOWN]]
            rest = len(self.subjects) - len(shown)
            more = f" {rest} more: {', '.join(self.subjects[SHOWN:])}." if rest else ""
            return f"{' '.join(shown)}{more}"
        if not self.reference_days:
            return f"{self.day} has too few days before it to be compared with; nothing is judged."
        return f"Nothing of {self.day} differs from the {self.reference_days} days before it."


@dataclass(frozen=True)
class Look:
    """All that a monitor saw of a day.

    Attributes:
        findings: What it judged.
        figures: The main numbers, by name, as people plot them over the days.
        charts: What its report draws.
        measured: What it measured and does not judge.
    """

    findings: Findings
    figures: Mapping[str, float]
    charts: Sequence[Chart] = ()
    measured: Sequence[Sample] = ()

    @property
    def samples(self) -> Samples:
        """Every number of the day, in the form in which monitors store them."""
        judged = [
            Sample(
                name=finding.name,
                labels=tuple(sorted((*finding.labels, ("days", str(finding.days))))),
                value=finding.value,
            )
            for finding in self.findings.findings
        ]
        alarms = [Sample.of(ALARM, 1.0, subject=subject) for subject in self.findings.subjects]
        count = Sample.of("alarms", float(len(self.findings.subjects)))
        return Samples(samples=(*_once([*self.measured, *judged]), count, *alarms))


class Monitor(Protocol):
    """Looks at a day and the days before it."""

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        ...

    def look(self, history: History) -> Look:
        """Judge a day."""
        ...


def parted(
    judged: Iterable[Finding | Unjudged],
) -> tuple[tuple[Finding, ...], tuple[Unjudged, ...]]:
    """Findings, and what could not be judged, each once."""
    found = list(judged)
    return (
        tuple(one for one in found if isinstance(one, Finding)),
        tuple(dict.fromkeys(one for one in found if isinstance(one, Unjudged))),
    )


def _once(samples: Iterable[Sample]) -> list[Sample]:
    return list({(sample.name, sample.labels): sample for sample in samples}.values())


def subject_of(column: str) -> str:
    """What an alarm about a column is about: its feature view, or itself where it has none."""
    view, parted, _ = column.partition("__")
    return view if parted else column
