"""Data branches: zero-copy branches of everything that people work on, beside the base branch.

A data branch is the base branch of an experiment or of an all-or-nothing backfill. Merged, all of
its work shows on the base branch at once; dropped, none of it ever does.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.lake.connection import WORK_PREFIX, Lake
from mlops_assets.lake.errors import ConflictError, LakeError, UnmergedError
from mlops_assets.lake.history import changed_between
from mlops_assets.lake.partition import TablePartition, by_table
from mlops_assets.lake.snapshot import Snapshot

if TYPE_CHECKING:
    from lakefs.branch import Branch


@dataclass(frozen=True)
class Fork:
    """How a data branch and the base branch stand to each other.

    Attributes:
        branch: The data branch's name.
        head: Its head.
        base: The commit that both have come from.
        base_head: The base branch's head.
    """

    branch: str
    head: str
    base: str
    base_head: str


def names(lake: Lake) -> list[str]:
    """The names of the data branches: all but the base branch and the work branches of steps."""
    with lake.errors():
        found = [branch.id for branch in lake.repo().branches()]
    return [name for name in found if name != lake.base_branch and not name.startswith(WORK_PREFIX)]


def create(lake: Lake, name: str, source: str) -> str:
    """Make a data branch; its head.

    Args:
        lake: Where.
        name: Its name.
        source: What it starts from: a commit or what names one.

    Raises:
        LakeError: The name is not usable or taken, or there is no such source.
    """
    if name.startswith(WORK_PREFIX):
        raise LakeError(
            f"{name} cannot name a data branch: the work branches of steps begin with "
            f"{WORK_PREFIX!r}; choose another name."
        )
    commit = lake.head(source)
    with lake.errors():
        _branch(lake, name).create(commit)
    return commit


def drop(lake: Lake, name: str, *, discard: bool = False) -> None:
    """Take a data branch away, and the rule that protects it; one that is gone already is none.

    Args:
        lake: Where.
        name: The branch.
        discard: Also with commits that the base branch lacks.

    Raises:
        UnmergedError: It has such commits, and stays as it was, protected.
        LakeError: It is the base branch.
    """
    from lakefs.exceptions import NotFoundException

    if name == lake.base_branch:
        raise LakeError(f"{name} is the base branch and is not dropped.")
    if not discard:
        with lake.errors(), suppress(NotFoundException):
            lake.require_merged(name)
    lake.unprotect(name)
    lake.delete_branch(name, discard=discard)


def fork(lake: Lake, name: str) -> Fork:
    """How a data branch stands to the base branch.

    The heads are asked for by name: of the two commits that the server names with the merge base,
    some servers say the one's for the other's.

    Raises:
        LakeError: There is no such branch.
    """
    head, base_head = lake.head(name), lake.head()
    with lake.errors():
        parted = lake.client.sdk_client.refs_api.find_merge_base(lake.repository, head, base_head)
    return Fork(name, head, parted.base_commit_id, base_head)


@contextmanager
def tried(lake: Lake, there: Fork) -> Iterator[Lake]:
    """Merge a data branch where nobody sees it.

    Yields:
        The lake with a base branch of its own whose head is what the merge would publish.

    Raises:
        ConflictError: Both branches changed a partition; the sentence names it.
    """
    branch = f"{WORK_PREFIX}merge-{there.branch}-{uuid.uuid4().hex}"
    with lake.temporary(branch, there.base_head) as trial:
        _merge(trial, there, f"trial of merging {there.branch}", {})
        yield trial


def publish(lake: Lake, there: Fork, metadata: dict[str, str]) -> str | None:
    """Merge a data branch into the base branch, which must not have moved.

    The server's merge takes no expected head: a step that publishes in the milliseconds between
    this look and the merge lies beside what was checked, and no check has seen both together.

    Returns:
        The merge commit; None if the base branch has moved since.

    Raises:
        ConflictError: Both branches changed a partition; the sentence names it.
        UnmergedError: The server answered that it merged, and the base branch lacks the commit.
    """
    if lake.head() != there.base_head:
        return None
    merged = _merge(lake, there, f"Merge the data branch {there.branch}", metadata)
    if lake.lacks(there.head):
        raise UnmergedError(
            f"lakeFS at {lake.credentials.endpoint} says that it merged {there.branch} into "
            f"{lake.base_branch}, and {lake.base_branch} lacks its commits: nothing of them shows, "
            f"and {there.branch} keeps them. Merge again."
        )
    return merged


def _merge(lake: Lake, there: Fork, message: str, metadata: dict[str, str]) -> str:
    from lakefs.exceptions import ConflictException

    with lake.errors():
        try:
            merged: Any = (
                lake.repo()
                .ref(there.head)
                .merge_into(lake.base_branch, message=message, metadata=metadata)
            )
        except ConflictException as error:
            both = conflicts(lake, there)
            named = str(both[0]) if both else "something else than partitions"
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            raise ConflictError(
                f"{named}{more} was changed on {there.branch} and on the base branch since they "
                f"parted: materialize it again on one of the two from what the other holds, or "
                f"throw {there.branch} away (`mlops-assets branch drop --force {there.branch}`)."
            ) from error
    return str(merged)


def conflicts(lake: Lake, there: Fork) -> list[TablePartition]:
    """The partitions that both branches have changed, and hold with different content."""
    ours = _differing(lake, there.base, there.base_head)
    theirs = _differing(lake, there.base, there.head)
    return sorted(ours & theirs & _differing(lake, there.base_head, there.head))


def _differing(lake: Lake, left: str, right: str) -> set[TablePartition]:
    """The partitions that two states do not both hold, or not with the same content."""
    return {*changed_between(lake, left, right), *changed_between(lake, right, left)}


@dataclass(frozen=True)
class PartitionChange:
    """What a data branch makes of a partition.

    Attributes:
        key: The partition.
        kind: `added`, `changed` or `removed`, against the base branch's head.
        rows_before: Its rows on the base branch; None where it holds none, or no table.
        rows: Its rows on the data branch; None likewise.
    """

    key: TablePartition
    kind: str
    rows_before: int | None
    rows: int | None


def differences(lake: Lake, there: Fork) -> list[PartitionChange]:
    """What the data branch has changed since it parted, against what the base branch holds now."""
    found = []
    for table, keys in by_table(_differing(lake, there.base, there.head)):
        before, now = (
            Snapshot(lake, commit).stored(table, [key.partition for key in keys])
            for commit in (there.base_head, there.head)
        )
        for key in keys:
            ours, theirs = (
                part.manifest if part else None
                for part in (before.get(key.partition), now.get(key.partition))
            )
            if ours != theirs:
                kind = "added" if ours is None else "removed" if theirs is None else "changed"
                rows_before = ours.rows if ours else None
                found.append(
                    PartitionChange(key, kind, rows_before, theirs.rows if theirs else None)
                )
    return found


def _branch(lake: Lake, name: str) -> Branch:
    return lake.repo().branch(name)
