"""Three-way merge of trees, object by object, as lakeFS does it.

Belongs here: deciding what a merge, a revert or a cherry-pick changes and where it conflicts.
Does not: finding the base (`history`), making the commit (`versions`).
"""

from __future__ import annotations

from typing import NamedTuple

from mlops_assets.lakefs_server.tree import Entry, Read, difference, lookup, same

STRATEGIES = {"": "default", "dest-wins": "dest-wins", "source-wins": "source-wins"}
"""Accepted strategies, and how each is recorded in the commit's `.lakefs.merge.strategy`."""


class Merge(NamedTuple):
    """What to change in the destination, and the paths both sides changed differently."""

    edits: dict[str, Entry | None]
    conflicts: list[str]


def three_way(base: str, source: str, destination: str, read: Read, strategy: str = "") -> Merge:
    """Changes from `base` to `source`, judged against `destination`.

    Only the source's changes are walked; the destination is looked up path by path, so that a
    merge into a branch that has moved on by thousands of objects costs its own few.
    """
    edits: dict[str, Entry | None] = {}
    conflicts: list[str] = []
    for path, old, new in difference(base, source, read):
        theirs = old if destination == base else lookup(destination, path, read)
        if same(theirs, new) or (strategy == "dest-wins" and not same(theirs, old)):
            continue
        if same(theirs, old) or strategy == "source-wins":
            edits[path] = new
        else:
            conflicts.append(path)
    return Merge(edits, conflicts)
