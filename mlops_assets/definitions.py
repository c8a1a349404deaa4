"""The one entry point: loads what `defs/` declares, and nothing else."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that exists here."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
