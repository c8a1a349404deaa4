"""Tables of any database that SQLAlchemy reaches, read by day and never written to.

A read is one transaction, so that it sees one state of the table; cut off, it begins anew and
nothing of the first try is used. What has changed is told by a column that says when each row was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_assets.sources.daily_rows import of_window
from mlops_assets.sources.database_server import SQLITE, STATEMENT_SECONDS, Server
from mlops_assets.sources.database_values import column, instant
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.progress import Item, Progress
from mlops_assets.sources.source import Arrival, Days, News, Rows, Table
from mlops_assets.sources.window import DayWindow

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

T = TypeVar("T")

BATCH = 10_000
"""Rows that are fetched at once: a year of flights is never in the driver's memory."""

WAITS = (1.0, 5.0)
"""Seconds before each further try of what a lost connection cut off."""

CANCELLED = "57014"
"""What Postgres calls a statement that took too long."""

EVER = DayWindow(date.min, date.max)


@dataclass(frozen=True)
class _Changes:
    """What changed in a table.

    Attributes:
        items: The days that did, or the table.
        unusable: What is no day that exists, or bears no time, with the sentence that says so.
    """

    items: list[Item] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Database:
    """A database with a table of the same name and columns for each of ours.

    Attributes:
        url: Its SQLAlchemy URL, without a password.
        password: The password.
        tables: The tables that exist, by name.
        cursor_column: The column that tells when a row was last changed.
        span: The days that are taken.
        empty: Tables and days known to have no rows.
        waits: Seconds before each further try.
    """

    url: str
    password: str | None = field(repr=False)
    tables: Mapping[str, Table] = field(repr=False)
    cursor_column: str
    span: DayWindow
    empty: Collection[tuple[str, date]] = ()
    waits: Sequence[float] = WAITS

    def read(self, table: Table, window: DayWindow | None) -> Rows:
        """The rows of a table; see `source.Source`."""
        rows = self._patiently(lambda connection: self._rows(connection, table, window))
        place = self._place(table.table)
        if window is None or table.days is None:
            if rows.num_rows == 0:
                raise SourceError(
                    f"{place} has no rows, which would leave none of it. Fill the table, or "
                    "correct MLOPS_SOURCE."
                )
            return Rows(rows, {table.table: _digest(rows)})
        rows = rows.filter(_of_span_or_none(table.days, rows, self.span))
        empty = {day for name, day in self.empty if name == table.table}
        found = of_window(place, table.days, rows, window, span=self.span, origins={}, empty=empty)
        origins = {f"{table.table}/{day}": _digest(_of(found, day)) for day in window}
        return Rows(found.table, origins, found.days, found.refused)

    def arrivals(self, cursor: str, *, limit: int) -> News:
        """Days with rows that were added or changed; see `source.Source`."""
        known: dict[str, str] = json.loads(cursor) if cursor else {}
        looks = {name: Progress.from_text(known.get(name, "")) for name in self.tables}

        def changes(connection: sa.Connection) -> dict[str, _Changes]:
            return {
                name: self._changes(connection, table, looks[name].floor)
                for name, table in self.tables.items()
            }

        # Before it is asked: what is committed while it answers must be late at the next look.
        now = time.time_ns()
        found = self._patiently(changes, waits=())
        unusable: dict[str, str] = {}
        taken: list[Item] = []
        waiting = 0
        for name, changed in found.items():
            unusable |= changed.unusable
            items = changed.items
            new, more, looks[name] = looks[name].take(items, now=now, limit=limit - len(taken))
            taken += new
            waiting += more
        reached = json.dumps({name: progress.text for name, progress in looks.items()})
        return News([_arrival(item) for item in taken], reached, waiting, unusable)

    def _rows(self, connection: sa.Connection, table: Table, window: DayWindow | None) -> pa.Table:
        import pyarrow as pa
        import sqlalchemy as sa

        schema, place = table.schema(), self._place(table.table)
        theirs = self._reflected(connection, table.table, schema.names)
        # As the driver gives them: a database's idea of a column's type may be no type of its rows.
        columns = [sa.type_coerce(theirs.c[name], sa.types.NullType()) for name in schema.names]
        statement = sa.select(*columns)
        if window is not None and table.days is not None:
            wanted = [_belongs(theirs, table.days, window)]
            if self.span.first in window:
                wanted.append(_homeless(theirs, table.days))
            statement = statement.where(sa.or_(*wanted))
        batches = [schema.empty_table()]
        streamed = {"stream_results": True, "yield_per": BATCH}
        for rows in connection.execute(statement, execution_options=streamed).partitions():
            values = zip(*rows, strict=True)
            batches.append(
                pa.table(
                    [column(place, *pair) for pair in zip(schema, values, strict=True)],
                    schema=schema,
                )
            )
        return pa.concat_tables(batches)

    def _changes(self, connection: sa.Connection, table: Table, floor: int) -> _Changes:
        import sqlalchemy as sa

        days = [] if table.days is None else list(table.days.parts)
        theirs = self._reflected(connection, table.table, [*days, self.cursor_column])
        changed = theirs.c[self.cursor_column]
        since = datetime.fromtimestamp(max(floor, 0) / 1e9, UTC)
        if connection.dialect.name == SQLITE:
            # Times are text there, and compare as times only by their dates.
            since -= timedelta(days=1)
        parts = [theirs.c[name] for name in days]
        newest = sa.type_coerce(sa.func.max(changed), sa.types.NullType())
        counted = sa.select(*parts, newest, sa.func.count())
        statement: sa.Executable = counted
        recent = changed >= _bound(changed, since)
        if parts:
            touched = sa.select(*parts).where(recent).distinct().subquery()
            same = sa.and_(*(touched.c[name] == theirs.c[name] for name in days))
            # Nothing equals what is missing.
            nameless = sa.and_(recent, sa.or_(*(part.is_(None) for part in parts)))
            # All rows of a day that was touched: an older time that is committed late shows in
            # their number.
            statement = sa.union_all(
                counted.select_from(theirs.join(touched, same)).group_by(*parts),
                counted.where(nameless).group_by(*parts),
            )
        found = _Changes()
        timeless = sa.select(sa.func.count()).select_from(theirs).where(changed.is_(None))
        if unseen := connection.execute(timeless).scalar_one():
            found.unusable[f"{table.table}: {self.cursor_column}"] = (
                f"{self._place(table.table)} has no {self.cursor_column} in {unseen:,} rows, which "
                "never arrive by themselves. Fill it there."
            )
        for *day, when, count in connection.execute(statement):
            if when is None:
                continue
            told = "-".join(f"{part:02}" if isinstance(part, int) else str(part) for part in day)
            named = _date(day)
            if day and (named is None or named not in self.span):
                found.unusable[f"{table.table}/{told}"] = (
                    f"{self._place(table.table)} has rows of {told}, which is no day of "
                    f"{self.span}: {count:,} in all. Correct those that are of one."
                )
                continue
            name = f"{table.table}/{named}" if named else table.table
            try:
                stamp = round(instant(when).timestamp() * 1e6) * 1000
            except (ValueError, TypeError, OverflowError):
                # One such row must not hold up the days of all others.
                found.unusable[name] = (
                    f"{self._place(table.table)} has {self.cursor_column} {when!r} in its newest "
                    f"row{f' of {told}' if day else ''}, which is no time. Correct it, or name a "
                    "column of times in MLOPS_SOURCE_CURSOR."
                )
                continue
            found.items.append(Item(stamp, name, str(count)))
        return found

    def _reflected(
        self, connection: sa.Connection, name: str, columns: Collection[str]
    ) -> sa.TableClause:
        import sqlalchemy as sa

        try:
            # The columns alone: to reflect all of five tables took a tick seconds.
            columns_there = sa.inspect(connection).get_columns(name)
        except sa.exc.NoSuchTableError as error:
            raise SourceError(
                f"{self._place(name)} does not exist. Create the table or a view of that name, or "
                "correct MLOPS_SOURCE."
            ) from error
        found = sa.table(name, *(sa.column(it["name"], it["type"]) for it in columns_there))
        missing = [column for column in columns if column not in found.c]
        if missing:
            hint = (
                "; MLOPS_SOURCE_CURSOR names the column that tells when a row was changed"
                if self.cursor_column in missing
                else ""
            )
            raise SourceError(
                f"{self._place(name)} lacks the column{'s' if len(missing) > 1 else ''} "
                f"{', '.join(missing)}{hint}. Add it, or make a view that has it."
            )
        return found

    def _patiently(
        self, work: Callable[[sa.Connection], T], *, waits: Sequence[float] | None = None
    ) -> T:
        """Do work in one transaction, and all of it again if the connection is lost."""
        import sqlalchemy as sa

        server = self._server
        for wait in (*(self.waits if waits is None else waits), None):
            try:
                with server.connected() as connection:
                    return work(connection)
            except (sa.exc.ProgrammingError, sa.exc.DataError) as error:
                raise SourceError(
                    f"{server.shown} refuses to be read: {_words(error)}. Correct the table or the "
                    "permissions of its reader."
                ) from error
            except sa.exc.DBAPIError as error:
                if getattr(error.orig, "pgcode", None) == CANCELLED:
                    raise SourceError(
                        f"{server.shown} took longer than {STATEMENT_SECONDS} s for a table. Index "
                        "it by year, month and day."
                    ) from error
                if wait is None:
                    raise SourceUnavailableError(
                        f"{server.shown} does not answer: {_words(error)}. See that the database "
                        "runs and lets us in, and try again."
                    ) from error
                time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    @property
    def _server(self) -> Server:
        return Server(self.url, self.password)

    def _place(self, table: str) -> str:
        return f"{self._server.shown}, table {table}"


def _belongs(theirs: sa.TableClause, rule: Days, window: DayWindow) -> sa.ColumnElement[bool]:
    """The rows that may belong to some days: by the day that they state, or nearly by the instant.

    Which of them do the rule decides. A day more on both sides covers every time zone and every
    way of writing a time as text.
    """
    import sqlalchemy as sa

    year, month, day = (theirs.c[name] for name in rule.parts)
    first, last = window.first, window.last
    if first == last:
        stated = sa.and_(year == first.year, month == first.month, day == first.day)
    else:
        number = year * 10000 + month * 100 + day
        stated = sa.and_(
            year.between(first.year, last.year),
            number.between(int(f"{first:%Y%m%d}"), int(f"{last:%Y%m%d}")),
        )
    instant = theirs.c[rule.instant]
    midnight = datetime.min.time()
    start = datetime.combine(first - timedelta(days=1), midnight, UTC)
    end = datetime.combine(last + timedelta(days=3), midnight, UTC)
    near = sa.and_(instant >= _bound(instant, start), instant < _bound(instant, end))
    return sa.or_(stated, near)


def _homeless(theirs: sa.TableClause, rule: Days) -> sa.ColumnElement[bool]:
    """The rows that may name no day at all, and what else costs little to look at."""
    import sqlalchemy as sa

    year, month, day = (theirs.c[name] for name in rule.parts)
    no_date = sa.or_(
        *(part.is_(None) for part in (year, month, day)),
        sa.not_(year.between(1, 9999)),
        sa.not_(month.between(1, 12)),
        # The last days of a month may be none of a shorter one.
        sa.not_(day.between(1, 28)),
    )
    return sa.and_(theirs.c[rule.instant].is_(None), no_date)


def _of_span_or_none(rule: Days, rows: pa.Table, span: DayWindow) -> pa.Array:
    """Whether each row is of a day of the span or of none at all; others are of other days."""
    import pyarrow.compute as pc

    return pc.or_(rule.assign(rows, span).is_valid(), rule.assign(rows, EVER).is_null())


def _bound(column: sa.ColumnElement[Any], instant: datetime) -> Any:  # noqa: ANN401 - by its type
    """An instant as a column compares it: with its zone, in UTC without one, or as text."""
    import sqlalchemy as sa

    if not isinstance(column.type, sa.DateTime):
        return instant.strftime("%Y-%m-%d %H:%M:%S")
    return instant if column.type.timezone else instant.replace(tzinfo=None)


def _date(parts: Sequence[Any]) -> date | None:
    """The day that three numbers name; None if they name none."""
    try:
        return date(*map(int, parts))
    except (ValueError, TypeError, OverflowError):
        return None


def _of(rows: Rows, day: date) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    return rows.table.filter(pc.equal(rows.days, pa.scalar(day, pa.date32())))


def _digest(rows: pa.Table) -> str:
    """A digest of rows that knows no order and no library."""
    lines = sorted("\x1f".join(map(repr, row.values())) for row in rows.to_pylist())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _arrival(item: Item) -> Arrival:
    table, _, day = item.name.partition("/")
    return Arrival(table, date.fromisoformat(day) if day else None, item.mark)


def _words(error: sa.exc.DBAPIError) -> str:
    """What the driver says, on one line."""
    return " ".join(str(error.orig).split()).rstrip(".")
