"""A raw table of a source that is broken, down, or back again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from installation import Installation, installed
from landed_files import content_of, land

from mlops_assets.components import raw_table
from mlops_assets.components.provenance import Provenance

FLIGHTS = "raw/flights"
DAYS = ("2013-01-01", "2013-01-03")


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "landing"


@pytest.fixture
def landed(
    tmp_path: Path,
    landing: Path,
    definitions: dg.Definitions,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Installation]:
    monkeypatch.setattr(raw_table, "WAITS", (0.0, 0.0))
    with installed(tmp_path / "home", definitions, MLOPS_LANDING=str(landing)) as found:
        yield found


def test_a_broken_file_of_a_range_fails_its_own_day_with_its_own_sentence(
    landed: Installation, landing: Path
) -> None:
    land(landing, "flights", "2013-01-01")
    broken = land(landing, "flights", "2013-01-02", "<html>Please sign in</html>\n")
    land(landing, "flights", "2013-01-03")

    result = landed.materialize([FLIGHTS], DAYS)

    assert not result.success
    checks = {it.partition: it for it in result.get_asset_check_evaluations()}
    assert {day: it.passed for day, it in checks.items()} == {
        "2013-01-01": True,
        "2013-01-02": False,
        "2013-01-03": True,
    }
    assert f"{broken} looks like an HTML page" in str(checks["2013-01-02"].description)
    assert landed.materialized(FLIGHTS) == {"2013-01-01", "2013-01-03"}
    event = landed.materialization(FLIGHTS, "2013-01-03")
    commit = landed.lake.commit_info(str(event.metadata["lake/commit"].value))
    read = Provenance.of(commit["metadata"]).sources
    assert set(read) == {f"flights/{day}.csv" for day in ("2013-01-01", "2013-01-02", "2013-01-03")}

    land(landing, "flights", "2013-01-02")
    assert landed.materialize([FLIGHTS], "2013-01-02").success
    assert landed.materialized(FLIGHTS) == {"2013-01-01", "2013-01-02", "2013-01-03"}


def test_a_source_that_is_down_is_tried_again_and_then_fails_without_a_verdict(
    landed: Installation,
) -> None:
    result = landed.materialize([FLIGHTS], "2013-01-01")
    assert not result.success
    kinds = [event.event_type for event in result.all_events]
    assert kinds.count(dg.DagsterEventType.STEP_UP_FOR_RETRY) == 2
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "make or mount it" in str(failure.step_failure_data.user_failure_data.description)
    # What was published before is as good as it was: nothing is held back.
    assert result.get_asset_check_evaluations() == []


def test_a_source_that_comes_back_between_two_tries_is_read(
    landed: Installation, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = raw_table._later

    def back(*arguments):
        land(landing, "flights", "2013-01-01", content_of("flights", "2013-01-01"))
        return later(*arguments)

    monkeypatch.setattr(raw_table, "_later", back)
    assert landed.materialize([FLIGHTS], "2013-01-01").success
