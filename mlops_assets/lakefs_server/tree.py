"""The objects of a commit as a tree of small content-addressed nodes.

A leaf is a range of consecutive paths; above it lie nodes that list ranges. Where a node ends is
decided by the hash of its last path alone, so a set of objects has one tree whatever order it was
built in, a change rewrites its own leaf and the few nodes above it, and equal parts of two trees
carry equal names and are never opened. (One manifest a commit, tried first, costs the size of the
repository at every commit; fixed-size ranges shift all later ranges at every insertion.)

Belongs here: pure functions over trees: change, look up, scan, compare. Does not: where nodes are
stored, staging, branches.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from mlops_assets.lakefs_server.blobs import Blob

EMPTY = ""
"""The tree that never held an object, which a repository's first commit has.

One whose last object was removed is a leaf without paths and has a name, as in lakeFS: merging
"everything removed" into a branch at its first commit is a merge, not "no changes".
"""

_LEAF_BITS = 4  # 16 objects a leaf: 64, tried first, made a commit among a million 3x dearer
_INNER_BITS = 5  # 32 children a node: a million objects are five levels
_LAST_LEVEL = 6  # no boundaries above: paths whose hashes collide cannot make an endless tower


class Entry(NamedTuple):
    """An object: its blob, size in bytes, MD5 hex, write time (s), content type, user metadata."""

    digest: str
    size: int
    etag: str
    mtime: int
    content_type: str
    metadata: dict[str, str]

    @property
    def blob(self) -> Blob:
        """The object's bytes."""
        return Blob(self.digest, self.size, self.etag)

    def same_object(self, other: Entry) -> bool:
        """Whether both are the same object to lakeFS: not where it lies nor when it was written."""
        return (
            self.etag == other.etag
            and self.size == other.size
            and self.metadata == other.metadata
            and self.content_type == other.content_type
        )


class Child(NamedTuple):
    """A node as its parent lists it: first and last path under it, and its name."""

    first: str
    last: str
    node: str


class Node(NamedTuple):
    """A decoded node: at level 0 paths and their entries, above last paths and children."""

    level: int
    keys: list[str]
    items: list[Any]


class Difference(NamedTuple):
    """A path whose object differs between two trees; None means it does not exist there."""

    path: str
    left: Entry | None
    right: Entry | None


Read = Callable[[str], Node]
"""Fetches a node by its name."""

_T = TypeVar("_T")


def decode(body: bytes) -> Node:
    """Turn stored bytes into a node."""
    level, rows = json.loads(body)
    if level == 0:
        return Node(0, [row[0] for row in rows], [Entry(*row[1:]) for row in rows])
    return Node(level, [row[1] for row in rows], [Child(*row) for row in rows])


def pointers(body: bytes) -> tuple[list[str], list[str]]:
    """What stored bytes of a node point at: the names of nodes, and the digests of blobs."""
    level, rows = json.loads(body)
    if level == 0:
        return [], [row[1] for row in rows]
    return [row[2] for row in rows], []


def fingerprint(body: bytes) -> str:
    """The name of content: SHA-256 as hex."""
    return hashlib.sha256(body).hexdigest()


def same(left: Entry | None, right: Entry | None) -> bool:
    """Whether two sides of a path hold the same object, or both none."""
    if left is None or right is None:
        return left is right
    return left.same_object(right)


def lookup(root: str, path: str, read: Read) -> Entry | None:
    """The object at `path`, or None."""
    if root == EMPTY:
        return None
    node = read(root)
    while True:
        at = bisect_left(node.keys, path)
        if at == len(node.keys):
            return None
        if node.level == 0:
            return node.items[at] if node.keys[at] == path else None
        node = read(node.items[at].node)


def scan(root: str, start: str, read: Read) -> Iterator[tuple[str, Entry]]:
    """All objects from path `start` on, in order; opens only the nodes it passes."""
    if root == EMPTY:
        return
    node = read(root)
    at = bisect_left(node.keys, start)
    if node.level == 0:
        yield from zip(node.keys[at:], node.items[at:], strict=True)
        return
    for child in node.items[at:]:
        yield from scan(child.node, start, read)


def difference(
    left: str, right: str, read: Read, start: str = "", prefix: str = ""
) -> Iterator[Difference]:
    """Paths from `start` on, under `prefix`, whose objects differ; equal subtrees are skipped.

    The two sides advance together. What lies wholly before the other side's next path is that
    side's alone; where two nodes overlap, the higher one is opened, or both.
    """
    ours = _Side(left, max(start, prefix), read)
    theirs = _Side(right, max(start, prefix), read)
    while True:
        a, b = ours.head(), theirs.head()
        if a is None and b is None:
            return
        if a == b:
            ours.skip()
            theirs.skip()
            continue
        old = ours.advance() if _leads(a, b) else None
        new = theirs.advance() if _leads(b, a) else None
        if old is None and new is None:
            continue
        path = a.first if a is not None and old is not None else b.first if b is not None else ""
        if not path.startswith(prefix):
            return
        if not same(old, new):
            yield Difference(path, old, new)


class _Head(NamedTuple):
    """The next thing on one side of a comparison: a node's span, or (level -1) one object."""

    first: str
    last: str
    level: int
    item: Any


def _leads(head: _Head | None, other: _Head | None) -> bool:
    """Whether this side has to advance: it lies before the other, or spans it from higher up."""
    if head is None or other is None:
        return head is not None
    if head.last < other.first or other.last < head.first:
        return head.last < other.first
    return head.level >= other.level


class _Side:
    """One side of a comparison: what is still to come, the next thing last."""

    def __init__(self, root: str, start: str, read: Read) -> None:
        self._read = read
        self._start = start
        self._heads: list[_Head] = []
        if root != EMPTY and read(root).keys:
            self._heads.append(_Head(*_span(root, read), read(root).level, root))

    def head(self) -> _Head | None:
        """The next thing that does not lie wholly before the start."""
        while self._heads and self._heads[-1].last < self._start:
            self._heads.pop()
        return self._heads[-1] if self._heads else None

    def skip(self) -> None:
        """Pass the next thing unopened."""
        self._heads.pop()

    def advance(self) -> Entry | None:
        """Pass the next thing if it is an object, which is returned; else open it."""
        head = self._heads.pop()
        if head.level < 0:
            entry: Entry = head.item
            return entry
        node = self._read(head.item)
        if node.level == 0:
            rows = zip(node.keys, node.items, strict=True)
            inside = [_Head(key, key, -1, entry) for key, entry in rows]
        else:
            inside = [_Head(c.first, c.last, node.level - 1, c.node) for c in node.items]
        self._heads.extend(reversed(inside))
        return None


def _span(root: str, read: Read) -> tuple[str, str]:
    node = read(root)
    return (node.keys[0] if node.level == 0 else node.items[0].first), node.keys[-1]


class Written(NamedTuple):
    """A changed tree: its name, and the nodes it needs that may not be stored yet, by name."""

    root: str
    nodes: dict[str, bytes]


def change(root: str, edits: Mapping[str, Entry | None], read: Read) -> Written:
    """Put the given objects into a tree; None removes a path.

    Cost: a leaf and the nodes above it for each stretch of paths touched, not the tree.
    """
    nodes: dict[str, bytes] = {}
    if root != EMPTY and not read(root).keys:
        root = EMPTY
    height = read(root).level if root != EMPTY else -1
    pending: Mapping[str, Any] = edits
    for level in range(height + 1):
        pending = _rewrite(root, level, pending, read, nodes)
    top: dict[str, Any] = {}
    if root != EMPTY:
        whole = Child(*_span(root, read), root)
        top[whole.last] = whole
    items = _merged(top, pending)
    level = height + 1
    while items and (level == 0 or len(items) > 1):
        children = _chunks(items, level, nodes)
        items = [(child.last, child) for child in children]
        level += 1
    if not items:
        bare = _encode([], 0, nodes)
        return Written(bare.node, nodes)
    name: str = items[0][1].node
    while True:
        node = decode(nodes[name]) if name in nodes else read(name)
        if node.level == 0 or len(node.items) > 1:
            return Written(name, nodes)
        name = node.items[0].node


def _rewrite(
    root: str, level: int, edits: Mapping[str, Any], read: Read, nodes: dict[str, bytes]
) -> dict[str, Child | None]:
    """Rewrite the nodes of one level that `edits` touch; what changes in the level above.

    A node that lost its boundary path runs on into the next one, as it would have been built.
    """
    above: dict[str, Child | None] = {}
    keys = sorted(edits)
    done = 0
    while done < len(keys):
        key: str | None = keys[done]
        items: list[tuple[str, Any]] = []
        while key is not None:
            child, following = _locate(root, level, key, read)
            above[child.last] = None
            upto = len(keys) if following is None else bisect_right(keys, child.last, done)
            node = read(child.node)
            held = dict(zip(node.keys, node.items, strict=True))
            items += _merged(held, {key: edits[key] for key in keys[done:upto]})
            done = upto
            closed = not items or _is_boundary(items[-1][0], level)
            key = None if closed else following
        for fresh in _chunks(items, level, nodes):
            above[fresh.last] = fresh
    return above


def _locate(root: str, level: int, key: str, read: Read) -> tuple[Child, str | None]:
    """The node of `level` that holds or would hold `key`, and the first path after that node."""
    child, following = Child(*_span(root, read), root), None
    node = read(root)
    while node.level > level:
        at = min(bisect_left(node.keys, key), len(node.keys) - 1)
        child = node.items[at]
        if at + 1 < len(node.items):
            following = node.items[at + 1].first
        node = read(child.node)
    return child, following


def _merged(held: dict[str, _T], edits: Mapping[str, _T | None]) -> list[tuple[str, _T]]:
    for key, item in edits.items():
        if item is None:
            held.pop(key, None)
        else:
            held[key] = item
    return sorted(held.items())


def _chunks(items: list[tuple[str, Any]], level: int, nodes: dict[str, bytes]) -> list[Child]:
    chunks: list[list[tuple[str, Any]]] = []
    closed = True
    for item in items:
        if closed:
            chunks.append([])
        chunks[-1].append(item)
        closed = _is_boundary(item[0], level)
    return [_encode(chunk, level, nodes) for chunk in chunks]


def _encode(chunk: list[tuple[str, Any]], level: int, nodes: dict[str, bytes]) -> Child:
    rows = [[key, *entry] for key, entry in chunk] if level == 0 else [item for _, item in chunk]
    body = json.dumps([level, rows], ensure_ascii=False, separators=(",", ":")).encode()
    name = fingerprint(body)
    nodes[name] = body
    if not chunk:
        return Child("", "", name)
    return Child(chunk[0][0] if level == 0 else chunk[0][1].first, chunk[-1][0], name)


def _is_boundary(key: str, level: int) -> bool:
    """Whether a node of `level` ends after `key`: each level looks at bits of its own."""
    if level > _LAST_LEVEL:
        return False
    bits, skip = (_LEAF_BITS, 0) if level == 0 else (_INNER_BITS, _LEAF_BITS)
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    value = int.from_bytes(digest, "big") >> (skip + max(level - 1, 0) * _INNER_BITS)
    return value & ((1 << bits) - 1) == 0
