"""Trees of ranges: one form for one set of objects, and changes that cost what they touch."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.lakefs_server import merge, tree
from mlops_assets.lakefs_server.tree import EMPTY, Difference, Entry

PATHS = st.integers(0, 120).map(lambda number: f"t/{number:03d}")
ENTRIES = st.integers(0, 3).map(lambda number: entry(str(number)))
OBJECTS = st.dictionaries(PATHS, ENTRIES, max_size=80)
EDITS = st.dictionaries(PATHS, st.none() | ENTRIES, max_size=40)
SETTINGS = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entry(content: str, mtime: int = 0) -> Entry:
    return Entry(f"digest-{content}", len(content), f"etag-{content}", mtime, "text/plain", {})


class Nodes:
    """Keeps what is written and counts what is read."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.reads = 0

    def __call__(self, name: str) -> tree.Node:
        self.reads += 1
        return tree.decode(self.bodies[name])

    def change(self, root: str, edits: dict[str, Entry | None]) -> str:
        written = tree.change(root, edits, self)
        self.bodies |= {name: made.body for name, made in written.nodes.items()}
        return written.root

    def objects(self, root: str) -> dict[str, Entry]:
        return dict(tree.scan(root, "", self))


@pytest.fixture
def tiny_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a node: a hundred objects make a tree of many levels."""
    monkeypatch.setattr(tree, "_LEAF_BITS", 1)
    monkeypatch.setattr(tree, "_INNER_BITS", 1)


def edited(objects: dict[str, Entry], edits: dict[str, Entry | None]) -> dict[str, Entry]:
    return {path: item for path, item in {**objects, **edits}.items() if item is not None}


@SETTINGS
@given(OBJECTS, EDITS)
def test_a_changed_tree_is_the_tree_built_afresh(
    tiny_nodes: None, objects: dict[str, Entry], edits: dict[str, Entry | None]
) -> None:
    nodes = Nodes()
    changed = nodes.change(nodes.change(EMPTY, {**objects}), edits)
    expected = edited(objects, edits)
    assert nodes.objects(changed) == expected
    assert changed == nodes.change(EMPTY, {**expected})
    assert all(tree.lookup(changed, path, nodes) == expected.get(path) for path in edits)


ODD = st.text(st.sampled_from('a/"\\\n\t\u2028é'), min_size=1, max_size=6)


@SETTINGS
@given(st.dictionaries(ODD, ENTRIES, max_size=40), st.dictionaries(ODD, st.none() | ENTRIES))
def test_a_path_may_hold_any_character(
    tiny_nodes: None, objects: dict[str, Entry], edits: dict[str, Entry | None]
) -> None:
    nodes = Nodes()
    left = nodes.change(EMPTY, {**objects})
    right = nodes.change(left, edits)
    after = edited(objects, edits)
    assert nodes.objects(right) == after
    assert right == nodes.change(EMPTY, {**after})
    changed = {found.path for found in tree.difference(left, right, nodes)}
    assert changed == {path for path in {*objects, *after} if objects.get(path) != after.get(path)}


@SETTINGS
@given(OBJECTS, EDITS, PATHS)
def test_a_comparison_finds_exactly_what_differs(
    tiny_nodes: None, objects: dict[str, Entry], edits: dict[str, Entry | None], start: str
) -> None:
    nodes = Nodes()
    left = nodes.change(EMPTY, {**objects})
    right = nodes.change(left, edits)
    after = edited(objects, edits)
    expected = [
        Difference(path, objects.get(path), after.get(path))
        for path in sorted({*objects, *after})
        if objects.get(path) != after.get(path)
    ]
    assert list(tree.difference(left, right, nodes)) == expected
    tail = [row for row in expected if row[0] >= start]
    assert list(tree.difference(left, right, nodes, start)) == tail
    under = [row for row in expected if row[0].startswith("t/0")]
    assert list(tree.difference(left, right, nodes, prefix="t/0")) == under


def test_a_small_change_of_a_large_tree_reads_and_writes_few_nodes() -> None:
    nodes = Nodes()
    objects: dict[str, Entry | None] = {f"raw/{n:05d}": entry(str(n)) for n in range(20_000)}
    root = nodes.change(EMPTY, objects)
    assert len(nodes.bodies) > 1000
    nodes.reads = 0
    edits: dict[str, Entry | None] = {f"raw/{n:05d}": entry("new") for n in range(7000, 7010)}
    written = tree.change(root, edits, nodes)
    assert len(written.nodes) <= 8
    assert nodes.reads <= 40
    nodes.bodies |= {name: made.body for name, made in written.nodes.items()}
    nodes.reads = 0
    assert len(list(tree.difference(root, written.root, nodes))) == 10
    assert nodes.reads <= 30


def test_the_time_of_writing_is_no_difference() -> None:
    nodes = Nodes()
    left = nodes.change(EMPTY, {"a": entry("x", mtime=1)})
    right = nodes.change(EMPTY, {"a": entry("x", mtime=2)})
    assert left != right
    assert list(tree.difference(left, right, nodes)) == []


X, Y, Z = entry("x"), entry("y"), entry("z")


@pytest.mark.parametrize(
    ("base", "source", "destination", "strategy", "result"),
    [
        pytest.param(None, X, None, "", X, id="added by the source"),
        pytest.param(X, Y, X, "", Y, id="changed by the source"),
        pytest.param(X, None, X, "", None, id="removed by the source"),
        pytest.param(X, X, Y, "", Y, id="changed by the destination"),
        pytest.param(X, X, None, "", None, id="removed by the destination"),
        pytest.param(X, Y, Y, "", Y, id="the same change on both sides"),
        pytest.param(None, X, Y, "", "conflict", id="added differently"),
        pytest.param(X, Y, Z, "", "conflict", id="changed differently"),
        pytest.param(X, None, Y, "", "conflict", id="removed here and changed there"),
        pytest.param(X, Y, None, "", "conflict", id="changed here and removed there"),
        pytest.param(X, Y, Z, "source-wins", Y, id="source wins"),
        pytest.param(X, Y, Z, "dest-wins", Z, id="destination wins"),
        pytest.param(X, None, Z, "source-wins", None, id="source's removal wins"),
        pytest.param(X, Y, None, "dest-wins", None, id="destination's removal wins"),
        pytest.param(X, Y, X, "dest-wins", Y, id="no conflict, so nobody needs to win"),
    ],
)
def test_an_object_merges(
    base: Entry | None,
    source: Entry | None,
    destination: Entry | None,
    strategy: str,
    result: Entry | str | None,
) -> None:
    nodes = Nodes()
    roots = [nodes.change(EMPTY, {"p": side, "q": X}) for side in (base, source, destination)]
    outcome = merge.three_way(roots[0], roots[1], roots[2], nodes, strategy)
    if result == "conflict":
        assert outcome.conflicts == ["p"]
        return
    assert outcome.conflicts == []
    assert nodes.objects(nodes.change(roots[2], outcome.edits)).get("p") == result


def test_a_tree_that_an_earlier_version_stored_is_read_and_changed() -> None:
    stored = Nodes()
    objects: dict[str, Entry | None] = {f"t/{n:03d}": entry(str(n)) for n in range(200)}
    root = stored.change(EMPTY, objects)
    earlier = Nodes()
    for name, body in stored.bodies.items():
        level, *rows = body.split(b"\n")
        earlier.bodies[name] = b"[%s,[%s]]" % (level, b",".join(rows))
    changed = earlier.change(root, {"t/100": None})
    assert earlier.objects(changed) == {**edited(earlier.objects(root), {"t/100": None})}
    assert earlier.objects(root) == edited({}, objects)
    assert [found.path for found in tree.difference(root, changed, earlier)] == ["t/100"]
