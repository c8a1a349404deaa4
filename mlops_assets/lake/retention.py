"""Letting go of what failed and killed work left: old work branches, and copies of remote files.

Through the official client, and so on any server. What a branch alone held is the server's to free
afterwards: the embedded one is swept by `lakefs_server.retention`, a real one by its own collector.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.lake.connection import ABANDONED_AFTER, WORK_PREFIX, Lake
from mlops_assets.lake.copies import FOLDER as DOWNLOADS

if TYPE_CHECKING:
    from lakefs.branch import Branch

NOTES = "work-branches.json"
"""The file in the scratch folder that says since when branches without a time are known."""


@dataclass(frozen=True)
class WorkBranches:
    """What a sweep found.

    Attributes:
        gone: The branches that it dropped, or would drop.
        kept: Those that stay: for a post-mortem, or because a run may be at work on them.
    """

    gone: tuple[str, ...]
    kept: tuple[str, ...]


def sweep_work_branches(
    lake: Lake, pins: Collection[str], *, older_than: float, dry_run: bool = False
) -> WorkBranches:
    """Drop the work branches on which nothing has happened for so long.

    What happened last is the branch's own commit, or the newest of the objects staged on it. A
    branch with neither tells nothing of its age: its head is the pin that it was made from, and
    lakeFS keeps no time for a branch. A run may just have begun on it. So it is noted, and goes
    when a later sweep finds it the same after that time; meanwhile it costs a row.

    Args:
        lake: The lake.
        pins: Commits that somebody keeps: a branch with one as its head stays.
        older_than: Seconds; less than `ABANDONED_AFTER` counts as that.
        dry_run: Change nothing.

    Raises:
        LakeError: The server does not answer or refuses.
    """
    from lakefs.exceptions import NotFoundException

    before = time.time() - max(older_than, ABANDONED_AFTER)
    known = _read_notes(lake)
    noted: dict[str, tuple[str, float]] = {}
    gone, kept = [], []
    with lake.errors():
        branches: list[Branch] = list(lake.repo().branches())
        lasting = [branch.id for branch in branches if not branch.id.startswith(WORK_PREFIX)]
        for branch in branches:
            if branch.id in lasting:
                continue
            # Its run may publish and delete it at any moment.
            with suppress(NotFoundException):
                head = branch.get_commit()
                last = float(head.creation_date)
                if last < before:
                    times = list(_changes(lake, branch, head.id, last, lasting))
                    if not times:
                        seen, since = known.get(branch.id, ("", 0.0))
                        times = [since if seen == head.id else time.time()]
                        noted[branch.id] = (head.id, times[0])
                    last = max(times)
                if last >= before or head.id in pins:
                    kept.append(branch.id)
                    continue
                if not dry_run:
                    lake.delete_branch(branch.id, discard=True)
                gone.append(branch.id)
    if not dry_run:
        _write_notes(lake, {name: note for name, note in noted.items() if name in kept})
    return WorkBranches(tuple(gone), tuple(kept))


def _changes(
    lake: Lake, branch: Branch, head: str, committed: float, lasting: Iterable[str]
) -> Iterator[float]:
    """When (s) something happened on a branch itself, as far as the server tells."""
    refs = lake.client.sdk_client.refs_api
    bases = (refs.find_merge_base(lake.repository, head, name) for name in lasting)
    if all(base.base_commit_id != head for base in bases):
        yield committed
    for change in branch.uncommitted():
        if change.type != "removed":
            yield float(branch.object(change.path).stat().mtime)


def _read_notes(lake: Lake) -> dict[str, tuple[str, float]]:
    """Branches with their head and since when they are known; none where a kill cut the file."""
    try:
        return {
            name: (str(head), float(since))
            for name, (head, since) in json.loads((lake.scratch / NOTES).read_text()).items()
        }
    except (FileNotFoundError, ValueError):
        return {}


def _write_notes(lake: Lake, notes: dict[str, tuple[str, float]]) -> None:
    lake.scratch.mkdir(parents=True, exist_ok=True)
    draft = lake.scratch / f".{NOTES}.{os.getpid()}"
    draft.write_text(json.dumps(notes))
    draft.replace(lake.scratch / NOTES)


@dataclass(frozen=True)
class Files:
    """Files that went, or would go.

    Attributes:
        count: How many.
        size: Their bytes.
    """

    count: int
    size: int


def sweep_downloads(lake: Lake, *, older_than: float, dry_run: bool = False) -> Files:
    """Remove the copies of remote files that nobody has read for so long (s); see `sweep_files`."""
    return sweep_files(lake.scratch / DOWNLOADS, older_than=older_than, dry_run=dry_run)


def sweep_files(folder: Path, *, older_than: float, dry_run: bool = False) -> Files:
    """Remove the files below a folder that were not written for so long.

    Args:
        folder: The folder; it may be missing.
        older_than: Seconds; less than `ABANDONED_AFTER` counts as that, so that what a step uses
            stays.
        dry_run: Change nothing.
    """
    before = time.time() - max(older_than, ABANDONED_AFTER)
    sizes = []
    for path in folder.rglob("*"):
        # Another process may be sweeping the same folder.
        with suppress(FileNotFoundError):
            found = path.lstat()
            if path.is_file() and not path.is_symlink() and found.st_mtime < before:
                if not dry_run:
                    path.unlink()
                sizes.append(found.st_size)
    return Files(len(sizes), sum(sizes))
