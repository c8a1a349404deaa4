"""A folder of whole CSV files, one for each table."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.sources.csv_file import PACKED, local_content, parse
from mlops_assets.sources.errors import SourceError
from mlops_assets.sources.source import Days, News, Rows, Table
from mlops_assets.sources.window import DayWindow

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".csv"


@dataclass(frozen=True)
class WholeFiles:
    """`<table>.csv`, or `<table>.csv.zip`, for each table, all days of a daily one in its file.

    Attributes:
        folder: Where they are.
        span: The days that they cover; no row of a daily table may lie outside.
        empty: Tables and days known to have no rows. Any other day without rows is a fault.
    """

    folder: Path
    span: DayWindow
    empty: Collection[tuple[str, date]] = ()

    def read(self, table: Table, window: DayWindow | None) -> Rows:
        """The rows of a table; see `source.Source`.

        A row goes to the day that it states or, where that is no day of the span, to the day that
        its instant implies; its contract then quarantines it there.

        Raises:
            SourceError: The file has a fault, or a row lies on no day of the span.
        """
        path = self._file(table.table)
        if (window is None) != (table.days is None):
            raise ValueError(f"{table.table} is asked for with {window=}; it has other days.")
        if window is not None and (window.first not in self.span or window.last not in self.span):
            raise SourceError(
                f"{path} covers {self.span} and cannot give {window}. Ask for days within."
            )
        content = local_content(path)
        rows = parse(path, content, table.schema())
        origins = {path.name: hashlib.sha256(content).hexdigest()}
        if window is None or table.days is None:
            return Rows(rows, origins)
        return self._of_days(path, table.table, table.days, rows, origins, window)

    def arrivals(self, cursor: str, *, limit: int) -> News:  # noqa: ARG002 - as every source has it
        """Nothing: a new version of a whole file does not tell which of its days changed."""
        return News(cursor=cursor)

    def _file(self, table: str) -> Path:
        plain = self.folder / f"{table}{SUFFIX}"
        packed = plain.with_name(f"{plain.name}{PACKED}")
        if plain.exists() and packed.exists():
            raise SourceError(
                f"{self.folder} holds both {plain.name} and {packed.name}. Remove the older one."
            )
        return packed if packed.exists() else plain

    def _of_days(
        self,
        path: Path,
        name: str,
        rule: Days,
        rows: pa.Table,
        origins: dict[str, str],
        window: DayWindow,
    ) -> Rows:
        import pyarrow as pa
        import pyarrow.compute as pc

        days = rule.assign(rows, self.span)
        # Every partition would filter such a row away, and nobody would see that it was lost.
        if days.null_count:
            row = pc.index(pc.is_null(days), value=True).as_py()
            told = ", ".join(
                f"{column} {rows[column][row].as_py()}" for column in (*rule.parts, rule.instant)
            )
            raise SourceError(
                f"{path}, line {row + 2}: the row belongs to no day of {self.span} ({told}). "
                "Correct or remove it."
            )
        first, last = pa.scalar(window.first, pa.date32()), pa.scalar(window.last, pa.date32())
        wanted = pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last))
        kept = days.filter(wanted)
        present = set(pc.unique(kept).to_pylist())
        refused = {
            day: f"{path} has no rows for {day}. Complete the file, or declare the day empty if "
            "nothing happened."
            for day in window
            if day not in present and (name, day) not in self.empty
        }
        return Rows(rows.filter(wanted), origins, kept, refused)
