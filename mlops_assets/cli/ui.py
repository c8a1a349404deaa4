"""`mlops-assets ui`: Dagster's webserver and daemon as children of this process, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

import click

from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.record import open_record
from mlops_assets.settings import ROOT, Settings, open_state, settings

if TYPE_CHECKING:
    import psutil

HOST = "127.0.0.1"
POLL_SECONDS = 0.3

# Dagster waits up to 45 s for a code location; on two busy cores the first load, which parses the
# dbt project, took 20 s.
READY_SECONDS = 120
# A webserver, a daemon and a code server end in about 3 s when asked.
END_SECONDS = 20


def serve_ui(port: int, *, debug: bool) -> None:
    """Serve the UI until somebody stops it, and end all that was started for it.

    Args:
        port: The port on 127.0.0.1.
        debug: Show Dagster's words instead of writing them to a file.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        CommandError: The port is taken, or Dagster did not start.
    """
    found = settings()
    home = open_state(found.home)
    open_record(found)
    _check_free(port)
    url = f"http://{HOST}:{port}"
    with _log(home, shown=debug) as log, _stopped_by_signals():
        where = "shown above" if debug else f"in {log.name}"
        try:
            with _dagster(port, log, found) as server:
                _wait_until_ready(server, url, where)
                click.echo(f"Dagster UI on {url} (Ctrl-C ends it)")
                code = server.wait()
        except KeyboardInterrupt:
            click.echo("\nstopped.")
            return
    raise CommandError(f"Dagster ended by itself with code {code}; its words are {where}.")


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"port {port} of {HOST} is taken ({error.strerror}): end what listens there, or "
                "choose another with --port."
            ) from error


@contextlib.contextmanager
def _log(home: Path, *, shown: bool) -> Iterator[IO[str]]:
    if shown:
        yield sys.stderr
        return
    folder = home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"ui-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.log").open("a") as stream:
        yield stream


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop as Ctrl-C does: by themselves they would leave the children.

    SIGINT too, since a process that a shell started in the background ignores it, and so would
    Dagster, its child: ending it then took until the last resort, 20 s later.
    """

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _dagster(port: int, log: IO[str], found: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The children; a session of their own, so that Ctrl-C reaches them once, through us.

    They start in the state directory: in the repository's root they would read its `.env`, whose
    words Dagster puts above the environment's, and record in another home than the one shown.
    """
    import psutil

    environment = {**os.environ, "MLOPS_HOME": str(found.home)}
    if found.source is not None:
        environment["MLOPS_SOURCE"] = str(found.source.absolute())

    command = [sys.executable, "-m", "dagster", "dev"]
    command += ["-w", str(ROOT / "workspace.yaml"), "-h", HOST, "-p", str(port)]
    server = subprocess.Popen(
        command,
        cwd=found.home,
        env=environment,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        _end(psutil.Process(server.pid) if server.poll() is None else None)
        server.wait()


def _end(server: psutil.Process | None) -> None:
    """Ask Dagster to end, then make sure of each process below it."""
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


def _wait_until_ready(server: subprocess.Popen[bytes], url: str, where: str) -> None:
    patience = time.monotonic() + READY_SECONDS
    while time.monotonic() < patience:
        if server.poll() is not None:
            raise CommandError(f"Dagster did not start; its words are {where}.")
        if _answers(f"{url}/server_info"):
            return
        time.sleep(POLL_SECONDS)
    raise CommandError(f"Dagster did not answer in {READY_SECONDS} s; its words are {where}.")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
