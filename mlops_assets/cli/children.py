"""Servers and daemons that a command runs as children of its own, and ends with itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

# A webserver, a daemon and a code server end in about 3 s when asked.
END_SECONDS = 20


@contextlib.contextmanager
def log_file(home: Path, kind: str, *, shown: bool) -> Iterator[IO[str]]:
    """Where children write: a new file below the state directory.

    Args:
        home: The state directory.
        kind: What the file's name begins with.
        shown: Standard error instead.
    """
    if shown:
        yield sys.stderr
        return
    folder = home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.log").open("a") as stream:
        yield stream


@contextlib.contextmanager
def child(
    arguments: Sequence[str], log: IO[str], home: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this Python; a session of its own, so that Ctrl-C reaches it once, through us.

    It starts in the state directory: in the repository's root Dagster would read its `.env`, whose
    words it puts above the environment's, and record in another home than the one shown. Its
    standard input is a pipe that ends with us, however we end.

    Args:
        arguments: Of the Python that runs it.
        log: Where it writes.
        home: The state directory.
        environment: What it gets beside our own.
    """
    import psutil

    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=home,
        env={**os.environ, **environment},
        stdout=log,
        stderr=log,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(psutil.Process(process.pid) if process.poll() is None else None)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _end(server: psutil.Process | None) -> None:
    """Ask a server to end, then make sure of each process below it."""
    import psutil

    if server is None:
        return
    family = [server, *server.children(recursive=True)]
    server.terminate()
    _, left = psutil.wait_procs(family, timeout=END_SECONDS)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=END_SECONDS)
