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
from collections.abc import Callable, Iterator, Mapping, Set
from typing import NamedTuple

from mlops_assets.lakefs_server.blobs import Blob

EMPTY = ""
"""The tree that never held an object, which a repository's first commit has.

One whose last object was removed is a leaf without paths and has a name, as in lakeFS: merging
"everything removed" into a branch at its first commit is a merge, not "no changes".
"""

_LEAF_BITS = 4  # 16 objects a leaf: 64, tried first, made a commit among a million 3x dearer
_INNER_BITS = 5  # 32 children a node: a million objects are five levels
_LAST_LEVEL = 6  # no boundaries above: paths whose hashes collide cannot make an endless tower


_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Entry(NamedTuple):
    """An object: its blob, size in bytes, MD5 hex, write time (s), content type, user metadata.

    The time has its fraction, though clients see whole seconds: content that was written again is
    another row then, as it lies at another address in lakeFS, and a merge of it is no empty one.
    """

    digest: str
    size: int
    etag: str
    mtime: float
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


class Node:
    """A node: its level (0 is a leaf), its rows as they are stored, and the last path under each.

    A row is a line of JSON: in a leaf a path and the fields of its entry, above the first path, the
    last path and the name of a child. So two rows are the same object, or the same subtree, if
    their bytes are, and a change parses and writes the rows that it touches: with whole nodes as
    one JSON text, the first way, JSON was most of a commit among a million objects.
    """

    __slots__ = ("_entries", "keys", "level", "rows")

    def __init__(self, level: int, keys: list[str], rows: list[bytes]) -> None:
        self.level = level
        self.keys = keys
        self.rows = rows
        self._entries: list[tuple[str, Entry]] | None = None

    @property
    def first(self) -> str:
        """The first path under this node."""
        return self.keys[0] if self.level == 0 else _first(self.rows[0])

    def entry(self, at: int) -> Entry:
        """The entry in a row of a leaf."""
        return _entry(self.rows[at])

    def child(self, at: int) -> str:
        """The name of the child in a row above."""
        return _child(self.rows[at])

    def entries(self) -> list[tuple[str, Entry]]:
        """All of a leaf; parsed once, since listings come back to the same leaves."""
        if self._entries is None:
            rows = json.loads(b"[%s]" % b",".join(self.rows))
            self._entries = [(path, Entry(*fields)) for path, *fields in rows]
        return self._entries


class Difference(NamedTuple):
    """A path whose object differs between two trees; None means it does not exist there.

    `conflict` where a third tree, from which both come, has another object there than either.
    """

    path: str
    left: Entry | None
    right: Entry | None
    conflict: bool = False


Read = Callable[[str], Node]
"""Fetches a node by its name."""


def decode(body: bytes) -> Node:
    """Turn stored bytes into a node."""
    if body.startswith(b"["):  # as format 1 stored it
        level, fields = json.loads(body)
        rows = [_row(*row) for row in fields]
    else:
        head, *rows = body.split(b"\n")
        level = int(head)
    return Node(level, list(map(_first if level == 0 else _last, rows)), rows)


def pointers(body: bytes) -> tuple[list[str], list[str]]:
    """What a stored node points at: the names of nodes, and the digests of blobs."""
    node = decode(body)
    if node.level == 0:
        return [], [entry.digest for _, entry in node.entries()]
    return [_child(row) for row in node.rows], []


def _row(*fields: object) -> bytes:
    return _ENCODE(fields).encode()


def _entry(row: bytes) -> Entry:
    return Entry(*json.loads(row)[1:])


def _first(row: bytes) -> str:
    """The path that a row begins with."""
    text = row[2 : row.index(b'"', 2)]
    first: str = json.loads(row)[0] if b"\\" in text else text.decode()
    return first


def _last(row: bytes) -> str:
    """The second path of a row above leaves."""
    last: str = json.loads(row)[1] if b"\\" in row else row.split(b'"', 4)[3].decode()
    return last


def _child(row: bytes) -> str:
    return row[-66:-2].decode()  # a row above leaves ends with 64 hex digits, a quote and a bracket


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
            return node.entry(at) if node.keys[at] == path else None
        node = read(node.child(at))


def scan(root: str, start: str, read: Read) -> Iterator[tuple[str, Entry]]:
    """All objects from path `start` on, in order; opens only the nodes it passes."""
    if root == EMPTY:
        return
    node = read(root)
    at = bisect_left(node.keys, start)
    if node.level == 0:
        yield from node.entries()[at:]
        return
    for row in node.rows[at:]:
        yield from scan(_child(row), start, read)


def difference(
    left: str, right: str, read: Read, start: str = "", prefix: str = ""
) -> Iterator[Difference]:
    """Paths from `start` on, under `prefix`, whose objects differ; equal subtrees are skipped.

    The two sides advance together. What lies wholly before the other side's next path is that
    side's alone; where two nodes overlap, the higher one is opened, or both, without the rows that
    they share.
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
        if a is not None and b is not None and a.level == b.level >= 0 and _overlap(a, b):
            _open_both(ours, theirs, read)
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
    row: bytes


def _leads(head: _Head | None, other: _Head | None) -> bool:
    """Whether this side has to advance: it lies before the other, or spans it from higher up."""
    if head is None or other is None:
        return head is not None
    if not _overlap(head, other):
        return head.last < other.first
    return head.level >= other.level


def _overlap(head: _Head, other: _Head) -> bool:
    return head.last >= other.first and other.last >= head.first


def _open_both(ours: _Side, theirs: _Side, read: Read) -> None:
    """Open the next nodes of both sides, which have one level, without what is equal in both."""
    left, right = read(_child(ours.skip().row)), read(_child(theirs.skip().row))
    shared = {*left.rows} & {*right.rows}
    ours.push(left, shared)
    theirs.push(right, shared)


class _Side:
    """One side of a comparison: what is still to come, the next thing last."""

    def __init__(self, root: str, start: str, read: Read) -> None:
        self._read = read
        self._start = start
        self._heads: list[_Head] = []
        if root != EMPTY and (node := read(root)).keys:
            row = _row(node.first, node.keys[-1], root)
            self._heads.append(_Head(node.first, node.keys[-1], node.level, row))

    def head(self) -> _Head | None:
        """The next thing that does not lie wholly before the start."""
        while self._heads and self._heads[-1].last < self._start:
            self._heads.pop()
        return self._heads[-1] if self._heads else None

    def skip(self) -> _Head:
        """Pass the next thing unopened."""
        return self._heads.pop()

    def push(self, node: Node, without: Set[bytes] = frozenset()) -> None:
        """Put the rows of a node before all that is still to come."""
        for key, row in zip(reversed(node.keys), reversed(node.rows), strict=True):
            if row not in without:
                first = key if node.level == 0 else _first(row)
                self._heads.append(_Head(first, key, node.level - 1, row))

    def advance(self) -> Entry | None:
        """Pass the next thing if it is an object, which is returned; else open it."""
        head = self._heads.pop()
        if head.level < 0:
            return _entry(head.row)
        self.push(self._read(_child(head.row)))
        return None


class Made(NamedTuple):
    """A node that was made: as it is stored, and decoded."""

    body: bytes
    node: Node


class Written(NamedTuple):
    """A changed tree: its name, and the nodes it needs that may not be stored yet, by name."""

    root: str
    nodes: dict[str, Made]


def change(root: str, edits: Mapping[str, Entry | None], read: Read) -> Written:
    """Put the given objects into a tree; None removes a path.

    Cost: a leaf and the nodes above it for each stretch of paths touched, not the tree.
    """
    nodes: dict[str, Made] = {}
    if root != EMPTY and not read(root).keys:
        root = EMPTY
    height = read(root).level if root != EMPTY else -1
    pending: dict[str, bytes | None] = {
        path: None if entry is None else _row(path, *entry) for path, entry in edits.items()
    }
    for level in range(height + 1):
        pending = _rewrite(root, level, pending, read, nodes)
    top: dict[str, bytes] = {}
    if root != EMPTY:
        whole = read(root)
        top[whole.keys[-1]] = _row(whole.first, whole.keys[-1], root)
    rows = _merged(top, pending)
    level = height + 1
    while rows and (level == 0 or len(rows) > 1):
        rows = _chunks(rows, level, frozenset(), nodes)
        level += 1
    if not rows:
        return Written(_store(0, [], [], nodes), nodes)
    name = _child(rows[0][1])
    while True:
        node = nodes[name].node if name in nodes else read(name)
        if node.level == 0 or len(node.rows) > 1:
            return Written(name, nodes)
        name = node.child(0)


def _rewrite(
    root: str, level: int, edits: Mapping[str, bytes | None], read: Read, nodes: dict[str, Made]
) -> dict[str, bytes | None]:
    """Rewrite the nodes of one level that `edits` touch; what changes in the level above.

    A node that lost its boundary path runs on into the next one, as it would have been built.
    """
    above: dict[str, bytes | None] = {}
    keys = sorted(edits)
    done = 0
    while done < len(keys):
        key: str | None = keys[done]
        rows: list[tuple[str, bytes]] = []
        inner: set[str] = set()
        while key is not None:
            node, following = _locate(root, level, key, read)
            last = node.keys[-1]
            above[last] = None
            upto = len(keys) if following is None else bisect_right(keys, last, done)
            inner.update(node.keys[:-1])
            held = dict(zip(node.keys, node.rows, strict=True))
            rows += _merged(held, {key: edits[key] for key in keys[done:upto]})
            done = upto
            closed = not rows or _is_boundary(rows[-1][0], level)
            key = None if closed else following
        above.update(_chunks(rows, level, inner, nodes))
    return above


def _locate(root: str, level: int, key: str, read: Read) -> tuple[Node, str | None]:
    """The node of `level` that holds or would hold `key`, and the first path after that node."""
    node, following = read(root), None
    while node.level > level:
        at = min(bisect_left(node.keys, key), len(node.keys) - 1)
        if at + 1 < len(node.rows):
            following = _first(node.rows[at + 1])
        node = read(node.child(at))
    return node, following


def _merged(held: dict[str, bytes], edits: Mapping[str, bytes | None]) -> list[tuple[str, bytes]]:
    for key, row in edits.items():
        if row is None:
            held.pop(key, None)
        else:
            held[key] = row
    return sorted(held.items())


def _chunks(
    rows: list[tuple[str, bytes]], level: int, inner: Set[str], nodes: dict[str, Made]
) -> list[tuple[str, bytes]]:
    """Rows as nodes, each of which becomes a row of the level above.

    Args:
        rows: The rows, each with the last path under it.
        level: Their level.
        inner: Paths that are known to end no node, since they stood within one.
        nodes: Gets the nodes.
    """
    above: list[tuple[str, bytes]] = []
    start = 0
    for stop, (key, _) in enumerate(rows, 1):
        if stop == len(rows) or (key not in inner and _is_boundary(key, level)):
            chunk = rows[start:stop]
            first = chunk[0][0] if level == 0 else _first(chunk[0][1])
            name = _store(level, [key for key, _ in chunk], [row for _, row in chunk], nodes)
            above.append((key, _row(first, key, name)))
            start = stop
    return above


def _store(level: int, keys: list[str], rows: list[bytes], nodes: dict[str, Made]) -> str:
    body = b"\n".join([b"%d" % level, *rows])
    name = fingerprint(body)
    nodes[name] = Made(body, Node(level, keys, rows))
    return name


def _is_boundary(key: str, level: int) -> bool:
    """Whether a node of `level` ends after `key`: each level looks at bits of its own."""
    if level > _LAST_LEVEL:
        return False
    bits, skip = (_LEAF_BITS, 0) if level == 0 else (_INNER_BITS, _LEAF_BITS)
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    value = int.from_bytes(digest, "big") >> (skip + max(level - 1, 0) * _INNER_BITS)
    return value & ((1 << bits) - 1) == 0
