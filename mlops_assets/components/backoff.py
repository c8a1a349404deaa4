"""When to try again what failed, and how that is told: a state that a sensor's cursor carries.

Belongs here: the decision and its words. Does not belong here: what is tried, and the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

FIRST_WAIT = 60.0
"""Seconds until the first try after a failure; each further failure doubles them."""

LONGEST_WAIT = 3600.0
"""Seconds that no wait exceeds: whatever comes back is noticed within the hour."""

RED_AFTER = 3
"""After so many failures in a row a sensor's ticks fail, which the UI shows red."""

LONGEST_REASON = 500
"""Characters of a reason that are kept: a server's page of HTML would fill the cursor."""


@dataclass(frozen=True)
class Backoff:
    """How often in a row something failed, and when it is tried next.

    Times are seconds since 1970, UTC. `Backoff()` is the state of what works.

    Attributes:
        failures: How often in a row.
        since: When the first of them was.
        next_try: When it is tried next.
        reason: Why the newest failed, in a sentence.
    """

    failures: int = 0
    since: float = 0.0
    next_try: float = 0.0
    reason: str = ""

    def due(self, now: float) -> bool:
        """Whether to try now."""
        # A clock that was set back must not have it wait for longer than a wait can be.
        return not now < self.next_try <= now + LONGEST_WAIT

    def failed(self, now: float, reason: str) -> Self:
        """The state after another failure."""
        wait = min(FIRST_WAIT * 2.0 ** min(self.failures, 30), LONGEST_WAIT)
        return type(self)(
            failures=self.failures + 1,
            since=self.since if self.failures else now,
            next_try=now + wait,
            reason=reason[:LONGEST_REASON],
        )

    def sentence(self, what: str) -> str:
        """What the UI shows of it while it fails.

        Args:
            what: What fails, as a sentence begins with it.
        """
        times = "once" if self.failures == 1 else f"{self.failures} times in a row"
        return (
            f"{what} failed {times} since {_told(self.since)}: {self.reason.rstrip('.')}. "
            f"Tried again after {_told(self.next_try)}."
        )

    def to_json(self) -> dict[str, Any]:
        """The state for a cursor; empty while nothing fails."""
        return asdict(self) if self.failures else {}

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> Self:
        """The state that a cursor carries; that of what works if it carries none."""
        return cls(**document) if document else cls()


def _told(time: float) -> str:
    return datetime.fromtimestamp(time, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
