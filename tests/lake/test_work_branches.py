"""Old work branches and copies go; what a run may still be at work on stays."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from lake_tables import FIRST, SECOND, content, publish, stage

from mlops_assets.lake import Lake, retention
from mlops_assets.lake.retention import WorkBranches, sweep_downloads, sweep_work_branches

DAY = 24 * 3600.0


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes it so many days later, to the sweep alone."""

    def later(days: float) -> None:
        now = SimpleNamespace(time=lambda: time.time() + days * DAY)
        monkeypatch.setattr(retention, "time", now)

    return later


def fail(lake: Lake, branch: str, *, staged: bool = False, committed: bool = False) -> None:
    """A transaction that leaves its work branch."""
    with (
        contextlib.suppress(RuntimeError),
        lake.transaction(branch, ["raw/flights"]) as transaction,
    ):
        if staged or committed:
            stage(transaction, {SECOND: {"data.parquet": branch.encode()}})
        if committed:
            transaction.keep("for the post-mortem", {})
        raise RuntimeError("the step fails")


def sweep(lake: Lake, days: float = 14, *, dry_run: bool = False) -> WorkBranches:
    return sweep_work_branches(lake, (), older_than=days * DAY, dry_run=dry_run)


@pytest.mark.parametrize("kind", ["staged", "committed"])
def test_a_failed_steps_branch_goes_when_it_is_old(
    lake: Lake, after: Callable[[float], None], kind: str
) -> None:
    publish(lake, "tx-first", {FIRST: {"data.parquet": b"first"}})
    fail(lake, "tx-failed", **{kind: True})

    after(13)
    assert sweep(lake) == WorkBranches(gone=(), kept=("tx-failed",))
    after(15)
    assert sweep(lake, dry_run=True) == WorkBranches(gone=("tx-failed",), kept=())
    assert lake.work_branches() == ["tx-failed"]
    assert sweep(lake) == WorkBranches(gone=("tx-failed",), kept=())
    assert lake.work_branches() == []
    assert content(lake.snapshot()) == {"day=2013-01-01": {"data.parquet": b"first"}}


def test_a_branch_that_was_just_opened_on_an_old_base_stays_until_it_was_seen_to_be_idle(
    lake: Lake, after: Callable[[float], None]
) -> None:
    publish(lake, "tx-first", {FIRST: {"data.parquet": b"first"}})
    fail(lake, "tx-empty")

    after(100)
    assert sweep(lake, 1, dry_run=True).kept == ("tx-empty",)
    assert sweep(lake, 1).kept == ("tx-empty",)
    after(100.9)
    assert sweep(lake, 0).kept == ("tx-empty",)
    after(101.1)
    assert sweep(lake, 14).kept == ("tx-empty",)
    assert sweep(lake, 1).gone == ("tx-empty",)


def test_a_branch_that_moved_since_it_was_seen_idle_is_as_young_as_its_change(
    lake: Lake, after: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with lake.temporary("tx-rebuild", lake.head()) as temporary:
        after(100)
        assert sweep(lake, 1).kept == ("tx-rebuild",)
        monkeypatch.undo()
        publish(temporary, "tx-step", {FIRST: {"data.parquet": b"first"}})
        after(0.9)
        assert sweep(lake, 0).kept == ("tx-rebuild",)


def test_no_branch_goes_within_a_day_however_little_is_to_be_kept(
    lake: Lake, after: Callable[[float], None]
) -> None:
    fail(lake, "tx-failed", committed=True)

    after(0.9)
    assert sweep(lake, 0).kept == ("tx-failed",)
    after(1.1)
    assert sweep(lake, 0).gone == ("tx-failed",)


def test_branches_that_are_no_steps_never_go(lake: Lake, after: Callable[[float], None]) -> None:
    lake.repo().branch("experiment").create("main")

    after(1000)
    assert sweep(lake) == WorkBranches((), ())
    assert {branch.id for branch in lake.repo().branches()} == {"main", "experiment"}


def test_a_branch_whose_head_somebody_keeps_by_name_stays(
    lake: Lake, after: Callable[[float], None]
) -> None:
    fail(lake, "tx-failed", committed=True)

    after(15)
    kept = sweep_work_branches(lake, {lake.head("tx-failed")}, older_than=14 * DAY)
    assert kept == WorkBranches(gone=(), kept=("tx-failed",))


def test_a_copy_that_somebody_read_lately_stays(lake: Lake) -> None:
    publish(lake, "tx-1", {FIRST: {"data.parquet": b"first"}, SECOND: {"data.parquet": b"second"}})
    content(lake.snapshot())
    copies = [path for path in (lake.scratch / "downloads").rglob("*") if path.is_file()]
    for copy in copies:
        os.utime(copy, (0, 0))
    snapshot = lake.snapshot()
    snapshot.read(FIRST, "data.parquet")

    would = sweep_downloads(lake, older_than=14 * DAY, dry_run=True)
    assert [path.exists() for path in copies] == [True] * len(copies)
    assert sweep_downloads(lake, older_than=14 * DAY) == would

    # Our own server's files on this machine need no copies.
    assert would.count == (1 if lake.store is None else 0)
    assert sum(path.exists() for path in copies) == would.count
    assert content(snapshot) == {
        "day=2013-01-01": {"data.parquet": b"first"},
        "day=2013-01-02": {"data.parquet": b"second"},
    }
