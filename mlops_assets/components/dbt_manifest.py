"""The dbt project as it was loaded: its files, and what dbt parsed of them.

Parsing takes seconds, and definitions are loaded by every process of a Dagster deployment; so
the parsed project is kept under a digest of its files, with a copy of them. Builds run from that
copy: a model that is edited while a backfill is queued would run under a code version that does
not name it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.components import dbt_runner
from mlops_assets.settings import settings

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

PROJECT_FILE = "dbt_project.yml"
PROJECT_FILES = (".sql", ".py", ".yml", ".yaml", ".csv", ".md", ".dbtignore")
"""All that dbt reads of a project, and the modules of its Python plugins."""
READ_FOLDERS = {
    *("analysis-paths", "docs-paths", "function-paths", "macro-paths", "model-paths"),
    *("seed-paths", "snapshot-paths", "test-paths", "packages-install-path"),
}
READ_BY_DEPS = ("packages.yml", "dependencies.yml")
LEFT_BY_DBT = ("target", "logs")
FILE = "manifest.json"
PARTIAL_PARSE = "partial_parse.msgpack"
SOURCES = "project"
SCRATCH = ".parsing-"

# A process that was killed while it parsed leaves its folder; no parse takes this long.
ABANDONED_AFTER_SECONDS = 24 * 3600


def prepared(project: Path) -> Path:
    """The folder that holds the project as this process loaded it, parsed where needed.

    It appears whole, by a rename, and nothing writes into it afterwards: processes share it.

    Raises:
        dagster.DagsterInvalidDefinitionError: The project does not parse; with dbt's own words.
    """
    return _prepared(project)[0]


@cache
def load(project: Path) -> Mapping[str, Any]:
    """The content of the project's `manifest.json`."""
    return _prepared(project)[1]


def sources(prepared: Path) -> Path:
    """The copy of the project's files in a prepared folder."""
    return prepared / SOURCES


def declarations(project: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What `dbt_project.yml` of the project and of each installed package says, by its path."""
    import yaml

    root: Mapping[str, Any] = yaml.safe_load((project / PROJECT_FILE).read_text())
    yield PROJECT_FILE, root
    packages = project / root.get("packages-install-path", "dbt_packages")
    for file in sorted(packages.glob(f"*/{PROJECT_FILE}")):
        yield file.relative_to(project).as_posix(), yaml.safe_load(file.read_text())


def parse(project: Path, target: Path) -> None:
    """Copy the project to `target` and leave there, too, what dbt parsed of the copy.

    Raises:
        dagster.DagsterInvalidDefinitionError: The project does not parse, with dbt's own words; or
            it reads a folder outside of it, of which a copy of the project would have nothing.
    """
    for name, content in _files(project).items():
        copy = sources(target) / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Where packages come from may be a secret variable; what came is in the project.
        fetched = copy.name in READ_BY_DEPS
        copy.write_bytes(re.sub(rb"\{\{.*?\}\}", b"_", content) if fetched else content)
    for file, declared in declarations(sources(target)):
        for key in declared.keys() & READ_FOLDERS:
            folders = [declared[key]] if isinstance(declared[key], str) else declared[key]
            for folder in folders:
                if Path(folder).is_absolute() or ".." in Path(folder).parts:
                    raise dg.DagsterInvalidDefinitionError(
                        f"{project.name}/{file}: {key} names {folder}, which is outside of the "
                        "project: move it inside, or make it a local package."
                    )
    _parse(project.name, target, target)


def reparse(prepared: Path, target: Path) -> Manifest:
    """Parse the project from its prepared state, which is read and never written.

    dbt's parse rewrites `manifest.json` in place, and a step killed meanwhile would leave half a
    file that every later command trips over: so this one is told to write elsewhere.

    Args:
        prepared: The folder with the project's parsed state.
        target: The caller's own folder for what dbt writes.

    Returns:
        dbt's own manifest object, as its runner takes it.
    """
    partial = str(prepared / PARTIAL_PARSE)
    more = ("--partial-parse-file-path", partial, "--no-write-json")
    return _parse(sources(prepared).name, prepared, target, *more)


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


def _parse(name: str, prepared: Path, target: Path, *more: str) -> Manifest:
    from dbt.contracts.graph.manifest import Manifest

    project = sources(prepared)
    result = dbt_runner.invoke("parse", project, project, target, *more)
    if isinstance(result.result, Manifest):
        return result.result
    raise dg.DagsterInvalidDefinitionError(
        f"the dbt project in {name}/ does not parse: {dbt_runner.reason(result.exception)}"
    )


@cache
def _files(project: Path) -> Mapping[str, bytes]:
    """The project's files, those of its packages too, as they were when they were first read.

    `dbt deps` links a local package to where it lies, so links are followed.
    """
    found = {}
    for folder, folders, names in os.walk(project, followlinks=True):
        left = LEFT_BY_DBT if Path(folder) == project else ()
        folders[:] = sorted(set(folders) - {".git", *left})
        for name in sorted(names):
            path = Path(folder) / name
            # An editor's lock is a link to nowhere.
            if name.endswith(PROJECT_FILES) and path.is_file():
                found[path.relative_to(project).as_posix()] = path.read_bytes()
    return found


@cache
def _digest(project: Path) -> str:
    packages = ("dbt-core", "dbt-adapters", "dbt-duckdb")
    digest = hashlib.sha256(" ".join(map(version, packages)).encode())
    for name, content in _files(project).items():
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:32]
