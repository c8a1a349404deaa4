"""One invocation of dbt's own runner: what was built, and what its tests said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets.components.dbt_manifest import arguments, reparse

PASSED = {"pass", "warn", "success"}
SKIPPED = "skipped"


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
        nodes: The outcome of every model and test that was selected.
        error: Why dbt could not even start; None if it did.
    """

    nodes: Sequence[NodeOutcome]
    error: str | None = None

    @property
    def failures(self) -> list[NodeOutcome]:
        """The models and tests that ran and failed."""
        return [node for node in self.nodes if node.ran and not node.passed]

    @property
    def succeeded(self) -> bool:
        """Whether everything was built and every test passed."""
        return self.error is None and all(node.passed for node in self.nodes)


def build(
    project: Path,
    prepared: Path,
    models: Sequence[str],
    database: Path,
    variables: Mapping[str, Any],
) -> BuildOutcome:
    """Build models, and run their tests, in one database.

    Args:
        project: The dbt project's folder.
        prepared: The folder with its parsed state; read only.
        models: The names of the models to build.
        database: The DuckDB file to build in; its folder takes dbt's own files.
        variables: dbt's variables for this invocation.
    """
    return _invoke("build", project, prepared, models, database, variables)


def test(
    project: Path,
    prepared: Path,
    tests: Sequence[str],
    database: Path,
    variables: Mapping[str, Any],
) -> BuildOutcome:
    """Run tests on what a database holds already; the arguments are those of `build`."""
    return _invoke("test", project, prepared, tests, database, variables)


def _invoke(
    command: str,
    project: Path,
    prepared: Path,
    selected: Sequence[str],
    database: Path,
    variables: Mapping[str, Any],
) -> BuildOutcome:
    from dbt.artifacts.schemas.run import RunExecutionResult
    from dbt.cli.main import dbtRunner

    # dbt reads the project's parsed state (seconds saved) only under the profile that it was
    # parsed with, and the database differs each time: so parse with the project's own profile,
    # then build what was parsed with this one.
    scratch = database.parent
    target = scratch / "target"
    manifest = reparse(project, prepared, target)
    (scratch / "profiles.yml").write_text(json.dumps(profile(project, database)))
    result = dbtRunner(manifest=manifest).invoke(
        [
            command,
            *arguments(project, scratch, target),
            *("--select", *selected),
            *("--vars", json.dumps(dict(variables))),
            "--no-write-json",
        ]
    )
    if not isinstance(result.result, RunExecutionResult):
        return BuildOutcome((), error=str(result.exception))
    return BuildOutcome(
        [
            NodeOutcome(
                unique_id=node.node.unique_id,
                status=str(node.status),
                message=node.message or "",
                failures=node.failures or 0,
                sql=getattr(node.node, "compiled_code", None) or "",
            )
            for node in result.result.results
        ]
    )


def profile(project: Path, database: Path) -> dict[str, Any]:
    """The project's own profile with another database file."""
    import yaml

    found: dict[str, Any] = yaml.safe_load((project / "profiles.yml").read_text())
    for content in found.values():
        output = content["outputs"][content["target"]]
        output["path"] = str(database)
        output.setdefault("settings", {})["temp_directory"] = str(database.parent / "spill")
    return found
