"""Which process carries a run, in a form that survives it, and whether that one is gone.

A process number alone is given to another process sooner or later, after a restart of the machine
within minutes. And what a process's start was by the clock changes when the clock is set.

Of a process in another container or on another machine `/proc` tells nothing, and a host's name
neither: a container that is made again has another, two machines may have one. So each run holds a
lock beside Dagster's record, which the kernel lets go of with the process, and touches its file:
some file systems keep locks from other machines.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import dagster as dg
from dagster._core.storage.tags import RUN_WORKER_ID_TAG

START_TIME = 19
"""Where `/proc/PID/stat` has the start, in ticks since the machine's, counted after the name."""


SIGNS = "alive"
"""The folder in Dagster's home with a locked file for each run that is carried out."""

TOUCH_SECONDS, SILENT_SECONDS = 15.0, 120.0


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
        return cls(socket.gethostname(), place(), pid, _started(pid) or "")

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
        """Whether it runs, or ran, where nobody here can look at processes.

        On another machine, before this one's restart, or in another container.
        """
        return self.place != place()

    @property
    def alive(self) -> bool:
        """Whether it still runs; False for one that runs elsewhere."""
        return not self.elsewhere and _started(self.pid) == self.started

    def is_gone(self, home: Path | None, run_id: str) -> bool:
        """Whether it is known to have ended, wherever it ran.

        Args:
            home: Dagster's home, where a run's sign of life lies; None if that is not known.
            run_id: The run that it carried out.
        """
        if not self.elsewhere:
            return not self.alive
        same_kernel = self.place.partition(":")[0] == place().partition(":")[0]
        silent = None if home is None else _is_silent(home / SIGNS / run_id, same_kernel)
        if silent is not None:
            return silent
        # Without a sign a process of this kernel is not one that goes on in another container, and
        # one of this name is of this machine before its restart.
        return same_kernel or self.host == socket.gethostname()

    def interrupt(self) -> bool:
        """Ask it to end, as a cancelled run is asked to.

        Returns:
            False if there is nobody to ask.
        """
        if not self.alive:
            return False
        os.kill(self.pid, signal.SIGTERM)
        return True


@contextmanager
def sign_of_life(home: Path, run_id: str) -> Iterator[None]:
    """Show whoever shares Dagster's home, on whichever machine, that a run is carried out."""
    path, ended = home / SIGNS / run_id, threading.Event()
    try:
        path.parent.mkdir(exist_ok=True)
        sign = path.open("w")
        fcntl.flock(sign, fcntl.LOCK_EX)
    except OSError:
        # The run is worth more than its sign.
        yield
        return

    def touch() -> None:
        while not ended.wait(TOUCH_SECONDS):
            with suppress(OSError):
                os.utime(path)

    threading.Thread(target=touch, name="sign-of-life", daemon=True).start()
    try:
        with sign:
            yield
    finally:
        ended.set()
        with suppress(OSError):
            path.unlink()


def _is_silent(sign: Path, same_kernel: bool) -> bool | None:
    """Whether nobody holds a sign of life; None if there is none, or it cannot be told."""
    try:
        with sign.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            touched = os.fstat(held.fileno()).st_mtime
        if same_kernel:
            return True
        # The clock is that of the file system, which may be another machine's too.
        now = sign.with_name(".now")
        now.touch()
        return now.stat().st_mtime - touched > SILENT_SECONDS
    except BlockingIOError:
        return False
    except OSError:
        return None


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


def place() -> str:
    """This machine since its start, and the namespace of this process's numbers; Linux has one."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        # A sandbox that shows no such files: its processes are told apart by name and start.
        return "unknown:0"


def _started(pid: int) -> str | None:
    """When a process started; None if there is none, or only what its parent has yet to hear."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything, brackets and spaces too.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields[START_TIME]
