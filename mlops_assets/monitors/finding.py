"""What a monitor found on a day: numbers, their limits, and which of them are an alarm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlops_assets.ml.samples import Sample, Samples
from mlops_assets.ml.stored import Number, Stored

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


class Findings(Stored):
    """What a monitor found on a day."""

    monitor: str
    day: str
    reference_days: int
    """How many days before the day it was compared with; 0 where they are too few to judge by."""
    findings: tuple[Finding, ...]

    @property
    def alarms(self) -> list[Finding]:
        """Those that are an alarm."""
        return [finding for finding in self.findings if finding.alarm]

    @property
    def subjects(self) -> list[str]:
        """What the alarms are about, each named once."""
        return list(dict.fromkeys(finding.subject for finding in self.alarms))

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
        samples: What else it measured.
    """

    findings: Findings
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
        return Samples(samples=(*self.measured, *_once(judged), count, *alarms))


def _once(samples: Iterable[Sample]) -> list[Sample]:
    return list({(sample.name, sample.labels): sample for sample in samples}.values())


def subject_of(column: str) -> str:
    """What an alarm about a column is about: its feature view, or itself where it has none."""
    view, parted, _ = column.partition("__")
    return view if parted else column
