"""`mlops-assets metrics`: figures for Prometheus, printed, to a file, pushed, or served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.interrupts import stopped_by_signals
from mlops_assets.cli.loopback import is_loopback
from mlops_assets.cli.plan import RequestError
from mlops_assets.cli.record import database_faults, opened_record
from mlops_assets.settings import open_state, settings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from mlops_assets.metrics.exposition import Exposition

JOB = "mlops_assets"
PUSH_SECONDS = 10.0


def text() -> str:
    """The figures, as Prometheus reads them.

    Raises:
        CommandError: The record's database does not answer.
        SettingsError: The settings or the state directory are not usable.
    """
    from prometheus_client import generate_latest

    with _registry() as (registry, _):
        return generate_latest(registry).decode()


def write(file: Path) -> None:
    """Write the figures to a file, whole or not at all, for the node exporter's textfile collector.

    Raises:
        RequestError: That collector would not read a file of this name.
        CommandError: The file cannot be written, or the record's database does not answer.
        SettingsError: The settings or the state directory are not usable.
    """
    from prometheus_client import write_to_textfile

    if file.suffix != ".prom":
        raise RequestError(f"{file} would be read by nobody: end its name with .prom.")
    with _registry() as (registry, _):
        try:
            write_to_textfile(str(file), registry)
        except OSError as error:
            raise CommandError(
                f"{file} cannot be written ({error.strerror}): make its folder, or correct its "
                "permissions."
            ) from error


def push() -> str:
    """Send the figures to the Pushgateway of the settings.

    Returns:
        Where they went.

    Raises:
        RequestError: No Pushgateway is configured.
        CommandError: It does not answer, or refuses; or the record's database does not answer.
        SettingsError: The settings or the state directory are not usable.
    """
    from prometheus_client import push_to_gateway

    found = settings()
    if found.metrics_pushgateway is None:
        raise RequestError("no Pushgateway is configured: set MLOPS_METRICS_PUSHGATEWAY.")
    with _registry() as (registry, _):
        try:
            push_to_gateway(found.metrics_pushgateway, JOB, registry, timeout=PUSH_SECONDS)
        except OSError as error:
            raise CommandError(
                f"the Pushgateway at {found.metrics_pushgateway} took nothing "
                f"({getattr(error, 'reason', None) or error}): see whether it is up, or correct "
                "MLOPS_METRICS_PUSHGATEWAY."
            ) from error
    return found.metrics_pushgateway


def serve(host: str, port: int) -> None:
    """Serve the figures until somebody stops it.

    Raises:
        CommandError: Other machines could read them without a token, the port is taken, or the
            record's database does not answer when it starts.
        SettingsError: The settings or the state directory are not usable.
    """
    from prometheus_client import generate_latest

    from mlops_assets.metrics.server import MetricsServer

    token = settings().metrics_token
    if not is_loopback(host) and token is None:
        raise CommandError(
            f"on {host} every machine that reaches it could read the figures: set "
            "MLOPS_METRICS_TOKEN to what a scraper has to present, or leave --host out."
        )
    secret = token.get_secret_value() if token else None
    with stopped_by_signals(), _registry() as (registry, exposition):
        # What is read once takes seconds in a large lake: not while the first scraper waits.
        generate_latest(registry)
        try:
            server = MetricsServer(
                (host, port), lambda: generate_latest(registry), exposition.hangs, secret
            )
        except OSError as error:
            raise CommandError(
                f"port {port} of {host} is not to be had ({error.strerror}): end what listens "
                "there, or choose another with --port and --host."
            ) from error
        with server:
            click.echo(f"metrics on http://{host}:{port}/metrics (Ctrl-C ends it)")
            try:
                server.serve_forever(poll_interval=0.2)
            except KeyboardInterrupt:
                click.echo("\nstopped.")


@contextmanager
def _registry() -> Iterator[tuple[CollectorRegistry, Exposition]]:
    from prometheus_client import CollectorRegistry

    from mlops_assets.definitions import defs
    from mlops_assets.defs.automation.recommended import RECOMMENDED
    from mlops_assets.defs.resources import find_lake
    from mlops_assets.lake import LakeError
    from mlops_assets.metrics.exposition import Exposition
    from mlops_assets.metrics.lake_figures import LakeFigures
    from mlops_assets.metrics.record_figures import RecordFigures

    found = settings()
    open_state(found.home)
    repository = defs().get_repository_def()
    graph = repository.asset_graph
    known = [
        *(schedule.name for schedule in repository.schedule_defs),
        *(sensor.name for sensor in repository.sensor_defs),
    ]
    with opened_record(found) as instance:
        record = RecordFigures(
            instance,
            {key: graph.get(key).group_name for key in graph.materializable_asset_keys},
            {key: graph.get(key).blocking for key in graph.asset_check_keys},
            {name: name in RECOMMENDED for name in known},
        )
        exposition = Exposition(
            {"lake": LakeFigures(find_lake(found)).read, "record": record.read},
            (LakeError, *database_faults()),
            lambda told: click.echo(f"mlops-assets: {told}", err=True),
        )
        registry = CollectorRegistry()
        registry.register(exposition)
        yield registry, exposition
