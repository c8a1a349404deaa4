"""A step's results reach the base branch whole or not at all, and one writer wins."""

# ruff: noqa: PT012  # an error is to pass through the transaction that it ends

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from lake_tables import FIRST, SECOND, THIRD, content, day, publish, put, stage

from mlops_assets.lake import ConflictError, Lake, LakeError, Publication, TablePartition


def test_nothing_shows_before_publishing_and_all_tables_at_once_after(lake: Lake) -> None:
    other = day("2013-01-01", "raw/weather")
    with lake.transaction("tx-a", ["raw/flights", "raw/weather"]) as transaction:
        stage(transaction, {FIRST: {"a": b"1"}, other: {"b": b"2"}})
        before = lake.snapshot()
        assert content(before) == {}
        transaction.publish("both", {})

    after = lake.snapshot()
    assert content(after) == {"day=2013-01-01": {"a": b"1"}}
    assert content(after, "raw/weather") == {"day=2013-01-01": {"b": b"2"}}
    assert lake.commit_info(after.commit)["parents"][0] == before.commit
    assert content(before) == {}


def test_a_work_commit_is_named_by_its_pin_and_says_who_made_it(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    published = publish(lake, "tx-b", {SECOND: {"a": b"2"}}, run="run-b")

    assert published.commit is not None
    commit = lake.commit_info(published.commit)
    assert commit["parents"] == [published.pin]
    assert commit["message"] == "made by tx-b"
    assert commit["metadata"]["dagster/run_id"] == "run-b"
    assert lake.head() == published.merge
    assert [part.commit for part in published.partitions] == [published.commit]
    assert lake.work_branches() == []


def test_another_steps_table_can_be_neither_written_nor_removed(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    with (
        pytest.raises(LakeError, match="may write raw/weather and tried to write raw/flights"),
        lake.transaction("tx-b", ["raw/weather"]) as transaction,
    ):
        stage(transaction, {FIRST: {"a": b"2"}})
    with (
        pytest.raises(LakeError, match="may not remove from raw/flights"),
        lake.transaction("tx-c", ["raw/weather"]) as transaction,
    ):
        transaction.remove([FIRST])
    assert content(lake.snapshot()) == {"day=2013-01-01": {"a": b"1"}}


def test_an_unchanged_partition_is_not_uploaded_and_keeps_its_first_name(lake: Lake) -> None:
    first = publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    head = lake.head()
    with lake.transaction("tx-b", ["raw/flights"]) as transaction:
        stage(transaction, {FIRST: {"a": b"1"}})
        assert list(lake.repo().branch("tx-b").uncommitted()) == []
        again = transaction.publish("again", {})

    assert (again.commit, again.merge, lake.head()) == (None, None, head)
    [part] = again.partitions
    assert (part.changed, part.commit, part.pin) == (False, first.commit, first.pin)


def test_unchanged_partitions_are_each_named_by_the_commit_that_made_them(lake: Lake) -> None:
    makers = {
        FIRST: publish(lake, "tx-a", {FIRST: {"a": b"1"}}),
        SECOND: publish(lake, "tx-b", {SECOND: {"a": b"2"}}),
    }
    publish(lake, "tx-c", {day("2013-01-01", "raw/weather"): {"a": b"3"}})

    mixed = publish(lake, "tx-d", {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}, THIRD: {"a": b"4"}})

    assert {part.key: (part.commit, part.pin, part.changed) for part in mixed.partitions} == {
        FIRST: (makers[FIRST].commit, makers[FIRST].pin, False),
        SECOND: (makers[SECOND].commit, makers[SECOND].pin, False),
        THIRD: (mixed.commit, mixed.pin, True),
    }


def test_content_that_returned_is_named_by_the_commit_that_brought_it_back(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    publish(lake, "tx-b", {FIRST: {"a": b"2"}})
    back = publish(lake, "tx-c", {FIRST: {"a": b"1"}})

    [part] = publish(lake, "tx-d", {FIRST: {"a": b"1"}}).partitions

    assert (part.commit, part.pin) == (back.commit, back.pin)


def test_the_loser_of_a_race_names_the_winner_and_changes_nothing(lake: Lake) -> None:
    with pytest.raises(ConflictError) as caught, lake.transaction("tx-b", ["raw/flights"]) as late:
        stage(late, {FIRST: {"a": b"late"}, SECOND: {"a": b"late"}})
        winner = publish(lake, "tx-a", {FIRST: {"a": b"early"}}, run="run-of-the-winner")
        late.publish("late", {})

    assert winner.commit is not None
    assert "raw/flights day=2013-01-01" in str(caught.value)
    assert "run run-of-the-winner" in str(caught.value)
    assert f"commit {winner.commit[:12]}" in str(caught.value)
    assert lake.head() == winner.merge
    assert content(lake.snapshot()) == {"day=2013-01-01": {"a": b"early"}}
    assert lake.work_branches() == ["tx-b"]
    assert content(lake.snapshot("tx-b"))["day=2013-01-02"] == {"a": b"late"}


def test_a_writer_without_changes_loses_to_one_that_changed_its_partition(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    with (
        pytest.raises(ConflictError, match="run quick"),
        lake.transaction("tx-b", ["raw/flights"]) as late,
    ):
        stage(late, {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}})
        publish(lake, "tx-c", {FIRST: {"a": b"other"}}, run="quick")
        late.publish("late", {})
    assert content(lake.snapshot()) == {"day=2013-01-01": {"a": b"other"}}


def test_two_writers_of_the_same_content_both_succeed(lake: Lake) -> None:
    with lake.transaction("tx-b", ["raw/flights"]) as late:
        stage(late, {FIRST: {"a": b"1"}})
        publish(lake, "tx-a", {FIRST: {"a": b"1"}})
        late.publish("late", {})
    assert content(lake.snapshot()) == {"day=2013-01-01": {"a": b"1"}}


def test_writers_of_disjoint_partitions_all_publish(lake: Lake) -> None:
    days = [day(f"2013-01-{number:02}") for number in range(1, 9)]
    with ThreadPoolExecutor(len(days)) as pool:
        list(pool.map(lambda key: publish(lake, f"tx-{key.partition.path[-2:]}", _one(key)), days))
    assert content(lake.snapshot()) == {
        str(key.partition): {"a": str(key).encode()} for key in days
    }


def _one(key: TablePartition) -> dict[TablePartition, dict[str, bytes]]:
    return {key: {"a": str(key).encode()}}


def test_a_rewritten_partition_loses_the_files_that_it_no_longer_has(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"kept": b"1", "changed": b"2", "dropped": b"3"}})
    publish(lake, "tx-b", {FIRST: {"kept": b"1", "changed": b"4"}})

    assert content(lake.snapshot()) == {"day=2013-01-01": {"kept": b"1", "changed": b"4"}}
    paths = [found.path for found in lake.repo().ref(lake.base_branch).objects()]
    assert paths == [f"{FIRST.folder}{name}" for name in ("_manifest.json", "changed", "kept")]


def test_a_removed_partition_disappears_whole_and_others_stay(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}})
    with lake.transaction("tx-b", ["raw/flights"]) as transaction:
        transaction.remove([FIRST, THIRD])
        transaction.publish("remove", {})
    assert content(lake.snapshot()) == {"day=2013-01-02": {"a": b"2"}}


def remove(lake: Lake, branch: str, keys: Sequence[TablePartition]) -> Publication:
    with lake.transaction(branch, ["raw/flights"]) as transaction:
        transaction.remove(keys)
        return transaction.publish(f"made by {branch}", {"dagster/run_id": branch})


def test_removing_what_another_writer_brings_meanwhile_loses_to_it(lake: Lake) -> None:
    with (
        pytest.raises(ConflictError, match=r"flights day=2013-01-01 was .* \(run tx-b"),
        lake.transaction("tx-a", ["raw/flights"]) as late,
    ):
        stage(late, {SECOND: {"a": b"late"}})
        late.remove([FIRST])
        publish(lake, "tx-b", {FIRST: {"a": b"early"}})
        late.publish("late", {})
    assert content(lake.snapshot()) == {"day=2013-01-01": {"a": b"early"}}


def test_removing_what_another_writer_changes_meanwhile_names_the_winner(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    with (
        pytest.raises(ConflictError, match=r"flights day=2013-01-01 was .* \(run tx-c"),
        lake.transaction("tx-b", ["raw/flights"]) as late,
    ):
        late.remove([FIRST])
        publish(lake, "tx-c", {FIRST: {"a": b"2"}})
        late.publish("late", {})
    assert content(lake.snapshot()) == {"day=2013-01-01": {"a": b"2"}}


def test_changing_what_another_writer_removes_meanwhile_names_the_winner(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    with (
        pytest.raises(ConflictError, match=r"flights day=2013-01-01 was .* \(run tx-c"),
        lake.transaction("tx-b", ["raw/flights"]) as late,
    ):
        stage(late, {FIRST: {"a": b"2"}})
        remove(lake, "tx-c", [FIRST])
        late.publish("late", {})
    assert content(lake.snapshot()) == {}


def test_two_writers_that_remove_the_same_partition_both_succeed(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    with lake.transaction("tx-b", ["raw/flights"]) as late:
        late.remove([FIRST])
        remove(lake, "tx-c", [FIRST])
        late.publish("late", {})
    assert content(lake.snapshot()) == {}


@pytest.mark.parametrize("winner", ["changes", "removes"])
def test_a_publication_names_what_the_merge_holds_where_another_writer_came_right_before(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, winner: str
) -> None:
    from lakefs.branch import Branch

    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    merge_into = Branch.merge_into
    theirs: list[Publication] = []

    def overtaken(branch: Branch, *args: object, **kwargs: object) -> object:
        monkeypatch.setattr(Branch, "merge_into", merge_into)
        theirs.append(
            publish(lake, "tx-c", {FIRST: {"a": b"other"}})
            if winner == "changes"
            else remove(lake, "tx-c", [FIRST])
        )
        return merge_into(branch, *args, **kwargs)

    monkeypatch.setattr(Branch, "merge_into", overtaken)
    ours = publish(lake, "tx-b", {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}})

    head = lake.snapshot().stored("raw/flights")
    assert {part.key.partition: part.manifest for part in ours.partitions} == {
        partition: stored.manifest for partition, stored in head.items()
    }
    names = {part.key: (part.commit, part.pin, part.changed) for part in ours.partitions}
    assert names.pop(SECOND) == (ours.commit, ours.pin, True)
    assert names == (
        {FIRST: (theirs[0].commit, theirs[0].pin, False)} if winner == "changes" else {}
    )


def test_after_the_merge_a_failing_server_does_not_lose_the_publication(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    with monkeypatch.context() as patch:
        _unreachable_after_a_merge(patch)
        published = publish(lake, "tx-b", {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}})

    assert lake.head() == published.merge
    assert {part.key: part.changed for part in published.partitions} == {FIRST: False, SECOND: True}
    assert lake.work_branches() == ["tx-b"]


def _unreachable_after_a_merge(patch: pytest.MonkeyPatch) -> None:
    import urllib3
    from lakefs.branch import Branch

    merge_into = Branch.merge_into

    def refuse(*_: object, **__: object) -> None:
        raise urllib3.exceptions.HTTPError("connection lost")

    def merge_and_lose(branch: Branch, *args: object, **kwargs: object) -> object:
        merge = merge_into(branch, *args, **kwargs)
        patch.setattr(urllib3.PoolManager, "urlopen", refuse)
        return merge

    patch.setattr(Branch, "merge_into", merge_and_lose)


def test_a_server_that_fails_while_names_are_looked_up_leaves_the_base_branch(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakefs.exceptions import ServerException
    from lakefs.reference import Reference

    def fail(*_: object, **__: object) -> None:
        raise ServerException(500, "broken")

    before = publish(lake, "tx-a", {FIRST: {"a": b"1"}}).merge
    monkeypatch.setattr(Reference, "log", fail)
    with pytest.raises(LakeError, match="refused: broken"):
        publish(lake, "tx-b", {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}})
    assert lake.head() == before


def test_a_transaction_that_cannot_open_leaves_no_folder(lake: Lake) -> None:
    lake.repo().branch("tx-a").create(lake.base_branch)
    with pytest.raises(ConflictError), lake.transaction("tx-a", ["raw/flights"]):
        pass
    assert list(lake.scratch.glob("*")) == []


def test_a_failed_transaction_leaves_its_branch_with_what_was_written(lake: Lake) -> None:
    with pytest.raises(ZeroDivisionError), lake.transaction("tx-a", ["raw/flights"]) as failing:
        stage(failing, {FIRST: {"a": b"1"}})
        raise ZeroDivisionError
    head = lake.head()
    assert content(lake.snapshot()) == {}
    assert lake.work_branches() == ["tx-a"]
    assert not failing.scratch.exists()
    [path] = [
        found.path
        for found in lake.repo().branch("tx-a").objects(prefix=FIRST.folder)
        if found.path != FIRST.manifest_path
    ]
    assert lake.repo().branch("tx-a").object(path).reader(pre_sign=False).read() == b"1"
    publish(lake, "tx-b", {FIRST: {"a": b"1"}})
    assert lake.head() != head


def test_a_rejected_result_is_committed_to_its_branch_for_the_post_mortem(lake: Lake) -> None:
    with pytest.raises(ZeroDivisionError), lake.transaction("tx-a", ["raw/flights"]) as rejected:
        stage(rejected, {FIRST: {"a": b"1"}})
        kept = rejected.keep("rejected", {"dagster/run_id": "r"})
        raise ZeroDivisionError
    assert content(lake.snapshot(kept)) == {"day=2013-01-01": {"a": b"1"}}
    assert lake.commit_info(kept)["metadata"] == {"dagster/run_id": "r"}
    assert content(lake.snapshot()) == {}


def test_a_commit_that_the_server_refuses_is_not_taken_for_nothing_to_commit(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakefs.branch import Branch
    from lakefs.exceptions import BadRequestException

    def refuse(*_: object, **__: object) -> None:
        raise BadRequestException(400, "Bad Request", '{"message": "metadata too long"}')

    monkeypatch.setattr(Branch, "commit", refuse)
    with (
        pytest.raises(LakeError, match="metadata too long"),
        lake.transaction("tx-a", ["raw/flights"]) as rejected,
    ):
        stage(rejected, {FIRST: {"a": b"1"}})
        rejected.keep("rejected", {})


def test_keeping_what_equals_the_pinned_state_commits_nothing(lake: Lake) -> None:
    head = publish(lake, "tx-a", {FIRST: {"a": b"1"}}).merge
    with pytest.raises(ZeroDivisionError), lake.transaction("tx-b", ["raw/flights"]) as same:
        stage(same, {FIRST: {"a": b"1"}})
        assert same.keep("rejected", {}) == head
        raise ZeroDivisionError


def test_a_transaction_that_nobody_publishes_is_an_error(lake: Lake) -> None:
    with (
        pytest.raises(LakeError, match="tx-a ended without `publish`"),
        lake.transaction("tx-a", ["raw/flights"]) as transaction,
    ):
        stage(transaction, {FIRST: {"a": b"1"}})


def test_what_others_publish_meanwhile_does_not_reach_an_open_transaction(lake: Lake) -> None:
    with lake.transaction("tx-a", ["raw/flights"]) as transaction:
        publish(lake, "tx-b", {SECOND: {"a": b"2"}})
        assert content(transaction.snapshot) == {}
        stage(transaction, {FIRST: {"a": b"1"}})
        published = transaction.publish("first", {})
    assert published.commit is not None
    assert content(lake.snapshot(published.commit)) == {"day=2013-01-01": {"a": b"1"}}
    assert content(lake.snapshot()) == {
        "day=2013-01-01": {"a": b"1"},
        "day=2013-01-02": {"a": b"2"},
    }


def test_the_base_branch_takes_nothing_but_merges(lake: Lake) -> None:
    with pytest.raises(LakeError, match="cannot write to protected branch"), lake.errors():
        writer = lake.repo().branch(lake.base_branch).object("raw/flights/x")
        writer.upload(b"by hand", pre_sign=False)
    put(lake, "elsewhere/x", b"by a branch")
    assert content(lake.snapshot()) == {}
