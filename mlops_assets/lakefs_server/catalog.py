"""The rows that name things: listing, making and forgetting repositories, branches and tags.

Belongs here: one transaction each. Does not: what a name resolves to (`store`), commits
(`versions`), objects (`objects`).
"""

from __future__ import annotations

import json
import time

from mlops_assets.lakefs_server import history, refs
from mlops_assets.lakefs_server.errors import ApiError, InvalidError, NotFoundError
from mlops_assets.lakefs_server.history import Message
from mlops_assets.lakefs_server.store import (
    Branch,
    Page,
    Repository,
    Store,
    add_commit,
    protection_etag,
    repository_of,
)
from mlops_assets.lakefs_server.tree import EMPTY


class Catalog:
    """Over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def repositories(self, page: Page) -> list[Repository]:
        """One more than a page of repositories, by name."""
        rows = self._store.database.connection().execute(
            "SELECT * FROM repositories WHERE name > ? AND substr(name, 1, ?) = ? "
            "ORDER BY name LIMIT ?",
            (page.after, len(page.prefix), page.prefix, page.amount + 1),
        )
        return [repository_of(row) for row in rows]

    def create_repository(
        self, name: str, namespace: str, default_branch: str, *, read_only: bool
    ) -> Repository:
        """Make a repository with its default branch and a first, empty commit of nobody's.

        A namespace that a repository wrote to stays in use once that one is deleted, as in lakeFS,
        where its objects lie there still. One made read-only never writes, so uses none.

        Raises:
            ApiError: 409 the name exists; 400 a name is invalid or the namespace is in use.
        """
        refs.check_repository(name)
        refs.check_namespace(namespace)
        now = time.time_ns()
        with self._store.database.writing() as connection:
            key = (name,)
            if connection.execute("SELECT 1 FROM repositories WHERE name = ?", key).fetchone():
                raise ApiError(409, "error creating repository: not unique")
            refs.check_branch(default_branch)
            if not read_only:
                used = connection.execute(
                    "INSERT OR IGNORE INTO namespaces (name) VALUES (?)", (namespace.rstrip("/"),)
                )
                if used.rowcount != 1:
                    raise InvalidError(
                        "failed to create repository: found lakeFS objects in the storage "
                        f"({namespace}): storage namespace already in use"
                    )
            inserted = connection.execute(
                "INSERT INTO repositories (name, storage_namespace, default_branch, created, "
                "read_only, protection, metadata) VALUES (?, ?, ?, ?, ?, '[]', '{}')",
                (name, namespace, default_branch, now // 1_000_000_000, read_only),
            )
            repository = int(inserted.lastrowid or 0)
            born = Message("Repository created", "", {}, now)
            first = add_commit(connection, repository, history.make(EMPTY, [], born))
            connection.execute(
                "INSERT INTO branches (repository, name, head, hidden) VALUES (?, ?, ?, 0)",
                (repository, default_branch, first.id),
            )
        return self._store.repository(name)

    def delete_repository(self, name: str, *, force: bool) -> None:
        """Forget a repository. Its blobs and tree nodes stay, since others may share them."""
        with self._store.database.writing() as connection:
            repository = self._store.repository(name)
            repository.check_writable(force)
            key = (repository.id,)
            connection.execute(
                "DELETE FROM staging WHERE branch IN "
                "(SELECT id FROM branches WHERE repository = ?)",
                key,
            )
            for table in ("branches", "tags", "commits"):
                connection.execute(f"DELETE FROM {table} WHERE repository = ?", key)  # noqa: S608 - one of three names
            connection.execute("DELETE FROM repositories WHERE id = ?", key)

    def protect(self, repository: str, patterns: list[str], expected: str | None) -> None:
        """Set the patterns of protected branches.

        Raises:
            ApiError: 412 `expected` is given and is not the present rules' `protection_etag`; 403
                the repository is read-only; 404.
        """
        with self._store.database.writing() as connection:
            found = self._store.repository(repository)
            found.check_writable()
            if expected is not None and expected != protection_etag(found):
                raise ApiError(412, "precondition failed: the rules have changed, read them again")
            connection.execute(
                "UPDATE repositories SET protection = ? WHERE id = ?",
                (json.dumps(patterns), found.id),
            )

    def protect_one(self, repository: str, pattern: str, *, protected: bool) -> None:
        """Add one pattern to the protected ones, or take it out, beside whatever others do.

        Raises:
            ApiError: 403 the repository is read-only; 404 there is no such pattern to take out.
        """
        with self._store.database.writing() as connection:
            found = self._store.repository(repository)
            found.check_writable()
            patterns = [known for known in found.protection if known != pattern]
            if not protected and len(patterns) == len(found.protection):
                raise NotFoundError("branch protection: no such rule")
            connection.execute(
                "UPDATE repositories SET protection = ? WHERE id = ?",
                (json.dumps([*patterns, *([pattern] if protected else [])]), found.id),
            )

    def branches(self, repository: Repository, page: Page, *, hidden: bool) -> list[Branch]:
        """One more than a page of branches, by name; hidden ones only if asked for."""
        rows = self._store.database.connection().execute(
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
            ApiError: 409 it exists, or a tag or a commit has its name; 404 the source does not
                exist; 400 the source includes staging.
        """
        refs.check_branch(name)
        refs.check_ref(source)
        with self._store.database.writing() as connection:
            self._check_no_commit(repository, name)
            if self._store.find_tag(repository, name) is not None:
                raise ApiError(409, f"tag ID {name}: conflict found")
            repository.check_writable(force)
            try:
                head = self._store.commit_id(repository, source)
            except NotFoundError as error:
                raise NotFoundError(f"source reference '{source}': not found") from error
            if self._store.find_branch(repository, name) is not None:
                raise ApiError(409, "branch already exists: not unique")
            connection.execute(
                "INSERT INTO branches (repository, name, head, hidden) VALUES (?, ?, ?, ?)",
                (repository.id, name, head, hidden),
            )
        return head

    def delete_branch(self, repository: Repository, name: str, *, force: bool) -> None:
        """Forget a branch and what is staged on it; its commits stay."""
        refs.check_branch(name)
        repository.check_writable(force)
        if name == repository.default_branch:
            raise ApiError(403, "cannot delete repository default branch")
        with self._store.database.writing() as connection:
            branch = self._store.branch(repository, name)
            connection.execute("DELETE FROM staging WHERE branch = ?", (branch.id,))
            connection.execute("DELETE FROM branches WHERE id = ?", (branch.id,))

    def tags(self, repository: Repository, page: Page) -> list[tuple[str, str]]:
        """One more than a page of (tag, commit), by name."""
        return (
            self._store.database.connection()
            .execute(
                "SELECT name, target FROM tags WHERE repository = ? AND name > ? "
                "AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
                (repository.id, page.after, len(page.prefix), page.prefix, page.amount + 1),
            )
            .fetchall()
        )

    def create_tag(self, repository: Repository, name: str, ref: str, *, force: bool) -> str:
        """Name a commit for good; its id.

        Raises:
            ApiError: 409 the tag exists, or a branch or a commit has its name; 404; 400.
        """
        refs.check_tag(name)
        with self._store.database.writing() as connection:
            if self._store.find_branch(repository, name) is not None:
                raise ApiError(409, f"branch name {name}: conflict found")
            self._check_no_commit(repository, name)
            target = self._store.commit_id(repository, ref)
            repository.check_writable(force)
            added = connection.execute(
                "INSERT OR IGNORE INTO tags (repository, name, target) VALUES (?, ?, ?)",
                (repository.id, name, target),
            )
            if added.rowcount != 1:
                raise ApiError(409, "tag already exists: not unique")
        return target

    def delete_tag(self, repository: Repository, name: str, *, force: bool) -> None:
        """Forget a tag; raises NotFoundError."""
        refs.check_tag(name)
        repository.check_writable(force)
        with self._store.database.writing() as connection:
            self._store.tag(repository, name)
            connection.execute(
                "DELETE FROM tags WHERE repository = ? AND name = ?", (repository.id, name)
            )

    def _check_no_commit(self, repository: Repository, name: str) -> None:
        """Raise ApiError 409 if a commit has this id: a full id always names the commit."""
        if self._store.has_commit(repository, name):
            raise ApiError(409, f"commit ID {name}: conflict found")
