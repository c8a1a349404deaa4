"""Making and comparing commits: commit, merge, revert, cherry-pick, hard reset, log, diff.

Belongs here: the transactions that move a branch's head. Each reads the head, computes the new
tree and sets the head inside one write transaction, so no update is ever lost. Does not: the
decisions themselves (`tree`, `merge`, `history`), HTTP.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from mlops_assets.lakefs_server import history, objects, refs, tree
from mlops_assets.lakefs_server.errors import ApiError, InvalidError
from mlops_assets.lakefs_server.history import Commit, Message
from mlops_assets.lakefs_server.merge import STRATEGIES, three_way
from mlops_assets.lakefs_server.store import Branch, Page, Repository, Store, add_commit
from mlops_assets.lakefs_server.tree import Difference, Entry


class MergeOptions(NamedTuple):
    """How to merge: which side wins a conflict (if any), and what is allowed."""

    strategy: str = ""
    force: bool = False
    allow_empty: bool = False
    squash: bool = False


class Change(NamedTuple):
    """A commit seen as a change from one of its parents, counted from 1; 0 for the only one."""

    ref: str
    parent_number: int = 0


class LogQuery(NamedTuple):
    """Which commits of a log: see `Versions.log`."""

    after: str = ""
    first_parent: bool = False
    since_ns: int = 0
    stop_at: str = ""
    paths: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class Versions:
    """The commits of one repository."""

    def __init__(self, store: Store, repository: Repository) -> None:
        self._store = store
        self._repository = repository

    def commit(
        self, branch_name: str, message: Message, *, allow_empty: bool, force: bool
    ) -> Commit:
        """Commit what is staged on a branch.

        Objects staged with the identity they already have leave the tree as it is.

        Raises:
            ApiError: 400 nothing changes; 403 the branch is protected; 404.
        """
        self._check_committable(branch_name, force=force)
        with self._store.database.writing() as connection:
            branch = self._store.branch(self._repository, branch_name)
            parent = self._read(branch.head)
            edits = {
                path: entry
                for path, entry in objects.staged_edits(connection, branch.id).items()
                if not tree.same(tree.lookup(parent.tree, path, self._store.node), entry)
            }
            if not edits and not allow_empty:
                raise InvalidError("commit: no changes")
            self._store.blobs.sync_names(entry.digest for entry in edits.values() if entry)
            root = self._change(connection, parent.tree, edits)
            connection.execute("DELETE FROM staging WHERE branch = ?", (branch.id,))
            return self._advance(connection, branch, history.make(root, [parent], message))

    def merge(
        self, source_ref: str, branch_name: str, message: Message, options: MergeOptions
    ) -> Commit:
        """Merge a reference's commits into a branch. Always makes a commit.

        Raises:
            ApiError: 409 with the API's MergeResult body on a conflict; 400 the branch has staged
                changes, or there is nothing to merge and the options do not allow that; 404.
        """
        self._repository.check_writable(options.force)
        if options.strategy not in STRATEGIES:
            raise InvalidError("invalid merge strategy")
        with self._store.database.writing() as connection:
            branch = self._clean_branch(connection, branch_name)
            source = self._read(self._store.resolve(self._repository, source_ref).commit)
            destination = self._read(branch.head)
            base = self._merge_base(source, destination)
            if base.tree == source.tree and not (options.force or options.allow_empty):
                raise InvalidError("no changes")
            root = source.tree
            # Where the branch has not moved, nothing can conflict and nothing needs comparing.
            if destination.tree != base.tree:
                outcome = three_way(
                    base.tree, source.tree, destination.tree, self._store.node, options.strategy
                )
                if outcome.conflicts:
                    raise ApiError(409, "conflict found", body={"reference": ""})
                root = self._change(connection, destination.tree, outcome.edits)
            said = message._replace(
                text=message.text or f"Merge '{source_ref}' into '{branch_name}'",
                metadata={
                    **message.metadata,
                    ".lakefs.merge.strategy": STRATEGIES[options.strategy],
                },
            )
            parents = [destination] if options.squash else [destination, source]
            return self._advance(connection, branch, history.make(root, parents, said))

    def revert(
        self, branch_name: str, change: Change, message: Message, *, allow_empty: bool, force: bool
    ) -> Commit:
        """Undo a commit on a branch with a new commit.

        Raises:
            ApiError: 409 a later commit changed the same object; 400 the branch has staged
                changes, a merge commit without a parent number, or nothing to undo; 403; 404.
        """
        self._check_committable(branch_name, force=force)
        with self._store.database.writing() as connection:
            branch = self._clean_branch(connection, branch_name)
            undone = self._read(self._store.commit_id(self._repository, change.ref))
            before = self._tree_before(undone, change, "reverting")
            head = self._read(branch.head)
            root = self._apply(connection, undone.tree, before, head.tree)
            if root == head.tree and not allow_empty:
                raise InvalidError("no changes")
            said = message._replace(text=message.text or f"Revert {undone.id}")
            return self._advance(connection, branch, history.make(root, [head], said))

    def cherry_pick(
        self, branch_name: str, change: Change, message: Message, *, force: bool
    ) -> Commit:
        """Make a commit's changes again on a branch.

        Raises:
            ApiError: 409 the branch changed the same object; 400 the branch has staged changes or
                a merge commit without a parent number; 403; 404.
        """
        self._check_committable(branch_name, force=force)
        with self._store.database.writing() as connection:
            branch = self._clean_branch(connection, branch_name)
            picked = self._read(self._store.commit_id(self._repository, change.ref))
            before = self._tree_before(picked, change, "cherry-picking")
            head = self._read(branch.head)
            root = self._apply(connection, before, picked.tree, head.tree)
            said = message._replace(
                text=message.text or picked.message,
                metadata={
                    **(message.metadata or picked.metadata),
                    "cherry-pick-origin": picked.id,
                    "cherry-pick-committer": picked.committer,
                },
            )
            return self._advance(connection, branch, history.make(root, [head], said))

    def hard_reset(self, branch_name: str, ref: str, *, force: bool) -> None:
        """Point a branch at another commit; raises ApiError 400 if anything is staged on it."""
        self._check_committable(branch_name, force=force)
        with self._store.database.writing() as connection:
            branch = self._clean_branch(connection, branch_name)
            head = self._store.commit_id(self._repository, ref)
            self._store.move_head(connection, branch, head)

    def merge_base(self, source_ref: str, destination_ref: str) -> tuple[Commit, Commit, Commit]:
        """(source, destination, base) commits of a merge that is not made."""
        source = self._read(self._store.resolve(self._repository, source_ref).commit)
        destination = self._read(self._store.resolve(self._repository, destination_ref).commit)
        return source, destination, self._merge_base(source, destination)

    def diff(self, left_ref: str, right_ref: str, page: Page, kind: str) -> list[Difference]:
        """One more than a page of differences between references.

        `three_dot`: what the right side's commits changed since the merge base. `two_dot`: how
        the right side, with what is staged on it, differs from the left side's commit.
        """
        if kind not in ("two_dot", "three_dot"):
            raise InvalidError(f"unknown diff type '{kind}': use two_dot or three_dot")
        start = max(page.prefix, page.after + "\x00" if page.after else "")
        with self._store.database.reading() as connection:
            left = self._read(self._store.resolve(self._repository, left_ref).commit)
            right = self._store.resolve(self._repository, right_ref)
            commit = self._read(right.commit)
            root = commit.tree
            added: Mapping[str, tree.Made] = {}
            if kind == "three_dot":
                left = self._merge_base(commit, left)
            elif right.staging is not None:
                edits = objects.staged_edits(connection, right.staging)
                root, added = tree.change(root, edits, self._store.node)

            def read(name: str) -> tree.Node:
                return added[name].node if name in added else self._store.node(name)

            found = tree.difference(left.tree, root, read, start, page.prefix)
            return list(islice(found, page.amount + 1))

    def log(self, ref: str, query: LogQuery) -> Iterator[Commit]:
        """Commits reachable from a reference, newest first.

        With `paths` or `prefixes`, only commits that changed one of them; merge commits and the
        first commit are skipped then, as lakeFS does. `stop_at` is the last commit given.
        """
        stop = self._store.commit_id(self._repository, query.stop_at) if query.stop_at else ""
        after = self._store.commit_id(self._repository, query.after) if query.after else ""
        start = self._store.resolve(self._repository, ref).commit
        walk = history.log(
            start, self._read, first_parent=query.first_parent, since_ns=query.since_ns
        )
        for found in walk:
            if after:
                after = "" if found.id == after else after
            elif self._matches(found, query):
                yield found
            if found.id == stop:
                return

    def _matches(self, found: Commit, query: LogQuery) -> bool:
        if not (query.paths or query.prefixes):
            return True
        if len(found.parents) != 1:
            return False
        before, read = self._read(found.parents[0]).tree, self._store.node
        for path in query.paths:
            if not tree.same(tree.lookup(before, path, read), tree.lookup(found.tree, path, read)):
                return True
        return any(
            next(tree.difference(before, found.tree, read, prefix=prefix), None) is not None
            for prefix in query.prefixes
        )

    def _read(self, commit_id: str) -> Commit:
        return self._store.commit(self._repository, commit_id)

    def _check_committable(self, branch_name: str, *, force: bool) -> None:
        self._store.branch(self._repository, branch_name)
        if refs.is_protected(branch_name, self._repository.protection):
            raise ApiError(403, "cannot commit to protected branch")
        self._repository.check_writable(force)

    def _clean_branch(self, connection: sqlite3.Connection, name: str) -> Branch:
        branch = self._store.branch(self._repository, name)
        staged = connection.execute("SELECT 1 FROM staging WHERE branch = ? LIMIT 1", (branch.id,))
        if staged.fetchone() is not None:
            raise InvalidError(f"{name}: uncommitted changes (dirty branch)")
        return branch

    def _merge_base(self, source: Commit, destination: Commit) -> Commit:
        base = history.merge_base(source.id, destination.id, self._read)
        if base is None:
            raise InvalidError("no merge base: the two share no commit")
        return base

    def _tree_before(self, commit: Commit, change: Change, doing: str) -> str:
        if len(commit.parents) > 1 and change.parent_number <= 0:
            raise InvalidError(f"must specify 1-based parent number for {doing} merge commit")
        if not commit.parents:
            return tree.EMPTY
        number = max(change.parent_number, 1)
        if number > len(commit.parents):
            raise InvalidError(
                f"given commit does not have the given parent number: parent {number}"
            )
        return self._read(commit.parents[number - 1]).tree

    def _apply(
        self, connection: sqlite3.Connection, base: str, source: str, destination: str
    ) -> str:
        outcome = three_way(base, source, destination, self._store.node)
        if outcome.conflicts:
            raise ApiError(409, "conflict found")
        return self._change(connection, destination, outcome.edits)

    def _change(
        self, connection: sqlite3.Connection, root: str, edits: Mapping[str, Entry | None]
    ) -> str:
        """Write the changed tree inside the caller's transaction; its name."""
        if not edits:
            return root
        written = tree.change(root, edits, self._store.node)
        self._store.add_nodes(connection, written.nodes)
        return written.root

    def _advance(self, connection: sqlite3.Connection, branch: Branch, commit: Commit) -> Commit:
        add_commit(connection, self._repository.id, commit)
        self._store.move_head(connection, branch, commit.id)
        return commit
