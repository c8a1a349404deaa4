"""Where Dagster keeps its record, made ready for the commands that write or read it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.cli.faults import CommandError
from mlops_assets.files import create_whole
from mlops_assets.settings import (
    BRANCH_MARK,
    ROOT,
    Settings,
    SettingsError,
    check_record,
)

if TYPE_CHECKING:
    import dagster as dg

INSTANCE_FILE = "dagster.yaml"
EVENTS_AT_ONCE = 500
TEMPLATE = ROOT / "infra" / INSTANCE_FILE


@contextmanager
def opened_record(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Dagster's record of the settings' base branch; what this process records in stays as it was.

    Raises:
        CommandError: Its database does not answer.
        SettingsError: It cannot be made, is no absolute path, or records another branch.
    """
    before = os.environ.get("DAGSTER_HOME")
    home = open_record(settings)
    try:
        with _instance(home) as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


def _instance(home: Path) -> dg.DagsterInstance:
    from dagster import DagsterInstance

    try:
        return DagsterInstance.get()
    except Exception as error:
        if not isinstance(error, database_faults()):
            raise
        if not os.access(home, os.W_OK | os.X_OK):
            raise CommandError(
                f"Dagster's record {home} cannot be opened, because SQLite writes beside a "
                "database that it reads, and nothing can be written there: correct its "
                "permissions, or set DAGSTER_HOME to a copy of it."
            ) from error
        # Dagster says how often it tried, and its cause why in vain.
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise CommandError(
            f"the database of Dagster's record, which {home / INSTANCE_FILE} names, does not "
            f"answer ({reason}): see whether it is up, and run again."
        ) from error


def database_faults() -> tuple[type[Exception], ...]:
    """What Dagster's storages raise when their database does not answer, SQLite or Postgres."""
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import SQLAlchemyError

    return SQLAlchemyError, DagsterPostgresException


def open_record(settings: Settings) -> Path:
    """Make Dagster's home ready, and tell this process and its children where it is.

    A `DAGSTER_HOME` of the environment is obeyed; the state directory has one for each base branch.
    One without `dagster.yaml` gets ours: under Dagster's own defaults telemetry is on.

    Returns:
        Dagster's home.

    Raises:
        SettingsError: It cannot be made, is no absolute path, or records another branch.
    """
    home = settings.dagster_home
    if not home.is_absolute():
        raise SettingsError(
            f"DAGSTER_HOME is {home}, which Dagster refuses: set it to an absolute path, or unset "
            f"it to use the one below {settings.branch_home}."
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        ours = {INSTANCE_FILE: TEMPLATE.read_bytes(), BRANCH_MARK: settings.lakefs_branch.encode()}
        for name, content in ours.items():
            if not (home / name).exists():
                create_whole(home / name, content)
    except OSError as error:
        raise SettingsError(
            f"Dagster's home {home} cannot be used ({error.strerror}): free space there, correct "
            "its permissions, or set DAGSTER_HOME to another place."
        ) from error
    check_record(home, settings.lakefs_branch)
    os.environ["DAGSTER_HOME"] = str(home)
    # Stored one by one, the events of a year of partitions took half of the main job's time.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENTS_AT_ONCE))
    # Above zero, a tick of automation sees what was recorded before it and leaves the rest to the
    # next. By default that next tick saw once more what had been recorded during this one.
    os.environ.setdefault("DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS", "1")
    return home
