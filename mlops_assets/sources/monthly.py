"""A table on a web server, one packed CSV file for each month."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.sources.archive import unpack
from mlops_assets.sources.csv_file import MAX_BYTES, parse_plain, refuse_other_kinds
from mlops_assets.sources.daily_rows import of_window
from mlops_assets.sources.download import Limits, download, version_at
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.guarded_http import Patience
from mlops_assets.sources.source import Arrival, Days, News, Rows, Source, Table
from mlops_assets.sources.window import DayWindow

if TYPE_CHECKING:
    import pyarrow as pa

LOOK_SECONDS = 3600.0
"""How often a server is asked for news: its months appear once a month."""

GLANCE = Patience(connect_seconds=5.0, idle_seconds=10.0)
"""A tick of an automation has a minute for a year of months."""


@dataclass(frozen=True)
class Layout:
    """How a server names its files and columns.

    Attributes:
        archive: The name of a month's archive.
        member: The name of the file in it.
        beside: Names of what else may lie in it.
        schema: The columns that are read, as the server names them.
        convert: Makes the table's rows of the server's.
    """

    archive: Callable[[date], str]
    member: Callable[[date], str]
    beside: Collection[str]
    schema: Callable[[], pa.Schema]
    convert: Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class MonthlyArchives:
    """One table by month from a server, and every other from elsewhere.

    Attributes:
        address: The address that the archives' names follow.
        table: The table's name.
        layout: What its files look like.
        span: The days that are taken.
        downloads: Where archives are kept.
        otherwise: Where the other tables are read from.
        limits: What one download may cost.
    """

    address: str
    table: str
    layout: Layout
    span: DayWindow
    downloads: Path
    otherwise: Source
    limits: Limits = field(default_factory=Limits)

    def read(self, table: Table, window: DayWindow | None) -> Rows:
        """The rows of a table; see `source.Source`. Of a broken month its own days are refused."""
        if table.table != self.table or window is None or table.days is None:
            return self.otherwise.read(table, window)
        import pyarrow as pa

        parts, days = [table.schema().empty_table()], [pa.array([], pa.date32())]
        origins: dict[str, str] = {}
        refused: dict[date, str] = {}
        for month, wanted in _months(window):
            try:
                found = self._month(table, table.days, month, wanted)
            except SourceUnavailableError:
                raise
            except SourceError as error:
                refused |= dict.fromkeys(wanted, str(error))
                continue
            parts.append(found.table)
            days.append(found.days)
            origins |= found.origins
            refused |= found.refused
        return Rows(pa.concat_tables(parts), origins, pa.concat_arrays(days), refused)

    def arrivals(self, cursor: str, *, limit: int) -> News:
        """The days of months that are new on the server or were replaced there."""
        looks = _Looks.from_text(cursor)
        now = time.time()
        if not looks.backlog and now < looks.asked + LOOK_SECONDS:
            return News(cursor=cursor)
        versions: dict[str, str | None] = {}
        unusable: dict[str, str] = {}
        for month, _ in _months(self.span):
            name = f"{month:%Y-%m}"
            try:
                versions[name] = version_at(self._url(month), GLANCE)
            except SourceUnavailableError:
                raise
            except SourceError as error:
                # Object stores answer 403 for what is not there: other months are.
                versions[name], unusable[name] = None, str(error)
        if len(unusable) == len(versions):
            raise SourceError(next(iter(unusable.values())))
        new = [
            (day, version)
            for day in self.span
            if (version := versions[f"{day:%Y-%m}"]) is not None and not looks.told(day, version)
        ]
        taken, waiting = new[:limit], len(new[limit:])
        done = looks.done | {f"{day:%Y-%m}": [version, f"{day}"] for day, version in taken}
        reached = _Looks(done, now, backlog=waiting > 0)
        arrivals = [Arrival(self.table, day, version) for day, version in taken]
        return News(arrivals, reached.text, waiting, unusable)

    def _month(self, table: Table, rule: Days, month: date, wanted: DayWindow) -> Rows:
        import pyarrow as pa

        url = self._url(month)
        fetched = download(url, self.downloads, self.limits)
        member = self.layout.member(month)
        try:
            with fetched.path.open("rb") as stream:
                refuse_other_kinds(url, stream.read(1024), packed=True)
                beside = self.layout.beside
                content = unpack(url, stream, member, max_bytes=MAX_BYTES, beside=beside)
        except SourceError:
            # What was damaged on the way has the server's name for the good one.
            fetched.forget()
            raise
        published = parse_plain(f"{url}: {member}", content, self.layout.schema())
        try:
            rows = self.layout.convert(published).select(table.schema().names).cast(table.schema())
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{url}: its values are not those of the table {self.table} ({error}). Fetch it "
                "again, or ask who keeps it."
            ) from error
        origins = {self.layout.archive(month): fetched.sha256}
        span = DayWindow(month, _last_of(month))
        return of_window(url, rule, rows, wanted, span=span, origins=origins)

    def _url(self, month: date) -> str:
        return f"{self.address.rstrip('/')}/{self.layout.archive(month)}"


@dataclass(frozen=True)
class _Looks:
    """How far the looks at a server have come.

    Attributes:
        done: Of each month the version that was told last, and its last day that was.
        asked: When the server was asked last, seconds since 1970.
        backlog: Whether some of that is still to be told.
    """

    done: dict[str, list[str]] = field(default_factory=dict)
    asked: float = 0.0
    backlog: bool = False

    @classmethod
    def from_text(cls, text: str) -> _Looks:
        return cls(**json.loads(text)) if text else cls()

    @property
    def text(self) -> str:
        return json.dumps({"done": self.done, "asked": self.asked, "backlog": self.backlog})

    def told(self, day: date, version: str) -> bool:
        """Whether a day of a version of its month was told."""
        newest, last = self.done.get(f"{day:%Y-%m}", ("", ""))
        return newest == version and f"{day}" <= last


def _months(window: DayWindow) -> Iterator[tuple[date, DayWindow]]:
    """The months of a window, each with the days of it that are wanted."""
    month = window.first.replace(day=1)
    while month <= window.last:
        last = _last_of(month)
        yield month, DayWindow(max(month, window.first), min(last, window.last))
        month = last + timedelta(days=1)


def _last_of(month: date) -> date:
    """The last day of a month."""
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
