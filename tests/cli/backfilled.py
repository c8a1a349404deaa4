"""Backfills as a user runs them: through Dagster's instance, with its queue and run processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from command_line import configured
from installation import asset_key

from mlops_assets.cli.record import opened_record
from mlops_assets.settings import settings

FLIGHTS = "raw/flights"
DAYS = [f"2013-01-0{day}" for day in (1, 2, 3, 4)]
SPAN = f"{DAYS[0]}..{DAYS[-1]}"


@contextmanager
def record(home: Path, branch: str = "main", **variables: str) -> Iterator[dg.DagsterInstance]:
    with (
        configured(MLOPS_HOME=home, LAKEFS_BRANCH=branch, **variables),
        opened_record(settings()) as instance,
    ):
        yield instance


def made(instance: dg.DagsterInstance, asset: str = FLIGHTS) -> list[set[str]]:
    """The partitions that each run materialized, oldest first."""
    return [
        {
            str(entry.dagster_event.partition)
            for entry in instance.all_logs(
                run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            if entry.dagster_event and entry.dagster_event.asset_key == asset_key(asset)
        }
        for run in instance.get_runs(ascending=True)
    ]


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for something that another process does; pytest's timeout ends it."""
    while not holds():
        time.sleep(0.1)
