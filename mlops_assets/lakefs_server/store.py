"""One store directory: what names resolve to, and reading commits and tree nodes.

Belongs here: look-ups that every other module needs. Commits and nodes never change, so they are
kept in memory. Does not: making and forgetting names (`catalog`), objects and staging
(`objects`), making commits (`versions`), HTTP.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mlops_assets.lakefs_server import refs, tree
from mlops_assets.lakefs_server.blobs import BlobStore
from mlops_assets.lakefs_server.database import Database
from mlops_assets.lakefs_server.errors import (
    ApiError,
    DamagedStoreError,
    InvalidError,
    NotFoundError,
)
from mlops_assets.lakefs_server.history import Commit, identity

_NODES_KEPT = 4096  # about 40 MB when all are full leaves
_COMMITS_KEPT = 8192

COMMIT_COLUMNS = "id, tree, parents, message, committer, metadata, created_ns, generation"


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
    """What a reference names: a commit, and a branch's staging area where that is included.

    `only_staging` where the reference asks for the staging area (`branch$`), so is no commit.
    """

    commit: str
    staging: int | None
    only_staging: bool = False


class Page(NamedTuple):
    """What a listing asks for: names after `after`, beginning with `prefix`, at most `amount`."""

    prefix: str
    after: str
    amount: int


class _NodeCache:
    """The nodes that were last used. Safe for any thread: each step of it is one call."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tree.Node] = OrderedDict()

    def get(self, name: str) -> tree.Node | None:
        found = self._kept.get(name)
        if found is not None:
            with suppress(KeyError):  # another thread put it out since
                self._kept.move_to_end(name)
        return found

    def put(self, name: str, node: tree.Node) -> None:
        self._kept[name] = node
        if len(self._kept) > _NODES_KEPT:
            self._kept.popitem(last=False)


class Store:
    """The rows and files of one store directory. Use from any thread."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.database = Database(state_dir)
        self.blobs = BlobStore(state_dir)
        self._nodes = _NodeCache()
        self.read_commit = lru_cache(_COMMITS_KEPT)(self._read_commit)

    def repository(self, name: str) -> Repository:
        """Look a repository up by name; raises NotFoundError, InvalidError if none has such."""
        refs.check_repository(name)
        row = (
            self.database.connection()
            .execute("SELECT * FROM repositories WHERE name = ?", (name,))
            .fetchone()
        )
        if row is None:
            raise NotFoundError(f"repository '{name}' not found")
        return repository_of(row)

    def branch(self, repository: Repository, name: str) -> Branch:
        """Look a branch up by name; raises NotFoundError, InvalidError if none can have it."""
        found = self.find_branch(repository, refs.check_branch(name))
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

    def tag(self, repository: Repository, name: str) -> str:
        """The commit a tag names; raises NotFoundError, InvalidError if no tag can be named so."""
        found = self.find_tag(repository, refs.check_tag(name))
        if found is None:
            raise NotFoundError(f"tag '{name}' not found")
        return found

    def find_tag(self, repository: Repository, name: str) -> str | None:
        """The commit a tag names; None if there is no such tag."""
        row = (
            self.database.connection()
            .execute(
                "SELECT target FROM tags WHERE repository = ? AND name = ?", (repository.id, name)
            )
            .fetchone()
        )
        return None if row is None else str(row[0])

    def has_commit(self, repository: Repository, name: str) -> bool:
        """Whether a commit has this very id."""
        found = self.database.connection().execute(
            "SELECT 1 FROM commits WHERE repository = ? AND id = ?", (repository.id, name)
        )
        return found.fetchone() is not None

    def commit(self, repository: Repository, commit_id: str) -> Commit:
        """Read a commit by its full id; raises NotFoundError."""
        return self.read_commit(repository.id, commit_id)

    def commit_id(self, repository: Repository, ref: str) -> str:
        """The commit a reference names; raises NotFoundError, InvalidError for `branch$`."""
        found = self.resolve(repository, ref)
        if found.only_staging:
            raise InvalidError("reference to staging area with $ is not a commit")
        return found.commit

    def resolve(self, repository: Repository, ref: str) -> Resolved:
        """What a reference expression names.

        A full commit id wins over a branch, a branch over a tag, a tag over the unique beginning
        of a commit id. A plain branch includes what is staged on it; `branch@` does not.

        Raises:
            ApiError: 404 nothing has that name, or several commits begin with it; 400 the
                expression is malformed.
        """
        name, modifiers = refs.parse_ref(ref)
        commit_id, staging = self._resolve_name(repository, name)
        if not modifiers:
            return Resolved(commit_id, staging)
        if len(modifiers) == 1 and modifiers[0].kind in "@$" and staging is not None:
            only_staging = modifiers[0].kind == "$"
            return Resolved(commit_id, staging if only_staging else None, only_staging)
        for kind, steps in modifiers:
            if kind in "@$":
                raise InvalidError(f"ref: invalid value: '{ref}': @ and $ follow a branch only")
            numbers = [1] * steps if kind == "~" else [steps] if steps else []
            for number in numbers:
                parents = self.commit(repository, commit_id).parents
                if number > len(parents):
                    problem = f"ref: invalid value: '{ref}': there is no parent {number}"
                    raise NotFoundError(problem) if kind == "~" else InvalidError(problem)
                commit_id = parents[number - 1]
        return Resolved(commit_id, None)

    def _resolve_name(self, repository: Repository, name: str) -> tuple[str, int | None]:
        if len(name) == 64 and self.has_commit(repository, name):
            return name, None
        branch = self.find_branch(repository, name)
        if branch is not None:
            return branch.head, branch.id
        tag = self.find_tag(repository, name)
        if tag is not None:
            return tag, None
        if refs.is_hash(name):
            begins = (
                self.database.connection()
                .execute(
                    "SELECT id FROM commits WHERE repository = ? AND id >= ? AND id < ? LIMIT 2",
                    (repository.id, name, name + "g"),
                )
                .fetchall()
            )
            if len(begins) == 1:
                return begins[0][0], None
        raise NotFoundError(f"reference '{name}' not found")

    def _read_commit(self, repository: int, commit_id: str) -> Commit:
        row = (
            self.database.connection()
            .execute(
                f"SELECT {COMMIT_COLUMNS} FROM commits WHERE repository = ? AND id = ?",  # noqa: S608
                (repository, commit_id),
            )
            .fetchone()
        )
        if row is None:
            raise NotFoundError(f"commit '{commit_id}' not found")
        return commit_of(row)

    def node(self, name: str) -> tree.Node:
        """A tree's node; raises DamagedStoreError if it is missing or damaged."""
        found = self._nodes.get(name)
        if found is None:
            found = tree.decode(read_body(self.database.connection(), name))
            self._nodes.put(name, found)
        return found

    def add_nodes(self, connection: sqlite3.Connection, nodes: Mapping[str, tree.Made]) -> None:
        """Write a tree's nodes inside the caller's transaction; one that is there already stays."""
        connection.executemany(
            "INSERT OR IGNORE INTO nodes (id, body) VALUES (?, ?)",
            ((name, made.body) for name, made in nodes.items()),
        )
        # The merge that follows a commit reads them; decoding them again took half of its time.
        # Should the transaction fail, no stored tree names them, and nobody asks.
        for name, made in nodes.items():
            self._nodes.put(name, made.node)


def read_body(connection: sqlite3.Connection, node: str) -> bytes:
    """The stored bytes of a tree's node; raises DamagedStoreError if not these are stored."""
    row = connection.execute("SELECT body FROM nodes WHERE id = ?", (node,)).fetchone()
    if row is None or not isinstance(row[0], bytes) or tree.fingerprint(row[0]) != node:
        raise DamagedStoreError(
            f"the lake {'lacks' if row is None else 'holds a damaged'} node {node[:12]} of its "
            "trees: restore its folder from a backup."
        )
    body: bytes = row[0]
    return body


def protection_etag(repository: Repository) -> str:
    """A name for the branch protection rules, to change them only if nobody else did; or ""."""
    if not repository.protection:
        return ""
    return tree.fingerprint(json.dumps(repository.protection).encode())


def add_commit(connection: sqlite3.Connection, repository: int, commit: Commit) -> Commit:
    """Write a commit inside the caller's transaction. Saying the same twice is one commit."""
    connection.execute(
        "INSERT OR IGNORE INTO commits (repository, id, tree, parents, message, committer, "
        "metadata, created_ns, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            repository,
            commit.id,
            commit.tree,
            json.dumps(commit.parents),
            commit.message,
            commit.committer,
            json.dumps(commit.metadata),
            commit.created_ns,
            commit.generation,
        ),
    )
    return commit


def commit_of(row: Sequence[Any]) -> Commit:
    """A row of `COMMIT_COLUMNS` as a commit; raises DamagedStoreError if its id is another's."""
    with suppress(ValueError, TypeError, AttributeError):  # it is not even a commit any more
        found = Commit(*row)._replace(
            parents=tuple(json.loads(row[2])), metadata=json.loads(row[5])
        )
        if identity(found) == found.id:
            return found
    raise DamagedStoreError(
        f"the lake's commit {str(row[0])[:12]} is damaged: restore its folder from a backup."
    )


def repository_of(row: tuple[Any, ...]) -> Repository:
    """A row of the table as a repository."""
    key, name, namespace, default_branch, created, read_only, protection, metadata = row
    return Repository(
        key,
        name,
        namespace,
        default_branch,
        created,
        bool(read_only),
        json.loads(protection),
        json.loads(metadata),
    )
