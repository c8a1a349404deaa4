"""Commits, names and lists answer as lakeFS 1.84 does, where a client can tell.

Each expectation was read off a lakeFS server, with local blocks and with S3 and signed links.
"""

from __future__ import annotations

from urllib.parse import quote

import pytest
from clients import PlainLake

# -- merges and other commits ----------------------------------------------------------------------


def test_content_that_was_put_again_merges_though_nothing_differs(lake: PlainLake) -> None:
    lake.commit("main", a=b"1")
    lake.branch("work")
    lake.commit("work", a=None)
    lake.commit("work", a=b"1")
    before = lake.head("main")
    assert lake("GET", "/refs/main/diff/work")[1]["results"] == []
    status, merged = lake.merge("work")
    assert status == 200
    assert lake.head("main") == merged["reference"] != before
    lake.branch("same")
    assert lake.merge("same") == (400, {"message": "update branch main: no changes"})


def test_equal_content_on_both_sides_merges_into_a_new_commit_once(lake: PlainLake) -> None:
    lake.branch("work")
    lake.commit("work", a=b"1")
    lake.commit("main", a=b"1")
    assert lake.merge("work")[0] == 200
    assert lake.merge("work")[0] == 400


def test_what_is_staged_and_changes_nothing_is_no_dirt(lake: PlainLake) -> None:
    lake.commit("main", a=b"1")
    lake.branch("work")
    lake.commit("work", b=b"1")
    lake.put("main", "a", b"1")
    assert lake.merge("work")[0] == 200
    lake.put("main", "a", b"2")
    assert lake.merge("work") == (400, {"message": "uncommitted changes (dirty branch)"})


def test_a_conflict_is_seen_only_where_the_destination_is_clean(lake: PlainLake) -> None:
    lake.branch("work")
    lake.commit("work", a=b"1")
    lake.commit("main", a=b"2")
    lake.put("main", "staged", b"")
    assert lake.merge("work")[0] == 400
    lake("PUT", "/branches/main", {"type": "reset"})
    assert lake.merge("work") == (409, {"reference": ""})


def test_the_two_heads_beside_a_merge_base_are_in_each_others_place(lake: PlainLake) -> None:
    base = lake.commit("main", a=b"1")
    lake.branch("work")
    ours, theirs = lake.commit("work", b=b"1"), lake.commit("main", c=b"1")
    assert lake("GET", "/refs/work/merge/main")[1] == {
        "source_commit_id": theirs,
        "destination_commit_id": ours,
        "base_commit_id": base,
    }


def test_a_squashed_merge_counts_the_generations_it_squashes(lake: PlainLake) -> None:
    lake.branch("work")
    for content in (b"1", b"2", b"3"):
        lake.commit("work", a=content)
    assert lake.merge("work", squash_merge=True)[0] == 200
    made = lake("GET", "/commits/main")[1]
    assert (len(made["parents"]), made["generation"]) == (1, 5)


def test_a_hard_reset_moves_a_dirty_branch_and_leaves_what_is_staged(lake: PlainLake) -> None:
    first = lake.commit("main", a=b"1")
    lake.commit("main", a=b"2")
    lake.put("main", "staged", b"")
    assert lake("PUT", f"/branches/main/hard_reset?ref={first}")[0] == 204
    assert lake.head("main") == first
    assert lake.paths("/branches/main/diff") == ["staged"]


def test_a_protected_branch_takes_reverts_and_picks_but_no_hard_reset(lake: PlainLake) -> None:
    made = lake.commit("main", a=b"1")
    lake.branch("other", "main~1")
    rules = "/settings/branch_protection"
    assert lake("PUT", rules, [{"pattern": "main"}, {"pattern": "other"}])[0] == 204
    revert = {"ref": "main", "parent_number": 0}
    assert lake("POST", "/branches/main/revert", revert)[0] == 204
    assert lake("GET", "/commits/main")[1]["message"] == "Revert main"
    assert lake("POST", "/branches/other/cherry-pick", {"ref": made})[0] == 201
    assert lake("PUT", f"/branches/main/hard_reset?ref={made}")[0] == 403


def test_a_parent_that_a_commit_does_not_have_is_refused(lake: PlainLake) -> None:
    lake.commit("main", a=b"1")
    lake.branch("work", "main~1")
    lake.commit("work", b=b"1")
    merged = lake.merge("work")[1]["reference"]
    revert, pick = "/branches/main/revert", "/branches/work/cherry-pick"
    assert lake("POST", revert, {"ref": merged, "parent_number": 0})[0] == 409
    assert lake("POST", revert, {"ref": merged, "parent_number": 3})[0] == 400
    assert lake("POST", revert, {"ref": merged, "parent_number": -1})[0] == 400
    assert lake("POST", revert, {"ref": merged})[0] == 400
    for number in ({}, {"parent_number": 0}, {"parent_number": 3}):
        assert lake("POST", pick, {"ref": merged, **number})[0] == 400
    assert lake("POST", pick, {"ref": "main~2"})[0] == 400  # the first commit has no parent
    overrides = {"commit_overrides": {"metadata": {}}}
    picked = lake("POST", pick, {"ref": merged, "parent_number": 2, **overrides})
    assert picked[0] == 201
    assert set(picked[1]["metadata"]) == {"cherry-pick-origin", "cherry-pick-committer"}


def test_a_commit_dated_before_1970_stays_in_the_log(lake: PlainLake) -> None:
    lake.put("main", "a", b"1")
    body = {"message": "old", "date": -1}
    assert lake("POST", "/branches/main/commits", body)[0] == 201
    found = lake("GET", "/refs/main/commits")[1]["results"]
    assert [commit["message"] for commit in found] == ["old", "Repository created"]
    assert found[1]["committer"] == ""


def test_a_log_of_paths_stops_only_at_a_commit_that_it_gives(lake: PlainLake) -> None:
    first, other = lake.commit("main", a=b"1"), lake.commit("main", b=b"1")
    log = "/refs/main/commits?stop_at="
    assert [found["id"] for found in lake("GET", f"{log}{other}")[1]["results"]] == [other]
    of_a = lake("GET", f"{log}{other}&objects=a")[1]["results"]
    assert [found["id"] for found in of_a] == [first]


# -- names and references --------------------------------------------------------------------------


def test_a_name_stands_for_one_thing(lake: PlainLake) -> None:
    made = lake.commit("main", a=b"1")
    assert lake("POST", "/tags", {"id": "v1", "ref": "main"})[0] == 201
    for name in (made, "v1", "main"):
        assert lake("POST", "/branches", {"name": name, "source": "main"})[0] == 409
        assert lake("POST", "/tags", {"id": name, "ref": "main"})[0] == 409
    # What only looks like an id, and is none of this repository, is a name as any other.
    assert lake("POST", "/branches", {"name": "a" * 64, "source": "main"})[0] == 201
    assert lake("POST", "/tags", {"id": "abc123", "ref": "main"})[0] == 201


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        *((name, 201) for name in ("t~1", "-x", ".x", "ünï", "a$b", "x" * 300)),
        *((name, 400) for name in ("a/b", "a b", "x.", "x.lock", "a..b", "@", "a@{b", "a^", "a:b")),
    ],
)
def test_tags_have_the_grammar_of_lakefs(lake: PlainLake, tag: str, status: int) -> None:
    assert lake("POST", "/tags", {"id": tag, "ref": "main"})[0] == status


@pytest.mark.parametrize("name", ["a b", "-x", "main@", "main~1", "ünï"])
def test_what_cannot_name_a_branch_is_refused_and_not_missed(lake: PlainLake, name: str) -> None:
    place = f"/branches/{quote(name)}"
    assert lake("GET", place)[0] == 400
    assert lake("GET", f"{place}/diff")[0] == 400
    assert lake("POST", f"{place}/objects?path=x", b"1")[0] == 400
    assert lake("POST", f"{place}/commits", {"message": "m"})[0] == 400
    assert lake("DELETE", place)[0] == 400


@pytest.mark.parametrize(
    ("ref", "status"),
    [
        ("main~1", 200),
        ("main^", 200),
        ("main~2", 404),
        ("main^2", 400),
        ("main~1^", 400),
        ("main~9@", 404),
        ("main@@", 400),
        ("main~1@", 400),
        ("a%20b", 400),
        ("deadbeef", 404),
    ],
)
def test_a_reference_beyond_the_first_commit_is_missed_or_refused(
    lake: PlainLake, ref: str, status: int
) -> None:
    lake.commit("main", a=b"1")
    assert lake("GET", f"/refs/{ref}/objects/ls")[0] == status


def test_the_beginning_of_several_ids_and_capitals_name_nothing(lake: PlainLake) -> None:
    made = [lake.commit("main", a=str(number).encode()) for number in range(17)]
    firsts = [commit[0] for commit in made]
    several = next(first for first in firsts if firsts.count(first) > 1)
    assert lake("GET", f"/commits/{several}")[0] == 404
    letters = next(commit for commit in made if not commit.isdecimal())
    assert lake("GET", f"/commits/{letters.upper()}")[0] == 404
    assert lake("GET", f"/commits/{letters[:40]}")[0] == 200


# -- differences and listings ----------------------------------------------------------------------


def test_a_three_dot_difference_tells_conflicts_and_what_a_merge_would_do(lake: PlainLake) -> None:
    lake.commit("main", gone=b"1", changed=b"1", both=b"1", left=b"1")
    lake.branch("work")
    lake.commit("work", gone=None, changed=b"22", both=b"3", left=None, new=b"333")
    lake.commit("main", changed=None, both=b"3", left=b"4444")
    found = lake("GET", "/refs/main/diff/work")[1]["results"]
    assert [(line["type"], line["path"], line["size_bytes"]) for line in found] == [
        ("conflict", "changed", 2),
        ("removed", "gone", 1),
        ("conflict", "left", 4),
        ("added", "new", 3),
    ]


def test_differences_fold_at_a_delimiter(lake: PlainLake) -> None:
    for path in ("a", "d/1", "d/e/2", "z"):
        lake.put("main", path, b"1")
    folded = {"type": "prefix_changed", "path": "d/", "path_type": "common_prefix"}
    staged = lake("GET", "/branches/main/diff?delimiter=/")[1]["results"]
    assert [line["path"] for line in staged] == ["a", "d/", "z"]
    assert staged[1] == folded
    lake("POST", "/branches/main/commits", {"message": "m"})
    for kind in ("two_dot", "three_dot"):
        between = f"/refs/main~1/diff/main?type={kind}&delimiter=/"
        assert lake.paths(between) == ["a", "d/", "z"]
        assert lake.paths(f"{between}&prefix=d/") == ["d/1", "d/e/"]
        assert lake.paths(f"{between}&after=d/") == ["z"]
        assert lake.paths(f"{between}&amount=1&after=a") == ["d/"]


def test_a_two_dot_difference_has_what_is_staged_only_if_asked(lake: PlainLake) -> None:
    lake.put("main", "staged", b"1")
    assert lake.paths("/refs/main/diff/main?type=two_dot") == []
    assert lake.paths("/refs/main/diff/main$?type=two_dot") == ["staged"]
    assert lake("GET", "/refs/main$/diff/main?type=two_dot")[0] == 400
    assert lake("GET", "/refs/main/diff/main?type=bogus")[0] == 400


def test_a_page_that_begins_inside_a_folder_has_the_folder_again(lake: PlainLake) -> None:
    for path in ("a", "d/1", "d/2", "d.x", "z"):
        lake.put("main", path, b"1")
    listing = "/refs/main/objects/ls?delimiter=/"
    assert lake.paths(f"{listing}&after=d/1") == ["d/", "z"]
    assert lake.paths(f"{listing}&after=d/") == ["z"]
    assert lake.paths(f"{listing}&after=d") == ["d.x", "d/", "z"]


@pytest.mark.parametrize(
    "query",
    ["amount=1001", "amount=-2", "amount=x", "amount=", "amount=1&amount=2", "user_metadata=maybe"],
)
def test_parameters_that_the_api_rules_out_are_refused(lake: PlainLake, query: str) -> None:
    assert lake("GET", f"/refs/main/objects/ls?{query}")[0] == 400


def test_an_amount_of_nothing_is_the_usual_page(lake: PlainLake) -> None:
    for number in range(102):
        lake.put("main", f"{number:03}", b"")
    for amount, expected in (("0", 100), ("-1", 100), ("1000", 102)):
        assert len(lake.paths(f"/refs/main/objects/ls?amount={amount}")) == expected


def test_user_metadata_is_utf_8_and_left_out_where_it_is_not_wanted(lake: PlainLake) -> None:
    told = {"x-lakefs-meta-town": "Zürich".encode().decode("latin-1")}
    assert lake("POST", "/branches/main/objects?path=a", b"1", **told)[0] == 201
    lake.put("main", "b", b"1")
    stat, listing = "/refs/main/objects/stat?path=a", "/refs/main/objects/ls?x=1"
    assert lake("GET", stat)[1]["metadata"] == {"town": "Zürich"}
    assert lake("GET", f"{stat}&user_metadata=false")[1]["metadata"] == {}
    assert [o.get("metadata") for o in lake("GET", listing)[1]["results"]] == [
        {"town": "Zürich"},
        None,
    ]
    for without in ("false", "False", "0"):
        found = lake("GET", f"{listing}&user_metadata={without}")[1]["results"]
        assert not any("metadata" in line for line in found)
