"""A message about something that is wrong, or right again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

LONGEST_REASON = 2_000
"""Characters of a reason: a channel refuses a longer message as a whole."""

CUT = " … (its run's page has the rest)"
"""How a longer one ends."""

NAMED = 10
"""So many partitions a message names; the run's page has all."""


class Severity(StrEnum):
    """How bad it is, in PagerDuty's words."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Message:
    """What is wrong, where, why, and the way out.

    Attributes:
        key: Names the trouble: what has the same key is the same trouble, whichever run met it.
        title: What is wrong, in a line.
        severity: How bad.
        reason: Why, in a sentence.
        way_out: What to do, in a sentence or two, with the command.
        job: The job that met it; None without.
        run: The id of its run; None without.
        step: The step of it; None without.
        partitions: The partitions that it is about.
        branches: The lake's branches that were kept for the post-mortem.
        link: A page that shows more; None without.
        resolved: Whether the trouble is over, and this says so.
    """

    key: str
    title: str
    severity: Severity
    reason: str
    way_out: str
    job: str | None = None
    run: str | None = None
    step: str | None = None
    partitions: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    link: str | None = None
    resolved: bool = False

    def __post_init__(self) -> None:
        # The name of a file can hold bytes that are no text: no channel takes them, and a message
        # that none takes would hold up all that come after it.
        for name in ("key", "title", "reason", "way_out"):
            text = getattr(self, name).encode(errors="backslashreplace").decode()
            object.__setattr__(self, name, text)
        reason = self.reason.strip() or "No reason was given."
        if len(reason) > LONGEST_REASON:
            reason = reason[: LONGEST_REASON - len(CUT)] + CUT
        object.__setattr__(self, "reason", reason)

    @property
    def dedup_key(self) -> str:
        """The key in a form that every service takes, whatever it is made of."""
        return f"mlops-assets-{hashlib.sha256(self.key.encode()).hexdigest()[:40]}"

    @property
    def headline(self) -> str:
        """The title on one line, with what it is about."""
        state = "Resolved" if self.resolved else self.severity.value.capitalize()
        return " ".join(f"{state}: {self.title}".split())

    def facts(self) -> dict[str, str]:
        """What there is to know beside the reason, by name."""
        named = ", ".join(self.partitions[:NAMED])
        more = len(self.partitions) - NAMED
        found = {
            "Job": self.job,
            "Step": self.step,
            "Partitions": f"{named} and {more} more" if more > 0 else named,
            "Branch kept": ", ".join(self.branches),
            "Run": self.run,
            "Page": self.link,
        }
        return {name: value for name, value in found.items() if value}

    def to_text(self) -> str:
        """All of it, as plain text."""
        body = [self.reason, "", f"Way out: {self.way_out}", ""]
        if self.resolved:
            body = [self.reason, ""]
        facts = [f"{name}: {value}" for name, value in self.facts().items()]
        return "\n".join([self.headline, "", *body, *facts])

    def as_resolved(self, reason: str) -> Self:
        """The same trouble, over.

        Args:
            reason: How it ended.
        """
        return replace(self, resolved=True, reason=reason)
