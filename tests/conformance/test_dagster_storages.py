"""Dagster's own tests of storages, on its storages and on ours: `make conformance DAGSTER=folder`.

Not part of this repository: `DAGSTER` names its unpacked source distribution. What its own
storages do not pass or do not run is not asked of ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import postgres
from suites import copy_of, run_suite

from mlops_assets.settings import ROOT

SUITES = Path(__file__).with_name("dagster_storages.py")
FOLDERS = (ROOT, ROOT / "tests", ROOT / "tests" / "compute")


@pytest.fixture(scope="module")
def dagster_copy() -> Path:
    return copy_of("DAGSTER", "docs/testing.md")


@pytest.fixture(scope="module")
def port(dagster_copy: Path) -> Iterator[int]:
    with postgres() as found:
        yield found


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "suite", ["EventsInSqlite", "EventsInPostgres", "RunsInPostgres", "SchedulesInPostgres"]
)
def test_what_dagsters_storages_pass_of_their_own_suites_ours_pass(
    dagster_copy: Path, request: pytest.FixtureRequest, tmp_path: Path, suite: str
) -> None:
    variables = {"PYTHONPATH": os.pathsep.join(map(str, [dagster_copy, *FOLDERS]))}
    if suite.endswith("Postgres"):
        variables["POSTGRES_PORT"] = str(request.getfixturevalue("port"))
    stock, pooled = (
        run_suite(
            Path(sys.executable),
            dagster_copy,
            f"{SUITES}::Test{kind}{suite}",
            tmp_path,
            variables,
            # Each test has a home and a schema of its own.
            *("--noconftest", "-c", os.devnull, "-n", "2", "-W", "ignore"),
        )
        for kind in ("Stock", "Pooled")
    )
    assert pooled.tests == stock.tests > 0
    assert set(pooled.skipped) == set(stock.skipped)
    assert set(pooled.failed) <= set(stock.failed)
