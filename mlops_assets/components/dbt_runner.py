"""The one door to dbt: an invocation that reads its arguments and its project, and nothing else.

dbt takes every flag from a `DBT_*` variable too, and a project's Jinja takes any variable with
`env_var()`: `DBT_INDIRECT_SELECTION=empty` published a build with not one of its tests run. So an
invocation sees an empty environment, and its user's `~/.dbt` is never asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest
    from dbt_common.events.base_types import EventMsg

PREFIX = "DBT_"
DO_NOT_TRACK = "DO_NOT_TRACK"

# dbt's flags, its adapter and the environment are those of the process.
_one_at_a_time = Lock()


def invoke(
    command: str,
    project: Path,
    profiles: Path,
    target: Path,
    *more: str,
    manifest: Manifest | None = None,
) -> dbtRunnerResult:
    """Run one dbt command.

    Args:
        command: The command's name.
        project: The project's folder.
        profiles: The folder of the `profiles.yml` to use.
        target: Where dbt writes what it writes for itself, logs too.
        more: Further arguments.
        manifest: The parsed project, where the command is not to parse it.
    """
    with _one_at_a_time, _without_dbt_variables():
        # Imported here: dbt also reads variables while it is imported.
        from dbt.cli.main import dbtRunner

        return dbtRunner(manifest=manifest, callbacks=[_empty_environment]).invoke(
            [
                command,
                *("--project-dir", str(project)),
                *("--profiles-dir", str(profiles)),
                *("--target-path", str(target)),
                *("--log-path", str(target)),
                "--quiet",
                "--no-use-colors",
                "--no-send-anonymous-usage-stats",
                *more,
            ]
        )


@contextmanager
def _without_dbt_variables() -> Iterator[None]:
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(PREFIX) or name == DO_NOT_TRACK
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def _empty_environment(event: EventMsg) -> None:
    """Leave `env_var()` nothing to find; dbt says its version right after it took its variables."""
    from dbt_common.context import set_invocation_context

    if event.info.name == "MainReportVersion":
        set_invocation_context({})


def reason(error: BaseException | None) -> str:
    """Why an invocation failed, for people: dbt's own words, and what it does not say."""
    said = str(error)
    if "Env var required" not in said:
        return said
    return (
        f"{said.rstrip()} A dbt project reads no environment variable here: write the value in its "
        "place, or in SQL give it a name under `vars` in dbt_project.yml and read it with var()."
    )


def selecting(names: Sequence[str]) -> list[str]:
    """The arguments that select nodes by name, and every test that reads one of them."""
    return ["--select", *names, "--indirect-selection", "eager"]
