"""One invocation of dbt's own runner: what was built, and what its tests said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets.components import dbt_runner
from mlops_assets.components.dbt_manifest import reparse, sources
from mlops_assets.engines.duckdb import FROM_HOME

PASSED = {"pass", "warn", "success"}
SKIPPED = "skipped"
TESTS = {"test", "unit_test"}

NAMED = 5
"""So many models and tests a sentence names."""


@dataclass(frozen=True)
class NodeOutcome:
    """What became of one model or test.

    Attributes:
        unique_id: dbt's name of it.
        status: dbt's word for it.
        message: dbt's sentence on it; empty if it has none.
        failures: Rows that broke a test; 0 for a model.
        sql: Its query as it was run; empty if it was not.
    """

    unique_id: str
    status: str
    message: str
    failures: int
    sql: str = ""

    @property
    def passed(self) -> bool:
        """Whether it did what it should."""
        return self.status in PASSED

    @property
    def ran(self) -> bool:
        """Whether it was run at all; what follows a failure is skipped."""
        return self.status != SKIPPED


@dataclass(frozen=True)
class BuildOutcome:
    """What became of an invocation.

    Attributes:
        nodes: The outcome of every model and test that dbt selected.
        error: Why dbt could not even start; None if it did.
        lacking: The models and tests that had to run and did not.
    """

    nodes: Sequence[NodeOutcome]
    error: str | None = None
    lacking: Sequence[str] = ()

    @property
    def failures(self) -> list[NodeOutcome]:
        """The models and tests that ran and failed."""
        return [node for node in self.nodes if node.ran and not node.passed]

    @property
    def succeeded(self) -> bool:
        """Whether all that had to be built was, and every test ran and passed."""
        return self.error is None and not self.lacking and not self.failures

    @property
    def reason(self) -> str:
        """Why it did not succeed, as a sentence: a failure before what was skipped for it."""
        if self.error is not None:
            return f"dbt could not run: {self.error}"
        if self.failures:
            first, *others = self.failures
            more = f", and {len(others)} more" if others else ""
            return f"{first.unique_id} failed: {' '.join(first.message.split())}{more}."
        names = ", ".join(self.lacking[:NAMED])
        more = f" and {len(self.lacking) - NAMED} more" if len(self.lacking) > NAMED else ""
        return (
            f"dbt passed over {names}{more}, which had to run: correct what keeps it from running "
            "in the dbt project, and try again."
        )


def build(
    manifest: Mapping[str, Any],
    prepared: Path,
    models: Sequence[Mapping[str, Any]],
    database: Path,
    variables: Mapping[str, Any],
) -> BuildOutcome:
    """Build models, and run every test that reads one of them, in one database.

    Args:
        manifest: The content of the project's `manifest.json`.
        prepared: The folder with its files and parsed state; read only.
        models: The models to build, as the manifest has them.
        database: The DuckDB file to build in; its folder takes dbt's own files.
        variables: dbt's variables for this invocation.
    """
    built = {model["unique_id"] for model in models}
    audits = {
        name
        for name, node in {**manifest["nodes"], **manifest["unit_tests"]}.items()
        if node["resource_type"] in TESTS and built.intersection(node["depends_on"]["nodes"])
    }
    return _invoke("build", prepared, models, built | audits, database, variables)


def test(
    prepared: Path,
    tests: Sequence[Mapping[str, Any]],
    database: Path,
    variables: Mapping[str, Any],
) -> BuildOutcome:
    """Run tests on what a database holds already; the arguments are those of `build`."""
    required = {test["unique_id"] for test in tests}
    return _invoke("test", prepared, tests, required, database, variables)


def _invoke(
    command: str,
    prepared: Path,
    selected: Sequence[Mapping[str, Any]],
    required: Set[str],
    database: Path,
    variables: Mapping[str, Any],
) -> BuildOutcome:
    from dbt.artifacts.schemas.run import RunExecutionResult

    # dbt reads the project's parsed state (seconds saved) only under the profile that it was
    # parsed with, and the database differs each time: so parse with the project's own profile,
    # then build what was parsed with this one.
    scratch = database.parent
    target = scratch / "target"
    manifest = reparse(prepared, target)
    project = sources(prepared)
    (scratch / "profiles.yml").write_text(json.dumps(profile(project, database)))
    result = dbt_runner.invoke(
        command,
        project,
        scratch,
        target,
        *dbt_runner.selecting([node["name"] for node in selected]),
        *("--vars", json.dumps(dict(variables))),
        "--no-write-json",
        manifest=manifest,
    )
    if not isinstance(result.result, RunExecutionResult):
        return BuildOutcome((), error=dbt_runner.reason(result.exception))
    nodes = [
        NodeOutcome(
            unique_id=node.node.unique_id,
            status=str(node.status),
            message=node.message or "",
            failures=node.failures or 0,
            sql=getattr(node.node, "compiled_code", None) or "",
        )
        for node in result.result.results
    ]
    # What dbt selects is its own affair: a flag or a default of it that leaves a test out would
    # publish a build without its audit.
    came_back = {node.unique_id for node in nodes if node.ran}
    return BuildOutcome(nodes, lacking=sorted(required - came_back))


def profile(project: Path, database: Path) -> dict[str, Any]:
    """The project's own profiles with another database file."""
    import yaml

    found: dict[str, Any] = yaml.safe_load((project / "profiles.yml").read_text())
    for content in found.values():
        for output in content.get("outputs", {}).values():
            output["path"] = str(database)
            settings = output.setdefault("settings", {})
            settings["temp_directory"] = str(database.parent / "spill")
            # The defaults are the machine's zone, and what lies in the home of whoever runs it.
            settings.setdefault("TimeZone", "UTC")
            settings |= dict.fromkeys(FROM_HOME, False)
    return found
