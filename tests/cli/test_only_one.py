"""One daemon for each record: another is refused by a sentence that says who holds it."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from command_line import Ended

from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.only_one import in_turn, the_only_daemon

SPAWN = multiprocessing.get_context("spawn")


def hold(home: Path, ready: Event) -> None:
    with the_only_daemon(home, "mlops-assets ui"):
        ready.set()
        SPAWN.Event().wait()


def test_a_second_ui_of_a_record_is_refused_by_name_and_a_killed_one_holds_nothing(
    tmp_path: Path, command: Callable[..., Ended]
) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    ready = SPAWN.Event()
    holder = SPAWN.Process(target=hold, args=(home, ready))
    holder.start()
    assert ready.wait(30)
    refused = command("ui", MLOPS_HOME=tmp_path)
    holder.kill()
    holder.join()
    assert refused.code == 1
    [sentence] = refused.err.splitlines()
    assert re.search(
        rf"mlops-assets ui \(process {holder.pid} on \S+, since [-0-9: +]+\) looks after the "
        rf"runs of {re.escape(str(home))} already",
        sentence,
    )
    with the_only_daemon(home, "mlops-assets ui"):
        pass


def test_a_ui_and_a_backfills_daemon_take_turns(tmp_path: Path) -> None:
    with (
        in_turn(tmp_path, "a backfill's daemon"),
        pytest.raises(CommandError, match=rf"a backfill's daemon \(process {os.getpid()} on"),
        the_only_daemon(tmp_path, "mlops-assets ui"),
    ):
        pass
    with the_only_daemon(tmp_path, "mlops-assets ui"):
        pass


@pytest.mark.parametrize("by_env_file", [False, True])
def test_a_daemon_that_was_started_by_hand_is_named_with_its_number(
    tmp_path: Path, by_env_file: bool
) -> None:
    environment = {**os.environ, "DAGSTER_HOME": f"{tmp_path}/."}
    if by_env_file:
        (tmp_path / ".env").write_text(f"DAGSTER_HOME='{tmp_path}'\n")
        environment["DAGSTER_HOME"] = "/elsewhere"
    with subprocess.Popen(
        [sys.executable, "-c", "input()", "-m", "dagster._daemon", "run"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
    ) as daemon:
        with (
            pytest.raises(CommandError, match=rf"a daemon \(process {daemon.pid}, since"),
            the_only_daemon(tmp_path, "mlops-assets ui"),
        ):
            pass
        with the_only_daemon(tmp_path.parent, "mlops-assets ui"):
            pass
        daemon.communicate()


def test_a_program_that_only_names_a_daemon_is_none(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()", "dagster-daemon.log"],
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        stdin=subprocess.PIPE,
    ) as reader:
        with the_only_daemon(tmp_path, "mlops-assets ui"):
            pass
        reader.communicate()
