"""Which of a table's rows belong to the days that were asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import TYPE_CHECKING

from mlops_assets.sources.errors import SourceError
from mlops_assets.sources.source import Days, Rows
from mlops_assets.sources.window import DayWindow

if TYPE_CHECKING:
    import pyarrow as pa


def of_window(
    place: object,
    rule: Days,
    rows: pa.Table,
    window: DayWindow,
    *,
    span: DayWindow,
    origins: Mapping[str, str],
    empty: Collection[date] = (),
) -> Rows:
    """The rows of the days asked for; a day without rows is refused.

    A row goes to the day that it states or, where that is no day of the span, to the day that its
    instant implies, whatever was asked for: a range gives each day what the day alone would get. A
    row that names no day of the span goes to the first one, whose quarantine tells of it.

    Args:
        place: What errors call what was read.
        rule: How rows name their day.
        rows: All that may belong there.
        window: The days asked for.
        span: The days that there are.
        origins: What the rows were read from.
        empty: Days known to have no rows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    days = rule.assign(rows, span).fill_null(span.first)
    first, last = pa.scalar(window.first, pa.date32()), pa.scalar(window.last, pa.date32())
    wanted = pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last))
    kept = days.filter(wanted)
    present = set(pc.unique(kept).to_pylist())
    refused = {
        day: f"{place} has no rows for {day}. Complete it, or declare the day empty if nothing "
        "happened."
        for day in window
        if day not in present and day not in empty
    }
    return Rows(rows.filter(wanted), origins, kept, refused)


def refuse_homeless(place: object, rule: Days, rows: pa.Table, span: DayWindow) -> None:
    """Refuse what has a row of no day of the span: nobody would see that it was lost.

    Args:
        place: What errors call the file.
        rule: How rows name their day.
        rows: All rows of a file, in its order, after one line of names.
        span: The days that there are.

    Raises:
        SourceError: There is such a row.
    """
    import pyarrow.compute as pc

    days = rule.assign(rows, span)
    if days.null_count:
        row = pc.index(pc.is_null(days), value=True).as_py()
        told = ", ".join(
            f"{column} {rows[column][row].as_py()}" for column in (*rule.parts, rule.instant)
        )
        raise SourceError(
            f"{place}, line {row + 2}: the row belongs to no day of {span} ({told}). Correct or "
            "remove it."
        )
