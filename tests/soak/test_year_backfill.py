"""A real year, all or nothing: it fails on its last day, and only that day is made again."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from command_line import COMMAND, configured, environment
from installation import asset_key

from mlops_assets.cli.record import opened_record
from mlops_assets.defs.raw.sources import bundled_directory
from mlops_assets.defs.resources import find_lake
from mlops_assets.settings import settings

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

FLIGHTS = "raw/flights"
LAST = "2013-12-31"
YEAR = f"2013-01-01..{LAST}"


def broken_year(folder: Path) -> Path:
    """The real year, every flight of its last day from an airport that the contract refuses."""
    folder.mkdir()
    with zipfile.ZipFile(bundled_directory() / "flights.csv.zip") as archive:
        header, *rows = archive.read("flights.csv").decode().splitlines()
    origin = header.split(",").index("origin")
    for place, row in enumerate(rows):
        fields = row.split(",")
        if fields[:3] == LAST.replace("-0", "-").split("-"):
            rows[place] = ",".join([*fields[:origin], "SFO", *fields[origin + 1 :]])
    (folder / "flights.csv").write_text("\n".join([header, *rows, ""]))
    return folder


def asked(home: Path, *arguments: str, **variables: str | Path) -> dict[str, Any]:
    ended = subprocess.run(
        [*COMMAND, "backfill", *arguments, "--json"],
        env=environment(MLOPS_HOME=home, **variables),
        check=False,
        capture_output=True,
        text=True,
    )
    print(ended.stderr, file=sys.stderr)
    return dict(json.loads(ended.stdout))


def base_branch(home: Path) -> tuple[str, list[str]]:
    """Its head, and what the server answers for each of its objects."""
    with configured(MLOPS_HOME=home):
        lake = find_lake(settings())
        objects = lake.repo().branch(lake.base_branch).objects()
        return lake.head(), [repr(found) for found in objects]


def runs_of(home: Path, branch: str) -> list[set[str]]:
    """The days that each run recorded, oldest first."""
    with (
        configured(MLOPS_HOME=home, LAKEFS_BRANCH=branch),
        opened_record(settings()) as instance,
    ):
        return [
            {
                str(entry.dagster_event.partition)
                for entry in instance.all_logs(
                    run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
                )
                if entry.dagster_event
            }
            for run in instance.get_runs(ascending=True)
        ]


def test_a_year_that_fails_on_its_last_day_is_nowhere_and_resumed_makes_that_day_alone(
    tmp_path: Path,
) -> None:
    home, source = tmp_path / "home", broken_year(tmp_path / "source")
    assert asked(home, "raw/airlines")["succeeded"]
    before = base_branch(home)

    failed = asked(home, FLIGHTS, "--partitions", YEAR, "--isolated", MLOPS_SOURCE=source)

    assert (failed["partitions_made"], failed["partitions"], failed["runs"]) == (364, 365, 1)
    assert failed["failures"][0]["failed"] == [{"asset": FLIGHTS, "partitions": [LAST]}]
    assert base_branch(home) == before
    [first] = runs_of(home, failed["branch"])
    assert len(first) == 364

    resumed = asked(home, "--resume", failed["backfill"])

    assert (resumed["partitions_made"], resumed["partitions"], resumed["runs"]) == (1, 1, 1)
    assert resumed["merged"]["partitions"] == 365
    head, objects = base_branch(home)
    assert head == resumed["merged"]["commit"]
    assert sum("/day=" in found and "raw/flights/" in found for found in objects) == 2 * 365
    with configured(MLOPS_HOME=home), opened_record(settings()) as instance:
        assert len(instance.get_materialized_partitions(asset_key(FLIGHTS))) == 365
    assert len(runs_of(home, "main")) == 1
