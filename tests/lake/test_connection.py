"""A server that fails is one sentence, with what to do."""

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from lake_tables import FIRST, content, publish

from mlops_assets.lake import Credentials, Lake, LakeError, UnreachableLakeError, answers


def reopened(lake: Lake, **changes: str) -> Lake:
    credentials = dataclasses.replace(lake.credentials, **changes)
    return Lake(credentials, repository=lake.repository, base_branch="main", scratch=lake.scratch)


def test_an_endpoint_at_which_nobody_answers_is_named(lake: Lake) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnreachableLakeError, match=f"no lakeFS server answers at {endpoint}"):
            reopened(lake, endpoint=endpoint).create()


def test_a_server_that_accepts_and_says_nothing_is_given_up(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ANSWER_SECONDS", {"GET": 0.2})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnreachableLakeError, match=f"no lakeFS server answers at {endpoint}"):
            reopened(lake, endpoint=endpoint).head()


@contextmanager
def no_lakefs(tmp_path: Path, thinks: float = 0) -> Iterator[Lake]:
    """A lake at a server that knows no address, and takes so many seconds to say so."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(thinks)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{other.server_port}"
        yield Lake(
            Credentials(endpoint, "key", "secret"),
            repository="tables",
            base_branch="main",
            scratch=tmp_path,
        )
        other.shutdown()


def test_a_server_that_is_no_lakefs_is_told_from_wrong_credentials(tmp_path: Path) -> None:
    with no_lakefs(tmp_path) as lake:
        endpoint = lake.credentials.endpoint
        with pytest.raises(UnreachableLakeError, match=f"^{endpoint} answers 404, as no lakeFS"):
            lake.create()


def test_an_answer_may_take_longer_than_making_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "CONNECT_SECONDS", 0.3)
    with (
        no_lakefs(tmp_path, thinks=0.6) as lake,
        pytest.raises(UnreachableLakeError, match="answers 404"),
    ):
        lake.create()


@pytest.mark.parametrize("wrong", ["access_key_id", "secret_access_key"])
def test_a_refused_key_is_named_and_not_shown(lake: Lake, wrong: str) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    stranger = reopened(lake, **{wrong: "not-the-key"})
    with pytest.raises(
        UnreachableLakeError, match="refuses the credentials: correct LAKECTL_"
    ) as caught:
        stranger.create()
    with pytest.raises(UnreachableLakeError, match="refuses the credentials"):
        stranger.snapshot()
    assert lake.credentials.secret_access_key not in f"{caught.value} {lake.credentials!r}"
    assert content(lake.snapshot()) == {"day=2013-01-01": {"a": b"1"}}


def test_a_base_branch_that_does_not_exist_is_not_made(lake: Lake) -> None:
    other = Lake(
        lake.credentials, repository=lake.repository, base_branch="mian", scratch=lake.scratch
    )
    with pytest.raises(
        LakeError, match=r"has no branch 'mian': create it there, or .* LAKEFS_BRANCH"
    ):
        other.create()


def test_a_commit_that_does_not_exist_is_a_sentence(lake: Lake) -> None:
    with pytest.raises(LakeError, match=r"^lakeFS at http://127.0.0.1:\d+ refused: .*not found"):
        lake.snapshot("no-such-branch")


def test_many_processes_may_make_one_repository_at_once(lake: Lake) -> None:
    name = f"{lake.repository}-shared"

    def create(_: int) -> str:
        again = Lake(lake.credentials, repository=name, base_branch="main", scratch=lake.scratch)
        again.create()
        return again.head()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(create, range(8)))) == 1


def test_a_protection_rule_that_somebody_adds_meanwhile_stays(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakefs_sdk.models.branch_protection_rule import BranchProtectionRule

    api = lake.client.sdk_client.repositories_api
    put = api.set_branch_protection_rules
    put(lake.repository, [])

    def overtaken(*args: object, **kwargs: object) -> object:
        monkeypatch.setattr(api, "set_branch_protection_rules", put)
        put(lake.repository, [BranchProtectionRule(pattern="release-*")])
        return put(*args, **kwargs)

    monkeypatch.setattr(api, "set_branch_protection_rules", overtaken)
    lake.create()

    rules = api.get_branch_protection_rules(lake.repository)
    assert {rule.pattern for rule in rules} == {"release-*", lake.base_branch}


def test_opening_a_lake_removes_the_folders_of_transactions_killed_a_day_ago(lake: Lake) -> None:
    ages = {"tx-killed": 25, "tx-running": 23, "downloads": 25, "tables": 25}
    for name, hours in ages.items():
        (lake.scratch / name / "raw").mkdir(parents=True)
        then = time.time() - hours * 3600
        os.utime(lake.scratch / name, (then, then))
    (lake.scratch / "tx-link").symlink_to(lake.scratch / "tables")

    lake.create()

    assert {path.name for path in lake.scratch.iterdir()} == {*ages, "tx-link"} - {"tx-killed"}
