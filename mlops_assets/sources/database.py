"""Tables of any database that SQLAlchemy reaches, read by day and never written to.

A read is one transaction, so that it sees one state of the table; cut off, it begins anew and
nothing of the first try is used. What has changed is told by a column that says when each row was.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from mlops_assets.sources.daily_rows import of_window
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

STATEMENT_SECONDS = 600

CONNECT_SECONDS = 10

CANCELLED = "57014"
"""What Postgres calls a statement that took too long."""

POSTGRES, SQLITE = "postgresql", "sqlite"

EVER = DayWindow(date.min, date.max)

SECRET = re.compile(r"pass|pwd|token|secret|key", re.IGNORECASE)
"""What the name of a URL's parameter looks like that holds a secret."""

PATHS = {"passfile", "sslkey", "ssl_key"}
"""Parameters of such names that hold the path of a file."""

SECRET_WITHIN = re.compile(r"(pwd|password|token|secret)\s*=", re.IGNORECASE)
"""What a secret looks like in a parameter that holds a whole connection, as odbc_connect does."""


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
                    [_column(place, of, column) for of, column in zip(schema, values, strict=True)],
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
                stamp = round(_instant(when).timestamp() * 1e6) * 1000
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

        for wait in (*(self.waits if waits is None else waits), None):
            try:
                with self._connected() as connection:
                    return work(connection)
            except (sa.exc.ProgrammingError, sa.exc.DataError) as error:
                raise SourceError(
                    f"{self._shown} refuses to be read: {_words(error)}. Correct the table or the "
                    "permissions of its reader."
                ) from error
            except sa.exc.DBAPIError as error:
                if getattr(error.orig, "pgcode", None) == CANCELLED:
                    raise SourceError(
                        f"{self._shown} took longer than {STATEMENT_SECONDS} s for a table. Index "
                        "it by year, month and day."
                    ) from error
                if wait is None:
                    raise SourceUnavailableError(
                        f"{self._shown} does not answer: {_words(error)}. See that the database "
                        "runs and lets us in, and try again."
                    ) from error
                time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        engine = self._engine()
        options: dict[str, Any] = {}
        if engine.dialect.name == POSTGRES:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with engine.connect() as connection:
                yield connection.execution_options(**options)
        finally:
            engine.dispose()

    def _engine(self) -> sa.Engine:
        import sqlalchemy as sa

        url = self._url
        arguments: dict[str, Any] = {}
        if url.get_backend_name() == SQLITE:
            path = Path(url.database or "").absolute()
            if not path.is_file():
                raise SourceError(f"There is no database {path}. Correct MLOPS_SOURCE.")
            # To open it for writing would make it where it is missing.
            arguments["creator"] = lambda: sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True
            )
        elif url.get_backend_name() == POSTGRES:
            if url.drivername == POSTGRES:
                url = url.set(drivername=f"{POSTGRES}+psycopg2")
            arguments["connect_args"] = {
                "connect_timeout": CONNECT_SECONDS,
                "application_name": "mlops-assets",
                "options": f"-c statement_timeout={STATEMENT_SECONDS}s",
            }
        try:
            return sa.create_engine(
                url.set(password=self.password) if self.password else url,
                poolclass=sa.NullPool,
                **arguments,
            )
        except sa.exc.NoSuchModuleError as error:
            raise SourceError(
                f"{self._shown} is of no kind of database that is known. Correct MLOPS_SOURCE."
            ) from error
        except ModuleNotFoundError as error:
            raise SourceError(
                f"{self._shown} needs the package {error.name}. Install it."
            ) from error

    @property
    def _url(self) -> sa.URL:
        import sqlalchemy as sa

        try:
            url = sa.make_url(self.url)
        except (sa.exc.ArgumentError, ValueError):
            # What such an error repeats can be a part of a password.
            raise SourceError(
                "MLOPS_SOURCE is no URL of a database. Write it as <kind>://<user>@<host>/<name>."
            ) from None
        if (held := _credential(url)) is not None:
            raise SourceError(
                f"MLOPS_SOURCE holds {held}, which logs would show. Set MLOPS_SOURCE_PASSWORD "
                "instead, and write the rest as <kind>://<user>@<host>/<name>."
            )
        return url

    @property
    def _shown(self) -> str:
        # Not the parameters, which no list of names can promise to hold no secret.
        return self._url.set(query={}).render_as_string(hide_password=True)

    def _place(self, table: str) -> str:
        return f"{self._shown}, table {table}"


def _credential(url: sa.URL) -> str | None:
    """What of a URL belongs in no log: its password, or a parameter that looks like one."""
    if url.password is not None:
        return "a password"
    for name, values in url.normalized_query.items():
        named = SECRET.search(name) and name.lower() not in PATHS
        if named or any(SECRET_WITHIN.search(value) for value in values):
            return f"a credential in its parameter {name}"
    return None


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


def _column(place: str, of: pa.Field, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    convert: Callable[[Any], Any] = str
    if pa.types.is_integer(of.type):
        convert = _whole
    elif pa.types.is_floating(of.type):
        convert = _measure
    elif pa.types.is_timestamp(of.type):
        convert = _instant
    converted = []
    for value in values:
        try:
            converted.append(None if value is None else convert(value))
        except (ValueError, TypeError, OverflowError) as error:
            raise SourceError(
                f"{place}: the column {of.name} holds {value!r}, which is not of type {of.type}. "
                "Correct the value, or make it null if it is missing."
            ) from error
    try:
        return pa.array(converted, of.type)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise SourceError(
            f"{place}: the column {of.name} does not fit the type {of.type} ({error}). Correct "
            "the value."
        ) from error


def _whole(value: Any) -> int:  # noqa: ANN401 - as the driver gives it
    whole = int(value)
    if whole != float(value):
        raise ValueError(value)
    return whole


def _measure(value: Any) -> float:  # noqa: ANN401 - as the driver gives it
    measure = float(value)
    if measure - measure != 0:
        raise ValueError(value)
    return measure


def _instant(value: Any) -> datetime:  # noqa: ANN401 - as the driver gives it
    """An instant in UTC; one without a zone is in UTC already."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise TypeError(value)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


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
