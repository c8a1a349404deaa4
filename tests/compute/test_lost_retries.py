"""A run that failed is retried, whenever Dagster's daemon looks for runs that did."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.storage.dagster_run import RunRecord
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import filter_runs_to_should_retry
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster_homes import Homes

from mlops_assets.compute import event_batches

LATER = event_batches.LAG_SECONDS + 1


@pytest.fixture
def record(homes: Homes) -> Iterator[dg.DagsterInstance]:
    """A record in which every run that fails is to be retried."""
    retried = {"run_retries": {"enabled": True, "max_retries": 3}}
    home = homes.folder / "home"
    configured = {**homes.configuration("home", pooled=True), **retried}
    (home / "dagster.yaml").write_text(yaml.safe_dump(configured))
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


class Daemon(EventLogConsumerDaemon):
    """Dagster's own, which says what it would retry in place of doing it."""

    def __init__(self, record: dg.DagsterInstance) -> None:
        super().__init__()
        self._logger = logging.getLogger("daemon")
        self._record = record
        self.retried: list[str] = []
        self.look()

    @property
    def handle_updated_runs_fns(self) -> Any:
        """What becomes of runs that have ended."""
        return [self._retry]

    def look(self) -> None:
        """What it does every five seconds."""
        list(self.run_iteration(SimpleNamespace(instance=self._record)))  # type: ignore[arg-type]

    def _retry(self, _: object, runs: Sequence[RunRecord], __: object) -> Iterator[None]:
        found = filter_runs_to_should_retry([one.dagster_run for one in runs], self._record)
        self.retried += [run.run_id for run in found]
        yield


def failing(record: dg.DagsterInstance, name: str) -> dg.DagsterRun:
    run = record.create_run_for_job(dg.job(name=name)(lambda: None))
    record.report_engine_event("started", run)
    return run


@pytest.mark.parametrize("amid", ["handle_run_event", "add_run_tags"])
def test_a_daemon_that_looks_while_a_failure_is_recorded_retries_the_run(
    record: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, amid: str
) -> None:
    daemon = Daemon(record)
    before, struck = failing(record, "before"), failing(record, "struck")
    record.report_run_failed(before)
    write = getattr(record.run_storage, amid)

    def looked_at_first(*arguments: Any, **named: Any) -> Any:
        daemon.look()
        return write(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(record.run_storage, amid, looked_at_first)
        record.report_run_failed(struck)
    assert daemon.retried == [before.run_id]
    daemon.look()
    daemon.look()
    assert daemon.retried == [before.run_id, struck.run_id]


def test_a_failure_whose_writer_was_killed_holds_up_no_other_for_long(
    record: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(record)
    lost, after = failing(record, "lost"), failing(record, "after")
    with monkeypatch.context() as patch:
        patch.setattr(record.run_storage, "handle_run_event", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            record.report_run_failed(lost)
    record.report_run_failed(after)
    daemon.look()
    assert daemon.retried == []
    now = time.time()
    monkeypatch.setattr(event_batches, "time", SimpleNamespace(time=lambda: now + LATER))
    daemon.look()
    assert daemon.retried == [after.run_id]


def test_where_nothing_is_retried_nobody_waits_for_what_is_not_written(homes: Homes) -> None:
    with homes.opened("home", pooled=True) as record:
        run = failing(record, "failed")
        record.report_run_failed(run)
        found = record.event_log_storage.get_logs_for_all_runs_by_log_id(
            dagster_event_type=dg.DagsterEventType.RUN_FAILURE
        )
        assert [entry.run_id for entry in found.values()] == [run.run_id]
