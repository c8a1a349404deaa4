"""The main job, in this process: from raw data to evaluated models, run by run."""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mlops_assets.cli.faults import CommandError, interrupted, sentence
from mlops_assets.cli.plan import PROBLEM, Calendar, Launch, Request, launches
from mlops_assets.cli.watch import RunWatch

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.cli.progress import Progress
    from mlops_assets.lake import Lake
    from mlops_assets.settings import Settings


@dataclass(frozen=True)
class Finished:
    """One run that ended well.

    Attributes:
        launch: What it was.
        watch: What it did.
    """

    launch: Launch
    watch: RunWatch


class FailedRunError(CommandError):
    """A run failed.

    Attributes:
        step: The step that failed; None if the run failed outside of its steps.
        kept: The work branches that hold what the step had written.
    """

    def __init__(self, text: str, step: str | None, kept: Sequence[str]) -> None:
        super().__init__(text)
        self.step = step
        self.kept = kept


@dataclass(frozen=True)
class MainJob:
    """The main job and what surrounds it.

    Attributes:
        settings: This process's.
        lake: The lake of these settings.
        progress: Where it tells how far it is.
        stopped: Tells whether somebody asked it to stop.
    """

    settings: Settings
    lake: Lake
    progress: Progress
    stopped: Callable[[], bool]

    def run(self, request: Request) -> list[Finished]:
        """Bring what was asked for up to date.

        Returns:
            The runs, in order.

        Raises:
            RequestError: What was asked for does not exist.
            FailedRunError: A run failed; the base branch holds what the runs before it published.
            KeyboardInterrupt: Somebody stopped it.
        """
        import dagster as dg

        from mlops_assets.definitions import defs

        definitions = defs()
        plan = launches(request, calendar(definitions))
        with dg.DagsterInstance.get() as instance:
            return [self._launch(launch, definitions, instance) for launch in plan]

    def _launch(
        self, launch: Launch, definitions: dg.Definitions, instance: dg.DagsterInstance
    ) -> Finished:
        run_id = str(uuid.uuid4())
        watch = RunWatch(self.progress, started=time.time())
        instance.add_event_listener(run_id, watch)
        self.progress.begin(launch.title)
        result = definitions.resolve_job_def(launch.job).execute_in_process(
            instance=instance,
            run_id=run_id,
            partition_key=launch.partition,
            tags=dict(launch.tags),
            raise_on_error=False,
        )
        if self.stopped() or interrupted(watch.failure):
            raise KeyboardInterrupt
        if result.success:
            return Finished(launch, watch)
        told = watch.explained or sentence(watch.failure, place=str(self.settings.home))
        kept = [branch for branch in self.lake.work_branches() if run_id in branch]
        raise FailedRunError(_failure(watch.failed_step, told, kept), watch.failed_step, kept)


def calendar(definitions: dg.Definitions) -> Calendar:
    """Which partitions the definitions have."""
    import dagster as dg

    def keys(asset: str) -> dg.PartitionsDefinition[str]:
        found = definitions.resolve_asset_graph().get(dg.AssetKey(asset.split("/"))).partitions_def
        if found is None:
            raise ValueError(f"{asset} has no partitions.")
        return found

    models = keys(f"{PROBLEM}/model")
    if not isinstance(models, dg.MultiPartitionsDefinition):
        raise TypeError(f"{PROBLEM}/model is not partitioned by month and origin.")
    return Calendar(
        days=keys("raw/flights").get_partition_keys(),
        months=keys(f"{PROBLEM}/training_set").get_partition_keys(),
        origins=models.get_partitions_def_for_dimension("origin").get_partition_keys(),
    )


def _failure(step: str | None, told: str, kept: Sequence[str]) -> str:
    text = f"{step or 'the run'} failed: {told}"
    unnamed = [branch for branch in kept if branch not in text]
    if unnamed:
        text += f" Nothing of it was published; its work branch {', '.join(unnamed)} is kept."
    return text


@contextlib.contextmanager
def console_to_log(home: Path, *, shown: bool) -> Iterator[Path | None]:
    """Send what steps and Dagster print to a new file below `home`.

    Standard output never carries it, so that it holds a command's result and nothing else.

    Args:
        home: The state directory.
        shown: Show it on standard error instead.

    Yields:
        The file; None if it is shown.
    """
    if shown:
        with contextlib.redirect_stdout(sys.stderr):
            yield None
        return
    folder = home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.log"
    # Two files, because Dagster's capture of a step's output swaps the descriptor of each.
    with (
        _appended(path) as out,
        _appended(path) as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        yield path


def _appended(path: Path) -> TextIO:
    return path.open("a", buffering=1, encoding="utf-8")


def commits_of(finished: Sequence[Finished]) -> Mapping[tuple[str, str | None], str | None]:
    """The work commit that names each result of some runs, by asset and partition."""
    return {
        key: commit
        for run in finished
        for step in run.watch.steps.values()
        for key, commit in step.published.items()
    }
