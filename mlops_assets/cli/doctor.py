"""`mlops-assets doctor`: one check after another, each with a sentence and the way out.

Looks and changes nothing unless it is asked to repair, since what it finds is what a run would
meet; but for what follows the lake: what Dagster's record and MLflow lack of it is filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlops_assets.cli.check import Check, passed, problem
from mlops_assets.components.faults import links, sentence
from mlops_assets.settings import Settings, SettingsError, open_state, settings

if TYPE_CHECKING:
    from mlops_assets.lake import Lake


def examine(*, deep: bool, repair: bool = False, debug: bool = False) -> list[Check]:
    """Check everything, as far as what comes first allows to look at what follows.

    Args:
        deep: Look at the bytes of every object of the base branch and at the record of every
            partition, not at a sample.
        repair: Mend what can be mended first; what is found then is what is left.
        debug: Show on standard error what the runs of a repair print.
    """
    repaired = list(_repair(debug=debug)) if repair else []
    return [*repaired, *_examine(deep=deep or repair)]


def healthy(checks: Iterable[Check]) -> bool:
    """Whether no check found a problem."""
    return all(check.ok for check in checks)


def to_json(checks: Sequence[Check]) -> dict[str, Any]:
    """The document that `--json` prints."""
    return {"healthy": healthy(checks), "checks": [asdict(check) for check in checks]}


def to_text(checks: Sequence[Check]) -> str:
    """The checks for people, a problem's remedy below it."""
    lines = []
    for check in checks:
        lines.append(f"{'ok     ' if check.ok else 'PROBLEM'}  {check.name:<12} {check.sentence}")
        if check.remedy:
            lines.append(f"{'':<22} → {check.remedy}")
    return "\n".join(lines)


def _repair(*, debug: bool) -> Iterator[Check]:
    try:
        found = settings()
        open_state(found.home)
    except SettingsError:
        return  # the checks say it

    def look() -> list[Check]:
        from mlops_assets.cli.repair import repair
        from mlops_assets.defs.resources import find_lake

        lake = find_lake(found)
        return list(repair(found, lake, debug=debug)) if lake.exists() else []

    yield from _guarded("repair", look, found)


def _examine(*, deep: bool) -> Iterator[Check]:
    from mlops_assets.cli import installation_checks as installation

    yield installation.python()
    yield installation.packages()
    try:
        found = settings()
    except SettingsError as error:
        yield problem("settings", str(error), "correct the variable; docs/settings.md lists all.")
        return
    try:
        open_state(found.home)
    except SettingsError as error:
        yield problem("state", str(error), "nothing below it was looked at.")
        return
    yield from _guarded("state", lambda: [installation.state(found.home)], found)
    yield from _guarded("dbt", lambda: [installation.dbt_project()], found)
    yield from _examine_lake(found, deep=deep)


def _examine_lake(found: Settings, *, deep: bool) -> Iterator[Check]:
    from mlops_assets.cli import lake_checks
    from mlops_assets.defs.resources import find_lake, find_tracking

    reached: list[Lake] = []

    def reach() -> list[Check]:
        lake = find_lake(found)
        check = lake_checks.server(lake)
        reached.append(lake)
        return [check]

    yield from _guarded("lake", reach, found)
    if not reached:
        return
    lake = reached[0]
    if not lake.exists():
        yield passed("branch", f"there is no {lake.repository} yet: `make run` makes it.")
        return
    yield from _guarded("branch", lambda: [lake_checks.protection(lake)], found)
    yield from _guarded("tables", lambda: [lake_checks.tables(lake, deep=deep)], found)
    yield from _guarded("record", lambda: [lake_checks.record(lake, found, deep=deep)], found)
    yield from _guarded("events", lambda: [lake_checks.reconciled(lake, found)], found)
    yield from _guarded("branches", lambda: [lake_checks.kept_branches(lake)], found)
    yield from _guarded(
        "mlflow", lambda: [lake_checks.projection(lake, find_tracking(found))], found
    )


def _guarded(name: str, look: Callable[[], list[Check]], found: Settings) -> list[Check]:
    """The checks, or the problem that kept them from being made."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - a check that cannot be made is a finding
        told = sentence(links(error), place=str(found.home))
        return [problem(name, told, "put that right, then run doctor again.")]
