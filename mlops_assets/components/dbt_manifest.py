"""The dbt project as parsed: prepared once for each state of its files.

Parsing takes seconds, and definitions are loaded by every process of a Dagster deployment; so
the parsed project is kept under a digest of what it was parsed from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
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
PARTIAL_PARSE = "partial_parse.msgpack"
SCRATCH = ".parsing-"

# A process that was killed while it parsed leaves its folder; no parse takes this long.
ABANDONED_AFTER_SECONDS = 24 * 3600


def prepared(project: Path) -> Path:
    """The folder that holds `manifest.json` for the project as it is now, parsed where needed.

    It appears whole, by a rename, and nothing writes into it afterwards: processes share it.

    Raises:
        dagster.DagsterInvalidDefinitionError: The project does not parse; with dbt's own words.
    """
    return _prepared(project)[0]


@cache
def load(project: Path) -> Mapping[str, Any]:
    """The content of the project's `manifest.json`."""
    return _prepared(project)[1]


def parse(project: Path, target: Path) -> None:
    """Parse the project and leave what dbt writes of it in `target`.

    Raises:
        dagster.DagsterInvalidDefinitionError: The project does not parse; with dbt's own words.
    """
    _parse(project, target)


def reparse(project: Path, prepared: Path, target: Path) -> Manifest:
    """Parse the project from its prepared state, which is read and never written.

    dbt's parse rewrites `manifest.json` in place, and a step killed meanwhile would leave half a
    file that every later command trips over: so this one is told to write elsewhere.

    Args:
        project: The dbt project's folder.
        prepared: The folder with its parsed state.
        target: The caller's own folder for what dbt writes.

    Returns:
        dbt's own manifest object, as its runner takes it.
    """
    partial = str(prepared / PARTIAL_PARSE)
    return _parse(project, target, "--partial-parse-file-path", partial, "--no-write-json")


def _prepared(project: Path) -> tuple[Path, Mapping[str, Any]]:
    store = settings().home / "dbt"
    target = store / _digest(project)
    content = _content(target)
    if content is not None:
        return target, content
    store.mkdir(parents=True, exist_ok=True)
    _sweep(store)
    # A full disk can also fail the removal of what did not fit; the next sweep takes it.
    with tempfile.TemporaryDirectory(
        dir=store, prefix=SCRATCH, ignore_cleanup_errors=True
    ) as scratch:
        parsed = Path(scratch) / "parsed"
        parse(project, parsed)
        if target.exists() and _content(target) is None:
            target.rename(Path(scratch) / "unreadable")
        try:
            parsed.rename(target)
        except OSError:
            # Another process prepared the same project meanwhile; its folder is as good.
            if _content(target) is None:
                raise
    return target, json.loads((target / FILE).read_bytes())


def _content(folder: Path) -> Mapping[str, Any] | None:
    """What the folder's manifest says; None if there is none that can be read."""
    try:
        content: Mapping[str, Any] = json.loads((folder / FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content


def _sweep(store: Path) -> None:
    """Remove what processes that were killed while they parsed have left."""
    oldest = time.time() - ABANDONED_AFTER_SECONDS
    for left in store.glob(f"{SCRATCH}*"):
        try:
            abandoned = left.stat().st_mtime < oldest
        except FileNotFoundError:
            continue
        if abandoned:
            shutil.rmtree(left, ignore_errors=True)


def _parse(project: Path, target: Path, *more: str) -> Manifest:
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    result = dbtRunner().invoke(["parse", *arguments(project, project, target), *more])
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
