"""Where Dagster keeps its record, made ready for the commands that write or read it."""

from __future__ import annotations

import os
from pathlib import Path

from mlops_assets.settings import (
    BRANCH_MARK,
    ROOT,
    Settings,
    SettingsError,
    check_record,
    create_whole,
)

INSTANCE_FILE = "dagster.yaml"
EVENTS_AT_ONCE = 500
TEMPLATE = ROOT / "infra" / INSTANCE_FILE


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
    return home
