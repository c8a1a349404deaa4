"""Which process carries a run on this machine, in a form that survives it.

A process number alone is given to another process sooner or later, after a restart of the machine
within minutes. And what a process's start was by the clock changes when the clock is set.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import dagster as dg
from dagster._core.storage.tags import RUN_WORKER_ID_TAG

START_TIME = 19
"""Where `/proc/PID/stat` has the start, in ticks since the machine's, counted after the name."""


@dataclass(frozen=True)
class RunProcess:
    """A process of a Linux machine.

    Attributes:
        host: The machine's, or the container's, name.
        place: Since when the machine runs, and in which namespace of processes.
        pid: Its number there.
        started: When it started, in ticks of that machine since that start.
    """

    host: str
    place: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Self:
        """The process that asks."""
        pid = os.getpid()
        return cls(socket.gethostname(), _place(), pid, _started(pid) or "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The process that `str()` wrote down.

        Raises:
            ValueError: It wrote something else.
        """
        host, place, pid, started = text.split("/")
        return cls(host, place, int(pid), started)

    def __str__(self) -> str:
        return f"{self.host}/{self.place}/{self.pid}/{self.started}"

    @property
    def elsewhere(self) -> bool:
        """Whether it runs, or ran, on another machine or container, where nobody here can look."""
        return self.host != socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether it still runs; False for one that runs elsewhere."""
        return not self.elsewhere and self.place == _place() and _started(self.pid) == self.started

    def interrupt(self) -> bool:
        """Ask it to end, as a cancelled run is asked to.

        Returns:
            False if there is nobody to ask.
        """
        if not self.alive:
            return False
        os.kill(self.pid, signal.SIGTERM)
        return True


def own_tags(run_id: str) -> Mapping[str, str]:
    """The tags of a run that this process carries out; none on systems that are not Linux."""
    if sys.platform != "linux":
        return {}
    return {RUN_WORKER_ID_TAG: f"{run_id}/{RunProcess.current()}"}


def process_of(run: dg.DagsterRun) -> RunProcess | None:
    """The process that carries out a run, or did; None if its tags name none."""
    named, _, process = run.tags.get(RUN_WORKER_ID_TAG, "").partition("/")
    # A retry takes its parent's tags along, and the parent's process may be alive: a command's is.
    return RunProcess.parse(process) if named == run.run_id else None


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"


def _started(pid: int) -> str | None:
    """When a process started; None if there is none, or only what its parent has yet to hear."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything, brackets and spaces too.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields[START_TIME]
