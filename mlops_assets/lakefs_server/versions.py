"""Making and comparing commits: commit, merge, revert, cherry-pick, hard reset, log, diff.

Belongs here: the transactions that move a branch's head. Each reads the head, computes the new
tree and sets the head inside one write transaction, so no update is ever lost. Does not: the
decisions themselves (`tree`, `merge`, `history`), HTTP.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mlops_assets.lakefs_server import history, merge, objects, refs, tree
from mlops_assets.lakefs_server.errors import ApiError, InvalidError
from mlops_assets.lakefs_server.history import Commit, Message
from mlops_assets.lakefs_server.merge import STRATEGIES
from mlops_assets.lakefs_server.objects import Listed
from mlops_assets.lakefs_server.store import Branch, Page, Repository, Store, add_commit
from mlops_assets.lakefs_server.tree import Difference, Entry


class MergeOptions(NamedTuple):
    """How to merge: which side wins a conflict (if any), and what is allowed."""

    strategy: str = ""
    force: bool = False
    allow_empty: bool = False
    squash: bool = False


class Change(NamedTuple):
    """A commit seen as a change from one of its parents, counted from 1; None for the only one."""

    ref: str
    parent_number: int | None = None


class LogQuery(NamedTuple):
    """Which commits of a log: see `Versions.log`."""

    after: str = ""
    first_parent: bool = False
    since_ns: int | None = None
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
            read = self._store.node
            edits = {
                change.path: change.right
                for change in objects.changes(connection, branch, parent.tree, read)
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
        refs.check_branch(branch_name)
        refs.check_ref(source_ref)
        if options.strategy not in STRATEGIES:
            raise InvalidError("argument strategy: invalid value")
        self._repository.check_writable(options.force)
        with self._store.database.writing() as connection:
            branch = self._clean_branch(connection, branch_name)
            source = self._read(self._store.commit_id(self._repository, source_ref))
            destination = self._read(branch.head)
            base = self._merge_base(source, destination)
            if base.tree == source.tree and not (options.force or options.allow_empty):
                raise InvalidError(f"update branch {branch_name}: no changes")
            root = source.tree
            # Where the branch has not moved, nothing can conflict and nothing needs comparing.
            if destination.tree != base.tree:
                outcome = merge.three_way(
                    base.tree, source.tree, destination.tree, self._store.node, options.strategy
                )
                if outcome.conflicts:
                    raise ApiError(409, "conflict found", body={"reference": ""})
                root = self._change(connection, destination.tree, outcome.edits)
            said = message._replace(
                text=message.text or f"Merge '{source_ref}' into '{branch_name}'",
                metadata={
                    **(message.metadata or {}),
                    ".lakefs.merge.strategy": STRATEGIES[options.strategy],
                },
            )
            if options.squash:
                made = history.make(root, [destination], said, squashed=[source])
            else:
                made = history.make(root, [destination, source], said)
            return self._advance(connection, branch, made)

    def revert(
        self, branch_name: str, change: Change, message: Message, *, allow_empty: bool, force: bool
    ) -> Commit:
        """Undo a commit on a branch with a new commit.

        Raises:
            ApiError: 409 a later commit changed the same object, or a merge commit without a
                parent number; 400 the branch has staged changes, or nothing to undo; 403; 404.
        """
        number = change.parent_number or 0
        if number < 0:
            raise InvalidError("argument parentNumber: invalid value: it is negative")
        with self._store.database.writing() as connection:
            undone = self._changing(branch_name, change, force=force)
            if len(undone.parents) > 1 and number == 0:
                raise ApiError(409, "must specify 1-based parent number for reverting merge commit")
            before = self._parent_tree(undone, number) if undone.parents or number else tree.EMPTY
            branch = self._clean_branch(connection, branch_name)
            head = self._read(branch.head)
            root = self._apply(connection, undone.tree, before, head.tree, allow_empty=allow_empty)
            if root == head.tree and not allow_empty:
                raise InvalidError("update branch: no changes")
            said = message._replace(text=message.text or f"Revert {change.ref}")
            return self._advance(connection, branch, history.make(root, [head], said))

    def cherry_pick(
        self, branch_name: str, change: Change, message: Message, *, force: bool
    ) -> Commit:
        """Make a commit's changes again on a branch.

        Raises:
            ApiError: 409 the branch changed the same object; 400 the branch has staged changes, a
                merge commit without a parent number, or no changes; 403; 404.
        """
        number = change.parent_number
        if number is not None and number <= 0:
            raise InvalidError(
                "argument parentNumber: value should be greater than 0: invalid value"
            )
        with self._store.database.writing() as connection:
            picked = self._changing(branch_name, change, force=force)
            if len(picked.parents) > 1 and number is None:
                raise InvalidError(
                    "must specify 1-based parent number for cherry-picking merge commit"
                )
            before = self._parent_tree(picked, number or 1)
            branch = self._clean_branch(connection, branch_name)
            head = self._read(branch.head)
            root = self._apply(connection, before, picked.tree, head.tree)
            said = message._replace(
                text=message.text or picked.message,
                metadata={
                    **(picked.metadata if message.metadata is None else message.metadata),
                    "cherry-pick-origin": picked.id,
                    "cherry-pick-committer": picked.committer,
                },
            )
            return self._advance(connection, branch, history.make(root, [head], said))

    def hard_reset(self, branch_name: str, ref: str, *, force: bool) -> None:
        """Point a branch at another commit. What is staged on it stays so, as in lakeFS."""
        refs.check_ref(ref)
        self._check_committable(branch_name, force=force)
        with self._store.database.writing() as connection:
            branch = self._store.branch(self._repository, branch_name)
            head = self._store.commit_id(self._repository, ref)
            self._store.move_head(connection, branch, head)

    def merge_base(self, source_ref: str, destination_ref: str) -> tuple[Commit, Commit, Commit]:
        """(source, destination, base) commits of a merge that is not made."""
        source = self._read(self._store.commit_id(self._repository, source_ref))
        destination = self._read(self._store.commit_id(self._repository, destination_ref))
        return source, destination, self._merge_base(source, destination)

    def merge_preview(
        self, left_ref: str, right_ref: str, page: Page, delimiter: str
    ) -> list[Listed[Difference]]:
        """One more than a page of what merging the right side into the left would change there."""
        with self._store.database.reading():
            right, left, base = self.merge_base(right_ref, left_ref)
            read = self._store.node

            def rows_from(start: str) -> Iterator[Difference]:
                return merge.changes(base.tree, right.tree, left.tree, read, start, page.prefix)

            return objects.fold_differences(rows_from, page, delimiter)

    def diff(
        self, left_ref: str, right_ref: str, page: Page, delimiter: str
    ) -> list[Listed[Difference]]:
        """One more than a page of how the right side differs from the left side's commit.

        `branch$` on the right includes what is staged there.
        """
        with self._store.database.reading() as connection:
            left = self._read(self._store.commit_id(self._repository, left_ref))
            right = self._store.resolve(self._repository, right_ref)
            root = self._read(right.commit).tree
            added: Mapping[str, tree.Made] = {}
            if right.only_staging and right.staging is not None:
                edits = objects.staged_edits(connection, right.staging)
                root, added = tree.change(root, edits, self._store.node)

            def read(name: str) -> tree.Node:
                return added[name].node if name in added else self._store.node(name)

            def rows_from(start: str) -> Iterator[Difference]:
                return tree.difference(left.tree, root, read, start, page.prefix)

            return objects.fold_differences(rows_from, page, delimiter)

    def log(self, ref: str, query: LogQuery) -> Iterator[Commit]:
        """Commits reachable from a reference, newest first.

        With `paths` or `prefixes`, only commits that changed one of them; merge commits and the
        first commit are skipped then, as lakeFS does. `stop_at` is the last commit given,
        if it is given at all.
        """
        start = self._store.commit_id(self._repository, ref)
        stop = self._store.commit_id(self._repository, query.stop_at) if query.stop_at else ""
        after = self._store.commit_id(self._repository, query.after) if query.after else ""
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
        refs.check_branch(branch_name)
        if refs.is_protected(branch_name, self._repository.protection):
            raise ApiError(403, "cannot commit to protected branch")
        self._repository.check_writable(force)

    def _clean_branch(self, connection: sqlite3.Connection, name: str) -> Branch:
        """The branch, if what is staged on it changes nothing; that is forgotten."""
        branch = self._store.branch(self._repository, name)
        root = self._read(branch.head).tree
        if next(objects.changes(connection, branch, root, self._store.node), None) is not None:
            raise InvalidError("uncommitted changes (dirty branch)")
        connection.execute("DELETE FROM staging WHERE branch = ?", (branch.id,))
        return branch

    def _merge_base(self, source: Commit, destination: Commit) -> Commit:
        base = history.merge_base(source.id, destination.id, self._read)
        if base is None:
            raise InvalidError("no merge base: the two share no commit")
        return base

    def _changing(self, branch_name: str, change: Change, *, force: bool) -> Commit:
        """The commit to undo or to make again on a branch, protected or not."""
        refs.check_branch(branch_name)
        refs.check_ref(change.ref)
        self._repository.check_writable(force)
        return self._read(self._store.commit_id(self._repository, change.ref))

    def _parent_tree(self, commit: Commit, number: int) -> str:
        number = max(number, 1)
        if number > len(commit.parents):
            raise InvalidError(
                f"parent {number}: given commit does not have the given parent number"
            )
        return self._read(commit.parents[number - 1]).tree

    def _apply(
        self,
        connection: sqlite3.Connection,
        base: str,
        source: str,
        destination: str,
        *,
        allow_empty: bool = False,
    ) -> str:
        if base == source and not allow_empty:
            raise InvalidError("update branch: no changes")
        if base == destination:
            return source
        outcome = merge.three_way(base, source, destination, self._store.node)
        if outcome.conflicts:
            raise ApiError(409, "update branch: conflict found")
        return self._change(connection, destination, outcome.edits)

    def _change(
        self, connection: sqlite3.Connection, root: str, edits: Mapping[str, Entry | None]
    ) -> str:
        """Write the changed tree inside the caller's transaction; its name."""
        if not edits and root != tree.EMPTY:
            return root
        written = tree.change(root, edits, self._store.node)
        self._store.add_nodes(connection, written.nodes)
        return written.root

    def _advance(self, connection: sqlite3.Connection, branch: Branch, commit: Commit) -> Commit:
        add_commit(connection, self._repository.id, commit)
        self._store.move_head(connection, branch, commit.id)
        return commit
