"""Commits, merges, logs and differences through the official client."""

from __future__ import annotations

import json
import re

import pytest
from clients import Raw
from lakefs.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    NotFoundException,
)
from lakefs.reference import Reference
from lakefs.repository import Repository


def commit(repository: Repository, branch: str, **objects: str) -> Reference:
    target = repository.branch(branch)
    for path, content in objects.items():
        target.object(path).upload(content)
    return target.commit(f"put {', '.join(objects)} on {branch}")


def content(repository: Repository, ref: str) -> dict[str, bytes]:
    at = repository.ref(ref)
    return {found.path: at.object(found.path).reader().read() for found in at.objects()}


def test_a_commit_has_a_content_derived_id_and_its_metadata(repository: Repository) -> None:
    main = repository.branch("main")
    main.object("x").upload(b"1")
    made = main.commit("first", metadata={"run": "7"}, date=1_700_000_000).get_commit()
    assert re.fullmatch("[0-9a-f]{64}", made.id)
    assert (made.message, made.metadata, made.creation_date) == ("first", {"run": "7"}, 1700000000)
    assert made.parents == [repository.ref("main~1").get_commit().id]


def test_the_same_content_again_is_no_change(repository: Repository) -> None:
    commit(repository, "main", x="1")
    with pytest.raises(BadRequestException, match="commit: no changes"):
        commit(repository, "main", x="1")
    assert repository.branch("main").commit("anyway", allow_empty=True).get_commit().message


def test_a_merge_brings_the_sources_commits_and_has_both_parents(repository: Repository) -> None:
    work = repository.branch("work").create("main")
    theirs = commit(repository, "main", a="1")
    ours = commit(repository, "work", b="2")
    work.object("c").upload("staged on the source, so not merged")
    merged = work.merge_into("main", message="publish")
    made = repository.ref(merged).get_commit()
    assert (made.message, made.parents) == ("publish", [theirs.id, ours.id])
    assert content(repository, "main") == {"a": b"1", "b": b"2"}


def test_a_squashed_merge_has_the_destination_as_its_only_parent(repository: Repository) -> None:
    work = repository.branch("work").create("main")
    before = repository.branch("main").get_commit().id
    commit(repository, "work", b="2")
    merged = work.merge_into("main", squash_merge=True)
    assert repository.ref(merged).get_commit().parents == [before]


def test_a_conflict_is_a_409_with_a_merge_result_and_changes_nothing(
    repository: Repository, raw: Raw
) -> None:
    repository.branch("work").create("main")
    commit(repository, "main", p="main's")
    commit(repository, "work", p="work's", q="1")
    answer = raw("POST", f"repositories/{repository.id}/refs/work/merge/main", b"{}")
    assert (answer.status, json.loads(answer.body)) == (409, {"reference": ""})
    assert content(repository, "main") == {"p": b"main's"}
    repository.branch("work").merge_into("main", strategy="source-wins")
    assert content(repository, "main") == {"p": b"work's", "q": b"1"}


def test_a_merge_into_a_branch_with_staged_changes_is_refused(repository: Repository) -> None:
    work = repository.branch("work").create("main")
    commit(repository, "work", a="1")
    repository.branch("main").object("x").upload(b"staged")
    with pytest.raises(BadRequestException, match="dirty branch"):
        work.merge_into("main")


def test_a_merge_of_nothing_is_refused_unless_allowed(repository: Repository) -> None:
    work = repository.branch("work").create("main")
    with pytest.raises(BadRequestException, match="no changes"):
        work.merge_into("main")
    assert work.merge_into("main", allow_empty=True)


def test_a_protected_branch_refuses_writes_and_takes_merges(
    repository: Repository, raw: Raw
) -> None:
    base = f"repositories/{repository.id}"
    commit(repository, "main", a="1")
    rules = f"{base}/settings/branch_protection"
    assert raw("PUT", rules, b'[{"pattern": "ma*"}]').status == 204
    assert json.loads(raw("GET", rules).body) == [{"pattern": "ma*"}]
    main = repository.branch("main")
    for refused in (
        lambda: main.object("x").upload(b"1"),
        lambda: main.object("a").delete(),
        lambda: main.commit("x", allow_empty=True),
    ):
        with pytest.raises((ForbiddenException, PermissionError)):
            refused()
    errors = json.loads(
        raw("POST", f"{base}/branches/main/objects/delete", b'{"paths":["a"]}').body
    )
    assert [(e["path"], e["status_code"]) for e in errors["errors"]] == [("a", 403)]
    work = repository.branch("work").create("main")
    commit(repository, "work", b="2")
    work.merge_into("main")
    assert content(repository, "main") == {"a": b"1", "b": b"2"}


def test_protection_rules_change_only_if_nobody_else_changed_them(
    repository: Repository, raw: Raw
) -> None:
    rules = f"repositories/{repository.id}/settings/branch_protection"
    assert raw("PUT", rules, b'[{"pattern": "work"}]').status == 204
    etag = raw("GET", rules).headers["etag"]
    assert raw("PUT", rules, b'[{"pattern": "main"}]', If_Match=etag).status == 204
    assert raw("PUT", rules, b"[]", If_Match=etag).status == 412


def test_a_log_of_paths_names_the_commits_that_changed_them(repository: Repository) -> None:
    repository.branch("work").create("main")
    first = commit(repository, "main", a="1")
    second = commit(repository, "work", **{"t/b": "1"})
    repository.branch("work").merge_into("main")
    third = commit(repository, "main", a="2")
    main = repository.branch("main")
    assert [c.id for c in main.log(objects=["a"])] == [third.id, first.id]
    assert [c.id for c in main.log(prefixes=["t/"])] == [second.id]
    assert [c.id for c in main.log(objects=["t/b"], max_amount=1, amount=1)] == [second.id]
    assert len(list(main.log())) == 5
    assert len(list(main.log(first_parent=True))) == 4
    assert [c.id for c in main.log(stop_at=first.id, first_parent=True)][-1] == first.id


def test_a_log_pages_without_gap_or_repetition(repository: Repository) -> None:
    made = [commit(repository, "main", a=str(number)).id for number in range(7)]
    paged = [c.id for c in repository.branch("main").log(amount=2)]
    assert paged[:7] == made[::-1]
    assert len(paged) == len(set(paged)) == 8


def test_a_three_dot_diff_is_what_the_right_side_committed(repository: Repository) -> None:
    commit(repository, "main", a="1", gone="1")
    work = repository.branch("work").create("main")
    commit(repository, "main", later="1")
    work.object("gone").delete()
    commit(repository, "work", a="22", b="1")
    work.object("staged").upload(b"1")
    changes = [(c.type, c.path) for c in repository.ref("main").diff("work")]
    assert changes == [("changed", "a"), ("added", "b"), ("removed", "gone")]
    two = {c.path: c.type for c in repository.ref("main").diff("work$", type="two_dot")}
    assert two == {
        "a": "changed", "b": "added", "gone": "removed", "later": "removed", "staged": "added",
    }  # fmt: skip
    assert [c.path for c in repository.ref("main").diff("work", prefix="b")] == ["b"]


def test_references_step_back_and_abbreviate(repository: Repository) -> None:
    first = commit(repository, "main", a="1").id
    repository.branch("work").create("main")
    ours = commit(repository, "work", b="1").id
    theirs = commit(repository, "main", c="1").id
    merged = repository.branch("work").merge_into("main")
    for ref, expected in {
        "main": merged,
        "main@": merged,
        "main^1": theirs,
        "main^2": ours,
        "main~2": first,
        "main^2~1": first,
        merged[:12]: merged,
    }.items():
        assert repository.ref(ref).get_commit().id == expected
    with pytest.raises(NotFoundException):
        repository.ref("main~9").get_commit()
    with pytest.raises(BadRequestException):
        repository.ref("main$").get_commit()


def test_revert_undoes_and_cherry_pick_repeats_a_commit(repository: Repository) -> None:
    commit(repository, "main", a="1")
    repository.branch("other").create("main")
    picked = commit(repository, "main", a="2", b="2")
    main = repository.branch("main")
    main.revert("main")
    assert content(repository, "main") == {"a": b"1"}
    made = repository.branch("other").cherry_pick(picked)
    assert made.metadata["cherry-pick-origin"] == picked.id
    assert content(repository, "other") == {"a": b"2", "b": b"2"}
    commit(repository, "other", a="3")
    with pytest.raises(ConflictException):
        repository.branch("other").revert(made.id)


def test_a_hard_reset_moves_the_branch(repository: Repository, raw: Raw) -> None:
    first = commit(repository, "main", a="1")
    commit(repository, "main", a="2")
    url = f"repositories/{repository.id}/branches/main/hard_reset?ref={first.id}"
    assert raw("PUT", url).status == 204
    assert content(repository, "main") == {"a": b"1"}


def test_branches_are_made_listed_hidden_and_deleted(repository: Repository) -> None:
    head = repository.branch("main").get_commit().id
    repository.branch("tx-1").create("main")
    repository.branch("tx-2").create(head, hidden=True)
    assert [b.id for b in repository.branches()] == ["main", "tx-1"]
    assert [b.id for b in repository.branches(show_hidden=True)] == ["main", "tx-1", "tx-2"]
    with pytest.raises(ConflictException):
        repository.branch("tx-1").create("main")
    with pytest.raises(BadRequestException):
        repository.branch("no/slash").create("main")
    with pytest.raises(NotFoundException):
        repository.branch("tx-3").create("nowhere")
    repository.branch("tx-1").delete()
    with pytest.raises(NotFoundException):
        repository.branch("tx-1").get_commit()
    with pytest.raises(ForbiddenException):
        repository.branch("main").delete()


def test_a_branch_made_again_has_nothing_staged(repository: Repository) -> None:
    branch = repository.branch("tx").create("main")
    branch.object("x").upload(b"left behind")
    branch.delete()
    branch.create("main")
    assert list(branch.uncommitted()) == []


def test_a_tag_names_a_commit_until_deleted(repository: Repository) -> None:
    made = commit(repository, "main", a="1")
    tag = repository.tag("v1.0").create(made)
    commit(repository, "main", a="2")
    assert content(repository, "v1.0") == {"a": b"1"}
    with pytest.raises(ConflictException):
        repository.tag("v1.0").create("main")
    assert [t.id for t in repository.tags()] == ["v1.0"]
    tag.delete()
    with pytest.raises(NotFoundException):
        tag.get_commit()
