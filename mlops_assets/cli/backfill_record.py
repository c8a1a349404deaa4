"""A backfill in Dagster's record: followed by its runs' events, cancelled, resumed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import DagsterEventType as Kind
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.definitions.partitions.partition_key_range import PartitionKeyRange
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.launcher import WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import (
    BACKFILL_ID_TAG,
    PARENT_BACKFILL_ID_TAG,
    ROOT_BACKFILL_ID_TAG,
)

from mlops_assets.cli.plan import RANGE_END, RANGE_START, RequestError
from mlops_assets.cli.watch import RunWatch
from mlops_assets.components import backfills
from mlops_assets.compute.local_run_launcher import worker

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset

    from mlops_assets.cli.progress import Progress

QUEUED = (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED)
FINISHED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
WATCHED = {
    Kind.STEP_START,
    Kind.STEP_SUCCESS,
    Kind.STEP_FAILURE,
    Kind.RUN_FAILURE,
    Kind.ASSET_MATERIALIZATION,
}

Part = tuple[str, str | None]
"""A partition of an asset: its key as people write it, and the partition's key."""


def find(instance: dg.DagsterInstance, backfill_id: str) -> PartitionBackfill | None:
    """The newest attempt at a backfill of assets: itself, or what resumed it; None if unknown."""
    found: PartitionBackfill | None = instance.get_backfill(backfill_id)
    if found is None or not found.is_asset_backfill:
        return None
    root = found.tags.get(ROOT_BACKFILL_ID_TAG, backfill_id)
    family = BulkActionsFilter(tags={ROOT_BACKFILL_ID_TAG: root})
    attempts: list[PartitionBackfill] = [found, *instance.get_backfills(filters=family)]
    return max(attempts, key=lambda attempt: attempt.backfill_timestamp)


def unknown(instance: dg.DagsterInstance, backfill_id: str) -> RequestError:
    """That there is no such backfill, and which are the newest."""
    known = [backfill.backfill_id for backfill in instance.get_backfills(limit=3)]
    newest = f"the newest are {', '.join(known)}" if known else "there is none"
    return RequestError(f"there is no backfill {backfill_id} of assets in the record: {newest}.")


def resumed(
    instance: dg.DagsterInstance, graph: dg.AssetGraph, ended: PartitionBackfill
) -> PartitionBackfill | None:
    """Ask for what an ended backfill did not make, as Dagster's retry from failure does.

    Returns:
        The new backfill; None if the old one made everything.
    """
    data = ended.get_asset_backfill_data(graph)
    remaining = data.target_subset - data.materialized_subset
    if remaining.is_empty:
        return None
    root = ended.tags.get(ROOT_BACKFILL_ID_TAG, ended.backfill_id)
    links = {PARENT_BACKFILL_ID_TAG: ended.backfill_id, ROOT_BACKFILL_ID_TAG: root}
    tags = {**ended.tags, **links}
    return backfills.add_subset(
        instance, remaining, tags, name=backfills.new_id(), title=ended.title
    )


def cancel(instance: dg.DagsterInstance, backfill: PartitionBackfill) -> None:
    """Ask the daemon to end a backfill and its runs."""
    # Read anew: what the daemon has noted in it since would be taken back.
    newest: PartitionBackfill = instance.get_backfill(backfill.backfill_id) or backfill
    if newest.status is BulkActionStatus.REQUESTED:
        instance.update_backfill(newest._replace(status=BulkActionStatus.CANCELING))


def give_up_dead_runs(instance: dg.DagsterInstance, backfill: PartitionBackfill) -> None:
    """Record the end of runs whose process is gone, as after a power cut.

    Only of launchers that keep runs on this machine; of others the daemon's monitoring knows. It
    knows of these too, a while later, but what it finds it fails, and a failed run may be retried
    by itself beside the backfill that is resumed.
    """
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return
    unfinished = RunsFilter(
        tags={BACKFILL_ID_TAG: backfill.backfill_id},
        statuses=[
            DagsterRunStatus.STARTING,
            DagsterRunStatus.STARTED,
            DagsterRunStatus.CANCELING,
        ],
    )
    for run in instance.get_runs(unfinished):
        if worker(run, Path(instance.root_directory)).status is not WorkerStatus.RUNNING:
            instance.report_run_canceled(run, message="The process of this run is gone.")


def is_over(backfill: PartitionBackfill) -> bool:
    """Whether nothing more happens to it."""
    return backfill.status in BULK_ACTION_TERMINAL_STATUSES


class Status(StrEnum):
    """How far a partition is."""

    DONE = "done"
    RUNNING = "running"
    QUEUED = "queued"
    FAILED = "failed"
    WAITING = "waiting"


@dataclass
class FollowedRun:
    """A run of a backfill, as far as its events have been read.

    Attributes:
        watch: What they tell.
        status: The run's.
        covers: The partitions that it is to make.
    """

    watch: RunWatch
    status: DagsterRunStatus
    covers: frozenset[Part]
    cursor: str | None = None
    read_whole: bool = False

    @property
    def failed(self) -> bool:
        """Whether it ended without success."""
        return self.status in (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)

    @property
    def partition_status(self) -> Status:
        """How far its partitions are that it has not made."""
        if self.status in QUEUED:
            return Status.QUEUED
        return Status.FAILED if self.status in FINISHED else Status.RUNNING


class _Steps:
    """What a run tells of itself that is worth a line: a step that ended well."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> _Steps:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, title: str) -> None:
        pass

    def advance(self, doing: str, done: int, total: int | None) -> None:
        pass

    def step_done(self, step: str, seconds: float, partitions: int) -> None:
        self._progress.step_done(step, seconds, partitions)


@dataclass
class Following:
    """A backfill, followed by the events of its runs.

    Attributes:
        instance: Dagster's record.
        graph: What exists.
        backfill: The backfill, as it was when last looked at.
        progress: Where steps that ended are told.
        runs: Its runs, by id.
        since: When it began to be followed, by this process's own clock.
    """

    instance: dg.DagsterInstance
    graph: dg.AssetGraph
    backfill: PartitionBackfill
    progress: Progress
    runs: dict[str, FollowedRun] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has been followed."""
        return time.monotonic() - self.since

    def look(self) -> None:
        """Read what has happened since the last look."""
        self.backfill = self.instance.get_backfill(self.backfill.backfill_id) or self.backfill
        filters = RunsFilter(tags={BACKFILL_ID_TAG: self.backfill.backfill_id})
        for run in self.instance.get_runs(filters, ascending=True):
            if run.run_id not in self.runs:
                watch = RunWatch(_Steps(self.progress), started=time.time())
                self.runs[run.run_id] = FollowedRun(watch, run.status, self._covers(run))
            followed = self.runs[run.run_id]
            followed.status = run.status
            if not followed.read_whole:
                self._read(run.run_id, followed)
                followed.read_whole = run.status in FINISHED

    def _read(self, run_id: str, followed: FollowedRun) -> None:
        more = True
        while more:
            page = self.instance.get_records_for_run(
                run_id, cursor=followed.cursor, of_type=WATCHED, limit=5000
            )
            for record in page.records:
                followed.watch(record.event_log_entry)
            followed.cursor, more = page.cursor, page.has_more

    def _covers(self, run: dg.DagsterRun) -> frozenset[Part]:
        found: set[Part] = set()
        for asset in run.asset_selection or ():
            definition = self.graph.get(asset).partitions_def
            name = asset.to_user_string()
            if definition is None:
                found.add((name, None))
                continue
            first = run.tags.get(RANGE_START) or run.tags["dagster/partition"]
            last = run.tags.get(RANGE_END) or first
            span = PartitionKeyRange(first, last)
            found |= {(name, key) for key in definition.get_partition_keys_in_range(span)}
        return frozenset(found)

    def statuses(self) -> dict[Part, Status]:
        """How far each partition is that the backfill is to make."""
        data = self.backfill.get_asset_backfill_data(self.graph)
        found = dict.fromkeys(_parts(data.target_subset), Status.WAITING)
        for run in self.runs.values():
            made = run.watch.published & found.keys()
            found |= dict.fromkeys((run.covers & found.keys()) - made, run.partition_status)
            found |= dict.fromkeys(made, Status.DONE)
        return found

    def counts(self) -> dict[Status, int]:
        """How many partitions are how far."""
        found = Counter(self.statuses().values())
        return {status: found[status] for status in Status}


def _parts(subset: AssetGraphSubset) -> list[Part]:
    return [
        (part.asset_key.to_user_string(), part.partition_key)
        for part in subset.iterate_asset_partitions()
    ]
