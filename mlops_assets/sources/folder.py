"""A folder of whole CSV files, one for each table."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mlops_assets.sources.csv_file import PACKED, local_content, parse
from mlops_assets.sources.daily_rows import of_window, refuse_homeless
from mlops_assets.sources.errors import SourceError
from mlops_assets.sources.source import News, Rows, Table
from mlops_assets.sources.window import DayWindow

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
        refuse_homeless(path, table.days, rows, self.span)
        empty = {day for name, day in self.empty if name == table.table}
        return of_window(
            path, table.days, rows, window, span=self.span, origins=origins, empty=empty
        )

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
