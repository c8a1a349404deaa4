"""`mlops-assets run`: the main job with its progress, and the summary of what it made."""

from __future__ import annotations

import sys
import time

from mlops_assets.cli.execution import console_to_log
from mlops_assets.cli.interrupts import noticed_interrupts
from mlops_assets.cli.main_job import MainJob, commits_of
from mlops_assets.cli.plan import PROBLEM, Request
from mlops_assets.cli.progress import progress_on
from mlops_assets.cli.record import open_record
from mlops_assets.cli.summary import Summary, scores, step_times
from mlops_assets.settings import open_state, settings


def run(request: Request, *, debug: bool) -> Summary:
    """Run the main job in this process, in the record that the UI shows.

    Args:
        request: What to bring up to date.
        debug: Show on standard error what else goes to a file.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        LakeError: The lake does not answer or refuses.
        RequestError: What was asked for does not exist.
        FailedRunError: A run failed.
        KeyboardInterrupt: Somebody stopped it.
    """
    started = time.time()
    found = settings()
    home = open_state(found.home)
    open_record(found)
    progress = progress_on(sys.stderr, lines_only=debug)
    with noticed_interrupts() as stopped, console_to_log(home, shown=debug) as log, progress:
        from mlops_assets.defs.resources import connect

        lake = connect(found)
        finished = MainJob(found, lake, progress, stopped).run(request)
        snapshot = lake.snapshot()
        folder = home / "reports" / PROBLEM
        return Summary(
            base_branch=lake.base_branch,
            commit=snapshot.commit,
            scores=scores(snapshot, commits_of(finished), folder),
            steps=step_times(finished),
            planning_seconds=sum(run.watch.planning_seconds for run in finished),
            seconds=time.time() - started,
            log=log,
        )
