"""Which process writes a commit, and whether it may still be about to record what it published.

A step merges first and records then. What the base branch holds and the record does not is either
on its way there, or a process died between the two: only who wrote it tells which.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from mlops_assets.compute.run_process import place

HOST = "writer/host"
PROCESS = "writer/process"
MACHINE_ID = Path("/etc/machine-id")


@cache
def _process(pid: int) -> str:
    import psutil

    return f"{pid}@{psutil.Process(pid).create_time():.2f}"


def _machine() -> str:
    """This machine over all of its starts: its name, which two may have, and its id, if it has one.

    Programs take the id for a secret, so readers of a commit get a digest of it.
    """
    own = MACHINE_ID.read_text().strip() if MACHINE_ID.exists() else ""
    digest = own and hashlib.sha256(f"{__name__}:{own}".encode()).hexdigest()[:12]
    return f"{socket.gethostname()}/{digest}"


def this_writer() -> dict[str, str]:
    """This process, as a commit's metadata names it: numbers are used again, with another start."""
    return {HOST: f"{_machine()}/{place()}", PROCESS: _process(os.getpid())}


def is_alive(metadata: Mapping[str, str]) -> bool | None:
    """Whether the process that wrote a commit still runs; None if it ran where nobody here looks.

    Args:
        metadata: The commit's. One that names no process was written by no step.
    """
    import psutil

    if PROCESS not in metadata:
        return False
    machine, _, where = metadata.get(HOST, "").rpartition("/")
    if machine != _machine():
        return None
    if where != place():
        same_boot = where.partition(":")[0] == place().partition(":")[0]
        # Without an id, this may be another machine of the same name.
        return None if same_boot or machine.endswith("/") else False
    pid = int(metadata[PROCESS].partition("@")[0])
    try:
        found = psutil.Process(pid)
        dead = found.status() == psutil.STATUS_ZOMBIE
        return not dead and f"{pid}@{found.create_time():.2f}" == metadata[PROCESS]
    except psutil.NoSuchProcess:
        return False
