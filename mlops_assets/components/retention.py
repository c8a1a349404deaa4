"""What is kept and what goes: one sweep over all that failed, killed and forgotten work left.

Belongs here: what is swept, in which order, and what is said of it. Does not: how anything goes,
which is each store's own business (`lake.retention`, `lakefs_server.retention`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops_assets.lake import Lake
from mlops_assets.lake.retention import (
    Files,
    WorkBranches,
    sweep_downloads,
    sweep_files,
    sweep_work_branches,
)
from mlops_assets.lakefs_server.retention import Swept, sweep
from mlops_assets.tracking.connection import Registry, TrackingError
from mlops_assets.tracking.pins import pinned_commits

DAYS = 14
"""How long failed work stays for its post-mortem, where nobody says otherwise."""

_DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Places:
    """Where a sweep looks.

    Attributes:
        lake: The lake, on whatever server.
        store: The embedded server's directory; None where another server keeps the lake.
        registries: What may name commits that no branch does.
        logs: The folder of the command's logs.
    """

    lake: Lake
    store: Path | None
    registries: Iterable[Registry]
    logs: Path


@dataclass(frozen=True)
class Sweep:
    """What went, or would go.

    Attributes:
        dry_run: Whether nothing went.
        pins: How many commits models and reports name.
        branches: Work branches.
        store: What nothing in the embedded store names; None where another server keeps the lake.
        downloads: Copies of remote files.
        logs: Logs of commands.
    """

    dry_run: bool
    pins: int
    branches: WorkBranches
    store: Swept | None
    downloads: Files
    logs: Files

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return asdict(self)

    def to_text(self) -> str:
        """The same for people."""
        return "\n".join(f"{name:<14} {told}" for name, told in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        gone, kept = self.branches.gone, self.branches.kept
        done = "would go" if self.dry_run else "gone"
        yield "work branches", f"{len(gone)} {done}, {len(kept)} kept{_named(gone)}"
        if self.store is None:
            yield "objects", "another server keeps the lake: freeing them is its own business"
        else:
            yield (
                "objects",
                f"{self.store.blobs:,} {done}, {_bytes(self.store.size)}; with them "
                f"{self.store.commits:,} commits and {self.store.nodes:,} tree nodes that nothing "
                "leads to",
            )
            yield "uploads", f"{self.store.leftovers:,} {done} that never became objects"
        yield "copies", f"{_files(self.downloads)} {done} of remote files that nobody reads"
        yield "logs", f"{_files(self.logs)} {done}"
        yield "kept by name", f"{self.pins:,} commits that models and reports in MLflow name"


def sweep_all(places: Places, *, days: float = DAYS, dry_run: bool = False) -> Sweep:
    """Let go of what failed work left, and free what nothing names any more.

    Never anything that a branch, a tag, or a model or report in MLflow names, nor anything of its
    history. Safe beside any run, and a sweep that is killed leaves the rest to the next.

    Args:
        places: Where.
        days: How old failed work is when it goes; at least a day.
        dry_run: Change nothing.

    Raises:
        TrackingError: MLflow does not answer, so that nobody knows what it names: nothing went.
        LakeError: The server does not answer or refuses.
        DamagedStoreError: The embedded store lacks something: restore it from a backup.
    """
    older_than = days * _DAY_SECONDS
    try:
        pins = pinned_commits(places.registries)
    except TrackingError as error:
        raise TrackingError(
            f"nothing was swept, since nobody could say which commits models name: {error}"
        ) from error
    branches = WorkBranches((), ())
    if places.lake.exists():
        branches = sweep_work_branches(places.lake, pins, older_than=older_than, dry_run=dry_run)
    store = None
    if places.store is not None:
        gone = [(places.lake.repository, name) for name in branches.gone]
        store = sweep(places.store, pins, dry_run=dry_run, without=gone)
    return Sweep(
        dry_run=dry_run,
        pins=len(pins),
        branches=branches,
        store=store,
        downloads=sweep_downloads(places.lake, older_than=older_than, dry_run=dry_run),
        logs=sweep_files(places.logs, older_than=older_than, dry_run=dry_run),
    )


def _named(branches: tuple[str, ...]) -> str:
    if not branches:
        return ""
    return f": {branches[0]}" + (f" and {len(branches) - 1} more" if len(branches) > 1 else "")


def _files(files: Files) -> str:
    return f"{files.count:,} ({_bytes(files.size)})"


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
