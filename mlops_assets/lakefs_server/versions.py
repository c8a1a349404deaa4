"""Making and comparing commits: commit, merge, revert, cherry-pick, hard reset, log, diff.

Belongs here: the transactions that move a branch's head. Each reads the head, computes the new
tree and sets the head inside one write transaction, so no update is ever lost. Does not: the
decisions themselves (`tree`, `merge`, `history`), HTTP.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from mlops_assets.lakefs_server import history, objects, refs, tree
from mlops_assets.lakefs_server.errors import ApiError, InvalidError
from mlops_assets.lakefs_server.history import Commit
from mlops_assets.lakefs_server.merge import STRATEGIES, three_way
from mlops_assets.lakefs_server.store import Branch, Page, Repository, Store, add_commit
from mlops_assets.lakefs_server.tree import Difference, Entry


@dataclass(frozen=True)
class Message:
    """What the maker of a commit says; `date` in seconds, None for now."""

    text: str
    committer: str
    metadata: dict[str, str] = field(default_factory=dict)
    date: int | None = None

    def created_ns(self) -> int:
        """The commit's date in nanoseconds."""
        return time.time_ns() if self.date is None else self.date * 1_000_000_000


def commit(
    store: Store,
    repository: Repository,
    branch_name: str,
    message: Message,
    *,
    allow_empty: bool = False,
    force: bool = False,
) -> Commit:
    """Commit what is staged on a branch.

    Objects staged with the identity they already have leave the tree as it is.

    Raises:
        ApiError: 400 nothing changes; 403 the branch is protected; 404.
    """
    _check_committable(store, repository, branch_name, force=force)
    with store.database.writing() as connection:
        branch = store.branch(repository, branch_name)
        parent = store.commit(repository, branch.head)
        edits = {
            path: entry
            for path, entry in objects.staged_edits(connection, branch.id).items()
            if not tree.same(tree.lookup(parent.tree, path, store.node), entry)
        }
        if not edits and not allow_empty:
            raise InvalidError("commit: no changes")
        root = _change(store, connection, parent.tree, edits)
        made = add_commit(
            connection,
            repository.id,
            root,
            [parent],
            message.text,
            message.committer,
            message.metadata,
            message.created_ns(),
        )
        connection.execute("DELETE FROM staging WHERE branch = ?", (branch.id,))
        store.move_head(connection, branch, made.id)
    return made


def merge(
    store: Store,
    repository: Repository,
    source_ref: str,
    branch_name: str,
    message: Message,
    *,
    strategy: str = "",
    force: bool = False,
    allow_empty: bool = False,
    squash: bool = False,
) -> Commit:
    """Merge a reference's commits into a branch. Always makes a commit.

    Raises:
        ApiError: 409 with the API's MergeResult body on a conflict; 400 the branch has staged
            changes, or there is nothing to merge and neither `force` nor `allow_empty`; 404.
    """
    repository.check_writable(force)
    if strategy not in STRATEGIES:
        raise InvalidError("invalid merge strategy")
    with store.database.writing() as connection:
        branch = _clean_branch(store, connection, repository, branch_name)
        source = store.commit(repository, store.resolve(repository, source_ref).commit)
        destination = store.commit(repository, branch.head)
        base = _merge_base(store, repository, source, destination)
        if base.tree == source.tree and not (force or allow_empty):
            raise InvalidError("no changes")
        outcome = three_way(base.tree, source.tree, destination.tree, store.node, strategy)
        if outcome.conflicts:
            raise ApiError(409, "conflict found", body={"reference": ""})
        root = _change(store, connection, destination.tree, outcome.edits)
        metadata = {**message.metadata, ".lakefs.merge.strategy": STRATEGIES[strategy]}
        made = add_commit(
            connection,
            repository.id,
            root,
            [destination] if squash else [destination, source],
            message.text or f"Merge '{source_ref}' into '{branch_name}'",
            message.committer,
            metadata,
            message.created_ns(),
        )
        store.move_head(connection, branch, made.id)
    return made


def revert(
    store: Store,
    repository: Repository,
    branch_name: str,
    ref: str,
    parent_number: int,
    message: Message,
    *,
    allow_empty: bool = False,
    force: bool = False,
) -> Commit:
    """Undo a commit on a branch with a new commit.

    Raises:
        ApiError: 409 a later commit changed the same object; 400 the branch has staged changes,
            a merge commit without a parent number, or nothing to undo; 403; 404.
    """
    _check_committable(store, repository, branch_name, force=force)
    with store.database.writing() as connection:
        branch = _clean_branch(store, connection, repository, branch_name)
        undone = store.commit(repository, store.commit_id(repository, ref))
        if len(undone.parents) > 1 and parent_number <= 0:
            raise InvalidError("must specify 1-based parent number for reverting merge commit")
        before = _parent_tree(store, repository, undone, max(parent_number, 1))
        head = store.commit(repository, branch.head)
        root = _apply(store, connection, undone.tree, before, head.tree)
        if root == head.tree and not allow_empty:
            raise InvalidError("no changes")
        made = add_commit(
            connection,
            repository.id,
            root,
            [head],
            message.text or f"Revert {undone.id}",
            message.committer,
            message.metadata,
            message.created_ns(),
        )
        store.move_head(connection, branch, made.id)
    return made


def cherry_pick(
    store: Store,
    repository: Repository,
    branch_name: str,
    ref: str,
    parent_number: int | None,
    message: Message,
    *,
    force: bool = False,
) -> Commit:
    """Make a commit's changes again on a branch.

    Raises:
        ApiError: 409 the branch changed the same object; 400 the branch has staged changes or a
            merge commit without a parent number; 403; 404.
    """
    _check_committable(store, repository, branch_name, force=force)
    with store.database.writing() as connection:
        branch = _clean_branch(store, connection, repository, branch_name)
        picked = store.commit(repository, store.commit_id(repository, ref))
        if len(picked.parents) > 1 and parent_number is None:
            raise InvalidError("must specify 1-based parent number for cherry-picking merge commit")
        before = _parent_tree(store, repository, picked, parent_number or 1)
        head = store.commit(repository, branch.head)
        root = _apply(store, connection, before, picked.tree, head.tree)
        metadata = {
            **(message.metadata or picked.metadata),
            "cherry-pick-origin": picked.id,
            "cherry-pick-committer": picked.committer,
        }
        made = add_commit(
            connection,
            repository.id,
            root,
            [head],
            message.text or picked.message,
            message.committer,
            metadata,
            message.created_ns(),
        )
        store.move_head(connection, branch, made.id)
    return made


def hard_reset(
    store: Store, repository: Repository, branch_name: str, ref: str, *, force: bool = False
) -> None:
    """Point a branch at another commit; raises ApiError 400 if anything is staged on it, 403."""
    _check_committable(store, repository, branch_name, force=force)
    with store.database.writing() as connection:
        branch = _clean_branch(store, connection, repository, branch_name)
        store.move_head(connection, branch, store.commit_id(repository, ref))


def merge_base(
    store: Store, repository: Repository, source_ref: str, destination_ref: str
) -> tuple[Commit, Commit, Commit]:
    """(source, destination, base) commits of a merge that is not made."""
    source = store.commit(repository, store.resolve(repository, source_ref).commit)
    destination = store.commit(repository, store.resolve(repository, destination_ref).commit)
    return source, destination, _merge_base(store, repository, source, destination)


def diff(
    store: Store, repository: Repository, left_ref: str, right_ref: str, page: Page, kind: str
) -> list[Difference]:
    """One more than a page of differences between references.

    `three_dot`: what the right side's commits changed since the merge base. `two_dot`: how the
    right side, with what is staged on it, differs from the left side's commit.
    """
    start = max(page.prefix, page.after + "\x00" if page.after else "")
    with store.database.reading() as connection:
        left = store.resolve(repository, left_ref)
        right = store.resolve(repository, right_ref)
        left_commit = store.commit(repository, left.commit)
        right_commit = store.commit(repository, right.commit)
        if kind == "three_dot":
            left_commit = _merge_base(store, repository, right_commit, left_commit)
        elif kind != "two_dot":
            raise InvalidError(f"unknown diff type '{kind}': use two_dot or three_dot")
        root = right_commit.tree
        added: Mapping[str, bytes] = {}
        if kind == "two_dot" and right.staging is not None:
            edits = objects.staged_edits(connection, right.staging)
            root, added = tree.change(root, edits, store.node)

        def read(name: str) -> tree.Node:
            return tree.decode(added[name]) if name in added else store.node(name)

        found = tree.difference(left_commit.tree, root, read, start, page.prefix)
        return list(islice(found, page.amount + 1))


def log(
    store: Store,
    repository: Repository,
    ref: str,
    *,
    after: str = "",
    first_parent: bool = False,
    since_ns: int = 0,
    stop_at: str = "",
    paths: list[str],
    prefixes: list[str],
) -> Iterator[Commit]:
    """Commits reachable from a reference, newest first.

    With `paths` or `prefixes`, only commits that changed one of them; merge commits and the first
    commit are skipped then, as lakeFS does. `stop_at` is the last commit given.
    """

    def read(commit_id: str) -> Commit:
        return store.commit(repository, commit_id)

    stop = store.commit_id(repository, stop_at) if stop_at else ""
    last = store.commit_id(repository, after) if after else ""
    start = store.resolve(repository, ref).commit
    for found in history.log(start, read, first_parent=first_parent, since_ns=since_ns):
        if last:
            last = "" if found.id == last else last
        elif not (paths or prefixes) or _touches(store, repository, found, paths, prefixes):
            yield found
        if found.id == stop:
            return


def _touches(
    store: Store, repository: Repository, found: Commit, paths: list[str], prefixes: list[str]
) -> bool:
    if len(found.parents) != 1:
        return False
    before = store.commit(repository, found.parents[0]).tree
    for path in paths:
        old, new = (tree.lookup(root, path, store.node) for root in (before, found.tree))
        if not tree.same(old, new):
            return True
    return any(
        next(tree.difference(before, found.tree, store.node, prefix=prefix), None) is not None
        for prefix in prefixes
    )


def _check_committable(
    store: Store, repository: Repository, branch_name: str, *, force: bool
) -> None:
    store.branch(repository, branch_name)
    if refs.is_protected(branch_name, repository.protection):
        raise ApiError(403, "cannot commit to protected branch")
    repository.check_writable(force)


def _clean_branch(
    store: Store, connection: sqlite3.Connection, repository: Repository, name: str
) -> Branch:
    branch = store.branch(repository, name)
    staged = connection.execute("SELECT 1 FROM staging WHERE branch = ? LIMIT 1", (branch.id,))
    if staged.fetchone() is not None:
        raise InvalidError(f"{name}: uncommitted changes (dirty branch)")
    return branch


def _merge_base(store: Store, repository: Repository, source: Commit, other: Commit) -> Commit:
    base = history.merge_base(source.id, other.id, lambda c: store.commit(repository, c))
    if base is None:
        raise InvalidError("no merge base: the two share no commit")
    return base


def _parent_tree(store: Store, repository: Repository, child: Commit, number: int) -> str:
    if not child.parents:
        return tree.EMPTY
    if number > len(child.parents):
        raise InvalidError(f"given commit does not have the given parent number: parent {number}")
    return store.commit(repository, child.parents[number - 1]).tree


def _apply(
    store: Store, connection: sqlite3.Connection, base: str, source: str, destination: str
) -> str:
    outcome = three_way(base, source, destination, store.node)
    if outcome.conflicts:
        raise ApiError(409, "conflict found")
    return _change(store, connection, destination, outcome.edits)


def _change(
    store: Store, connection: sqlite3.Connection, root: str, edits: Mapping[str, Entry | None]
) -> str:
    """Write the changed tree inside the caller's transaction; its name."""
    if not edits:
        return root
    store.blobs.sync_names(entry.digest for entry in edits.values() if entry is not None)
    written = tree.change(root, edits, store.node)
    connection.executemany(
        "INSERT OR IGNORE INTO nodes (id, body) VALUES (?, ?)", written.nodes.items()
    )
    return written.root
