"""Times as the API writes them: UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(moment: datetime | None = None) -> str:
    """A moment, or now, as RFC 3339."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def since(stamped: str) -> float:
    """The seconds that have passed since a stamp."""
    return (datetime.now(UTC) - datetime.fromisoformat(stamped)).total_seconds()


def age(stamped: str | None) -> str:
    """How long ago a stamp was, as `kubectl get` shows it."""
    if not stamped:
        return "<unknown>"
    seconds = int(since(stamped))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
