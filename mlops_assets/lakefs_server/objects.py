"""Objects as a reference shows them: what is committed, and what is staged on a branch over it.

Belongs here: staging, reading, listing and comparing objects. Does not: commits (`versions`),
the bytes themselves (`blobs`), HTTP.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from mlops_assets.lakefs_server import refs, tree
from mlops_assets.lakefs_server.errors import ApiError, NotFoundError
from mlops_assets.lakefs_server.store import Branch, Page, Repository, Resolved, Store
from mlops_assets.lakefs_server.tree import Difference, Entry

_PAST_ALL = chr(0x10FFFF)
_T = TypeVar("_T")

Row = tuple[str, Entry]
"""A path and its object."""


Precondition = Callable[[Entry | None], bool]
"""Whether the object that a path holds, or None, allows another in its place."""


class Listed(NamedTuple, Generic[_T]):
    """A line of a listing: something at a path, or (found None) a common prefix."""

    path: str
    found: _T | None


class Objects:
    """The objects of one repository."""

    def __init__(self, store: Store, repository: Repository) -> None:
        self._store = store
        self._repository = repository

    def writable_branch(self, name: str, *, force: bool) -> Branch:
        """The branch, if objects may be staged on it.

        Raises:
            ApiError: 404 no such branch; 403 the branch is protected or the repository read-only;
                400 no branch can have that name.
        """
        refs.check_branch(name)
        if refs.is_protected(name, self._repository.protection):
            raise ApiError(403, "cannot write to protected branch")
        self._repository.check_writable(force)
        return self._store.branch(self._repository, name)

    def stage(
        self, branch: Branch, path: str, entry: Entry, condition: Precondition | None = None
    ) -> None:
        """Point a path of a branch at a stored blob.

        One statement, which holds only while the branch exists: a branch deleted during the
        upload is a 404 and no orphan row. The blob is claimed meanwhile: what was put down an
        hour ago, or is copied from a branch that goes, may be freed at any other moment.

        Raises:
            ApiError: 404 the branch is gone; 410 the blob is; 412 what the path holds does not
                meet the condition.
        """
        refs.check_path(path)
        with self._store.blobs.claimed(entry.blob):
            if condition is None:
                staged = _put(self._store.database.connection(), branch, path, entry)
            else:
                with self._store.database.writing() as connection:
                    present = self._store.branch(self._repository, branch.name)
                    at = Resolved(present.head, present.id)
                    found = self._entry(at, path)
                    if not condition(found):
                        reason = "path already exists" if found else "path has no object"
                        raise ApiError(412, reason)
                    staged = _put(connection, branch, path, entry)
        if not staged:
            raise NotFoundError(f"branch '{branch.name}' not found")

    def delete(self, branch_name: str, paths: Iterable[str]) -> None:
        """Stage the removal of paths; one that does not exist is none."""
        with self._store.database.writing() as connection:
            branch = self._store.branch(self._repository, branch_name)
            root = self._store.commit(self._repository, branch.head).tree
            for path in paths:
                if tree.lookup(root, path, self._store.node) is None:
                    connection.execute(
                        "DELETE FROM staging WHERE branch = ? AND path = ?", (branch.id, path)
                    )
                else:
                    connection.execute(
                        "INSERT OR REPLACE INTO staging (branch, path, entry) VALUES (?, ?, NULL)",
                        (branch.id, path),
                    )

    def reset_path(self, branch: Branch, path: str) -> None:
        """Forget what is staged at one path."""
        with self._store.database.writing() as connection:
            connection.execute(
                "DELETE FROM staging WHERE branch = ? AND path = ?", (branch.id, path)
            )

    def reset_prefix(self, branch: Branch, prefix: str) -> None:
        """Forget what is staged under a prefix; the empty prefix is everything."""
        with self._store.database.writing() as connection:
            connection.execute(
                "DELETE FROM staging WHERE branch = ? AND substr(path, 1, ?) = ?",
                (branch.id, len(prefix), prefix),
            )

    def get(self, ref: str, path: str) -> Entry:
        """The object at a path of a reference; raises NotFoundError."""
        refs.check_path(path)
        with self._store.database.reading():
            entry = self._entry(self._store.resolve(self._repository, ref), path)
        if entry is None:
            raise NotFoundError(f"path '{path}' not found")
        return entry

    def listing(self, ref: str, page: Page, delimiter: str) -> list[Listed[Entry]]:
        """One more than a page of objects and, with a delimiter, common prefixes, by path."""
        with self._store.database.reading() as connection:
            at = self._store.resolve(self._repository, ref)
            root = self._store.commit(self._repository, at.commit).tree

            def rows_from(start: str) -> Iterator[Row]:
                committed = tree.scan(root, start, self._store.node)
                return _overlay(committed, _staged(connection, at.staging, start))

            return fold(rows_from, page, delimiter, page.after)

    def uncommitted(self, branch_name: str, page: Page, delimiter: str) -> list[Listed[Difference]]:
        """One more than a page of what a branch's staging changes."""
        with self._store.database.reading() as connection:
            branch = self._store.branch(self._repository, branch_name)
            root = self._store.commit(self._repository, branch.head).tree

            def rows_from(start: str) -> Iterator[Difference]:
                return changes(connection, branch, root, self._store.node, start)

            return fold_differences(rows_from, page, delimiter)

    def _entry(self, at: Resolved, path: str) -> Entry | None:
        if at.staging is not None:
            row = (
                self._store.database.connection()
                .execute(
                    "SELECT entry FROM staging WHERE branch = ? AND path = ?", (at.staging, path)
                )
                .fetchone()
            )
            if row is not None:
                return None if row[0] is None else Entry(*json.loads(row[0]))
        root = self._store.commit(self._repository, at.commit).tree
        return tree.lookup(root, path, self._store.node)


def changes(
    connection: sqlite3.Connection, branch: Branch, root: str, read: tree.Read, start: str = ""
) -> Iterator[Difference]:
    """What is staged on a branch and differs from the tree of its head, from a path on."""
    for path, entry in _staged(connection, branch.id, start):
        committed = tree.lookup(root, path, read)
        if not tree.same(committed, entry):
            yield Difference(path, committed, entry)


def fold(
    rows_from: Callable[[str], Iterator[tuple[str, _T]]], page: Page, delimiter: str, start: str
) -> list[Listed[_T]]:
    """One more than a page of rows, those that share a prefix up to the delimiter as one line.

    `rows_from(path)` gives rows from that path on: after a common prefix the listing goes on
    behind it without reading what it holds. A page that begins inside of a folder (`after`) has
    the folder again, as in lakeFS.
    """
    found: list[Listed[_T]] = []
    following: str | None = max(page.prefix, start)
    while following is not None and len(found) <= page.amount:
        rows, following = rows_from(following), None
        for path, row in rows:
            if not path.startswith(page.prefix) or len(found) > page.amount:
                break
            cut = path.find(delimiter, len(page.prefix)) if delimiter else -1
            line = Listed(path, row) if cut < 0 else Listed(path[: cut + len(delimiter)], None)
            if not page.after or line.path != page.after:
                found.append(line)
            if cut >= 0:
                following = line.path + _PAST_ALL
                break
    return found


def fold_differences(
    rows_from: Callable[[str], Iterator[Difference]], page: Page, delimiter: str
) -> list[Listed[Difference]]:
    """The same of differences. With a delimiter a page goes on behind all that begins as `after`.

    That is lakeFS's way: of `a` and `ab` the second is lost behind a page that ends with the first.
    """
    past = _PAST_ALL if delimiter and page.after else ""

    def by_path(start: str) -> Iterator[tuple[str, Difference]]:
        return ((found.path, found) for found in rows_from(start))

    return fold(by_path, page, delimiter, page.after + past)


def staged_edits(connection: sqlite3.Connection, branch: int) -> dict[str, Entry | None]:
    """Everything staged on the branch with this row id; None is a removal."""
    return dict(_staged(connection, branch, ""))


def _put(connection: sqlite3.Connection, branch: Branch, path: str, entry: Entry) -> bool:
    row = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    done = connection.execute(
        "INSERT OR REPLACE INTO staging (branch, path, entry) "
        "SELECT id, ?, ? FROM branches WHERE id = ?",
        (path, row, branch.id),
    )
    return done.rowcount == 1


def _staged(
    connection: sqlite3.Connection, branch: int | None, start: str
) -> Iterator[tuple[str, Entry | None]]:
    if branch is None:
        return
    rows = connection.execute(
        "SELECT path, entry FROM staging WHERE branch = ? AND path >= ? ORDER BY path",
        (branch, start),
    )
    for path, entry in rows:
        yield path, None if entry is None else Entry(*json.loads(entry))


def _overlay(committed: Iterator[Row], staged: Iterator[tuple[str, Entry | None]]) -> Iterator[Row]:
    """Committed objects with staged ones in their place and staged removals left out."""
    below, above = next(committed, None), next(staged, None)
    while below is not None or above is not None:
        if below is not None and (above is None or below[0] < above[0]):
            yield below
            below = next(committed, None)
            continue
        if below is not None and above is not None and below[0] == above[0]:
            below = next(committed, None)
        if above is not None and above[1] is not None:
            yield above[0], above[1]
        above = next(staged, None)
