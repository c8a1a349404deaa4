"""A call or its answer is lost: the transaction finds out what happened, and goes on."""

import dataclasses
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import get_args

import pytest
from faulty_proxy import CALLS, Fault, FaultyProxy, Kind
from installation import open_lake
from lake_tables import FIRST, SECOND, THIRD, content, day, publish, stage

from mlops_assets.lake import (
    ConflictError,
    Lake,
    LakeError,
    Publication,
    UnreachableLakeError,
    answers,
)
from mlops_assets.lakefs_server import EmbeddedServer, Endpoint

_serial = count()

BEFORE = {FIRST: {"a": b"1", "b": b"1"}, SECOND: {"a": b"1"}}
AFTER = {"day=2013-01-01": {"a": b"2"}, "day=2013-01-03": {"a": b"3"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with EmbeddedServer(tmp_path_factory.mktemp("lakefs")) as endpoint:
        yield endpoint


@pytest.fixture
def lake(server: Endpoint, tmp_path: Path) -> Lake:
    return open_lake(server, tmp_path / "scratch", repository=f"tables-{next(_serial)}")


@pytest.fixture
def proxy(lake: Lake) -> Iterator[FaultyProxy]:
    with FaultyProxy(lake.credentials.endpoint) as listening:
        yield listening


@pytest.fixture
def behind(lake: Lake, proxy: FaultyProxy) -> Lake:
    """The lake as a step sees it through the proxy, with something published."""
    publish(lake, "tx-before", BEFORE)
    found = Lake(
        dataclasses.replace(lake.credentials, endpoint=proxy.address),
        repository=lake.repository,
        base_branch=lake.base_branch,
        scratch=lake.scratch,
    )
    found.create()
    return found


def change(lake: Lake, branch: str = "tx-ours") -> Publication:
    """A transaction that makes every kind of call."""
    with lake.transaction(branch, ["raw/flights"]) as transaction:
        stage(transaction, {FIRST: {"a": b"2"}, THIRD: {"a": b"3"}})
        transaction.remove([SECOND])
        return transaction.publish("ours", {"dagster/run_id": "ours"})


def merges(lake: Lake) -> list[str]:
    """What the base branch's merges brought, the newest first."""
    log = lake.repo().ref(lake.base_branch).log(first_parent=True)
    return [str(commit.message) for commit in log if len(commit.parents) == 2]


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("call", CALLS)
def test_what_a_proxy_spoils_is_published_once_and_whole_or_not_at_all(
    lake: Lake, behind: Lake, proxy: FaultyProxy, call: str, kind: Kind
) -> None:
    proxy.fault = fault = Fault(call, kind, times=2)
    if (call, kind) == ("read", "500"):
        with pytest.raises(LakeError, match="refused"):
            change(behind)
        assert merges(lake) == ["made by tx-before"]
        return
    published = change(behind)
    assert fault.struck
    assert content(lake.snapshot()) == AFTER
    assert merges(lake) == ["ours", "made by tx-before"]
    assert (lake.head(), lake.commit_info(lake.head())["parents"][1]) == (
        published.merge,
        published.commit,
    )
    assert {part.commit for part in published.partitions} == {published.commit}


def test_a_merge_whose_answer_is_lost_is_found_under_what_others_published_since(
    lake: Lake, behind: Lake, proxy: FaultyProxy
) -> None:
    other = {day("2013-01-01", "raw/weather"): {"a": b"1"}}
    proxy.fault = Fault("merge", "no answer")
    proxy.spoilt = lambda: publish(lake, "tx-other", other)
    published = change(behind)
    assert merges(lake) == ["made by tx-other", "ours", "made by tx-before"]
    assert published.merge == lake.commit_info(lake.head())["parents"][0]


@pytest.mark.parametrize("kind", ["no request", "503"])
def test_who_loses_the_race_while_his_merge_is_lost_names_the_winner(
    lake: Lake, behind: Lake, proxy: FaultyProxy, kind: Kind
) -> None:
    proxy.fault = Fault("merge", kind)
    proxy.spoilt = lambda: publish(lake, "tx-other", {FIRST: {"a": b"other"}}, run="quick")
    with pytest.raises(ConflictError, match="run quick"):
        change(behind)
    assert content(lake.snapshot())["day=2013-01-01"] == {"a": b"other"}
    assert merges(lake) == ["made by tx-other", "made by tx-before"]


def test_a_server_that_is_gone_for_good_in_the_merge_leaves_open_what_shows_and_says_so(
    lake: Lake, behind: Lake, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PATIENCE", 2)
    proxy.fault = Fault("merge", "no answer")
    proxy.spoilt = lambda: setattr(proxy, "server", "http://127.0.0.1:9")
    with pytest.raises(UnreachableLakeError, match="stopped answering in the merge of tx-ours"):
        change(behind)
    assert merges(lake) == ["ours", "made by tx-before"]

    proxy.server = lake.credentials.endpoint
    again = change(behind, "tx-again")
    assert (again.commit, content(lake.snapshot())) == (None, AFTER)


def test_a_branch_of_the_same_name_that_is_not_as_new_is_nobodys_lost_answer(
    lake: Lake, behind: Lake, proxy: FaultyProxy
) -> None:
    with lake.transaction("tx-ours", ["raw/flights"]) as theirs:
        stage(theirs, {FIRST: {"a": b"theirs"}})
        proxy.fault = Fault("branch create", "no request")
        with pytest.raises(ConflictError, match="already exists"):
            change(behind)
        theirs.publish("theirs", {})
    assert content(lake.snapshot())["day=2013-01-01"] == {"a": b"theirs"}
