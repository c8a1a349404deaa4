"""A commit says what was read for what it made: small, the same for the same, and complete."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from lake_tables import FIRST, SECOND, THIRD, day, publish, stage

from mlops_assets.lake import Input, Lake, Partition, TablePartition, Version, find_file, inputs

MADE = "features/history"


def recorded(lake: Lake, commit: str | None) -> dict[str, list[Input]]:
    assert commit is not None
    return {
        name.removeprefix(inputs.PREFIX): inputs.from_json(text)
        for name, text in lake.commit_info(commit)["metadata"].items()
        if name.startswith(inputs.PREFIX)
    }


def version(lake: Lake, key: TablePartition) -> Version:
    [stored] = lake.snapshot().stored(key.table, [key.partition]).values()
    return Version(key, stored.manifest.data_version)


def test_what_a_step_asked_for_is_recorded_and_what_it_only_listed_is_not(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}, THIRD: {"a": b"3"}})
    with lake.transaction("tx-b", [MADE]) as transaction:
        listed = transaction.snapshot.stored(FIRST.table)
        transaction.snapshot.require(FIRST.table, [FIRST.partition])
        transaction.snapshot.files([listed[SECOND.partition]])
        stage(transaction, {TablePartition(MADE): {"a": b"made"}})
        commit = transaction.publish("made", {"who": "we"}).commit

    [read] = recorded(lake, commit)[""]
    assert read.versions == (version(lake, FIRST), version(lake, SECOND))
    assert (read.table, read.partitions) == (FIRST.table, 2)
    assert lake.commit_info(str(commit))["metadata"]["who"] == "we"


def test_partitions_made_one_by_one_each_have_inputs_of_their_own(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}})
    with lake.transaction("tx-b", [MADE]) as transaction:
        for source in (FIRST, SECOND):
            transaction.reader(source.partition).read(source, "a")
            stage(transaction, {TablePartition(MADE, source.partition): {"a": b"made"}})
        commit = transaction.publish("made", {}).commit

    found = recorded(lake, commit)
    assert found.keys() == {"day=2013-01-01", "day=2013-01-02"}
    for source in (FIRST, SECOND):
        [read] = found[source.partition.path]
        assert read.versions == (version(lake, source),)


def test_what_was_read_for_an_unchanged_partition_is_not_recorded_again(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"1"}})
    publish(lake, "tx-b", {day("2013-01-01", MADE): {"a": b"made"}})
    with lake.transaction("tx-c", [MADE]) as transaction:
        for source, content in ((FIRST, b"made"), (SECOND, b"new")):
            transaction.reader(source.partition).read(FIRST, "a")
            stage(transaction, {TablePartition(MADE, source.partition): {"a": content}})
        commit = transaction.publish("made", {}).commit
    assert recorded(lake, commit).keys() == {"day=2013-01-02"}


def test_what_was_read_of_an_earlier_state_is_recorded_in_the_version_it_had(lake: Lake) -> None:
    publish(lake, "tx-a", {FIRST: {"a": b"old"}})
    old = version(lake, FIRST)
    sha256 = lake.snapshot().stored(FIRST.table)[FIRST.partition].manifest.files[0].sha256
    publish(lake, "tx-b", {FIRST: {"a": b"new"}})
    with lake.transaction("tx-c", [MADE]) as transaction:
        held = find_file(transaction.snapshot, FIRST, "a", sha256)
        assert held.read(FIRST, "a") == b"old"
        transaction.snapshot.read(FIRST, "a")
        stage(transaction, {TablePartition(MADE): {"a": b"made"}})
        commit = transaction.publish("made", {}).commit

    [read] = recorded(lake, commit)[""]
    assert set(read.versions) == {old, version(lake, FIRST)}


def days(count: int, table: str = FIRST.table) -> list[Version]:
    return [
        Version(day(str(date(2013, 1, 1) + timedelta(number)), table), f"{number:064x}")
        for number in range(count)
    ]


def test_a_year_of_ten_tables_is_recorded_in_less_than_two_kilobytes() -> None:
    versions = [found for number in range(10) for found in days(365, f"marts/table_{number}")]
    text = inputs.to_json(versions)
    assert len(text) < 2_000
    assert {read.partitions for read in inputs.from_json(text)} == {365}


@pytest.mark.parametrize("count", [1, inputs.FEW, inputs.FEW + 1])
def test_a_record_is_read_back_and_does_not_depend_on_the_order(count: int) -> None:
    versions = days(count)
    text = inputs.to_json(versions)
    assert inputs.to_json(reversed(versions)) == text
    [read] = inputs.from_json(text)
    assert read == Input.of(versions)
    assert (read.first, read.partitions) == ("day=2013-01-01", count)
    assert bool(read.versions) == (count <= inputs.FEW)


def test_many_partitions_are_found_again_at_the_pin_and_nowhere_else(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "FEW", 1)
    publish(lake, "tx-a", {FIRST: {"a": b"1"}, SECOND: {"a": b"2"}, THIRD: {"a": b"3"}})
    pin = lake.snapshot()
    expected = [version(lake, FIRST), version(lake, SECOND)]
    read = Input.of(expected)
    assert read.versions == ()
    assert read.found_at(pin) == expected
    publish(lake, "tx-b", {SECOND: {"a": b"other"}})
    assert read.found_at(lake.snapshot()) is None


def test_a_table_without_partitions_is_recorded_too(lake: Lake) -> None:
    whole: Any = TablePartition("raw/planes")
    publish(lake, "tx-a", {whole: {"a": b"1"}})
    [read] = inputs.from_json(inputs.to_json([version(lake, whole)]))
    assert read.versions == (version(lake, whole),)
    assert Partition.from_path(read.first) == Partition()
