"""Which process writes a commit, and whether it may still be about to record what it published.

A step merges first and records then. What the base branch holds and the record does not is either
on its way there, or a process died between the two: only who wrote it tells which.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from functools import cache

from mlops_assets.compute.run_process import place

HOST = "writer/host"
PROCESS = "writer/process"


@cache
def _process(pid: int) -> str:
    import psutil

    return f"{pid}@{psutil.Process(pid).create_time():.2f}"


def _host() -> str:
    """Where process numbers mean what they mean here: two machines may have one name."""
    return socket.gethostname() + (f"/{place()}" if sys.platform == "linux" else "")


def this_writer() -> dict[str, str]:
    """This process, as a commit's metadata names it: numbers are used again, with another start."""
    return {HOST: _host(), PROCESS: _process(os.getpid())}


def is_alive(metadata: Mapping[str, str]) -> bool | None:
    """Whether the process that wrote a commit still runs; None if it ran where nobody here looks.

    Args:
        metadata: The commit's. One that names no process was written by no step.
    """
    import psutil

    if PROCESS not in metadata:
        return False
    if metadata.get(HOST) != _host():
        return None
    pid = int(metadata[PROCESS].partition("@")[0])
    try:
        found = psutil.Process(pid)
        dead = found.status() == psutil.STATUS_ZOMBIE
        return not dead and f"{pid}@{found.create_time():.2f}" == metadata[PROCESS]
    except psutil.NoSuchProcess:
        return False
