"""Checks of this machine: Python, packages, the state directory, the dbt project."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote

from mlops_assets.cli.check import Check, passed, problem
from mlops_assets.settings import ROOT, STATE_FORMAT

OLDEST_PYTHON = (3, 11)
LOCK = ROOT / "requirements.lock"
SECRET = Path("lakefs") / "signing.key"

# The year of flights takes 0.3 GB with its models; SQLite and DuckDB need room to work beside it.
FEWEST_FREE_BYTES = 1 << 30


def python() -> Check:
    """Whether Python is new enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return problem("python", f"Python {version} is too old.", "use Python 3.11 or newer.")
    return passed("python", f"Python {version}.")


def packages() -> Check:
    """Whether the installed packages are those of the lock."""
    from importlib.metadata import PackageNotFoundError, version

    wanted = locked_versions(LOCK.read_text())
    drifted = []
    for name, locked in wanted.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found != locked:
            drifted.append(f"{name} is {found}, locked {locked}")
    if drifted:
        more = f", and {len(drifted) - 3} more" if len(drifted) > 3 else ""
        return problem(
            "packages",
            f"the environment differs from requirements.lock: {'; '.join(drifted[:3])}{more}.",
            "delete .venv and run `make run`: other versions may give other bytes.",
        )
    return passed("packages", f"{len(wanted)} packages as in requirements.lock.")


def locked_versions(lock: str) -> Mapping[str, str]:
    """The versions that a lock asks for on this Python and system, by package."""
    return dict(_locked_versions(lock))


def _locked_versions(lock: str) -> Iterator[tuple[str, str]]:
    from packaging.requirements import Requirement

    for line in lock.splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement.name, str(requirement.specifier).removeprefix("==")


def state(home: Path) -> Check:
    """Whether the state directory can be used, is private where it must be, and has room."""
    secret = home / SECRET
    if secret.exists() and stat.S_IMODE(secret.stat().st_mode) & 0o077:
        return problem(
            "state",
            f"{secret} signs links to the lake's objects and others can read it.",
            f"chmod 600 {quote(str(secret))}; where the file system keeps no permissions, mount it "
            "with umask=077.",
        )
    if not os.access(home, os.W_OK | os.X_OK):
        return problem("state", f"{home} cannot be written.", "correct its permissions.")
    free = shutil.disk_usage(home).free
    if free < FEWEST_FREE_BYTES:
        return problem(
            "state",
            f"{home} has {free / 1e9:.1f} GB of free space left.",
            "free some, or set MLOPS_HOME to another place: a year of flights needs 1 GB.",
        )
    return passed("state", f"{home}, format {STATE_FORMAT}, {free / 1e9:.0f} GB free.")


def dbt_project() -> Check:
    """Whether the dbt project parses; parsed, it is kept for every process to come."""
    from mlops_assets.components import dbt_manifest

    dbt_manifest.load(ROOT / "dbt_project")
    return passed("dbt", "the project parses, and is kept parsed.")
