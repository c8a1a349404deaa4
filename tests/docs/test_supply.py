"""What is installed is what the locks name, and every tool comes from them."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from mlops_assets.settings import ROOT

LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-test.lock")
REQUIREMENT = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


def name(path: Path) -> str:
    return path.name


def versions(lock: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for package, version in REQUIREMENT.findall(lock.read_text()):
        found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=name)
def test_a_lock_names_no_registry_and_every_requirement_by_hash(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    blocks = re.split(r"\n(?=[^\s#])", text)
    requirements = [block for block in blocks if REQUIREMENT.match(block)]
    assert len(requirements) > 50
    assert [block.splitlines()[0] for block in requirements if "--hash=sha256:" not in block] == []


def test_the_tests_run_on_the_versions_of_the_product() -> None:
    product, tested = map(versions, LOCKS)
    assert {name: tested.get(name) for name in product} == product


@pytest.mark.parametrize(("lock", "extras"), [(LOCKS[0], []), (LOCKS[1], ["test"])])
def test_a_lock_covers_everything_that_is_declared(lock: Path, extras: list[str]) -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"]]
    for extra in extras:
        declared += project["optional-dependencies"][extra]
    locked = versions(lock)
    for line in declared:
        requirement = Requirement(line)
        found = locked[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in found), line


def test_every_hook_is_a_locked_tool_of_the_environment() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    packages = {"lint-imports": "import-linter"}
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        folder, _, tool = hook["entry"].split()[0].rpartition("/")
        assert folder == ".venv/bin"
        assert packages.get(tool, tool) in versions(LOCKS[1])


def test_the_hooks_check_what_lint_checks() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    planned = subprocess.run(
        ["make", "--dry-run", "lint"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    tools = re.findall(r"^\.venv/bin/(ruff \w+|mypy|lint-imports)", planned, re.MULTILINE)
    assert len(tools) == 4
    assert [tool for tool in tools if f".venv/bin/{tool}" not in hooks] == []


def test_ci_runs_the_readmes_commands_and_requires_a_browser() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    steps = script.read_text()
    assert "MLOPS_REQUIRE=chromium,faketime" in steps
    assert steps.index("\nmake lint\n") < steps.index("\nmake test\n")
    assert "\nmake test\n" in (ROOT / "README.md").read_text()
