"""A landing area: files that somebody puts down, one for each day of a daily table.

`<table>/<YYYY-MM-DD>.csv` for a day, `<table>.csv` for a whole table, each also as `.csv.zip`. A
header without rows is an empty day if `<file>.empty` lies beside it, with the reason as its text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from mlops_assets.sources.csv_file import PACKED, parse
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.folder import SUFFIX
from mlops_assets.sources.source import Arrival, News, Rows, Source, Table
from mlops_assets.sources.storage import Storage, StoredFile
from mlops_assets.sources.window import DayWindow

if TYPE_CHECKING:
    import pyarrow as pa

EMPTY = ".empty"

_DAY = re.compile(r"(?P<table>[^/]+)/(?P<day>\d{4}-\d{2}-\d{2})\.csv(\.zip)?(\.empty)?")
_WHOLE = re.compile(r"(?P<table>[^/]+)\.csv(\.zip)?")


@dataclass(frozen=True)
class LandingArea:
    """Files in a storage, named by table and day.

    Daily tables are read from here alone. A whole table is, if it is here.

    Attributes:
        storage: Where the files are.
        tables: The tables that exist, by name.
        span: The days that are taken.
        otherwise: Where whole tables are read from that are not here.
    """

    storage: Storage
    tables: Mapping[str, Table] = field(repr=False)
    span: DayWindow
    otherwise: Source

    def read(self, table: Table, window: DayWindow | None) -> Rows:
        """The rows of a table; see `source.Source`."""
        if window is None:
            return self._whole(table)
        import pyarrow as pa

        files = self.storage.files(f"{table.table}/")
        parts, days = [table.schema().empty_table()], []
        origins: dict[str, str] = {}
        refused: dict[date, str] = {}
        for day in window:
            try:
                name = self._only(files, f"{table.table}/{day}{SUFFIX}")
                rows = self._parsed(table, name, origins, day)
            except SourceUnavailableError:
                raise
            except SourceError as error:
                refused[day] = str(error)
                continue
            parts.append(rows)
            days += [day] * rows.num_rows
        return Rows(pa.concat_tables(parts), origins, pa.array(days, pa.date32()), refused)

    def arrivals(self, cursor: str, *, limit: int) -> News:
        """What has landed since an earlier look; see `source.Source`."""
        changes = self.storage.changes(cursor, self._partition, limit=limit)
        unusable = {
            name: reason
            for name, it in changes.files.items()
            if (reason := self._reason(name, it)) is not None
        }
        return News(
            [_arrival(name, fingerprint) for name, fingerprint in changes.groups],
            changes.cursor,
            changes.waiting,
            unusable,
        )

    def _whole(self, table: Table) -> Rows:
        files = self.storage.files(f"{table.table}{SUFFIX}")
        if not files:
            return self.otherwise.read(table, None)
        origins: dict[str, str] = {}
        rows = self._parsed(table, self._only(files, f"{table.table}{SUFFIX}"), origins)
        return Rows(rows, origins)

    def _only(self, files: Mapping[str, StoredFile], plain: str) -> str:
        """The name of a file, packed or not."""
        found = [name for name in (plain, f"{plain}{PACKED}") if name in files]
        if not found:
            raise SourceError(f"There is no file {self.storage.place(plain)}. Put it there.")
        if len(found) > 1:
            raise SourceError(
                f"There are both {self.storage.place(plain)} and the same with {PACKED}. Remove "
                "the older one."
            )
        return found[0]

    def _parsed(
        self, table: Table, name: str, origins: dict[str, str], day: date | None = None
    ) -> pa.Table:
        content = self.storage.content(name)
        origins[name] = hashlib.sha256(content).hexdigest()
        companion = f"{name}{EMPTY}"

        def declared_empty() -> bool:
            if companion not in self.storage.files(companion):
                return False
            origins[companion] = hashlib.sha256(self.storage.content(companion)).hexdigest()
            return True

        return parse(
            self.storage.place(name),
            content,
            table.schema(),
            may_be_empty=declared_empty,
            may_lack={name for name, first in table.since.items() if day and str(day) < first},
        )

    def _partition(self, name: str) -> str | None:
        """The partition that a file belongs to, as a text: the table, and the day after a slash."""
        if (found := _WHOLE.fullmatch(name)) is not None:
            table = self.tables.get(found["table"])
            return found["table"] if table is not None and table.days is None else None
        if (found := _DAY.fullmatch(name)) is None:
            return None
        table, day = self.tables.get(found["table"]), _date(found["day"])
        if table is None or table.days is None or day is None or day not in self.span:
            return None
        return f"{found['table']}/{day}"

    def _reason(self, name: str, it: StoredFile) -> str | None:
        """Why a file belongs to no partition; None if it belongs to one."""
        place = self.storage.place(name)
        if it.fault:
            return f"{place!r} {it.fault}"
        if self._partition(name) is not None:
            return None
        found = _DAY.fullmatch(name) or _WHOLE.fullmatch(name)
        table = self.tables.get(found["table"]) if found else None
        if found is not None and table is None:
            return f"{place!r} is of no table that exists: use {', '.join(sorted(self.tables))}."
        if found is not None and "day" in found.groupdict() and table and table.days:
            return f"{place!r} is of no day of {self.span}, the days that exist."
        return (
            f"{place!r} names no partition: use <table>/<YYYY-MM-DD>.csv for a day, <table>.csv "
            "for a table without days."
        )


def _arrival(partition: str, fingerprint: str) -> Arrival:
    table, _, day = partition.partition("/")
    return Arrival(table, _date(day) if day else None, fingerprint)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
