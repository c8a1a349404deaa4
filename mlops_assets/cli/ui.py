"""`mlops-assets ui`: Dagster's and MLflow's servers as children of this process, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.interrupts import stopped_by_signals
from mlops_assets.cli.record import open_record
from mlops_assets.defs.resources import find_tracking
from mlops_assets.settings import ROOT, Settings, open_state, settings
from mlops_assets.tracking.connection import UI_HOST

if TYPE_CHECKING:
    import psutil

HOST = UI_HOST
POLL_SECONDS = 0.3

# Dagster waits up to 45 s for a code location; on two busy cores the first load, which parses the
# dbt project, took 20 s.
READY_SECONDS = 120
# A webserver, a daemon and a code server end in about 3 s when asked.
END_SECONDS = 20


@dataclass(frozen=True)
class Server:
    """A server of somebody else's, run as a child.

    Attributes:
        name: What people call it.
        port: Where it is to answer, on `HOST`.
        option: The option of our command that chooses the port.
        arguments: Of the Python that runs it.
        probe: The path that answers once it is ready.
        environment: What it gets beside our own.
    """

    name: str
    port: int
    option: str
    arguments: Sequence[str]
    probe: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"


def serve_ui(port: int, mlflow_port: int, branch: str | None, *, debug: bool) -> None:
    """Serve the UIs until somebody stops them, and end all that was started for them.

    Args:
        port: Dagster's port on 127.0.0.1.
        mlflow_port: MLflow's, which is served where no registry of others is configured.
        branch: The data branch to work on; the settings' base branch if None.
        debug: Show the servers' words instead of writing them to a file.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        CommandError: A port is taken, or a server did not start.
    """
    found = settings() if branch is None else settings().on_branch(branch)
    home = open_state(found.home)
    if branch is not None and not found.dagster_home.is_dir():
        raise CommandError(
            f"there is no data branch {branch} here: `mlops-assets branch create {branch}` makes "
            "it."
        )
    open_record(found)
    wanted = servers(found, port, mlflow_port)
    for server in wanted:
        _check_free(server)
    with _log(home, shown=debug) as log, stopped_by_signals():
        where = "shown above" if debug else f"in {log.name}"
        try:
            with contextlib.ExitStack() as stack:
                children = {
                    server.name: stack.enter_context(_child(server, log, home)) for server in wanted
                }
                for server in wanted:
                    _wait_until_ready(server, children[server.name], where)
                    click.echo(f"{server.name} UI on {server.url} (Ctrl-C ends it)")
                name, code = _first_to_end(children)
        except KeyboardInterrupt:
            click.echo("\nstopped.")
            return
    raise CommandError(f"{name} ended by itself with code {code}; its words are {where}.")


def servers(found: Settings, port: int, mlflow_port: int) -> list[Server]:
    """Dagster's server and, where the registry is the state directory's own, MLflow's."""
    own = [] if found.mlflow_tracking_uri else [_mlflow(mlflow_port, found)]
    return [_dagster(port, found), *own]


def _dagster(port: int, found: Settings) -> Server:
    source = {} if found.source is None else {"MLOPS_SOURCE": str(found.source.absolute())}
    return Server(
        name="Dagster",
        port=port,
        option="--port",
        arguments=[
            *("-m", "dagster", "dev"),
            *("-w", str(ROOT / "workspace.yaml"), "-h", HOST, "-p", str(port)),
        ],
        probe="/server_info",
        environment={
            "MLOPS_HOME": str(found.home),
            "LAKEFS_BRANCH": found.lakefs_branch,
            **source,
        },
    )


def _mlflow(port: int, found: Settings) -> Server:
    """MLflow's own server over the registry in the state directory.

    It checks the host that a request names, so that no page of others reaches it through a name
    that they point here. Under gunicorn it is what shows and keeps runs and models; under its
    default server it would also be an assistant that runs shell commands for whoever asks on this
    machine, a gateway to language models, and a process more for their jobs.
    """
    registry = find_tracking(found).registry
    return Server(
        name="MLflow",
        port=port,
        option="--mlflow-port",
        arguments=[
            *("-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
            *("--gunicorn-opts", "--threads 4 --log-level warning"),
            *("--backend-store-uri", registry.address),
            *("--default-artifact-root", str(registry.artifacts), "--no-serve-artifacts"),
        ],
        probe="/health",
        environment={**registry.environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )


def _check_free(server: Server) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, server.port))
        except OSError as error:
            raise CommandError(
                f"port {server.port} of {HOST} is taken ({error.strerror}): end what listens "
                f"there, or choose another for {server.name} with {server.option}."
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
def _child(server: Server, log: IO[str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process; a session of its own, so that Ctrl-C reaches it once, through us.

    It starts in the state directory: in the repository's root Dagster would read its `.env`, whose
    words it puts above the environment's, and record in another home than the one shown.
    """
    import psutil

    child = subprocess.Popen(
        [sys.executable, *server.arguments],
        cwd=home,
        env={**os.environ, **server.environment},
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        _end(psutil.Process(child.pid) if child.poll() is None else None)
        child.wait()


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


def _wait_until_ready(server: Server, child: subprocess.Popen[bytes], where: str) -> None:
    patience = time.monotonic() + READY_SECONDS
    while time.monotonic() < patience:
        if child.poll() is not None:
            raise CommandError(f"{server.name} did not start; its words are {where}.")
        if _answers(f"{server.url}{server.probe}"):
            return
        time.sleep(POLL_SECONDS)
    raise CommandError(f"{server.name} did not answer in {READY_SECONDS} s; its words are {where}.")


def _first_to_end(children: Mapping[str, subprocess.Popen[bytes]]) -> tuple[str, int]:
    """The name and exit code of the first child that ends."""
    while True:
        for name, child in children.items():
            if (code := child.poll()) is not None:
                return name, code
        time.sleep(POLL_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
