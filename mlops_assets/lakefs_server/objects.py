"""Objects as a reference shows them: what is committed, and what is staged on a branch over it.

Belongs here: staging, reading, listing and comparing objects. Does not: commits (`versions`),
the bytes themselves (`blobs`), HTTP.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mlops_assets.lakefs_server import refs, tree
from mlops_assets.lakefs_server.blobs import Blob
from mlops_assets.lakefs_server.errors import ApiError, InvalidError, NotFoundError
from mlops_assets.lakefs_server.store import Branch, Page, Repository, Resolved, Store
from mlops_assets.lakefs_server.tree import Difference, Entry

_PAST_ALL = chr(0x10FFFF)


class Listed(NamedTuple):
    """A line of a listing: an object, or (entry None) a common prefix."""

    path: str
    entry: Entry | None


def encode_entry(entry: Entry) -> str:
    """An entry as staging keeps it."""
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))


def writable_branch(store: Store, repository: Repository, name: str, *, force: bool) -> Branch:
    """The branch, if objects may be staged on it.

    Raises:
        ApiError: 404 no such branch; 403 the branch is protected or the repository read-only.
    """
    branch = store.branch(repository, name)
    if refs.is_protected(name, repository.protection):
        raise ApiError(403, "cannot write to protected branch")
    repository.check_writable(force)
    return branch


def stage(
    store: Store,
    branch: Branch,
    path: str,
    blob: Blob,
    *,
    content_type: str,
    metadata: dict[str, str],
    only_new: bool = False,
    mtime: int | None = None,
) -> Entry:
    """Point a path of a branch at a stored blob.

    One statement, which holds only while the branch exists: a branch deleted during the upload is
    a 404 and no orphan row.

    Raises:
        ApiError: 404 the branch is gone; 412 `only_new` and the path holds an object.
    """
    refs.check_path(path)
    when = int(time.time()) if mtime is None else mtime
    entry = Entry(blob.digest, blob.size, blob.etag, when, content_type, metadata)
    put = (
        "INSERT OR REPLACE INTO staging (branch, path, entry) "
        "SELECT id, ?, ? FROM branches WHERE id = ?"
    )
    values = (path, encode_entry(entry), branch.id)
    if only_new:
        with store.database.writing() as connection:
            now = connection.execute(
                "SELECT b.head, b.repository FROM branches b WHERE b.id = ?", (branch.id,)
            ).fetchone()
            if now is not None:
                if read_entry(store, Resolved(now[0], branch.id), now[1], path) is not None:
                    raise ApiError(412, "path already exists")
                connection.execute(put, values)
        changed = 0 if now is None else 1
    else:
        changed = store.database.connection().execute(put, values).rowcount
    if changed != 1:
        raise NotFoundError(f"branch '{branch.name}' not found")
    return entry


def delete(store: Store, repository: Repository, branch: Branch, paths: Iterable[str]) -> None:
    """Stage the removal of paths; one that does not exist is none."""
    with store.database.writing() as connection:
        head = store.branch(repository, branch.name).head
        root = store.commit(repository, head).tree
        for path in paths:
            if tree.lookup(root, path, store.node) is None:
                connection.execute(
                    "DELETE FROM staging WHERE branch = ? AND path = ?", (branch.id, path)
                )
            else:
                connection.execute(
                    "INSERT OR REPLACE INTO staging (branch, path, entry) VALUES (?, ?, NULL)",
                    (branch.id, path),
                )


def reset(store: Store, branch: Branch, *, path: str | None = None, prefix: str = "") -> None:
    """Forget what is staged: at one path, under a prefix, or (neither given) everywhere."""
    with store.database.writing() as connection:
        if path is not None:
            found = connection.execute(
                "DELETE FROM staging WHERE branch = ? AND path = ?", (branch.id, path)
            )
            if found.rowcount == 0:
                return
        else:
            connection.execute(
                "DELETE FROM staging WHERE branch = ? AND substr(path, 1, ?) = ?",
                (branch.id, len(prefix), prefix),
            )


def read_entry(store: Store, at: Resolved, repository_id: int, path: str) -> Entry | None:
    """The object at a path of a resolved reference, or None."""
    if at.staging is not None:
        row = (
            store.database.connection()
            .execute(
                "SELECT entry FROM staging WHERE branch = ? AND path = ?", (at.staging, path)
            )
            .fetchone()
        )
        if row is not None:
            return None if row[0] is None else Entry(*json.loads(row[0]))
    return tree.lookup(store.read_commit(repository_id, at.commit).tree, path, store.node)


def get(store: Store, repository: Repository, ref: str, path: str) -> Entry:
    """The object at a path of a reference; raises NotFoundError."""
    refs.check_path(path)
    with store.database.reading():
        entry = read_entry(store, store.resolve(repository, ref), repository.id, path)
    if entry is None:
        raise NotFoundError(f"path '{path}' not found")
    return entry


def listing(
    store: Store, repository: Repository, ref: str, page: Page, delimiter: str
) -> list[Listed]:
    """One more than a page of objects and, with a delimiter, common prefixes, in path order."""
    with store.database.reading() as connection:
        at = store.resolve(repository, ref)
        root = store.commit(repository, at.commit).tree
        start = max(page.prefix, _after(page.after, delimiter))
        found: list[Listed] = []
        while start is not None and len(found) <= page.amount:
            start = _list_some(store, connection, root, at, start, page, delimiter, found)
    return found


def _after(after: str, delimiter: str) -> str:
    if not after:
        return ""
    return after + (_PAST_ALL if delimiter and after.endswith(delimiter) else "\x00")


def _list_some(
    store: Store,
    connection: sqlite3.Connection,
    root: str,
    at: Resolved,
    start: str,
    page: Page,
    delimiter: str,
    found: list[Listed],
) -> str | None:
    """List on from `start`, at most to the first common prefix; where to go on, if anywhere."""
    committed = tree.scan(root, start, store.node)
    staged = _staged(connection, at.staging, start)
    for path, entry in _overlay(committed, staged):
        if not path.startswith(page.prefix) or len(found) > page.amount:
            return None
        cut = path.find(delimiter, len(page.prefix)) if delimiter else -1
        if cut >= 0:
            common = path[: cut + len(delimiter)]
            found.append(Listed(common, None))
            return common + _PAST_ALL
        found.append(Listed(path, entry))
    return None


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


def _overlay(
    committed: Iterator[tuple[str, Entry]], staged: Iterator[tuple[str, Entry | None]]
) -> Iterator[tuple[str, Entry]]:
    """Committed objects with staged ones in their place and staged removals left out."""
    below, above = next(committed, None), next(staged, None)
    while below is not None or above is not None:
        if above is None or below is not None and below[0] < above[0]:
            if below is not None:
                yield below
            below = next(committed, None)
            continue
        if below is not None and below[0] == above[0]:
            below = next(committed, None)
        if above[1] is not None:
            yield above[0], above[1]
        above = next(staged, None)


def staged_edits(connection: sqlite3.Connection, branch: int) -> dict[str, Entry | None]:
    """Everything staged on the branch with this row id; None is a removal."""
    return dict(_staged(connection, branch, ""))


def uncommitted(
    store: Store, repository: Repository, branch_name: str, page: Page
) -> list[Difference]:
    """One more than a page of what a branch's staging changes."""
    start = max(page.prefix, page.after + "\x00" if page.after else "")
    found: list[Difference] = []
    with store.database.reading() as connection:
        branch = store.branch(repository, branch_name)
        root = store.commit(repository, branch.head).tree
        for path, entry in _staged(connection, branch.id, start):
            if not path.startswith(page.prefix) or len(found) > page.amount:
                break
            committed = tree.lookup(root, path, store.node)
            if not tree.same(committed, entry):
                found.append(Difference(path, committed, entry))
    return found


def copy(
    store: Store, repository: Repository, source: tuple[str, str], branch: Branch, path: str
) -> Entry:
    """Stage, at a path of a branch, the object at (reference, path): the same blob, no bytes."""
    entry = get(store, repository, *source)
    if not path:
        raise InvalidError("dest_path: required value: name the copy")
    return stage(
        store,
        branch,
        path,
        Blob(entry.digest, entry.size, entry.etag),
        content_type=entry.content_type,
        metadata=entry.metadata,
    )


def remember_place(store: Store, token: str, blob: Blob) -> None:
    """Note what a client has put down under a token, until it is linked."""
    store.database.connection().execute(
        "INSERT OR REPLACE INTO placements (address, digest, size, etag) VALUES (?, ?, ?, ?)",
        (token, *blob),
    )


def placed(store: Store, token: str, file: Path) -> Blob:
    """What a client has put down under a token: by a signed URL, or as a file of its own.

    Raises:
        ApiError: 400 nothing was.
    """
    row = (
        store.database.connection()
        .execute("SELECT digest, size, etag FROM placements WHERE address = ?", (token,))
        .fetchone()
    )
    if row is not None:
        return Blob(*row)
    if not file.is_file():
        raise InvalidError("link address invalid: nothing was put down there")
    blob = store.blobs.put_file(str(file))
    remember_place(store, token, blob)
    file.unlink()
    return blob
