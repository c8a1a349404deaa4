"""Three-way merge of trees, object by object, as lakeFS does it.

Belongs here: deciding what a merge, a revert or a cherry-pick changes and where it conflicts.
Does not: finding the base (`history`), making the commit (`versions`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mlops_assets.lakefs_server.tree import Difference, Entry, Read, difference, lookup, same

STRATEGIES = {"": "default", "dest-wins": "dest-wins", "source-wins": "source-wins"}
"""Accepted strategies, and how each is recorded in the commit's `.lakefs.merge.strategy`."""


class Merge(NamedTuple):
    """What to change in the destination, and the paths both sides changed differently."""

    edits: dict[str, Entry | None]
    conflicts: list[str]


def three_way(base: str, source: str, destination: str, read: Read, strategy: str = "") -> Merge:
    """Changes from `base` to `source`, judged against `destination`."""
    edits: dict[str, Entry | None] = {}
    conflicts: list[str] = []
    for change in changes(base, source, destination, read):
        if not change.conflict or strategy == "source-wins":
            edits[change.path] = change.right
        elif strategy != "dest-wins":
            conflicts.append(change.path)
    return Merge(edits, conflicts)


def changes(
    base: str, source: str, destination: str, read: Read, start: str = "", prefix: str = ""
) -> Iterator[Difference]:
    """What changes from `base` to `source` would do to `destination`, by path.

    One that the destination has made itself does nothing. One of an object that it has changed
    otherwise, or removed, is a conflict. Only the source's changes are walked; the destination is
    looked up path by path, so that a merge into a branch that has moved on by thousands of objects
    costs its own few.
    """
    for path, old, new, _ in difference(base, source, read, start, prefix):
        theirs = old if destination == base else lookup(destination, path, read)
        if not same(theirs, new):
            yield Difference(path, theirs, new, conflict=not same(theirs, old))
