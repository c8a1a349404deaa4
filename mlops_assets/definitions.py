"""The one entry point: loads `defs/`, adds what holds of every asset, nothing else."""

from pathlib import Path

import dagster as dg

from mlops_assets.defs.automation.policies import governed


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that exists here."""
    return governed(dg.load_from_defs_folder(path_within_project=Path(__file__).parent))
