"""The graph of commits: identity, log order, merge base.

Belongs here: pure functions over commits, given a way to read one. Does not: storage, trees.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple


class Commit(NamedTuple):
    """A commit. `created_ns` is in nanoseconds since the epoch; clients see whole seconds.

    `generation` is one more than the highest of the parents, 1 for a first commit.
    """

    id: str
    tree: str
    parents: tuple[str, ...]
    message: str
    committer: str
    metadata: dict[str, str]
    created_ns: int
    generation: int

    def body(self) -> dict[str, Any]:
        """The commit as the API shows it."""
        return {
            "id": self.id,
            "parents": list(self.parents),
            "committer": self.committer,
            "message": self.message,
            "creation_date": self.created_ns // 1_000_000_000,
            "meta_range_id": self.tree,
            "metadata": self.metadata,
            "generation": self.generation,
            "version": 1,
        }


ReadCommit = Callable[[str], Commit]
"""Fetches a commit of one repository by its full id."""


class Message(NamedTuple):
    """What the maker of a commit says; metadata None where it says nothing of them.

    `dated_ns` is the time that it asks for, in nanoseconds since the epoch; the clock's if None.
    """

    text: str
    committer: str
    metadata: dict[str, str] | None
    dated_ns: int | None = None


def make(
    tree: str, parents: Sequence[Commit], message: Message, squashed: Sequence[Commit] = ()
) -> Commit:
    """A commit, with its id. By the clock it is later than its parents, whatever the clock says.

    After one was set back by a day, the log gave the day before first, and content was told to be
    of the commit that it had replaced. Those that it squashes are no parents of it, but count for
    its generation, as in lakeFS.
    """
    ids = tuple(parent.id for parent in parents)
    text, committer, given, dated_ns = message
    metadata = given or {}
    created_ns = dated_ns
    if created_ns is None:
        created_ns = max([time.time_ns(), *(parent.created_ns + 1 for parent in parents)])
    generation = 1 + max((earlier.generation for earlier in (*parents, *squashed)), default=0)
    unnamed = Commit("", tree, ids, text, committer, metadata, created_ns, generation)
    return unnamed._replace(id=identity(unnamed))


def identity(commit: Commit) -> str:
    """A commit's id: SHA-256 over what it says; the date enters in seconds, as in lakeFS.

    So saying the same on the same parents within a second is one commit.
    """
    _, tree, parents, message, committer, metadata, created_ns, _ = commit
    said = [
        *(tree, parents, message, committer),
        *(sorted(metadata.items()), created_ns // 1_000_000_000),
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def log(
    start: str, read: ReadCommit, *, first_parent: bool = False, since_ns: int | None = None
) -> Iterator[Commit]:
    """Commits reachable from `start`, newest first; ties by id, highest first.

    A commit comes after all its descendants that led to it, even if its clock ran ahead.
    """
    seen = {start}
    queue: list[tuple[int, _Descending, Commit]] = []

    def push(commit_id: str) -> None:
        commit = read(commit_id)
        if since_ns is None or commit.created_ns >= since_ns:
            heapq.heappush(queue, (-commit.created_ns, _Descending(commit.id), commit))

    push(start)
    while queue:
        commit = heapq.heappop(queue)[2]
        yield commit
        for parent in commit.parents[:1] if first_parent else commit.parents:
            if parent not in seen:
                seen.add(parent)
                push(parent)


class _Descending(str):
    """A string that a heap hands out highest first."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def merge_base(left: str, right: str, read: ReadCommit) -> Commit | None:
    """The best common ancestor: of the commits reachable from both, one of highest generation.

    Walks by generation from both sides at once, so it reads what lies above the base and no more.
    """
    reached: dict[str, int] = {left: 1}
    reached[right] = reached.get(right, 0) | 2
    queue: list[tuple[int, str]] = []
    for commit_id in reached:
        heapq.heappush(queue, (-read(commit_id).generation, commit_id))
    while queue:
        _, commit_id = heapq.heappop(queue)
        sides = reached[commit_id]
        if sides == 3:
            return read(commit_id)
        for parent in read(commit_id).parents:
            if parent not in reached:
                heapq.heappush(queue, (-read(parent).generation, parent))
            reached[parent] = reached.get(parent, 0) | sides
    return None
