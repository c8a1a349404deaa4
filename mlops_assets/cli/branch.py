"""`mlops-assets branch`: what its subcommands ask of data branches, and what they print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mlops_assets.cli import branching
from mlops_assets.cli.execution import console_to_log
from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.progress import progress_on
from mlops_assets.settings import open_state, settings

if TYPE_CHECKING:
    from mlops_assets.cli.branch_diff import BranchDiff
    from mlops_assets.lake import Lake

SHORT = 12


def create(name: str, source: str | None, *, debug: bool) -> str:
    """Make a data branch with its instance; a sentence that says how to work on it."""
    found = settings()
    home = open_state(found.home)
    with console_to_log(home, shown=debug):
        from mlops_assets.definitions import defs

        graph = defs().resolve_asset_graph()
        head = branching.create(found, _lake(), graph, name, source)
    return (
        f"{name} is a branch of everything at {head[:SHORT]}, with a record of its own: "
        f"`mlops-assets ui --branch {name}`, or LAKEFS_BRANCH={name} before any command."
    )


def standings() -> list[branching.Standing]:
    """All data branches."""
    return branching.standings(settings(), _lake())


def standings_text(listed: list[branching.Standing]) -> str:
    """Them as a table for people."""
    if not listed:
        return "there is no data branch: `mlops-assets branch create NAME` makes one."
    lines = [f"{'branch':<28} {'commit':<13} {'partitions changed':>18}"]
    for one in listed:
        notes = [
            *(["the base branch has moved since"] if one.behind else []),
            *([] if one.recorded else ["no record here"]),
        ]
        lines.append(
            f"{one.name:<28} {one.head[:SHORT]:<13} {one.changed:>18,}  {'; '.join(notes)}".rstrip()
        )
    return "\n".join(lines)


def diff(name: str) -> BranchDiff:
    """What a data branch has changed."""
    from mlops_assets.cli.branch_diff import branch_diff

    lake = _lake()
    _require(lake, name)
    return branch_diff(lake, name)


def merge(name: str, *, debug: bool) -> branching.Merged:
    """Publish all of a data branch at once, after the checks pass on the merged commit."""
    found = settings()
    home = open_state(found.home)
    progress = progress_on(sys.stderr, lines_only=debug)
    with console_to_log(home, shown=debug):
        from mlops_assets.definitions import defs

        lake, definitions = _lake(), defs()
        with progress:
            return branching.merge(found, lake, definitions, name, progress)


def drop(name: str, *, force: bool) -> str:
    """Take a data branch away, with its instance; a sentence that says so."""
    branching.drop(settings(), _lake(), name, force=force)
    return f"{name} is gone, and its record."


def _lake() -> Lake:
    from mlops_assets.defs.resources import find_lake

    lake = find_lake(settings())
    if not lake.exists():
        raise CommandError(f"there is no {lake.repository} yet: `mlops-assets run` makes it.")
    return lake


def _require(lake: Lake, name: str) -> None:
    from mlops_assets.lake import branches

    if name not in branches.names(lake):
        raise branching.unknown(lake, name)
