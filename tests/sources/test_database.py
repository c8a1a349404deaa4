"""Any database that SQLAlchemy reaches is read as the files are, whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from postgres_server import PASSWORD, USER, server

from mlops_assets.components.contract import Contract, enforce
from mlops_assets.defs.raw import sources
from mlops_assets.defs.raw.contracts import AIRLINES, CONTRACTS, FLIGHTS, WEATHER
from mlops_assets.defs.raw.sources import SPAN
from mlops_assets.settings import Settings
from mlops_assets.sources import database as module
from mlops_assets.sources.database import Database
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.window import DayWindow

FIRST, LAST = date(2013, 1, 1), date(2013, 1, 2)
DAYS = DayWindow(FIRST, LAST)
LOADED = datetime(2026, 1, 1, tzinfo=UTC)
A_DAY = 40
FIRST_DAYS, SECOND_DAYS = 1545, 1030
"""Flights that leave on one of the days alone, among its first."""
PACKAGED = sources.folder(sources.bundled_directory())


@cache
def _packaged(name: str) -> pa.Table:
    contract = CONTRACTS[name]
    if contract.days is None:
        return PACKAGED.read(contract, None).table
    days = [PACKAGED.read(contract, DayWindow(day, day)).table for day in DAYS]
    return pa.concat_tables([day.slice(0, A_DAY) for day in days])


def packaged(contract: Contract) -> pa.Table:
    """Some rows of both days of a table, or all of one without days."""
    return _packaged(contract.table)


class Keeper:
    """A database that holds some of two days of the real year, and who may change it."""

    def __init__(self, url: sa.URL, password: str | None) -> None:
        self.source = Database(
            url.render_as_string(), password, CONTRACTS, "updated_at", SPAN, waits=(0.0,)
        )
        known = url.set(drivername="postgresql+psycopg2", password=password) if password else url
        self.engine = sa.create_engine(known, poolclass=sa.NullPool)
        self.tables = {}
        metadata = sa.MetaData()
        for name, contract in CONTRACTS.items():
            columns = [sa.Column(column, _type(kind)) for column, kind in contract.columns.items()]
            changed = sa.Column("updated_at", sa.DateTime(timezone=True), default=LOADED)
            self.tables[name] = sa.Table(name, metadata, *columns, changed)
        metadata.drop_all(self.engine)
        metadata.create_all(self.engine)
        for contract in (FLIGHTS, WEATHER, AIRLINES):
            rows = packaged(contract).to_pylist()
            self.execute(sa.insert(self.tables[contract.table]), rows[::-1])

    def execute(self, *statement: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(*statement)

    def touch(self, table: str, when: datetime, **row: Any) -> None:
        """Change a day's first row at a time."""
        them = self.tables[table]
        wanted = sa.and_(*(them.c[name] == value for name, value in row.items()))
        self.execute(sa.update(them).where(wanted).values(updated_at=when))


def _type(kind: str) -> Any:
    return {
        "whole": sa.Integer(),
        "measure": sa.Float(),
        "text": sa.Text(),
        "instant": sa.DateTime(timezone=True),
    }[kind]


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[sa.URL]:
    with server() as running:
        yield sa.URL.create("postgresql", USER, None, "127.0.0.1", running.port, "postgres")


@pytest.fixture
def sqlite(tmp_path: Path) -> Keeper:
    return Keeper(sa.URL.create("sqlite", database=str(tmp_path / "year.db")), None)


@pytest.fixture
def postgres(postgres_url: sa.URL) -> Keeper:
    return Keeper(postgres_url, PASSWORD)


@pytest.fixture(params=["sqlite", "postgres"])
def keeper(request: pytest.FixtureRequest) -> Keeper:
    found: Keeper = request.getfixturevalue(request.param)
    return found


def in_order(table: Any) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


def asked(keeper: Keeper, cursor: str = "", limit: int = 50) -> tuple[list[tuple[str, Any]], str]:
    news = keeper.source.arrivals(cursor, limit=limit)
    return [(arrival.table, arrival.day) for arrival in news.arrivals], news.cursor


@pytest.mark.parametrize("contract", [FLIGHTS, WEATHER], ids=lambda contract: contract.table)
def test_days_are_read_as_the_files_have_them(keeper: Keeper, contract: Any) -> None:
    rows = keeper.source.read(contract, DAYS).complete()
    assert rows.table.schema == contract.schema()
    assert in_order(rows.table) == in_order(packaged(contract))
    alone = keeper.source.read(contract, DayWindow(LAST, LAST)).complete()
    assert set(alone.days.to_pylist()) == {LAST}
    assert rows.origins.items() >= alone.origins.items()
    assert set(rows.origins) == {f"{contract.table}/2013-01-01", f"{contract.table}/2013-01-02"}


def test_a_whole_table_is_read_whole(keeper: Keeper) -> None:
    rows = keeper.source.read(AIRLINES, None)
    assert in_order(rows.table) == in_order(packaged(AIRLINES))


def test_a_row_with_a_mistyped_day_is_read_with_the_day_of_its_instant(keeper: Keeper) -> None:
    flights = keeper.tables["flights"]
    wanted = sa.and_(flights.c.day == 2, flights.c.flight == SECOND_DAYS)
    keeper.execute(sa.update(flights).where(wanted).values(month=None))
    assert keeper.source.read(FLIGHTS, DayWindow(LAST, LAST)).table.num_rows == A_DAY


def test_rows_that_name_no_day_go_to_the_first_one_and_are_quarantined_there(
    keeper: Keeper,
) -> None:
    flights = keeper.tables["flights"]
    for nowhere in ({"month": None}, {"month": 2, "day": 30}, {"month": 13}):
        row = {**packaged(FLIGHTS).to_pylist()[0], "time_hour": None, **nowhere}
        keeper.execute(sa.insert(flights), [row])
    elsewhere = {"year": 2014, "time_hour": None}
    keeper.execute(sa.insert(flights), [{**packaged(FLIGHTS).to_pylist()[0], **elsewhere}])
    assert keeper.source.read(FLIGHTS, DayWindow(LAST, LAST)).table.num_rows == A_DAY
    for last in (FIRST, LAST):
        window = DayWindow(FIRST, last)
        rows = keeper.source.read(FLIGHTS, window).complete()
        assert rows.days.to_pylist().count(FIRST) == A_DAY + 3
        checked = enforce(FLIGHTS, rows.table, window, rows.days)
        assert checked.quarantined_days.to_pylist() == [FIRST] * 3


def test_a_whole_table_without_rows_is_refused(keeper: Keeper) -> None:
    keeper.execute(sa.delete(keeper.tables["airlines"]))
    with pytest.raises(SourceError, match="table airlines has no rows"):
        keeper.source.read(AIRLINES, None)


def test_a_day_without_rows_is_refused_alone(keeper: Keeper) -> None:
    beyond = DayWindow(FIRST, date(2013, 1, 3))
    rows = keeper.source.read(FLIGHTS, beyond)
    assert set(rows.refused) == {date(2013, 1, 3)}
    assert rows.table.num_rows == 2 * A_DAY


def test_changed_rows_tell_their_day_once(keeper: Keeper) -> None:
    found, cursor = asked(keeper)
    assert sorted(found, key=str) == [
        ("airlines", None),
        ("flights", FIRST),
        ("flights", LAST),
        ("weather", FIRST),
        ("weather", LAST),
    ]
    assert asked(keeper, cursor)[0] == []
    keeper.touch("flights", LOADED + timedelta(hours=1), month=1, day=2, flight=SECOND_DAYS)
    found, cursor = asked(keeper, cursor)
    assert found == [("flights", LAST)]
    assert asked(keeper, cursor)[0] == []


def test_a_row_that_is_committed_late_with_an_older_time_is_noticed(keeper: Keeper) -> None:
    now = datetime.now(UTC)
    keeper.touch("flights", now, month=1, day=1, flight=FIRST_DAYS)
    _, cursor = asked(keeper)
    row = packaged(FLIGHTS).to_pylist()[0]
    late = {**row, "flight": 9999, "updated_at": now - timedelta(seconds=30)}
    keeper.execute(sa.insert(keeper.tables["flights"]), [late])
    assert asked(keeper, cursor)[0] == [("flights", FIRST)]


def test_a_row_that_is_committed_while_a_look_waits_for_its_answer_is_noticed(
    sqlite: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    sqlite.touch("flights", now - timedelta(seconds=500), month=1, day=1, flight=FIRST_DAYS)
    sqlite.touch("flights", now, month=1, day=2, flight=SECOND_DAYS)
    patiently, clock = Database._patiently, time.time_ns

    def slowly(*arguments: Any, **named: Any) -> Any:
        found = patiently(*arguments, **named)
        monkeypatch.setattr(module.time, "time_ns", lambda: clock() + 300 * 10**9)
        return found

    monkeypatch.setattr(Database, "_patiently", slowly)
    _, cursor = asked(sqlite)
    row = packaged(FLIGHTS).to_pylist()[0]
    late = {**row, "flight": 9999, "updated_at": now - timedelta(seconds=400)}
    sqlite.execute(sa.insert(sqlite.tables["flights"]), [late])
    assert asked(sqlite, cursor)[0] == [("flights", FIRST)]


@pytest.mark.parametrize("kind", ["real", "text", "numeric"])
def test_days_in_columns_of_another_type_arrive(sqlite: Keeper, kind: str) -> None:
    for name in ("year", "month", "day"):
        sqlite.execute(sa.text(f"alter table flights add column typed {kind}"))
        sqlite.execute(sa.text(f"update flights set typed = {name}"))
        sqlite.execute(sa.text(f"alter table flights drop column {name}"))
        sqlite.execute(sa.text(f"alter table flights rename column typed to {name}"))
    found, _ = asked(sqlite)
    assert [day for table, day in found if table == "flights"] == [FIRST, LAST]


def test_rows_that_bear_no_time_are_named(keeper: Keeper) -> None:
    keeper.execute(sa.update(keeper.tables["weather"]).values(updated_at=None))
    news = keeper.source.arrivals("", limit=50)
    assert "weather" not in {arrival.table for arrival in news.arrivals}
    assert f"has no updated_at in {2 * A_DAY} rows" in news.unusable["weather: updated_at"]


def test_arrivals_come_a_part_at_a_time(keeper: Keeper) -> None:
    cursor, told = "", []
    for _ in range(4):
        found, cursor = asked(keeper, cursor, limit=2)
        told.append(found)
    assert [len(found) for found in told] == [2, 2, 1, 0]
    assert len({it for found in told for it in found}) == 5


def test_rows_of_no_day_that_exists_are_named(keeper: Keeper) -> None:
    keeper.execute(
        sa.update(keeper.tables["weather"])
        .where(keeper.tables["weather"].c.day == 2)
        .values(year=2014)
    )
    news = keeper.source.arrivals("", limit=50)
    assert "has rows of 2014-01-02, which is no day of 2013" in news.unusable["weather/2014-01-02"]


def test_rows_of_a_day_that_is_missing_are_named_with_their_number(keeper: Keeper) -> None:
    weather = keeper.tables["weather"]
    keeper.execute(sa.update(weather).where(weather.c.day == 2).values(month=None))
    news = keeper.source.arrivals("", limit=50)
    told = news.unusable["weather/2013-None-02"]
    assert f"which is no day of 2013-01-01..2013-12-31: {A_DAY} in all" in told


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("updated_at", "not a time", "has updated_at 'not a time' in its newest row of 2013-01-01"),
        ("day", "x", "has rows of 2013-01-x, which is no day of 2013"),
    ],
)
def test_a_row_whose_day_or_time_is_none_holds_up_no_other_day(
    sqlite: Keeper, column: str, value: str, told: str
) -> None:
    before = {it.day for it in sqlite.source.arrivals("", limit=50).arrivals}
    sqlite.execute(
        sa.text(f"update weather set {column} = :value where day = 1 and hour = 5"),
        {"value": value},
    )
    news = sqlite.source.arrivals("", limit=50)
    assert {it.day for it in news.arrivals} == before
    [reason] = news.unusable.values()
    assert told in reason


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("drop table flights", "table flights does not exist"),
        ("alter table flights drop column day", "lacks the column day"),
        ("alter table flights rename column updated_at to changed", "MLOPS_SOURCE_CURSOR"),
    ],
)
def test_a_table_that_is_not_ours_is_refused(keeper: Keeper, change: str, told: str) -> None:
    keeper.execute(sa.text(change))
    with pytest.raises(SourceError, match=told):
        keeper.source.arrivals("", limit=1)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("distance", "far", "the column distance holds 'far', which is not of type int32"),
        ("distance", 1.5, "the column distance holds 1.5, which is not of type int32"),
        ("distance", 1 << 40, "the column distance does not fit the type int32"),
        ("time_hour", "noon", "the column time_hour holds 'noon', which is not of type timestamp"),
    ],
)
def test_a_value_of_another_type_is_named(
    sqlite: Keeper, column: str, value: Any, told: str
) -> None:
    # SQLite takes anything in any column.
    sqlite.execute(
        sa.text(f"update flights set {column} = :value where flight = {FIRST_DAYS}"),
        {"value": value},
    )
    with pytest.raises(SourceError, match=told):
        sqlite.source.read(FLIGHTS, DAYS)


@pytest.mark.parametrize("written", ["2013-01-01T10:00:00Z", "2013-01-01 10:00:00", None])
def test_times_that_are_written_as_text_are_read(sqlite: Keeper, written: str | None) -> None:
    sqlite.execute(
        sa.text("update flights set time_hour = :value where day = 1"), {"value": written}
    )
    rows = sqlite.source.read(FLIGHTS, DayWindow(FIRST, FIRST)).complete()
    expected = datetime.fromisoformat(written).replace(tzinfo=UTC) if written else None
    assert set(rows.table["time_hour"].to_pylist()) == {expected}


def test_reading_a_database_that_is_not_there_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    source = Database(f"sqlite:///{path}", None, CONTRACTS, "updated_at", SPAN)
    with pytest.raises(SourceError, match="There is no database"):
        source.read(AIRLINES, None)
    assert not path.exists()


def test_nothing_is_ever_written(keeper: Keeper) -> None:
    delete = sa.delete(keeper.tables["flights"])
    with (
        keeper.source._server.connected() as connection,
        pytest.raises(sa.exc.DBAPIError, match=r"read.?only"),
    ):
        connection.execute(delete)


def test_a_connection_that_is_killed_amid_the_rows_is_begun_anew(
    postgres: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    convert, killed = module.column, []

    def kill_once(*arguments: Any) -> Any:
        if not killed:
            killed.append(1)
            ours = "select pg_terminate_backend(pid) from pg_stat_activity where "
            postgres.execute(sa.text(f"{ours} application_name = 'mlops-assets'"))
        return convert(*arguments)

    monkeypatch.setattr(module, "column", kill_once)
    rows = postgres.source.read(FLIGHTS, DAYS).complete()
    assert killed
    assert in_order(rows.table) == in_order(packaged(FLIGHTS))


def test_a_database_that_is_down_is_unavailable_and_its_password_is_not_shown(
    postgres: Keeper,
) -> None:
    url = sa.make_url(postgres.source.url).set(port=9).render_as_string()
    down = replace(postgres.source, url=url)
    with pytest.raises(SourceUnavailableError, match="does not answer") as refused:
        down.read(FLIGHTS, DAYS)
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(down)
    wrong = replace(postgres.source, password="not it")
    with pytest.raises(SourceUnavailableError, match="password authentication failed"):
        wrong.read(FLIGHTS, DAYS)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me:secret@127.0.0.1/db", "Set MLOPS_SOURCE_PASSWORD instead"),
        ("postgresql://me@127.0.0.1/db?password=secret", "Set MLOPS_SOURCE_PASSWORD instead"),
        ("postgresql://me@127.0.0.1/db?passwd=secret", "in its parameter passwd"),
        ("snowflake://me@account/db?token=secret", "in its parameter token"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dme%3Bpwd+%3Dsecret", "its parameter odbc_connect"),
        ("postgresql://me@127.0.0.1:9/db?sslkey=secret", "127.0.0.1:9/db does not answer"),
        ("postgresql://me@127.0.0.1:secret/db", "is no URL of a database"),
        ("oracle://me@127.0.0.1/db", "needs the package"),
        ("nonsense://me@127.0.0.1/db", "is of no kind of database that is known"),
    ],
)
def test_a_source_that_cannot_be_opened_says_why(
    monkeypatch: pytest.MonkeyPatch, url: str, told: str
) -> None:
    monkeypatch.setenv("MLOPS_SOURCE", url)
    monkeypatch.delenv("MLOPS_LANDING", raising=False)
    assert os.environ["MLOPS_SOURCE"] == url
    with pytest.raises(SourceError, match=told) as refused:
        sources.configured(Settings()).read(AIRLINES, None)
    assert "secret" not in str(refused.value)
