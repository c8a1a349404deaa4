"""What runs that nobody started by hand are tagged with. Imports nothing."""

from __future__ import annotations

STARTED_BY = "mlops/started_by"
"""The tag by which a run names the schedule or sensor that started it."""

RETRIES = {
    # A run that was killed is tried again. One that failed by itself would fail again: it is asked
    # for when its input or its code has changed.
    "dagster/max_retries": "2",
    "dagster/retry_on_asset_or_op_failure": "false",
}


def started_by(name: str) -> dict[str, str]:
    """The tags of a run that a schedule or sensor of that name starts."""
    return {STARTED_BY: name, **RETRIES}
