"""The ways in which somebody asks a command to stop, the end of its terminal among them."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SERVES = """
import signal, sys, time
from mlops_assets.cli.interrupts import stopped_by_signals
with stopped_by_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("stopped", flush=True)
        open(sys.argv[1], "w").write("ended in order")
"""
RUNS = """
import signal, sys, time
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import raise_interrupts_as
from mlops_assets.cli.interrupts import noticed_interrupts
with noticed_interrupts() as stopped, raise_interrupts_as(DagsterExecutionInterruptedError):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except DagsterExecutionInterruptedError:
        print("stopped", flush=True)
        assert stopped()
        open(sys.argv[1], "w").write("ended in order")
"""


@pytest.mark.parametrize("code", [SERVES, RUNS])
def test_a_command_whose_terminal_is_closed_ends_as_by_a_signal(tmp_path: Path, code: str) -> None:
    told = tmp_path / "told"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", code, str(told)])
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0
    assert told.read_text() == "ended in order"


@pytest.mark.parametrize("code", [SERVES, RUNS])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_command_ends_in_order_by_each_signal(
    tmp_path: Path, code: str, number: signal.Signals
) -> None:
    told = tmp_path / "told"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(told)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "stopped\n"
    assert process.returncode == 0
    assert told.read_text() == "ended in order"


@pytest.mark.parametrize("code", [SERVES, RUNS])
def test_a_command_under_nohup_outlives_its_terminal(tmp_path: Path, code: str) -> None:
    told = tmp_path / "told"
    with subprocess.Popen(
        ["nohup", sys.executable, "-c", code, str(told)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.terminate()
        assert process.stdout.readline() == "stopped\n"
    assert told.read_text() == "ended in order"
