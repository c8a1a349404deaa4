"""What every source is asked for, and in which form it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Protocol

from mlops_assets.sources.errors import SourceError
from mlops_assets.sources.window import DayWindow

if TYPE_CHECKING:
    import pyarrow as pa


class Days(Protocol):
    """How the rows of a daily table name their day."""

    @property
    def parts(self) -> tuple[str, str, str]:
        """The columns that state the year, the month and the day as numbers."""

    @property
    def instant(self) -> str:
        """The column of an instant that implies the day where those state none."""

    def assign(self, table: pa.Table, window: DayWindow) -> pa.Array:
        """The one day in `window` that each row belongs to, as `date32`; null where none is."""


class Table(Protocol):
    """What a source must know of a table: its name, its columns and how its rows name days."""

    @property
    def table(self) -> str:
        """Its name."""

    @property
    def days(self) -> Days | None:
        """How rows name their day; None for a table that is read as a whole."""

    @property
    def since(self) -> Mapping[str, str]:
        """By column the first day on which it exists, where files of earlier days may lack it."""

    def schema(self) -> pa.Schema:
        """Its columns and their types."""


@dataclass(frozen=True)
class Rows:
    """What a source has of a table.

    Attributes:
        table: The rows, in the table's schema and in any order.
        origins: What they were read from, by name, with the SHA-256 of its content.
        days: The day that each row was read for, `date32`; None of a table without days.
        refused: The days asked for that cannot be read, each with the sentence that says why.
    """

    table: pa.Table
    origins: Mapping[str, str]
    days: pa.Array | None = None
    refused: Mapping[date, str] = field(default_factory=dict)

    def complete(self) -> Rows:
        """The same, if no day was refused.

        Raises:
            SourceError: One was.
        """
        for sentence in self.refused.values():
            raise SourceError(sentence)
        return self


@dataclass(frozen=True)
class Arrival:
    """Something new for a partition.

    Attributes:
        table: The table's name.
        day: The partition's day; None for a table without days.
        fingerprint: What tells this state from any other of the same partition.
    """

    table: str
    day: date | None
    fingerprint: str


@dataclass(frozen=True)
class News:
    """What has arrived at a source.

    Attributes:
        arrivals: What is new, oldest first.
        cursor: What the next look starts from; it is past these arrivals and no further.
        waiting: How many more are new, which the next looks will tell.
        unusable: What lies there that belongs to no partition, with the sentence that says why.
    """

    arrivals: Sequence[Arrival] = ()
    cursor: str = ""
    waiting: int = 0
    unusable: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """One place that raw data comes from."""

    def read(self, table: Table, window: DayWindow | None) -> Rows:
        """The rows of a table.

        Args:
            table: Which.
            window: The days asked for; None for a table without days.

        Raises:
            SourceError: Nothing of it can be read.
            SourceUnavailableError: The source does not answer now.
        """

    def arrivals(self, cursor: str, *, limit: int) -> News:
        """What has arrived since an earlier look.

        Args:
            cursor: What that look returned; empty before the first one.
            limit: The most arrivals to tell at once.

        Raises:
            SourceUnavailableError: The source does not answer now.
            SourceError: It cannot be looked at at all.
        """
