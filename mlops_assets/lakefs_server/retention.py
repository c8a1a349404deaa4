"""Freeing what nothing names any more: commits, tree nodes, blobs, and places never linked.

Belongs here: finding and removing it while other processes read and write the same directory.
Does not: which branches are old, or which commits somebody keeps; the caller says so.

Kept is all that a branch, a tag or a pin names, with its whole history, and all that is staged.
Whatever goes, goes before what it needs: a commit before its parents, both before their nodes, and
nodes before their blobs. So what is there is whole at any moment, and a sweep that is killed
leaves nothing but work for the next.

Others may at any moment point again at what was found unneeded. A commit can be named only in a
write transaction, and is forgotten in one that looks at all names first. A tree node that is
written again while it is garbage is not written twice, so nodes too are removed in such
transactions, after looking at the commits that came meanwhile. Blobs have a lock and an age
(`blobs`). Each transaction is short: it reads the ids of all commits, 0.1 s for 100,000.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mlops_assets.lakefs_server import tree
from mlops_assets.lakefs_server.blobs import STALE_AFTER_SECONDS, older
from mlops_assets.lakefs_server.errors import DamagedStoreError
from mlops_assets.lakefs_server.signing import INCOMING
from mlops_assets.lakefs_server.store import COMMIT_COLUMNS, Store, commit_of, read_body

YOUNG_SECONDS = 3600.0
"""A blob that was put down or used again this recently stays: it may be about to be staged."""

_BATCH = 1000

Key = tuple[int, str]
"""A commit: the row id of its repository, and its id."""


@dataclass(frozen=True)
class Swept:
    """What a sweep freed, or would free.

    Attributes:
        commits: Commits that no branch, tag or pin leads to.
        nodes: Nodes of trees that no commit has.
        blobs: Contents of objects that nothing names.
        size: The bytes of those.
        leftovers: Uploads that never became objects: unfinished files, and places never linked.
        unknown_pins: How many of the given pins name no commit here.
    """

    commits: int
    nodes: int
    blobs: int
    size: int
    leftovers: int
    unknown_pins: int


def sweep(
    state_dir: Path,
    pins: Collection[str],
    *,
    dry_run: bool = False,
    without: Collection[tuple[str, str]] = (),
    young: float = YOUNG_SECONDS,
) -> Swept:
    """Free what nothing names in a store directory, or count it.

    Any process on the machine may do so at any time, several at once too.

    Args:
        state_dir: The store directory.
        pins: Commits that stay, with their history, though no branch or tag may lead to them.
        dry_run: Change nothing.
        without: Branches that are taken as gone, each as repository and name; for a dry run.
        young: How long (s) a blob stays that was put down or used again; at least a tenth of a
            second, since the times of files lag behind the clock.

    Raises:
        DamagedStoreError: A commit or a tree's node is missing or damaged; no node and no blob
            has been removed.
        BusyStoreError: A process that was stopped half-way holds the store's lock.
    """
    store = Store(state_dir)
    try:
        found = _Sweep(store, state_dir / INCOMING, frozenset(pins), young, dry_run=dry_run)
        return found.run(without if dry_run else ())
    finally:
        store.database.close()


class _Commit(NamedTuple):
    parents: tuple[str, ...]
    generation: int


class _Sweep:
    """One sweep. What it marks stays; names are kept as bytes, which take half the memory."""

    def __init__(
        self, store: Store, incoming: Path, pins: frozenset[str], young: float, *, dry_run: bool
    ) -> None:
        self._store = store
        self._incoming = incoming
        self._pins = pins
        self._young = young
        self._dry_run = dry_run
        self._began = 0.0
        self._graph: dict[Key, _Commit] = {}
        # What a dry run takes as gone: row ids of branches, commits, tokens of places.
        self._branches: set[int] = set()
        self._commits: set[Key] = set()
        self._places: set[str] = set()
        self._marked_commits: set[Key] = set()
        self._marked_nodes: set[bytes] = set()
        self._marked_blobs: set[bytes] = set()

    def run(self, without: Collection[tuple[str, str]]) -> Swept:
        """Sweep, or count, in the one order that never leaves anything without what it needs."""
        with self._store.database.reading() as connection:
            self._branches = {
                branch.id
                for repository, name in without
                if (branch := self._store.find_branch(self._store.repository(repository), name))
            }
            self._commits = self._unreachable(connection)
        unknown = len(self._pins - {commit for _, commit in self._graph})
        commits = len(self._commits) if self._dry_run else self._forget_commits()
        leftovers = self._drop_leftovers()
        nodes = self._mark()
        if not self._dry_run:
            nodes = self._drop_nodes(nodes)
        sizes = [size for digest in self._unmarked() if (size := self._free(digest)) is not None]
        return Swept(commits, len(nodes), len(sizes), sum(sizes), leftovers, unknown)

    def _forget_commits(self) -> int:
        """Forget the unreachable commits, children first; how many.

        Each transaction looks at all names anew: one may have come since that leads to a commit.
        """
        self._commits = set()
        forgotten = 0
        while True:
            with self._store.database.writing() as connection:
                found = self._unreachable(connection)
                newest = sorted(found, key=lambda key: -self._graph[key].generation)[:_BATCH]
                connection.executemany(
                    "DELETE FROM commits WHERE repository = ? AND id = ?", newest
                )
            forgotten += len(newest)
            if len(newest) == len(found):
                return forgotten

    def _unreachable(self, connection: sqlite3.Connection) -> set[Key]:
        """The commits that nothing leads to, in the state that the connection's transaction sees.

        A commit is read once, since it never changes; later looks read ids, and what is new.
        """
        present = _commit_keys(connection)
        rows: Iterable[tuple[Any, ...]]
        if self._graph:
            rows = _rows_of(connection, COMMIT_COLUMNS, present - self._graph.keys())
        else:
            rows = connection.execute(f"SELECT repository, id, {COMMIT_COLUMNS} FROM commits")  # noqa: S608 - columns are ours
        for repository, _, *row in rows:
            # By a damaged one, what is still needed would be taken for unneeded.
            commit = commit_of(row)
            self._graph[repository, commit.id] = _Commit(commit.parents, commit.generation)
        pinned = {
            (repository, pin) for repository in _repositories(connection) for pin in self._pins
        }
        waiting = [*self._named(connection), *(pinned & present)]
        reached: set[Key] = set()
        while waiting:
            repository, name = key = waiting.pop()
            if key not in present:
                raise DamagedStoreError(
                    f"the lake lacks commit {name[:12]}, which a branch, a tag or a later commit "
                    "names: restore its folder from a backup."
                )
            if key not in reached:
                reached.add(key)
                waiting += [(repository, parent) for parent in self._graph[key].parents]
        return present - reached

    def _named(self, connection: sqlite3.Connection) -> Iterator[Key]:
        """The commits that branches and tags name."""
        for branch, repository, head in connection.execute(
            "SELECT id, repository, head FROM branches"
        ):
            if branch not in self._branches:
                yield repository, head
        yield from connection.execute("SELECT repository, target FROM tags")

    def _drop_leftovers(self) -> int:
        """Drop what was put down, or begun to be, a day ago and never became an object."""
        horizon = time.time() - STALE_AFTER_SECONDS
        blobs = self._store.blobs
        rows = self._store.database.connection().execute("SELECT token, digest FROM placements")
        places = {token for token, digest in rows if blobs.last_used(digest) < horizon}
        files = [*older(self._incoming, horizon), *blobs.stale_drafts()]
        if self._dry_run:
            self._places = places
        else:
            with self._store.database.writing() as connection:
                connection.executemany(
                    "DELETE FROM placements WHERE token = ?", [(token,) for token in places]
                )
            for file in files:
                file.unlink(missing_ok=True)
        return len(places) + len(files)

    def _mark(self) -> list[str]:
        """Mark all that is needed in one unmoving state; the names of the nodes that are not."""
        with self._store.database.reading() as connection:
            with self._store.blobs.unclaimed():
                # The state is fixed by the first read. Whoever stages a blob that it does not show
                # staged claims the blob later than this, which makes it young.
                commits = _commit_keys(connection) - self._commits
                self._began = time.time()
            self._mark_commits(connection, commits)
            staged = connection.execute("SELECT branch, entry FROM staging WHERE entry IS NOT NULL")
            self._mark_blobs(
                tree.Entry(*json.loads(entry)).digest
                for branch, entry in staged
                if branch not in self._branches
            )
            placed = connection.execute("SELECT token, digest FROM placements")
            self._mark_blobs(digest for token, digest in placed if token not in self._places)
            names = connection.execute("SELECT id FROM nodes")
            return [name for (name,) in names if bytes.fromhex(name) not in self._marked_nodes]

    def _mark_commits(self, connection: sqlite3.Connection, commits: set[Key]) -> None:
        for _, _, root in _rows_of(connection, "tree", commits):
            waiting = [root] if root != tree.EMPTY else []
            while waiting:
                name = waiting.pop()
                if (key := bytes.fromhex(name)) not in self._marked_nodes:
                    self._marked_nodes.add(key)
                    nodes, blobs = tree.pointers(read_body(connection, name))
                    waiting += nodes
                    self._mark_blobs(blobs)
        self._marked_commits |= commits

    def _mark_blobs(self, digests: Iterable[str]) -> None:
        self._marked_blobs.update(map(bytes.fromhex, digests))

    def _drop_nodes(self, names: list[str]) -> list[str]:
        """Remove nodes, but for those that commits need again since they were found unneeded."""
        dropped = []
        for start in range(0, len(names), _BATCH):
            with self._store.database.writing() as connection:
                self._mark_commits(connection, _commit_keys(connection) - self._marked_commits)
                batch = [
                    name
                    for name in names[start : start + _BATCH]
                    if bytes.fromhex(name) not in self._marked_nodes
                ]
                connection.executemany(
                    "DELETE FROM nodes WHERE id = ?", [(name,) for name in batch]
                )
            dropped += batch
        return dropped

    def _unmarked(self) -> Iterator[str]:
        for digest in self._store.blobs.digests():
            if bytes.fromhex(digest) not in self._marked_blobs:
                yield digest

    def _free(self, digest: str) -> int | None:
        """Free a blob; its size, None if it stays because it is young."""
        # The earlier of two times, so that a clock that was set back makes nothing old.
        horizon = min(self._began, time.time()) - self._young
        blobs = self._store.blobs
        if self._dry_run:
            return blobs.size(digest) if blobs.last_used(digest) < horizon else None
        return blobs.free(digest, horizon)


def _repositories(connection: sqlite3.Connection) -> list[int]:
    return [key for (key,) in connection.execute("SELECT id FROM repositories")]


def _commit_keys(connection: sqlite3.Connection) -> set[Key]:
    return set(connection.execute("SELECT repository, id FROM commits"))


def _rows_of(
    connection: sqlite3.Connection, columns: str, commits: Iterable[Key]
) -> Iterator[tuple[Any, ...]]:
    """Repository, id and more columns of commits."""
    query = f"SELECT repository, id, {columns} FROM commits WHERE repository = ? AND id = ?"  # noqa: S608 - columns are ours
    for key in commits:
        yield from connection.execute(query, key)
