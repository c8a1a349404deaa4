"""Cold processes and what they cost, and rounds that alternate between rivals.

Seconds of a process are those of its children too. On a shared machine the CPU seconds are the
steadier figure; the wall seconds are what a user waits for.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

ROOT = Path(__file__).resolve().parent.parent

# A benchmark's processes must neither find nor touch the state of whoever starts it.
SETTINGS = ("MLOPS_", "LAKECTL_", "LAKEFS_", "DAGSTER_HOME", "DBT_")


class FailedProcessError(Exception):
    """A benchmark's process failed; the text ends with what it last wrote to standard error."""


@dataclass(frozen=True)
class Cost:
    """What a process cost.

    Attributes:
        wall: Seconds from its start to its end.
        cpu: Seconds of processor time, of all its threads and children.
        output: What it wrote to standard output.
    """

    wall: float
    cpu: float
    output: str = ""


def python(*arguments: str, environment: Mapping[str, str] | None = None) -> Cost:
    """Run the interpreter in a new process, in the repository's root.

    Args:
        arguments: Its arguments, `-m bench.product …`.
        environment: Variables beside those of this process, from which all settings of the
            product are removed.

    Raises:
        FailedProcessError: It exited with another code than 0.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(SETTINGS)}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        cpu, wall = _children_seconds(), time.perf_counter()
        finished = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**inherited, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
        cost = Cost(time.perf_counter() - wall, _children_seconds() - cpu, finished.stdout)
        if finished.returncode != 0:
            errors.seek(0)
            raise FailedProcessError(
                f"python {' '.join(arguments)} exited with {finished.returncode}; it said:\n"
                f"{errors.read()[-4000:]}"
            )
    return cost


@contextmanager
def server(*arguments: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the interpreter as a server, and kill it with all that it started in the end.

    Args:
        arguments: Its arguments, `-m dagster dev …`.
        home: The folder that it works in, with Dagster's home in `dagster`.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(SETTINGS)}
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=home,
            env={**inherited, "PYTHONPATH": str(ROOT), "DAGSTER_HOME": str(home / "dagster")},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            family = [started := psutil.Process(process.pid), *started.children(recursive=True)]
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(family)
            process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def median_cost(costs: Iterable[Cost]) -> Cost:
    """The median of the wall seconds and, apart from it, of the CPU seconds."""
    found: Sequence[Cost] = list(costs)
    return Cost(median(cost.wall for cost in found), median(cost.cpu for cost in found))
