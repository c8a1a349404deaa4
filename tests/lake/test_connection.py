"""A server that fails is one sentence, with what to do."""

import dataclasses
import json
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
from lakefs_sdk.exceptions import ApiException
from lakefs_sdk.models.repository_creation import RepositoryCreation

from mlops_assets.lake import (
    Credentials,
    Lake,
    LakeError,
    UnreachableLakeError,
    answers,
    branches,
    repositories,
)


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
    for missing in ("no-such-branch", "0123456789ab", "main~99"):
        named = (
            rf"^lakeFS at http://127.0.0.1:\d+ refused: '{missing}' names no branch, tag or commit"
        )
        for look in (lake.snapshot, lake.head, lake.commit_info):
            with pytest.raises(LakeError, match=named):
                look(missing)


def test_many_processes_may_make_one_repository_at_once(lake: Lake) -> None:
    name = f"{lake.repository}-shared"

    def create(_: int) -> str:
        again = Lake(lake.credentials, repository=name, base_branch="main", scratch=lake.scratch)
        again.create()
        return again.head()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(create, range(8)))) == 1


def overtake(lake: Lake, monkeypatch: pytest.MonkeyPatch, patterns: list[str]) -> None:
    """Have somebody else set rules right after each of the next looks at them."""
    from lakefs_sdk.models.branch_protection_rule import BranchProtectionRule

    api = lake.client.sdk_client.repositories_api
    look = api.get_branch_protection_rules_with_http_info
    rest = list(patterns)

    def overtaken(*args: object, **kwargs: object) -> object:
        answer = look(*args, **kwargs)
        if rest:
            now = [*look(*args, **kwargs).data, BranchProtectionRule(pattern=rest.pop())]
            api.set_branch_protection_rules(lake.repository, now)
        return answer

    monkeypatch.setattr(api, "get_branch_protection_rules_with_http_info", overtaken)


def rules_of(lake: Lake) -> set[str]:
    api = lake.client.sdk_client.repositories_api
    return {rule.pattern for rule in api.get_branch_protection_rules(lake.repository)}


@pytest.mark.parametrize("before", [[], ["main-*"]])
def test_a_protection_rule_that_somebody_sets_meanwhile_stays(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, before: list[str]
) -> None:
    """Also where there were none before: such rules have no ETag on a real server."""
    from lakefs_sdk.models.branch_protection_rule import BranchProtectionRule

    lake.client.sdk_client.repositories_api.set_branch_protection_rules(
        lake.repository, [BranchProtectionRule(pattern=pattern) for pattern in before]
    )
    overtake(lake, monkeypatch, ["release-*"])

    lake.create()

    assert rules_of(lake) == {*before, "release-*", lake.base_branch}


def test_a_rule_is_taken_out_beside_many_that_are_set_meanwhile(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [f"release-{number}" for number in range(4)]
    overtake(lake, monkeypatch, others)

    lake.unprotect(lake.base_branch)

    assert rules_of(lake) == set(others)


def test_one_rule_is_changed_by_the_server_itself_where_rules_have_no_etag(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = lake.client.sdk_client.repositories_api
    look = api.get_branch_protection_rules_with_http_info

    def without_etag(*args: object, **kwargs: object) -> object:
        answer = look(*args, **kwargs)
        answer.headers = {"ETag": ""}
        return answer

    overtake(lake, monkeypatch, ["release-*"])
    lake.unprotect(lake.base_branch)
    monkeypatch.setattr(api, "get_branch_protection_rules_with_http_info", without_etag)
    lake.create()
    assert rules_of(reopened(lake)) == {"release-*", lake.base_branch}

    lake.unprotect(lake.base_branch)
    assert rules_of(reopened(lake)) == {"release-*"}


def refusal(status: int, message: str) -> ApiException:
    error = ApiException(status=status, reason="No")
    error.body = json.dumps({"message": message})
    return error


def storing(lake: Lake, kind: str, prefix: str | None) -> Lake:
    """The lake as a client sees it whose server says so much of its storage."""
    other = reopened(lake)
    other.repository = f"{lake.repository}-new"
    changed = {"blockstore_type": kind, "default_namespace_prefix": prefix}
    other.storage = lake.storage.copy(update=changed)
    return other


@pytest.mark.parametrize(
    ("kind", "prefix", "place"),
    [
        ("local", "local://", "local://{}"),
        ("local", "local://lake", "local://lake/{}"),
        ("local", None, "local://{}"),
        ("local", "", "local://{}"),
        ("mem", None, "mem://{}"),
        ("s3", "s3://bucket", "s3://bucket/{}"),
        ("s3", "s3://bucket/pre/", "s3://bucket/pre/{}"),
        ("gs", "gs://bucket/a/b", "gs://bucket/a/b/{}"),
        ("azure", "https://account.example/box/", "https://account.example/box/{}"),
    ],
)
def test_a_new_repository_lies_where_the_servers_settings_say(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, kind: str, prefix: str | None, place: str
) -> None:
    other = storing(lake, kind, prefix)
    asked = []

    def create(wanted: RepositoryCreation) -> object:
        asked.append(wanted.storage_namespace)
        return lake.client.sdk_client.repositories_api.create_repository(
            wanted.copy(update={"storage_namespace": lake_namespace(lake, wanted.name)})
        )

    api = other.client.sdk_client.repositories_api
    monkeypatch.setattr(api, "create_repository", create)
    other.create()

    assert asked == [place.format(other.repository)]
    assert other.exists()


def lake_namespace(lake: Lake, name: str) -> str:
    """A place that the server takes, beside the one of a repository that it has."""
    api = lake.client.sdk_client.repositories_api
    return f"{api.get_repository(lake.repository).storage_namespace}-{name}"


@pytest.mark.parametrize("prefix", [None, ""])
def test_a_server_that_says_no_place_is_asked_for_none_where_the_repository_exists(
    lake: Lake, prefix: str | None
) -> None:
    missing = storing(lake, "s3", prefix)
    with pytest.raises(LakeError, match="settings do not say where to keep one: create it there"):
        missing.create()
    assert not missing.exists()

    missing.repository = lake.repository
    missing.create()


def test_a_place_that_a_deleted_repository_has_used_is_named(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = storing(lake, "s3", "s3://bucket")

    def refuse(_: object) -> None:
        raise refusal(400, "failed to create repository: storage namespace already in use")

    monkeypatch.setattr(repositories, "WAITS", (0, 0))
    monkeypatch.setattr(other.client.sdk_client.repositories_api, "create_repository", refuse)

    with pytest.raises(LakeError, match=r"s3://bucket/.* was deleted. Set LAKEFS_REPOSITORY"):
        other.create()


@pytest.mark.parametrize("status", [400, 409])
def test_the_loser_of_a_race_for_a_repository_waits_for_the_winners(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The place is used before the repository can be seen."""
    other = storing(lake, "s3", "s3://bucket")
    api = other.client.sdk_client.repositories_api
    looks = iter(range(100))
    look = api.get_repository

    def overtaken(_: object) -> None:
        raise refusal(status, "storage namespace already in use")

    def seen_late(name: str) -> object:
        if next(looks) == 2:
            lake.client.sdk_client.repositories_api.create_repository(
                RepositoryCreation(
                    name=name, storage_namespace=lake_namespace(lake, name), storage_id=None
                )
            )
        return look(name)

    monkeypatch.setattr(repositories, "WAITS", (0, 0))
    monkeypatch.setattr(api, "create_repository", overtaken)
    monkeypatch.setattr(api, "get_repository", seen_late)

    other.create()

    assert rules_of(other) == {other.base_branch}


def test_a_read_only_repository_says_so_and_can_be_read(lake: Lake) -> None:
    name = f"{lake.repository}-kept"
    lake.client.sdk_client.repositories_api.create_repository(
        RepositoryCreation(
            name=name,
            storage_namespace=lake_namespace(lake, name),
            storage_id=None,
            read_only=True,
        )
    )
    kept = reopened(lake)
    kept.repository = name

    for write in (
        kept.create,
        lambda: branches.create(kept, "exp", "main"),
        lambda: publish(kept, "tx-a", {FIRST: {"a": b"1"}}),
    ):
        with pytest.raises(LakeError, match=r"is read-only: .* set LAKEFS_REPOSITORY"):
            write()
    assert content(kept.snapshot()) == {}


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        (401, "insufficient permissions: fs:CreateBranch", "does not permit this .*CreateBranch"),
        (403, "cannot commit to protected branch", "refused: cannot commit to protected branch"),
        (403, "access denied by the object store", "refused: access denied by the object store"),
        (403, "read-only repository", "is read-only"),
    ],
)
def test_what_a_server_forbids_is_told_from_wrong_credentials(
    lake: Lake, status: int, message: str, told: str
) -> None:
    with pytest.raises(LakeError, match=told) as caught, lake.errors():
        raise refusal(status, message)
    assert not isinstance(caught.value, UnreachableLakeError)


def test_opening_a_lake_removes_the_folders_of_transactions_killed_a_day_ago(lake: Lake) -> None:
    ages = {"tx-killed": 25, "tx-running": 23, "downloads": 25, "tables": 25}
    for name, hours in ages.items():
        (lake.scratch / name / "raw").mkdir(parents=True)
        then = time.time() - hours * 3600
        os.utime(lake.scratch / name, (then, then))
    (lake.scratch / "tx-link").symlink_to(lake.scratch / "tables")

    lake.create()

    assert {path.name for path in lake.scratch.iterdir()} == {*ages, "tx-link"} - {"tx-killed"}
