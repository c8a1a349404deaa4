"""`mlops-assets lakefs gc`: let go of what failed work left, and free what nothing names."""

from __future__ import annotations

from mlops_assets.cli.execution import console_to_log
from mlops_assets.components.retention import Sweep, sweep_all
from mlops_assets.defs.resources import sweep_places
from mlops_assets.settings import open_state, settings


def collect(days: float, *, dry_run: bool, debug: bool) -> Sweep:
    """Sweep the lake of these settings.

    Args:
        days: How old failed work is when it goes.
        dry_run: Change nothing.
        debug: Show what libraries print, instead of keeping it in a log.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        LakeError: The lake does not answer or refuses.
        TrackingError: MLflow does not answer.
    """
    found = settings()
    with console_to_log(open_state(found.home), shown=debug):
        return sweep_all(sweep_places(found), days=days, dry_run=dry_run)
