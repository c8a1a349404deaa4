"""`mlops-assets ui`: Dagster's and MLflow's servers as children of this process, until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import click

from mlops_assets.cli.children import child, log_file
from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.interrupts import stopped_by_signals
from mlops_assets.cli.only_one import the_only_daemon
from mlops_assets.cli.record import open_record
from mlops_assets.defs.resources import find_tracking
from mlops_assets.settings import ROOT, Settings, open_state, settings
from mlops_assets.tracking.connection import UI_HOST

HOST = UI_HOST
POLL_SECONDS = 0.3

# Dagster waits up to 45 s for a code location; on two busy cores the first load, which parses the
# dbt project, took 20 s.
READY_SECONDS = 120


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
        CommandError: Another daemon looks after the record, a port is taken, or a server did not
            start.
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
    with (
        the_only_daemon(found.dagster_home, "mlops-assets ui"),
        log_file(home, "ui", shown=debug) as log,
        stopped_by_signals(),
    ):
        for server in wanted:
            _check_free(server)
        where = "shown above" if debug else f"in {log.name}"
        try:
            with contextlib.ExitStack() as stack:
                children = {
                    server.name: stack.enter_context(
                        child(server.arguments, log, home, server.environment)
                    )
                    for server in wanted
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
    return Server(
        name="Dagster",
        port=port,
        option="--port",
        arguments=[
            *("-m", "dagster", "dev"),
            *("-w", str(ROOT / "workspace.yaml"), "-h", HOST, "-p", str(port)),
        ],
        probe="/server_info",
        environment=found.environment,
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


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], where: str) -> None:
    patience = time.monotonic() + READY_SECONDS
    while time.monotonic() < patience:
        if process.poll() is not None:
            raise CommandError(f"{server.name} did not start; its words are {where}.")
        if _answers(f"{server.url}{server.probe}"):
            return
        time.sleep(POLL_SECONDS)
    raise CommandError(f"{server.name} did not answer in {READY_SECONDS} s; its words are {where}.")


def _first_to_end(children: Mapping[str, subprocess.Popen[bytes]]) -> tuple[str, int]:
    """The name and exit code of the first child that ends."""
    while True:
        for name, process in children.items():
            if (code := process.poll()) is not None:
                return name, code
        time.sleep(POLL_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
