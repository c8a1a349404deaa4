"""The resources that assets ask for: the lake, and the MLflow that follows it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import dagster as dg

from mlops_assets.alerting.channel import Channel
from mlops_assets.alerting.mail import Mail
from mlops_assets.alerting.pagerduty import PagerDuty
from mlops_assets.alerting.webhook import Webhook
from mlops_assets.components.retention import Places
from mlops_assets.lake import Credentials, Lake
from mlops_assets.settings import MAIN, Settings, SettingsError, check_record, open_state, settings
from mlops_assets.tracking.connection import Registry
from mlops_assets.tracking.projection import Tracking


@cache
def connect(settings: Settings) -> Lake:
    """Connect this process to the lake, and make its repository where it does not exist.

    Raises:
        SettingsError: The configuration is incomplete, or the state directory not usable.
        LakeError: The server does not answer or refuses.
    """
    lake = find_lake(settings)
    lake.create()
    return lake


@cache
def find_lake(settings: Settings) -> Lake:
    """The lake as it is, its embedded server started where no other is configured.

    Raises:
        SettingsError: The configuration is incomplete, or the state directory not usable.
    """
    home = open_state(settings.home)
    return Lake(
        _credentials(settings),
        repository=settings.lakefs_repository,
        base_branch=settings.lakefs_branch,
        scratch=home / "scratch",
    )


@cache
def find_tracking(settings: Settings) -> Tracking:
    """The way to MLflow; nothing is asked of it before something is written.

    Raises:
        SettingsError: The state directory is not usable.
    """
    return Tracking(find_registry(settings))


def find_registry(settings: Settings) -> Registry:
    """The way to MLflow's registry, which remembers no failure of another's.

    Raises:
        SettingsError: The state directory is not usable.
    """
    open_state(settings.home)
    return Registry(settings.mlflow_tracking_uri, settings.mlflow_home)


def alert_channels(settings: Settings) -> list[Channel]:
    """The ways to people that are configured.

    Raises:
        SettingsError: A mail server is named, and not who writes or who is written to.
    """
    found: list[Channel] = []
    if settings.alert_webhook_url is not None:
        found.append(Webhook(settings.alert_webhook_url))
    if settings.alert_smtp_url is not None:
        recipients = [one.strip() for one in (settings.alert_mail_to or "").split(",")]
        if settings.alert_mail_from is None or not all(recipients):
            raise SettingsError(
                "MLOPS_ALERT_SMTP_URL names a mail server for alerts: set MLOPS_ALERT_MAIL_FROM "
                "and MLOPS_ALERT_MAIL_TO, addresses parted by commas, too."
            )
        found.append(Mail(settings.alert_smtp_url, settings.alert_mail_from, recipients))
    if settings.alert_pagerduty_key is not None:
        found.append(PagerDuty(settings.alert_pagerduty_key, settings.alert_pagerduty_url))
    return found


def sweep_places(settings: Settings) -> Places:
    """Where what failed work left is swept.

    Raises:
        SettingsError: The configuration is incomplete, or the state directory not usable.
    """
    # Work on a data branch has a registry of its own, unless one is named for all.
    recorded = (settings.home / "branches").glob("*/mlflow")
    homes = [settings.on_branch(MAIN).mlflow_home, *recorded]
    return Places(
        lake=find_lake(settings),
        store=None if settings.lakefs_endpoint else settings.lakefs_home,
        registries=[Registry(None, home) for home in homes]
        if settings.mlflow_tracking_uri is None
        else [Registry(settings.mlflow_tracking_uri, settings.mlflow_home)],
        logs=settings.home / "logs",
    )


def _credentials(settings: Settings) -> Credentials:
    if settings.lakefs_endpoint is None:
        from mlops_assets.lakefs_server import EmbeddedServer

        server = EmbeddedServer(settings.lakefs_home, pre_sign=settings.lakefs_pre_sign)
        endpoint = server.start()
        return Credentials(endpoint.url, endpoint.access_key_id, endpoint.secret_access_key)
    if settings.lakefs_access_key_id is None or settings.lakefs_secret_access_key is None:
        raise SettingsError(
            "LAKECTL_SERVER_ENDPOINT_URL names a lakeFS server but its key is missing: set "
            "LAKECTL_CREDENTIALS_ACCESS_KEY_ID and LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY."
        )
    return Credentials(
        settings.lakefs_endpoint,
        settings.lakefs_access_key_id,
        settings.lakefs_secret_access_key.get_secret_value(),
    )


def private_definitions(definitions: dg.Definitions, lake: Lake) -> dg.Definitions:
    """The same assets for runs whose results are nobody's: over a lake of their own, unfollowed."""
    return dg.Definitions(
        assets=definitions.assets,
        asset_checks=definitions.asset_checks,
        resources={**(definitions.resources or {}), "lake": lake, "tracking": None},
    )


@dg.resource(description="MLflow, which follows what the lake holds.")
def tracking_resource() -> Tracking:
    """The MLflow of this process's settings."""
    return find_tracking(settings())


@dg.resource(description="The versioned tables: one repository on a lakeFS server.")
def lake_resource(context: dg.InitResourceContext) -> Lake:
    """The lake of this process's settings, whose base branch is the one that Dagster records."""
    found = settings()
    if context.instance is not None and context.instance.is_persistent:
        check_record(Path(context.instance.root_directory), found.lakefs_branch)
    return connect(found)


@dg.definitions
def resources() -> dg.Definitions:
    """The resources by the names that assets use, and how steps are carried out."""
    return dg.Definitions(
        resources={
            "lake": lake_resource,
            "tracking": tracking_resource,
            # Dagster's default, named: unnamed it is whatever DAGSTER_DEFAULT_IO_MANAGER_MODULE is.
            "io_manager": dg.fs_io_manager,
        },
        # A process for each step, Dagster's default, costs 1.3 s a step and a server of its own.
        executor=dg.in_process_executor,
        # A line on the console for every one of a year's 10,000 events took 3 s of 50; the record
        # and the UI have them all the same.
        loggers={"console": dg.colored_console_logger.configured({"log_level": "INFO"})},
    )
