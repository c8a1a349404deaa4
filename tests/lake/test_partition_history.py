"""Where a partition's versions are, what a commit changed, and branches that leave nothing."""

# ruff: noqa: PT012  # an error is to pass through the transaction that it ends

from __future__ import annotations

import pytest
from lake_tables import FIRST, SECOND, content, day, publish, put, stage

from mlops_assets.lake import (
    ConflictError,
    Lake,
    Version,
    changes,
    find_file,
    find_version,
    first_maker,
)
from mlops_assets.lake.snapshot import METADATA_KEY


def test_a_version_is_found_at_the_newest_state_that_holds_it(lake: Lake) -> None:
    states = {}
    for number, data in enumerate((b"1", b"2")):
        made = publish(lake, f"tx-{number}", {FIRST: {"a": data}})
        states[made.partitions[0].manifest.data_version] = made.commit
    publish(lake, "tx-other", {SECOND: {"a": b"3"}})
    head = lake.snapshot()
    old, new = (Version(FIRST, data_version) for data_version in states)

    found = find_version(head, old)
    assert found is not None
    assert found.commit == states[old.data_version]
    assert content(found) == {"day=2013-01-01": {"a": b"1"}}
    newest = find_version(head, new)
    assert newest is not None
    assert newest.commit == head.commit
    assert find_version(head, Version(FIRST, "0" * 64)) is None


def test_a_manifest_that_could_not_be_read_for_a_while_hides_no_older_version(lake: Lake) -> None:
    first = publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    publish(lake, "tx-b", {FIRST: {"a": b"2"}})
    put(lake, FIRST.manifest_path, b"", {METADATA_KEY: "{}"})
    publish(lake, "tx-c", {FIRST: {"a": b"2"}})
    head, wanted = lake.snapshot(), first.partitions[0].manifest

    found = find_version(head, Version(FIRST, wanted.data_version))
    assert found is not None
    assert content(found) == {"day=2013-01-01": {"a": b"1"}}
    held = find_file(head, FIRST, "a", wanted.files[0].sha256)
    assert held.commit == found.commit
    assert first_maker(head, FIRST, "a", wanted.files[0].sha256) == (first.commit, first.pin)


def test_a_commit_names_what_it_brought_or_changed_and_not_what_it_took_away(lake: Lake) -> None:
    other = day("2013-01-01", "raw/weather")
    publish(lake, "tx-a", {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}})
    with lake.transaction("tx-b", ["raw/flights", "raw/weather"]) as transaction:
        stage(transaction, {FIRST: {"a": b"changed"}, other: {"a": b"new"}})
        transaction.remove([SECOND])
        published = transaction.publish("both", {})
    assert published.commit is not None
    assert published.merge is not None
    assert changes(lake, published.commit) == [FIRST, other]
    assert changes(lake, published.merge) == [FIRST, other]
    assert changes(lake, lake.first_commit()) == []


def test_a_repository_begins_with_a_commit_that_holds_nothing(lake: Lake) -> None:
    first = lake.head()
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    assert lake.first_commit() == first
    assert content(lake.snapshot(first)) == {}


def test_a_temporary_branch_sees_its_start_and_leaves_nothing(lake: Lake) -> None:
    start = publish(lake, "tx-a", {FIRST: {"a": b"1"}}).merge
    assert start is not None
    publish(lake, "tx-b", {FIRST: {"a": b"2"}})
    head = lake.head()
    with lake.temporary("tx-temporary", start) as made:
        assert content(made.snapshot())["day=2013-01-01"] == {"a": b"1"}
        publish(made, "tx-c", {SECOND: {"a": b"3"}})
        assert content(made.snapshot()).keys() == {"day=2013-01-01", "day=2013-01-02"}
    assert lake.head() == head
    assert lake.work_branches() == []


def test_a_temporary_branch_goes_with_the_work_that_failed_on_it(lake: Lake) -> None:
    publish(lake, "tx-kept", {FIRST: {"a": b"1"}})
    with pytest.raises(ConflictError), lake.transaction("tx-kept", ["raw/flights"]) as late:
        stage(late, {FIRST: {"a": b"late"}})
        publish(lake, "tx-winner", {FIRST: {"a": b"early"}})
        late.publish("late", {})

    def fail() -> None:
        with (
            lake.temporary("tx-temporary", lake.head()) as made,
            made.transaction("tx-failed", ["raw/flights"]) as transaction,
        ):
            stage(transaction, {SECOND: {"a": b"half"}})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert lake.work_branches() == ["tx-kept"]
