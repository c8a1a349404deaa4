"""The dbt project as parsed: prepared once for each state of its files.

Parsing takes seconds, and definitions are loaded by every process of a Dagster deployment; so
the parsed project is kept under a digest of what it was parsed from.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.settings import settings

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

PROJECT_FILES = (".sql", ".yml", ".yaml", ".csv")
FILE = "manifest.json"


def prepared(project: Path) -> Path:
    """The folder that holds `manifest.json` for the project as it is now, parsed where needed.

    Raises:
        dagster.DagsterInvalidDefinitionError: The project does not parse; with dbt's own words.
    """
    store = settings().home / "dbt"
    target = store / _digest(project)
    if not (target / FILE).is_file():
        store.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=store, prefix=".parsing-"))
        parse(project, scratch)
        try:
            scratch.rename(target)
        except OSError:
            # Another process prepared the same project meanwhile; its folder is as good.
            if not (target / FILE).is_file():
                raise
    return target


@cache
def load(project: Path) -> Mapping[str, Any]:
    """The content of the project's `manifest.json`."""
    content: Mapping[str, Any] = json.loads((prepared(project) / FILE).read_text())
    return content


def parse(project: Path, target: Path) -> Manifest:
    """Parse the project, from the partial parse in `target` if there is one.

    Returns:
        dbt's own manifest object, as its runner takes it.
    """
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    result = dbtRunner().invoke(["parse", *arguments(project, project, target)])
    if isinstance(result.result, Manifest):
        return result.result
    raise dg.DagsterInvalidDefinitionError(
        f"the dbt project in {project.name}/ does not parse: {result.exception}"
    )


def arguments(project: Path, profiles: Path, target: Path) -> list[str]:
    """The arguments that every invocation of dbt shares."""
    return [
        *("--project-dir", str(project)),
        *("--profiles-dir", str(profiles)),
        *("--target-path", str(target)),
        *("--log-path", str(target)),
        "--quiet",
    ]


@cache
def _digest(project: Path) -> str:
    digest = hashlib.sha256(f"{version('dbt-core')} {version('dbt-duckdb')}".encode())
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(set(folders) - {"target", "logs", "dbt_packages"})
        for name in sorted(names):
            if name.endswith(PROJECT_FILES):
                path = Path(folder) / name
                digest.update(f"\0{path.relative_to(project)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:32]
