"""Suites of other projects: where a fetched copy is, running one, and how it went."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest


class Outcome(NamedTuple):
    """How a suite went: the number of its tests, and the names of those that did not pass."""

    tests: int
    skipped: list[str]
    failed: list[str]


def copy_of(variable: str, page: str) -> Path:
    """The fetched copy that an environment variable names, of which a page of the docs tells."""
    named = os.environ.get(variable)
    if not named:
        pytest.skip(f"{variable} names no fetched copy: see {page}")
    return Path(named).expanduser().resolve(strict=True)


def run_suite(
    python: Path,
    project: Path,
    tests: str,
    folder: Path,
    variables: Mapping[str, str],
    *options: str,
) -> Outcome:
    """Run a suite in its project, with nothing else configured, and read how it went."""
    report = folder / "report.xml"
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    pytest_options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", *options]
    ended = subprocess.run(
        [python, "-m", "pytest", *pytest_options, tests],
        cwd=project,
        env={**inherited, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    cases = list(ET.parse(report).iter("testcase"))

    def named(*states: str) -> list[str]:
        found = [case for case in cases if any(case.find(state) is not None for state in states)]
        return [str(case.get("name")) for case in found]

    outcome = Outcome(len(cases), named("skipped"), named("failure", "error"))
    passed = len(cases) - len(outcome.skipped) - len(outcome.failed)
    print(
        f"\n{project.name} {tests.partition('::')[2]}: {passed} of {len(cases)} passed, "
        f"{len(outcome.skipped)} skipped, failed: {', '.join(outcome.failed) or 'none'}"
    )
    return outcome
