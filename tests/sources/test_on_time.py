"""The public on-time tables of a server are the flights that the packaged year has."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from faulty_web_server import WebServer

from mlops_assets.components.contract import enforce
from mlops_assets.defs.raw import on_time, sources
from mlops_assets.defs.raw.contracts import AIRLINES, FLIGHTS
from mlops_assets.settings import Settings
from mlops_assets.sources import monthly
from mlops_assets.sources.download import Limits
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.guarded_http import Patience
from mlops_assets.sources.monthly import MonthlyArchives
from mlops_assets.sources.window import DayWindow

FIRST, LAST = date(2013, 1, 1), date(2013, 1, 2)
PACKAGED = sources.folder(sources.bundled_directory())
STEM = "On_Time_Reporting_Carrier_On_Time_Performance"
JANUARY = f"/{STEM}_1987_present_2013_1.zip"
FEBRUARY = f"/{STEM}_1987_present_2013_2.zip"


@cache
def published(day: date) -> list[dict[str, Any]]:
    """A day's flights with the columns and in the writing of the bureau."""
    rows = PACKAGED.read(FLIGHTS, DayWindow(day, day)).table.to_pylist()

    def written(name: str, value: Any) -> Any:
        if value is None:
            return ""
        clock = name.endswith("_time") and name != "air_time"
        return f"{value:04}" if clock else f"{value:.2f}" if "delay" in name else value

    names = {**on_time.WHOLE, **on_time.TEXT}
    found = [
        {theirs: written(ours, row[ours]) for ours, theirs in names.items()} | {"Quarter": 1}
        for row in rows
    ]
    return [*found, {**found[0], "Origin": "BOS"}]


def archive(rows: list[dict[str, Any]], month: int, *, member: str | None = None) -> bytes:
    text = io.StringIO()
    # Each line of theirs ends with a comma.
    writer = csv.DictWriter(
        text, [*rows[0], ""], restval="", quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(member or f"{STEM}_(1987_present)_2013_{month}.csv", text.getvalue())
        packed.writestr("readme.html", "<html></html>")
    return stream.getvalue()


@pytest.fixture
def source(server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MonthlyArchives:
    monkeypatch.setenv("MLOPS_SOURCE", server.url)
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    monkeypatch.delenv("MLOPS_LANDING", raising=False)
    found = sources.configured(Settings())
    assert isinstance(found, MonthlyArchives)
    return replace(found, limits=Limits(Patience(5.0, 5.0), tries=2, first_wait=0.01))


@pytest.fixture
def january(server: WebServer) -> None:
    server.files[JANUARY] = archive(published(FIRST) + published(LAST), 1)


@pytest.mark.usefixtures("january")
def test_a_published_month_is_the_flights_that_the_packaged_year_has(
    source: MonthlyArchives,
) -> None:
    window = DayWindow(FIRST, LAST)
    rows = source.read(FLIGHTS, window).complete()
    assert rows.table.schema == FLIGHTS.schema()
    expected = PACKAGED.read(FLIGHTS, window).table
    assert sorted(map(repr, rows.table.to_pylist())) == sorted(map(repr, expected.to_pylist()))
    assert set(rows.origins) == {JANUARY[1:]}


@pytest.mark.usefixtures("january")
def test_each_day_of_a_month_asks_whether_it_has_changed_and_fetches_it_once(
    server: WebServer, source: MonthlyArchives
) -> None:
    for day in (FIRST, LAST):
        assert set(source.read(FLIGHTS, DayWindow(day, day)).days.to_pylist()) == {day}
    assert len(server.bodies(JANUARY)) == 1


@pytest.mark.usefixtures("january")
def test_a_broken_month_refuses_its_own_days(server: WebServer, source: MonthlyArchives) -> None:
    server.files[FEBRUARY] = b"<!DOCTYPE html><html>Please sign in</html>"
    rows = source.read(FLIGHTS, DayWindow(LAST, date(2013, 2, 2)))
    assert set(rows.days.to_pylist()) == {LAST}
    assert "has no rows for 2013-01-03" in rows.refused[date(2013, 1, 3)]
    assert "looks like an HTML page" in rows.refused[date(2013, 2, 1)]
    assert set(rows.refused) == set(DayWindow(date(2013, 1, 3), date(2013, 2, 2)))


@pytest.mark.parametrize(
    "stated", [{"Month": 3}, {"Month": ""}, {"Year": 2031}, {"DayofMonth": 30}]
)
def test_a_row_of_no_day_of_its_month_is_quarantined_on_the_first(
    server: WebServer, source: MonthlyArchives, stated: dict[str, Any]
) -> None:
    rows = [{**row, "Month": 2} for row in published(FIRST) + published(LAST)]
    rows[-2] |= stated
    server.files[FEBRUARY] = archive(rows, 2)
    window = DayWindow(date(2013, 2, 1), date(2013, 2, 2))
    found = source.read(FLIGHTS, window).complete()
    assert found.table.num_rows == sum(row["Origin"] != "BOS" for row in rows)
    checked = enforce(FLIGHTS, found.table, window, found.days)
    assert checked.quarantined_days.to_pylist() == [window.first]


def test_a_part_of_a_number_is_not_cut_off(server: WebServer, source: MonthlyArchives) -> None:
    rows = published(FIRST)
    server.files[JANUARY] = archive([{**rows[0], "ArrDelay": "-5.7"}, *rows[1:]], 1)
    told = source.read(FLIGHTS, DayWindow(FIRST, FIRST)).refused[FIRST]
    assert "(ArrDelay: Float value -5.7" in told


def test_a_month_that_was_damaged_on_the_way_is_fetched_again_by_the_next_read(
    server: WebServer, source: MonthlyArchives
) -> None:
    whole = archive(published(FIRST), 1)
    server.files[JANUARY], server.etags[JANUARY] = whole[:-30], '"same"'
    window = DayWindow(FIRST, FIRST)
    assert "is cut off or damaged" in source.read(FLIGHTS, window).refused[FIRST]
    server.files[JANUARY] = whole
    assert source.read(FLIGHTS, window).refused == {}


def test_a_month_that_is_not_published_yet_is_refused(source: MonthlyArchives) -> None:
    refused = source.read(FLIGHTS, DayWindow(FIRST, FIRST)).refused
    assert "may not be published yet" in refused[FIRST]


def test_an_archive_of_something_else_is_refused(
    server: WebServer, source: MonthlyArchives
) -> None:
    server.files[JANUARY] = archive(published(FIRST), 1, member="../flights.csv")
    refused = source.read(FLIGHTS, DayWindow(FIRST, FIRST)).refused
    assert "leaves the archive" in refused[FIRST]


def test_a_server_that_is_down_refuses_nothing_for_good(
    server: WebServer, source: MonthlyArchives
) -> None:
    server.statuses[JANUARY] = [503] * 9
    with pytest.raises(SourceUnavailableError):
        source.read(FLIGHTS, DayWindow(FIRST, FIRST))


def test_other_tables_are_those_of_the_packaged_year(source: MonthlyArchives) -> None:
    assert source.read(AIRLINES, None).table.num_rows == 16


def test_days_of_months_arrive_as_they_are_published_or_replaced(
    server: WebServer, source: MonthlyArchives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monthly, "LOOK_SECONDS", 0.0)
    server.files[JANUARY] = b"first"

    def look(cursor: str, limit: int = 20) -> tuple[list[date | None], str, int]:
        news = source.arrivals(cursor, limit=limit)
        return [arrival.day for arrival in news.arrivals], news.cursor, news.waiting

    first, cursor, waiting = look("")
    assert (first, waiting) == ([FIRST + timedelta(n) for n in range(20)], 11)
    rest, cursor, waiting = look(cursor)
    assert (rest, waiting) == ([FIRST + timedelta(n) for n in range(20, 31)], 0)
    assert look(cursor)[0] == []
    server.files[FEBRUARY] = b"second"
    assert look(cursor, 99)[0] == [date(2013, 2, 1) + timedelta(n) for n in range(28)]
    server.files[JANUARY] = b"replaced amid its days"
    assert look(cursor, 1)[0] == [FIRST]


def test_a_month_that_is_refused_holds_up_no_other(
    server: WebServer, source: MonthlyArchives
) -> None:
    server.files[JANUARY] = server.files[FEBRUARY] = b"there"
    server.statuses[FEBRUARY] = [403]
    news = source.arrivals("", limit=99)
    assert len(news.arrivals) == 31
    assert "is not given to us (403)" in news.unusable["2013-02"]


def test_a_server_is_not_asked_every_tick(server: WebServer, source: MonthlyArchives) -> None:
    cursor = source.arrivals("", limit=9).cursor
    asked = len(server.asked)
    assert source.arrivals(cursor, limit=9).arrivals == ()
    assert (asked, len(server.asked)) == (12, 12)


def test_a_plain_address_of_another_machine_is_refused(source: MonthlyArchives) -> None:
    elsewhere = replace(source, address="http://192.0.2.1/tables")
    with pytest.raises(SourceError, match="Use https://"):
        elsewhere.arrivals("", limit=1)
