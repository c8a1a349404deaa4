"""How a command carries out runs: in this process, with progress, its failures as sentences."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.watch import RunWatch
from mlops_assets.components.faults import interrupted

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.cli.progress import Progress
    from mlops_assets.lake import Lake


class FailedRunError(CommandError):
    """A run failed.

    Attributes:
        told: What failed, and why.
        step: The step that failed; None if the run failed outside of its steps.
        kept: The work branches that hold what the step had written.
    """

    def __init__(self, told: str, step: str | None, kept: Sequence[str]) -> None:
        unnamed = [branch for branch in kept if branch not in told]
        where = (
            f" Nothing of it was published; its work branch {', '.join(unnamed)} is kept."
            if unnamed
            else ""
        )
        super().__init__(f"{told}{where}")
        self.told = told
        self.step = step
        self.kept = kept


@dataclass(frozen=True)
class Runner:
    """What the runs of a command share.

    Attributes:
        home: The state directory.
        lake: The lake that the runs publish to.
        instance: Dagster's record of them.
        progress: Where it tells how far they are.
        stopped: Tells whether somebody asked it to stop.
    """

    home: Path
    lake: Lake
    instance: dg.DagsterInstance
    progress: Progress
    stopped: Callable[[], bool]

    def run(self, job: dg.JobDefinition, title: str, options: Mapping[str, Any]) -> RunWatch:
        """Run a job.

        Args:
            job: The job.
            title: What it does, for people.
            options: As `execute_in_process` takes them.

        Returns:
            What the run did.

        Raises:
            FailedRunError: It failed; the base branch holds what the runs before it published.
            KeyboardInterrupt: Somebody stopped it.
        """
        from mlops_assets.compute.run_process import own_tags, sign_of_life

        run_id = str(uuid.uuid4())
        watch = RunWatch(self.progress, started=time.time())
        self.instance.add_event_listener(run_id, watch)
        self.progress.begin(title)
        # Should this process be killed, the daemon finds that the run has nobody left.
        tags = {**options.get("tags", {}), **own_tags(run_id)}
        with sign_of_life(Path(self.instance.root_directory), run_id):
            result = job.execute_in_process(
                instance=self.instance,
                run_id=run_id,
                raise_on_error=False,
                **{**options, "tags": tags},
            )
        if self.stopped() or interrupted(watch.failure):
            raise KeyboardInterrupt
        if result.success:
            return watch
        told = watch.told(str(self.home))
        kept = [branch for branch in self.lake.work_branches() if run_id in branch]
        step = watch.failed_step
        raise FailedRunError(f"{step or 'the run'} failed: {told}", step, kept)


@contextlib.contextmanager
def console_to_log(home: Path, *, shown: bool, reads: bool = False) -> Iterator[Path | None]:
    """Send what steps and Dagster print to a new file below `home`.

    Standard output never carries it, so that it holds a command's result and nothing else.

    Args:
        home: The state directory.
        shown: Show it on standard error instead.
        reads: Whether the command only reads, and so does without a file where none can be made.

    Yields:
        The file; None if it is shown.
    """
    if shown:
        with contextlib.redirect_stdout(sys.stderr):
            yield None
        return
    folder = home / "logs"
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        if not reads:
            raise
        path = Path(os.devnull)
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
