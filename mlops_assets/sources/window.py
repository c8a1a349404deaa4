"""A run of days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class DayWindow:
    """The days `first` to `last`, both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"A window cannot end ({self.last}) before it starts ({self.first}).")

    def __iter__(self) -> Iterator[date]:
        return (
            self.first + timedelta(days=offset)
            for offset in range((self.last - self.first).days + 1)
        )

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}..{self.last}"
