"""Data branches with their record: made, merged and dropped as one thing.

The lake knows branches and Dagster's record knows none, so a data branch is a branch of the lake
and an instance of its own. Merging publishes the branch's content and reports it to the instance
of the base branch; dropping leaves no trace of either.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.cli import branch_storage
from mlops_assets.cli.execution import FailedRunError, Runner
from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.interrupts import noticed_interrupts
from mlops_assets.cli.record import INSTANCE_FILE, opened_record
from mlops_assets.files import create_whole
from mlops_assets.lake import LakeError, UnmergedError, branches
from mlops_assets.settings import MAIN, Settings

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.cli.progress import Progress
    from mlops_assets.lake import Lake

SHORT = 12
MERGE_TRIES = 3
MERGED_BRANCH = "branch"


@dataclass(frozen=True)
class Standing:
    """A data branch as `branch list` shows it.

    Attributes:
        name: Its name.
        head: The commit that it is at.
        changed: How many partitions it holds otherwise than when it parted from the base branch.
        behind: Whether the base branch has moved since.
        recorded: Whether it has an instance of its own here.
    """

    name: str
    head: str
    changed: int
    behind: bool
    recorded: bool


@dataclass(frozen=True)
class Merged:
    """What merging a data branch did.

    Attributes:
        branch: The data branch.
        base_branch: What it was merged into.
        commit: The merge commit; None where there was nothing to merge.
        partitions: How many partitions of assets it published.
        checks: How many checks passed on the merged commit.
        unfollowed: Why MLflow does not show it; None if it does.
    """

    branch: str
    base_branch: str
    commit: str | None
    partitions: int
    checks: int
    unfollowed: str | None = None

    def to_text(self) -> str:
        """One sentence."""
        if self.commit is None:
            return f"{self.branch} has nothing that {self.base_branch} lacks."
        merged = (
            f"{self.branch} is merged into {self.base_branch} by commit {self.commit[:SHORT]}: "
            f"{self.partitions} partitions, {self.checks} checks passed on what was merged."
        )
        return f"{merged}\n{self.unfollowed}" if self.unfollowed else merged

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return asdict(self)


def create(found: Settings, lake: Lake, graph: dg.AssetGraph, name: str, source: str | None) -> str:
    """Make a data branch and its instance, which is told what the branch holds.

    Args:
        found: The settings of the base branch.
        lake: The lake of the base branch.
        graph: The assets.
        name: The branch's name.
        source: What it starts from; the base branch's head if None.

    Returns:
        Its head.

    Raises:
        LakeError: The name is not usable or taken, or there is no such source.
        CommandError: It is the base branch's name.
        SettingsError: Its instance cannot be made.
    """
    from mlops_assets.components.reconciliation import report, unrecorded

    there = found.on_branch(name)
    _check_name(lake, name)
    if there.branch_home.exists():
        # What a killed `create` or `drop` left would be taken for the new branch's record.
        shutil.rmtree(there.branch_home)
    head = branches.create(lake, name, source or lake.base_branch)
    try:
        _copy_configuration(found, there)
        branch = lake.on_branch(name)
        branch.create()
        with _both(there, found) as (instance, told_by):
            state = unrecorded(branch, instance, graph, by_others=True)
            report(branch, instance, graph, state.partitions, told_by=told_by)
    except BaseException:
        drop(found, lake, name, force=True)
        raise
    return head


def _check_name(lake: Lake, name: str) -> None:
    if name == lake.base_branch or name in branches.names(lake):
        raise LakeError(
            f"there is a branch {name} already: choose another name, or "
            f"`mlops-assets branch drop {name}` first."
        )
    _require_data_branch(lake, name)


def _require_data_branch(lake: Lake, name: str) -> None:
    """Refuse what is no data branch: of `main` the record is the state directory, lake and all.

    Dropped while another branch is the base, it would have taken everything with it.
    """
    if name in (lake.base_branch, MAIN):
        raise CommandError(f"{name} is the base branch: it is neither made nor dropped here.")


def _copy_configuration(found: Settings, there: Settings) -> None:
    """Give the branch's instance the launcher, coordinator and limits of the base branch's."""
    base = _configuration(found)
    if base is not None:
        copy = branch_storage.configuration(base, there.lakefs_branch)
        branch_storage.make_schema(base, there.lakefs_branch)
        there.dagster_home.mkdir(parents=True, exist_ok=True)
        create_whole(there.dagster_home / INSTANCE_FILE, copy)


def _configuration(found: Settings) -> bytes | None:
    """The base branch's `dagster.yaml`; None where it has none yet."""
    file = found.dagster_home / INSTANCE_FILE
    return file.read_bytes() if file.exists() else None


def drop(found: Settings, lake: Lake, name: str, *, force: bool = False) -> None:
    """Take a data branch away with its instance and what its failed steps left.

    Args:
        found: The settings of the base branch.
        lake: The lake of the base branch.
        name: The data branch.
        force: Also where the branch has commits that the base branch lacks, which are thrown away,
            and where the record shows a run at work: one that was killed shows so for ever.

    Raises:
        CommandError: There is no such branch, it is the base branch, or runs work on it.
        UnmergedError: The branch has commits that the base branch lacks: nothing is gone.
        LakeError: The lake does not answer or refuses.
    """
    _require_data_branch(lake, name)
    there = found.on_branch(name)
    known = name in branches.names(lake)
    if not known and not there.branch_home.is_dir():
        raise unknown(lake, name)
    kept: list[str] = []
    if (there.dagster_home / INSTANCE_FILE).exists():
        with opened_record(there) as instance:
            if not force:
                require_idle(instance, name)
            runs = {run.run_id for run in instance.get_runs()}
        kept = [branch for branch in lake.work_branches() if any(run in branch for run in runs)]
    # The instance goes last: a command killed in between finds it, and what is still to be dropped.
    branches.drop(lake, name, discard=force)
    for branch in kept:
        # Without force, what a step left unpublished stays for its post-mortem.
        with contextlib.suppress(UnmergedError):
            lake.delete_branch(branch, discard=force)
    base = _configuration(found)
    if base is not None:
        branch_storage.drop_schema(base, name)
    shutil.rmtree(there.branch_home, ignore_errors=True)
    with contextlib.suppress(OSError):
        there.branch_home.parent.rmdir()


def standings(found: Settings, lake: Lake) -> list[Standing]:
    """All data branches, by name."""
    listed = []
    for name in branches.names(lake):
        fork = branches.fork(lake, name)
        listed.append(
            Standing(
                name=name,
                head=fork.head,
                changed=len(branches.differences(lake, fork)),
                behind=fork.base != fork.base_head,
                recorded=(found.on_branch(name).dagster_home / INSTANCE_FILE).exists(),
            )
        )
    return listed


def merge(
    found: Settings, lake: Lake, definitions: dg.Definitions, name: str, progress: Progress
) -> Merged:
    """Publish all of a data branch at once, after the checks pass on the merged commit.

    Args:
        found: The settings of the base branch.
        lake: The lake of the base branch.
        definitions: What exists.
        name: The data branch.
        progress: Where the checks tell how far they are.

    Raises:
        CommandError: There is no such branch, runs work on it, or a check failed.
        ConflictError: Both branches changed a partition.
    """
    from mlops_assets.components.reconciliation import report, unrecorded

    if name not in branches.names(lake):
        raise unknown(lake, name)
    there = found.on_branch(name)
    if (there.dagster_home / INSTANCE_FILE).exists():
        with opened_record(there) as instance:
            require_idle(instance, name)
    for _ in range(MERGE_TRIES):
        fork = branches.fork(lake, name)
        if fork.base == fork.head:
            return Merged(name, lake.base_branch, None, 0, 0)
        with branches.tried(lake, fork) as trial:
            checks = _run_checks(found, definitions, trial, name, progress)
        commit = branches.publish(lake, fork, {MERGED_BRANCH: name})
        if commit is not None:
            break
    else:
        raise CommandError(
            f"{lake.base_branch} moved {MERGE_TRIES} times while {name} was checked against it: "
            "merge again when less is published."
        )
    graph = definitions.resolve_asset_graph()
    with _both(found, there) as (instance, told_by):
        state = unrecorded(lake, instance, graph, since=fork.base_head, by_others=True)
        reported = report(lake, instance, graph, state.partitions, told_by=told_by)
    return Merged(name, lake.base_branch, commit, len(reported), checks, _follow(found, lake))


@contextlib.contextmanager
def _both(
    record: Settings, other: Settings
) -> Iterator[tuple[dg.DagsterInstance, dg.DagsterInstance]]:
    """The record to write, and the other branch's to read."""
    with opened_record(other) as told_by, opened_record(record) as instance:
        yield instance, told_by


def _follow(found: Settings, lake: Lake) -> str | None:
    """Have MLflow show what was merged; the sentence of what kept it from that, if anything."""
    from mlops_assets.defs.resources import find_tracking
    from mlops_assets.tracking.connection import TrackingError

    try:
        find_tracking(found).fill_in(lake)
    except TrackingError as error:
        return str(error)
    return None


def _run_checks(
    found: Settings, definitions: dg.Definitions, trial: Lake, name: str, progress: Progress
) -> int:
    """Run what can be checked of published tables on a lake of its own.

    Returns:
        How many checks passed.

    Raises:
        CommandError: One failed; the sentence names it.
    """
    from dagster import DagsterInstance

    from mlops_assets.components.published_tests import tests_of
    from mlops_assets.defs.resources import private_definitions

    private = private_definitions(definitions, trial)
    checks = tests_of(private.resolve_asset_graph(), trial)
    if not checks:
        return 0
    job = private.resolve_implicit_global_asset_job_def()
    # The checks of a merge that may not come are nobody's record.
    with noticed_interrupts() as stopped, DagsterInstance.ephemeral() as nobodys:
        try:
            Runner(found.home, trial, nobodys, progress, stopped).run(
                job.get_subset(asset_selection=set(), asset_check_selection=checks),
                f"checks of what merging {name} would publish",
                {},
            )
        except FailedRunError as error:
            raise CommandError(
                f"{name} is not merged, since a check fails on what the merge would publish: "
                f"{error.told} Correct it on {name}, and merge again."
            ) from error
    return len(checks)


def unknown(lake: Lake, name: str) -> CommandError:
    """That there is no such data branch, and which there are."""
    known = ", ".join(branches.names(lake)) or "none"
    return CommandError(f"there is no data branch {name}; there are: {known}.")


def require_idle(instance: dg.DagsterInstance, name: str) -> None:
    """Refuse while runs work on a branch.

    Raises:
        CommandError: A run is queued or running.
    """
    from dagster import DagsterRunStatus, RunsFilter

    statuses = [
        DagsterRunStatus.QUEUED,
        DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTING,
        DagsterRunStatus.STARTED,
        DagsterRunStatus.CANCELING,
    ]
    working = instance.get_runs(RunsFilter(statuses=statuses), limit=1)
    if working:
        raise CommandError(
            f"run {working[0].run_id} works on {name}: wait for it, or cancel it in "
            f"`mlops-assets ui --branch {name}`, and try again (`branch drop --force` throws the "
            "branch away under it)."
        )
