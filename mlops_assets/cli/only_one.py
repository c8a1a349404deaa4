"""One daemon for each record: a lock that its holder signs, and what else is alive there.

Two daemons of one record launch the same run twice. A lock is the kernel's (flock): it is gone with
its holder, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

from mlops_assets.cli.faults import CommandError

LOCK = "daemon.lock"


@contextlib.contextmanager
def the_only_daemon(home: Path, name: str) -> Iterator[None]:
    """Hold the lock of a Dagster home.

    Args:
        home: It.
        name: What the holder is called where another is refused.

    Raises:
        CommandError: Another process holds it, or a daemon that somebody started by hand is alive.
    """
    with (home / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise _taken(home, lock.read().strip() or "another process") from None
        if (found := _started_by_hand(home)) is not None:
            raise _taken(home, found)
        _sign(lock, name)
        yield


@contextlib.contextmanager
def in_turn(home: Path, name: str) -> Iterator[None]:
    """The same, waiting until no other process holds the lock."""
    with (home / LOCK).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _sign(lock, name)
        yield


def _taken(home: Path, holder: str) -> CommandError:
    return CommandError(
        f"{holder} looks after the runs of {home} already, and a second daemon would launch each "
        "of them twice: end it, or wait for its end."
    )


def _sign(lock: IO[str], name: str) -> None:
    where = f"process {os.getpid()} on {socket.gethostname()}"
    lock.truncate(0)
    lock.write(f"{name} ({where}, since {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z})")
    lock.flush()


def _started_by_hand(home: Path) -> str | None:
    """A daemon of Dagster's for this home, which `dagster dev` starts without our lock."""
    import psutil
    from dotenv import dotenv_values

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if not _is_daemon(process.cmdline()):
                continue
            # Dagster puts the `.env` of the folder that it is started in above its environment.
            given = {**process.environ(), **dotenv_values(Path(process.cwd(), ".env"))}
            named = given.get("DAGSTER_HOME")
            if named and Path(named).resolve() == home.resolve():
                since = datetime.fromtimestamp(process.create_time()).astimezone()
                return f"a daemon (process {process.pid}, since {since:%Y-%m-%d %H:%M:%S %z})"
    return None


def _is_daemon(told: Sequence[str]) -> bool:
    programs = [Path(part).name for part in told[:2]]
    return "run" in told and ("dagster._daemon" in told or "dagster-daemon" in programs)
