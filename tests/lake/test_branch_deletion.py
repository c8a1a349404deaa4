"""No branch is deleted that has what its base lacks, whatever a server says of the two."""

from __future__ import annotations

import pytest
from lake_tables import FIRST, SECOND, THIRD, content, publish, stage
from lakefs.branch import Branch
from lakefs.reference import Reference
from lakefs_sdk.api.refs_api import RefsApi

from mlops_assets.lake import Lake, LakeError, UnmergedError, branches

LIES = ["truthful", "swapped", "all merged", "nothing shared", "no changes"]


@pytest.fixture(params=LIES)
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the server says of two branches; real ones swap the two commits."""
    kind = str(request.param)
    ask, compare = RefsApi.find_merge_base, RefsApi.diff_refs

    def find(api: RefsApi, *args: object, **kwargs: object) -> object:
        found = ask(api, *args, **kwargs)
        source, destination = found.source_commit_id, found.destination_commit_id
        if kind == "swapped":
            found.source_commit_id, found.destination_commit_id = destination, source
        if kind == "all merged":
            found.base_commit_id = source
        if kind == "nothing shared":
            found.base_commit_id = "0" * 64
        return found

    def diff(api: RefsApi, *args: object, **kwargs: object) -> object:
        found = compare(api, *args, **kwargs)
        if kind == "no changes" and kwargs.get("type") == "three_dot":
            found.results, found.pagination.has_more = [], False
        return found

    monkeypatch.setattr(RefsApi, "find_merge_base", find)
    monkeypatch.setattr(RefsApi, "diff_refs", diff)
    return kind


@pytest.fixture
def experiment(lake: Lake) -> Lake:
    """A data branch with work of its own, beside a base branch that has moved on."""
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    branches.create(lake, "exp", "main")
    publish(lake, "tx-b", {SECOND: {"a": b"2"}})
    publish(lake.on_branch("exp"), "tx-c", {THIRD: {"a": b"3"}})
    return lake.on_branch("exp")


def test_a_branch_with_work_of_its_own_stays_whatever_the_server_says(
    lake: Lake, experiment: Lake, told: str
) -> None:
    head = experiment.head()
    for delete in (branches.drop, Lake.delete_branch):
        with pytest.raises(UnmergedError, match=r"exp has commits that main lacks.*branch merge"):
            delete(lake, "exp")
    assert experiment.head() == head
    assert branches.names(lake) == ["exp"]


@pytest.mark.parametrize("told", ["truthful", "swapped"], indirect=True)
def test_a_branchs_work_is_seen_and_merged_in_whichever_order_the_server_names_the_two(
    lake: Lake, experiment: Lake, told: str
) -> None:
    fork = branches.fork(lake, "exp")
    assert (fork.head, fork.base_head) == (experiment.head(), lake.head())
    assert [str(change.key) for change in branches.differences(lake, fork)] == [str(THIRD)]

    assert branches.publish(lake, fork, {}) == lake.head()

    assert set(content(lake.snapshot())) == {"day=2013-01-01", "day=2013-01-02", "day=2013-01-03"}
    branches.drop(lake, "exp")
    assert branches.names(lake) == []


def test_a_branch_without_work_of_its_own_goes(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    branches.create(lake, "exp", "main")
    publish(lake, "tx-b", {SECOND: {"a": b"2"}})

    branches.drop(lake, "exp")

    assert branches.names(lake) == []


def test_a_commit_that_came_after_the_merge_keeps_its_branch(lake: Lake, experiment: Lake) -> None:
    fork = branches.fork(lake, "exp")
    publish(experiment, "tx-late", {SECOND: {"a": b"late"}})
    branches.publish(lake, fork, {})

    with pytest.raises(UnmergedError):
        branches.drop(lake, "exp")


def test_a_refused_branch_stays_protected(lake: Lake, experiment: Lake) -> None:
    api = lake.client.sdk_client.repositories_api
    experiment.create()
    with pytest.raises(UnmergedError):
        branches.drop(lake, "exp")
    rules = api.get_branch_protection_rules(lake.repository)
    assert {rule.pattern for rule in rules} == {"exp", "main"}

    branches.drop(lake, "exp", discard=True)
    assert branches.names(lake) == []


@pytest.mark.parametrize("told", ["truthful", "swapped"], indirect=True)
def test_a_published_steps_work_branch_goes(lake: Lake, told: str) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    assert lake.work_branches() == []


def test_a_step_whose_merge_brought_nothing_fails_and_keeps_its_branch(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Branch, "merge_into", lambda *_, **__: lake.head())
    with pytest.raises(UnmergedError, match=r"says that it merged tx-a.*tx-a keeps it"):
        publish(lake, "tx-a", {FIRST: {"a": b"1"}})

    assert content(lake.snapshot()) == {}
    assert lake.work_branches() == ["tx-a"]
    assert content(lake.snapshot("tx-a")) == {"day=2013-01-01": {"a": b"1"}}


def test_a_data_branch_whose_merge_brought_nothing_is_not_said_to_be_merged(
    lake: Lake, experiment: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reference, "merge_into", lambda *_, **__: lake.head())
    with pytest.raises(UnmergedError, match=r"says that it merged exp"):
        branches.publish(lake, branches.fork(lake, "exp"), {})
    assert branches.names(lake) == ["exp"]


def test_what_a_step_wrote_and_never_committed_keeps_its_branch(lake: Lake) -> None:
    transaction = lake.transaction("tx-a", ["raw/flights"])
    with pytest.raises(LakeError, match="ended without"), transaction:
        stage(transaction, {FIRST: {"a": b"1"}})

    with pytest.raises(UnmergedError, match="tx-a has uncommitted changes that main lacks"):
        lake.delete_branch("tx-a")

    assert lake.work_branches() == ["tx-a"]
