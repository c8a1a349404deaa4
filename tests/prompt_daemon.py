"""Dagster's daemon, whose pauses are a second, and whose nights come when a test says so.

It waits five seconds between two looks at its sensors and thirty between two at its backfills, and
a cron expression names no time closer than a minute: a day that flows through five steps would wait
for minutes in which nobody works. Only the pauses differ: sensors, conditions, backfills, the queue
and the runs are those of the stock daemon.

Run as a program it is that daemon. Where `NIGHTS` names a file, the nights are written down there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NIGHTS = "TEST_NIGHTS"
"""The variable that names the file of the nights, a line each, in seconds since 1970."""

PAUSE_SECONDS = 1
RELOAD_SECONDS = 3600
"""So long code stays as it was loaded, which changes in no test of this daemon."""


def write_night(nights: Path) -> float:
    """Let a night come; when it came."""
    now = time.time()
    with nights.open("a") as lines:
        lines.write(f"{now}\n")
    return now


def last_night(nights: Path, before: datetime) -> datetime:
    """The last night that had come at a moment; long ago where none had."""
    told = nights.read_text().split() if nights.exists() else []
    come = [night for night in map(float, told) if night <= before.timestamp()]
    return datetime.fromtimestamp(max(come, default=0), UTC)


def _nights(nights: Path, stock: Callable[..., datetime]) -> Callable[..., datetime]:
    """Dagster's answer to when a time last came, but for the night."""
    from mlops_assets.settings import settings

    nightly = settings().nightly

    def previous(view: Any, *, cron_schedule: str, cron_timezone: str) -> datetime:
        if cron_schedule == nightly:
            return last_night(nights, view.effective_dt)
        return stock(view, cron_schedule=cron_schedule, cron_timezone=cron_timezone)

    return previous


def main() -> None:
    """Be the daemon."""
    from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
    from dagster._core.remote_representation.external import RemoteSensor
    from dagster._daemon import asset_daemon, controller, sensor
    from dagster._daemon.cli import main as daemon

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = PAUSE_SECONDS
    asset_daemon.MIN_INTERVAL_LOOP_SECONDS = PAUSE_SECONDS
    sensor.MIN_INTERVAL_LOOP_TIME = PAUSE_SECONDS
    RemoteSensor.min_interval_seconds = PAUSE_SECONDS
    # Each minute it would start a code server, and that a process for runs: 10 s of a processor.
    controller.RELOAD_WORKSPACE_INTERVAL = RELOAD_SECONDS

    if NIGHTS in os.environ:
        come = _nights(Path(os.environ[NIGHTS]), AssetGraphView.compute_previous_cron_tick)
        AssetGraphView.compute_previous_cron_tick = come
    daemon()


if __name__ == "__main__":
    main()
