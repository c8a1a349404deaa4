"""One store directory: repositories, branches, tags, and what their names resolve to.

Belongs here: the rows that name things, and reading commits and tree nodes (both immutable, so
kept in memory). Does not: objects and staging (`objects`), making commits (`versions`), HTTP.
"""

from __future__ import annotations

import json
import sqlite3
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mlops_assets.lakefs_server import history, refs, tree
from mlops_assets.lakefs_server.blobs import BlobStore
from mlops_assets.lakefs_server.database import Database
from mlops_assets.lakefs_server.errors import ApiError, InvalidError, NotFoundError
from mlops_assets.lakefs_server.history import Commit
from mlops_assets.lakefs_server.tree import EMPTY

_NODES_KEPT = 1024  # about 40 MB when all are full leaves
_COMMITS_KEPT = 8192


class Repository(NamedTuple):
    """A repository's row; `created` in seconds, `protection` the patterns of protected branches."""

    id: int
    name: str
    storage_namespace: str
    default_branch: str
    created: int
    read_only: bool
    protection: list[str]
    metadata: dict[str, str]

    def check_writable(self, force: bool = False) -> None:
        """Raise ApiError 403 if the repository is read-only and the request does not insist."""
        if self.read_only and not force:
            raise ApiError(403, "read-only repository")


class Branch(NamedTuple):
    """A branch's row. `id` is never used again, so it also names the branch's staging area."""

    id: int
    name: str
    head: str
    hidden: bool


class Resolved(NamedTuple):
    """What a reference names: a commit, and a branch's staging area where that is included."""

    commit: str
    staging: int | None


class Page(NamedTuple):
    """What a listing asks for: names after `after`, beginning with `prefix`, at most `amount`."""

    prefix: str
    after: str
    amount: int


class Store:
    """The rows and files of one store directory. Use from any thread."""

    def __init__(self, state_dir: Path) -> None:
        self.database = Database(state_dir)
        self.blobs = BlobStore(state_dir)
        self.node = lru_cache(_NODES_KEPT)(self._read_node)
        self.read_commit = lru_cache(_COMMITS_KEPT)(self._read_commit)

    # -- repositories ------------------------------------------------------------------------

    def repository(self, name: str) -> Repository:
        """Look a repository up by name; raises NotFoundError."""
        row = (
            self.database.connection()
            .execute("SELECT * FROM repositories WHERE name = ?", (name,))
            .fetchone()
        )
        if row is None:
            raise NotFoundError(f"repository '{name}' not found")
        return _repository(row)

    def repositories(self, page: Page) -> list[Repository]:
        """One more than a page of repositories, by name."""
        rows = self.database.connection().execute(
            "SELECT * FROM repositories WHERE name > ? AND substr(name, 1, ?) = ? "
            "ORDER BY name LIMIT ?",
            (page.after, len(page.prefix), page.prefix, page.amount + 1),
        )
        return [_repository(row) for row in rows]

    def create_repository(
        self, name: str, namespace: str, default_branch: str, committer: str, *, read_only: bool
    ) -> Repository:
        """Make a repository with its default branch and a first, empty commit.

        Raises:
            ApiError: 409 the name exists; 400 a name is invalid or the namespace is in use.
        """
        refs.check_repository(name)
        refs.check_branch(default_branch)
        refs.check_namespace(namespace)
        now = time.time_ns()
        with self.database.writing() as connection:
            taken = connection.execute(
                "SELECT name FROM repositories WHERE name = ? OR storage_namespace = ? "
                "ORDER BY name <> ?",
                (name, namespace, name),
            ).fetchone()
            if taken is not None and taken[0] == name:
                raise ApiError(409, "error creating repository: not unique")
            if taken is not None:
                raise InvalidError(
                    f"failed to create repository: storage namespace {namespace} already in use"
                )
            inserted = connection.execute(
                "INSERT INTO repositories (name, storage_namespace, default_branch, created, "
                "read_only, protection, metadata) VALUES (?, ?, ?, ?, ?, '[]', '{}')",
                (name, namespace, default_branch, now // 1_000_000_000, read_only),
            )
            repository = int(inserted.lastrowid or 0)
            first = add_commit(
                connection, repository, EMPTY, [], "Repository created", committer, {}, now
            )
            connection.execute(
                "INSERT INTO branches (repository, name, head, hidden) VALUES (?, ?, ?, 0)",
                (repository, default_branch, first.id),
            )
        return self.repository(name)

    def delete_repository(self, name: str, *, force: bool) -> None:
        """Forget a repository. Its blobs and tree nodes stay, since others may share them."""
        with self.database.writing() as connection:
            repository = self.repository(name)
            repository.check_writable(force)
            key = (repository.id,)
            connection.execute(
                "DELETE FROM staging WHERE branch IN (SELECT id FROM branches WHERE repository = ?)",
                key,
            )
            for table in ("branches", "tags", "commits"):
                connection.execute(f"DELETE FROM {table} WHERE repository = ?", key)  # noqa: S608 - one of three names
            connection.execute("DELETE FROM repositories WHERE id = ?", key)

    def protect(self, repository: str, patterns: list[str], expected: str | None) -> None:
        """Set the patterns of protected branches.

        Raises:
            ApiError: 412 `expected` is given and is not the present rules' `protection_etag`.
        """
        with self.database.writing() as connection:
            found = self.repository(repository)
            if expected is not None and expected != protection_etag(found):
                raise ApiError(412, "precondition failed: the rules have changed, read them again")
            connection.execute(
                "UPDATE repositories SET protection = ? WHERE id = ?",
                (json.dumps(patterns), found.id),
            )

    # -- branches ----------------------------------------------------------------------------

    def branch(self, repository: Repository, name: str) -> Branch:
        """Look a branch up by name; raises NotFoundError."""
        found = self.find_branch(repository, name)
        if found is None:
            raise NotFoundError(f"branch '{name}' not found")
        return found

    def find_branch(self, repository: Repository, name: str) -> Branch | None:
        """Look a branch up by name; None if there is none."""
        row = (
            self.database.connection()
            .execute(
                "SELECT id, name, head, hidden FROM branches WHERE repository = ? AND name = ?",
                (repository.id, name),
            )
            .fetchone()
        )
        return None if row is None else Branch(*row)

    def branches(self, repository: Repository, page: Page, *, hidden: bool) -> list[Branch]:
        """One more than a page of branches, by name; hidden ones only if asked for."""
        rows = self.database.connection().execute(
            "SELECT id, name, head, hidden FROM branches WHERE repository = ? AND name > ? "
            "AND substr(name, 1, ?) = ? AND hidden <= ? ORDER BY name LIMIT ?",
            (repository.id, page.after, len(page.prefix), page.prefix, hidden, page.amount + 1),
        )
        return [Branch(*row) for row in rows]

    def create_branch(
        self, repository: Repository, name: str, source: str, *, hidden: bool, force: bool
    ) -> str:
        """Point a new branch at a commit: one row, whatever the repository's size. Its head.

        Raises:
            ApiError: 409 it exists; 404 the source does not; 400 the source includes staging.
        """
        refs.check_branch(name)
        repository.check_writable(force)
        with self.database.writing() as connection:
            try:
                head = self.commit_id(repository, source)
            except NotFoundError as error:
                raise NotFoundError(f"source reference '{source}': not found") from error
            if self.find_branch(repository, name) is not None:
                raise ApiError(409, "branch already exists: not unique")
            connection.execute(
                "INSERT INTO branches (repository, name, head, hidden) VALUES (?, ?, ?, ?)",
                (repository.id, name, head, hidden),
            )
        return head

    def delete_branch(self, repository: Repository, name: str, *, force: bool) -> None:
        """Forget a branch and what is staged on it; its commits stay."""
        repository.check_writable(force)
        if name == repository.default_branch:
            raise ApiError(403, "cannot delete repository default branch")
        with self.database.writing() as connection:
            branch = self.branch(repository, name)
            connection.execute("DELETE FROM staging WHERE branch = ?", (branch.id,))
            connection.execute("DELETE FROM branches WHERE id = ?", (branch.id,))

    def move_head(self, connection: sqlite3.Connection, branch: Branch, head: str) -> None:
        """Point a branch from the head that was read to a new one; compare and set.

        Raises:
            ApiError: 423 the head is no longer the one the caller worked from.
        """
        moved = connection.execute(
            "UPDATE branches SET head = ? WHERE id = ? AND head = ?", (head, branch.id, branch.head)
        )
        if moved.rowcount != 1:
            raise ApiError(423, f"branch '{branch.name}' moved meanwhile: try again")

    # -- tags --------------------------------------------------------------------------------

    def tag(self, repository: Repository, name: str) -> str:
        """The commit a tag names; raises NotFoundError."""
        row = (
            self.database.connection()
            .execute(
                "SELECT target FROM tags WHERE repository = ? AND name = ?", (repository.id, name)
            )
            .fetchone()
        )
        if row is None:
            raise NotFoundError(f"tag '{name}' not found")
        return str(row[0])

    def tags(self, repository: Repository, page: Page) -> list[tuple[str, str]]:
        """One more than a page of (tag, commit), by name."""
        return (
            self.database.connection()
            .execute(
                "SELECT name, target FROM tags WHERE repository = ? AND name > ? "
                "AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
                (repository.id, page.after, len(page.prefix), page.prefix, page.amount + 1),
            )
            .fetchall()
        )

    def create_tag(self, repository: Repository, name: str, ref: str, *, force: bool) -> str:
        """Name a commit for good. Its id. Raises ApiError 409 if the tag exists, 404, 400."""
        refs.check_tag(name)
        repository.check_writable(force)
        with self.database.writing() as connection:
            target = self.commit_id(repository, ref)
            added = connection.execute(
                "INSERT OR IGNORE INTO tags (repository, name, target) VALUES (?, ?, ?)",
                (repository.id, name, target),
            )
            if added.rowcount != 1:
                raise ApiError(409, "tag already exists: not unique")
        return target

    def delete_tag(self, repository: Repository, name: str, *, force: bool) -> None:
        """Forget a tag; raises NotFoundError."""
        repository.check_writable(force)
        with self.database.writing() as connection:
            self.tag(repository, name)
            connection.execute(
                "DELETE FROM tags WHERE repository = ? AND name = ?", (repository.id, name)
            )

    # -- references --------------------------------------------------------------------------

    def commit(self, repository: Repository, commit_id: str) -> Commit:
        """Read a commit by its full id; raises NotFoundError."""
        return self.read_commit(repository.id, commit_id)

    def commit_id(self, repository: Repository, ref: str) -> str:
        """The commit a reference names; raises NotFoundError, InvalidError for `branch$`."""
        if ref.endswith("$"):
            raise InvalidError("reference to staging area with $ is not a commit")
        return self.resolve(repository, ref).commit

    def resolve(self, repository: Repository, ref: str) -> Resolved:
        """What a reference expression names.

        A full commit id wins over a branch, a branch over a tag, a tag over the unique beginning
        of a commit id. A plain branch includes what is staged on it; `branch@` does not.

        Raises:
            ApiError: 404 nothing has that name; 400 the expression is malformed or ambiguous.
        """
        name, modifiers = refs.parse_ref(ref)
        commit_id, staging = self._resolve_name(repository, name)
        if not modifiers:
            return Resolved(commit_id, staging)
        if any(modifier.kind in "@$" for modifier in modifiers):
            if staging is None or len(modifiers) != 1:
                raise InvalidError(f"ref: invalid value: '{ref}': @ and $ follow a branch only")
            return Resolved(commit_id, staging if modifiers[0].kind == "$" else None)
        for kind, count in modifiers:
            if kind == "~":
                for _ in range(count):
                    commit_id = self._parent(repository, commit_id, 1, ref)
            elif count > 0:
                commit_id = self._parent(repository, commit_id, count, ref)
        return Resolved(commit_id, None)

    def _parent(self, repository: Repository, commit_id: str, number: int, ref: str) -> str:
        parents = self.commit(repository, commit_id).parents
        if not parents:
            raise NotFoundError(f"'{ref}' not found: it goes back beyond the first commit")
        if number > len(parents):
            raise InvalidError(f"ref: invalid value: '{ref}': there is no parent {number}")
        return parents[number - 1]

    def _resolve_name(self, repository: Repository, name: str) -> tuple[str, int | None]:
        connection = self.database.connection()
        if len(name) == 64 and refs.is_hash(name):
            full = connection.execute(
                "SELECT id FROM commits WHERE repository = ? AND id = ?", (repository.id, name)
            ).fetchone()
            if full is not None:
                return full[0], None
        branch = self.find_branch(repository, name)
        if branch is not None:
            return branch.head, branch.id
        tag = connection.execute(
            "SELECT target FROM tags WHERE repository = ? AND name = ?", (repository.id, name)
        ).fetchone()
        if tag is not None:
            return tag[0], None
        if refs.is_hash(name):
            begins = connection.execute(
                "SELECT id FROM commits WHERE repository = ? AND id >= ? AND id < ? LIMIT 2",
                (repository.id, name.lower(), name.lower() + "g"),
            ).fetchall()
            if len(begins) == 1:
                return begins[0][0], None
            if begins:
                raise InvalidError(f"ref: invalid value: '{name}' begins several commit ids")
        raise NotFoundError(f"reference '{name}' not found")

    def _read_commit(self, repository: int, commit_id: str) -> Commit:
        row = (
            self.database.connection()
            .execute(
                "SELECT id, tree, parents, message, committer, metadata, created_ns, generation "
                "FROM commits WHERE repository = ? AND id = ?",
                (repository, commit_id),
            )
            .fetchone()
        )
        if row is None:
            raise NotFoundError(f"commit '{commit_id}' not found")
        commit = Commit(*row)
        return commit._replace(
            parents=tuple(json.loads(row[2])), metadata=json.loads(row[5])
        )

    def _read_node(self, name: str) -> tree.Node:
        row = (
            self.database.connection()
            .execute("SELECT body FROM nodes WHERE id = ?", (name,))
            .fetchone()
        )
        if row is None:
            raise RuntimeError(f"tree node {name} is missing: the store is damaged")
        return tree.decode(row[0])


def protection_etag(repository: Repository) -> str:
    """A name for the present branch protection rules, to change them only if nobody else did."""
    return tree.fingerprint(json.dumps(repository.protection).encode())


def add_commit(
    connection: sqlite3.Connection,
    repository: int,
    tree_name: str,
    parents: list[Commit],
    message: str,
    committer: str,
    metadata: dict[str, str],
    created_ns: int,
) -> Commit:
    """Write a commit inside the caller's transaction. Saying the same twice is one commit."""
    ids = tuple(parent.id for parent in parents)
    commit = Commit(
        history.identify(tree_name, ids, message, committer, metadata, created_ns),
        tree_name,
        ids,
        message,
        committer,
        metadata,
        created_ns,
        1 + max((parent.generation for parent in parents), default=0),
    )
    connection.execute(
        "INSERT OR IGNORE INTO commits (repository, id, tree, parents, message, committer, "
        "metadata, created_ns, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            repository,
            commit.id,
            commit.tree,
            json.dumps(ids),
            message,
            committer,
            json.dumps(metadata),
            created_ns,
            commit.generation,
        ),
    )
    return commit


def _repository(row: tuple[Any, ...]) -> Repository:
    *plain, read_only, protection, metadata = row
    return Repository(*plain, bool(read_only), json.loads(protection), json.loads(metadata))
