"""Commit graphs: log order and merge bases; the grammar of references."""

from __future__ import annotations

import time

import pytest

from mlops_assets.lakefs_server import history, refs
from mlops_assets.lakefs_server.errors import InvalidError
from mlops_assets.lakefs_server.history import Commit, Message


class Graph:
    def __init__(self) -> None:
        self.commits: dict[str, Commit] = {}

    def add(self, name: str, *parents: str, at: int) -> None:
        generation = 1 + max((self.commits[p].generation for p in parents), default=0)
        self.commits[name] = Commit(name, "", parents, "", "", {}, at, generation)

    def log(self, start: str, **options: int) -> str:
        return "".join(commit.id for commit in history.log(start, self.read, **options))

    def read(self, name: str) -> Commit:
        return self.commits[name]


@pytest.fixture
def graph() -> Graph:
    """A, then B and C beside each other, merged as D (first parent B), then E after C alone."""
    graph = Graph()
    graph.add("A", at=1)
    graph.add("B", "A", at=2)
    graph.add("C", "A", at=3)
    graph.add("D", "B", "C", at=4)
    graph.add("E", "C", at=5)
    return graph


def test_a_log_goes_back_in_time_and_names_each_commit_once(graph: Graph) -> None:
    assert graph.log("D") == "DCBA"


def test_a_log_by_first_parent_leaves_the_merged_side_out(graph: Graph) -> None:
    assert graph.log("D", first_parent=True) == "DBA"


def test_a_log_ends_at_a_date(graph: Graph) -> None:
    assert graph.log("D", since_ns=2) == "DCB"


def test_commits_of_one_instant_come_by_highest_id(graph: Graph) -> None:
    graph.add("F", "A", at=3)
    graph.add("G", "C", "F", at=6)
    assert graph.log("G") == "GFCA"


def test_a_commit_whose_clock_ran_ahead_still_follows_its_child(graph: Graph) -> None:
    graph.add("F", "D", at=0)
    assert graph.log("F") == "FDCBA"


def test_a_commit_by_a_clock_that_was_set_back_is_later_than_its_parents(graph: Graph) -> None:
    ahead = time.time_ns() + 86_400_000_000_000
    graph.add("F", "D", at=ahead)
    made = history.make("", [graph.read("F")], Message("", "", {}))
    assert made.created_ns == ahead + 1
    dated = history.make("", [graph.read("F")], Message("", "", {}, dated_ns=5))
    assert dated.created_ns == 5


@pytest.mark.parametrize(
    ("left", "right", "base"),
    [("B", "C", "A"), ("D", "E", "C"), ("E", "D", "C"), ("A", "D", "A"), ("D", "D", "D")],
)
def test_the_merge_base_is_the_nearest_common_ancestor(
    graph: Graph, left: str, right: str, base: str
) -> None:
    found = history.merge_base(left, right, graph.read)
    assert found is not None
    assert found.id == base


def test_histories_that_share_nothing_have_no_merge_base(graph: Graph) -> None:
    graph.add("Z", at=9)
    assert history.merge_base("Z", "D", graph.read) is None


@pytest.mark.parametrize(
    ("text", "name", "modifiers"),
    [
        ("main", "main", ()),
        ("main~", "main", (("~", 1),)),
        ("main~2^2", "main", (("~", 2), ("^", 2))),
        ("main@", "main", (("@", 1),)),
        ("main$", "main", (("$", 1),)),
    ],
)
def test_a_reference_is_a_name_and_steps_from_it(
    text: str, name: str, modifiers: tuple[tuple[str, int], ...]
) -> None:
    assert refs.parse_ref(text) == (name, modifiers)


@pytest.mark.parametrize(
    "text", ["", "~1", "main~x", "main@2", "main$1", "main~1_0", f"main~{'9' * 5000}"]
)
def test_a_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        refs.parse_ref(text)


@pytest.mark.parametrize("path", ["", "a\x00b", "x" * 1025])
def test_an_impossible_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidError):
        refs.check_path(path)
