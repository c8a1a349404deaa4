"""A prefix of a lakeFS branch is a landing area: what is committed there has landed."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from installation import open_lake
from landed_files import content_of

from mlops_assets.defs.raw import sources
from mlops_assets.defs.raw.contracts import CONTRACTS, FLIGHTS
from mlops_assets.defs.raw.sources import SPAN, bundled_directory, folder
from mlops_assets.lake import Lake
from mlops_assets.lakefs_server import EmbeddedServer
from mlops_assets.settings import Settings
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.landing import LandingArea
from mlops_assets.sources.source import News
from mlops_assets.sources.storage import LakeStorage
from mlops_assets.sources.window import DayWindow

FIRST, SECOND = date(2013, 1, 1), date(2013, 1, 2)


@pytest.fixture
def lake(lake: Lake) -> Lake:
    """With a branch to land on."""
    lake.repo().branch("landing").create("main")
    return lake


@pytest.fixture
def area(lake: Lake) -> LandingArea:
    storage = LakeStorage(lake, "landing", "drop/")
    return LandingArea(storage, CONTRACTS, SPAN, folder(bundled_directory()))


def put(lake: Lake, day: date, text: str, branch: str = "landing") -> None:
    lake.repo().branch(branch).object(f"drop/flights/{day}.csv").upload(text, "wb")


def commit(lake: Lake, branch: str = "landing") -> None:
    lake.repo().branch(branch).commit("more days")


def days(news: News) -> list[date | None]:
    return [arrival.day for arrival in news.arrivals]


def test_what_is_committed_has_landed_and_what_is_staged_has_not(
    lake: Lake, area: LandingArea
) -> None:
    nothing = area.arrivals("", limit=9)
    put(lake, FIRST, content_of("flights", "2013-01-01"))
    assert days(area.arrivals(nothing.cursor, limit=9)) == []
    assert FIRST in area.read(FLIGHTS, DayWindow(FIRST, FIRST)).refused
    commit(lake)
    news = area.arrivals(nothing.cursor, limit=9)
    assert days(news) == [FIRST]
    assert days(area.arrivals(news.cursor, limit=9)) == []
    rows = area.read(FLIGHTS, DayWindow(FIRST, FIRST)).complete()
    assert rows.table.equals(
        folder(bundled_directory()).read(FLIGHTS, DayWindow(FIRST, FIRST)).table
    )


def test_a_merge_of_what_was_written_long_before_arrives(lake: Lake, area: LandingArea) -> None:
    lake.repo().branch("older").create("landing")
    put(lake, FIRST, content_of("flights", "2013-01-01"), "older")
    commit(lake, "older")
    put(lake, SECOND, content_of("flights", "2013-01-02"))
    commit(lake)
    news = area.arrivals("", limit=9)
    assert days(news) == [SECOND]
    lake.repo().branch("older").merge_into("landing")
    assert days(area.arrivals(news.cursor, limit=9)) == [FIRST]


def test_a_branch_whose_earlier_commits_are_gone_is_looked_at_anew(
    lake: Lake, area: LandingArea
) -> None:
    put(lake, FIRST, content_of("flights", "2013-01-01"))
    commit(lake)
    swept = json.dumps(("f" * 64, "", ""))
    news = area.arrivals(swept, limit=9)
    assert days(news) == [FIRST]
    assert days(area.arrivals(news.cursor, limit=9)) == []


def test_many_files_of_one_commit_arrive_a_part_at_a_time(lake: Lake, area: LandingArea) -> None:
    for day in range(1, 6):
        put(lake, date(2013, 1, day), "x\n")
    put(lake, date(2014, 1, 1), "x\n")
    commit(lake)
    cursor, told = "", []
    for _ in range(4):
        news = area.arrivals(cursor, limit=2)
        cursor = news.cursor
        told.append([day.day for day in days(news) if day])
        assert "is of no day of 2013" in news.unusable["flights/2014-01-01.csv"]
    assert told == [[1, 2], [3, 4], [5], []]
    put(lake, FIRST, "replaced\n")
    commit(lake)
    assert days(area.arrivals(cursor, limit=9)) == [FIRST]


def test_a_branch_that_is_not_there_is_named(lake: Lake) -> None:
    storage = LakeStorage(lake, "nowhere", "")
    area = LandingArea(storage, CONTRACTS, SPAN, folder(bundled_directory()))
    with pytest.raises(SourceError, match="lakefs://tables/nowhere/"):
        area.arrivals("", limit=1)


def test_a_lake_that_does_not_answer_may_come_back(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lakefs") as endpoint:
        lake = open_lake(endpoint, tmp_path / "scratch")
        lake.repo().branch("landing").create("main")
    storage = LakeStorage(lake, "landing", "")
    area = LandingArea(storage, CONTRACTS, SPAN, folder(bundled_directory()))
    with pytest.raises(SourceUnavailableError, match="no lakeFS server answers"):
        area.arrivals("", limit=1)


@pytest.mark.parametrize("prefix", ["drop#1", "what?", "a b/100%25"])
def test_a_prefix_may_hold_what_ends_the_path_of_a_url(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setattr(sources, "connect", lambda _: lake)
    found = sources.configured(Settings(MLOPS_LANDING=f"lakefs://landing/{prefix}/"))
    lake.repo().branch("landing").object(f"{prefix}/flights/{FIRST}.csv").upload("x", "wb")
    commit(lake)
    assert days(found.arrivals("", limit=9)) == [FIRST]
