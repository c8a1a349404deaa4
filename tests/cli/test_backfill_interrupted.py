"""A backfill whose command is stopped or killed ends with it, and is resumed."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from backfilled import DAYS, FLIGHTS, SPAN, eventually, record
from command_line import COMMAND, Ended, environment
from installation import asset_key

from mlops_assets.cli import backfill_record

# Each starts the command, a daemon, its code server and a process for each run.
pytestmark = pytest.mark.timeout(900)

STARTED = dg.DagsterRunStatus.STARTED


def test_ctrl_c_ends_the_runs_and_every_process_and_the_rest_is_made_by_resuming(
    bare_state: Path, source: Path, asked: Callable[..., tuple[Ended, Any]]
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "backfill", FLIGHTS, "--partitions", SPAN],
        env=environment(MLOPS_HOME=bare_state, MLOPS_SOURCE=source),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with record(bare_state) as instance:
        eventually(lambda: bool(instance.get_runs()))
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
        assert process.returncode == 130
        assert psutil.wait_procs(children, timeout=30)[1] == []
        [backfill] = instance.get_backfills()
        assert backfill_record.is_over(backfill)
        assert all(run.is_finished for run in instance.get_runs())
        assert f"--resume {backfill.backfill_id}" in told
        assert "Traceback" not in told

    _, resumed = asked("--resume", backfill.backfill_id, source=source)

    assert resumed["succeeded"] or "made everything" in resumed["error"]
    with record(bare_state) as instance:
        assert set(instance.get_materialized_partitions(asset_key(FLIGHTS))) == set(DAYS)


def test_a_killed_command_leaves_a_backfill_that_is_resumed(
    bare_state: Path, source: Path, asked: Callable[..., tuple[Ended, Any]]
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "backfill", FLIGHTS, "--partitions", SPAN],
        env=environment(MLOPS_HOME=bare_state, MLOPS_SOURCE=source),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with record(bare_state) as instance:
        eventually(lambda: bool(instance.get_runs(dg.RunsFilter(statuses=[STARTED]))))
        family = psutil.Process(process.pid).children(recursive=True)
        for child in [psutil.Process(process.pid), *family]:
            child.kill()
        process.wait()
        instance.wipe_daemon_heartbeats()
        [backfill] = instance.get_backfills()
        assert not backfill_record.is_over(backfill)

    ended, resumed = asked("--resume", backfill.backfill_id, source=source)

    assert ended.code == 0 or "made everything" in resumed["error"]
    with record(bare_state) as instance:
        assert set(instance.get_materialized_partitions(asset_key(FLIGHTS))) == set(DAYS)
        assert all(run.is_finished for run in instance.get_runs())
