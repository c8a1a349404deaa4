"""`mlops-assets backfill`: partitions made through Dagster's instance, by its queue and launcher.

The backfill is Dagster's own, so that the UI shows it. The command adds it, has a daemon where
none is alive, and waits; what it knows it reads from the record.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from mlops_assets.cli.children import child, log_file, stopped_by_signals
from mlops_assets.cli.execution import console_to_log
from mlops_assets.cli.faults import CommandError, StoppedError
from mlops_assets.cli.progress import progress_on
from mlops_assets.cli.record import open_record
from mlops_assets.settings import Settings, open_state, settings

if TYPE_CHECKING:
    import subprocess

    import dagster as dg
    from dagster._core.execution.backfill import PartitionBackfill

    from mlops_assets.cli.backfill_outcome import Outcome
    from mlops_assets.cli.backfill_record import Following
    from mlops_assets.cli.progress import Progress

LOOK_SECONDS = 1.0
DAEMON = "mlops_assets.cli.backfill_daemon"


@dataclass(frozen=True)
class New:
    """A backfill to add.

    Attributes:
        selection: Which assets, in Dagster's syntax for selections.
        partitions: Which of their partitions; None if they have none.
        tags: Of the backfill and of each of its runs.
    """

    selection: str
    partitions: str | None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Backfills:
    """The backfills of one instance, with a daemon for as long as this process waits for them.

    Attributes:
        settings: This process's.
        instance: Dagster's record.
        graph: What exists.
        progress: Where it tells how far it is.
        log: Where a daemon of ours writes.
        stack: Ends that daemon.
        daemon: It, once it runs.
    """

    settings: Settings
    instance: dg.DagsterInstance
    graph: dg.AssetGraph
    progress: Progress
    log: IO[str]
    stack: contextlib.ExitStack
    daemon: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, backfill: PartitionBackfill) -> Outcome:
        """Wait for a backfill's end, and say how it ended.

        Raises:
            CommandError: The daemon ended by itself.
            StoppedError: Somebody stopped it.
        """
        from mlops_assets.cli.backfill_outcome import outcome
        from mlops_assets.cli.backfill_record import Following

        following = Following(self.instance, self.graph, backfill, self.progress)
        started = time.monotonic()
        self.progress.begin(f"backfill {backfill.backfill_id}: {backfill.title}")
        try:
            self._wait(following)
        except KeyboardInterrupt as stop:
            raise StoppedError(self._leave(following)) from stop
        return outcome(following, self.settings.home, time.monotonic() - started)

    def end(self, backfill: PartitionBackfill) -> PartitionBackfill:
        """End a backfill and its runs, and wait until they have.

        Raises:
            CommandError: The daemon ended by itself.
        """
        from mlops_assets.cli.backfill_daemon import alive
        from mlops_assets.cli.backfill_record import Following, cancel, give_up_dead_runs

        if not alive(self.instance):
            give_up_dead_runs(self.instance, backfill)
        cancel(self.instance, backfill)
        following = Following(self.instance, self.graph, backfill, self.progress)
        self._wait(following)
        return following.backfill

    def attended(self) -> bool:
        """Whether a daemon of somebody else's looks after the backfills."""
        from mlops_assets.cli.backfill_daemon import alive

        return not self.daemon and alive(self.instance)

    def _wait(self, following: Following) -> None:
        from mlops_assets.cli.backfill_record import is_over

        while True:
            following.look()
            self._show(following)
            if is_over(following.backfill):
                return
            self._attend()
            time.sleep(LOOK_SECONDS)

    def _show(self, following: Following) -> None:
        from mlops_assets.cli.backfill_record import Status

        counts = following.counts()
        states = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
        self.progress.advance(states, counts[Status.DONE], sum(counts.values()))

    def _attend(self) -> None:
        """Have a daemon where none is alive; ours ends with this process.

        Raises:
            CommandError: Ours ended by itself.
        """
        from mlops_assets.cli.backfill_daemon import alive

        if self.daemon:
            code = self.daemon[0].poll()
            if code is not None:
                raise CommandError(
                    f"Dagster's daemon ended by itself with code {code}; its words are in "
                    f"{self.log.name}."
                )
        elif not alive(self.instance):
            home = self.settings.home
            own = child(["-m", DAEMON], self.log, home, environment(self.settings))
            self.daemon.append(self.stack.enter_context(own))

    def _leave(self, following: Following) -> str:
        """Stop waiting: what another's daemon makes goes on, what ours makes ends whole.

        Returns:
            What becomes of the backfill.
        """
        from mlops_assets.cli.backfill_record import find

        name = following.backfill.backfill_id
        if self.attended():
            return (
                f"backfill {name} goes on under the daemon that is alive: watch it in the UI or "
                f"with `mlops-assets backfill --resume {name}`, end it with `--cancel {name}`."
            )
        self.end(find(self.instance, name))
        return (
            f"stopped: what was published stays whole; backfill {name} makes the rest with "
            f"`mlops-assets backfill --resume {name}`."
        )


def start(new: New, *, debug: bool) -> Outcome:
    """Add a backfill, and wait for its end.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        RequestError: What was asked for does not exist.
        CommandError: The daemon ended by itself.
        StoppedError: Somebody stopped it.
    """
    from mlops_assets.cli import backfill_plan, backfill_record

    with _open(debug=debug) as backfills:
        targets = backfill_plan.targets(backfills.graph, new.selection, new.partitions)
        title = " ".join(filter(None, (new.selection, new.partitions)))
        added = backfill_record.add(backfills.instance, backfills.graph, targets, new.tags, title)
        return backfills.run(added)


def resume(backfill_id: str, *, debug: bool) -> Outcome:
    """Make what a backfill has not made, or wait for one that a daemon is at.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        RequestError: There is no such backfill.
        CommandError: It made everything, or the daemon ended by itself.
        StoppedError: Somebody stopped it.
    """
    from mlops_assets.cli import backfill_record as record

    with _open(debug=debug) as backfills:
        found = record.find(backfills.instance, backfill_id)
        if not record.is_over(found):
            if backfills.attended():
                return backfills.run(found)
            found = backfills.end(found)
        again = record.resumed(backfills.instance, backfills.graph, found)
        if again is None:
            raise CommandError(f"backfill {backfill_id} made everything: nothing is left to make.")
        return backfills.run(again)


def cancel(backfill_id: str, *, debug: bool) -> str:
    """End a backfill and its runs; what they published stays.

    Returns:
        What became of it.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        RequestError: There is no such backfill.
        CommandError: The daemon ended by itself.
    """
    from mlops_assets.cli import backfill_record as record

    with _open(debug=debug) as backfills:
        found = record.find(backfills.instance, backfill_id)
        if record.is_over(found):
            return f"backfill {found.backfill_id} is over: there is nothing to end."
        backfills.end(found)
        return f"backfill {found.backfill_id} has ended; what it published stays."


def environment(found: Settings) -> dict[str, str]:
    """The settings as a daemon's children are to read them, wherever they start."""
    source = {} if found.source is None else {"MLOPS_SOURCE": str(found.source)}
    return {"MLOPS_HOME": str(found.home), **source}


@contextlib.contextmanager
def _open(*, debug: bool) -> Iterator[Backfills]:
    found = settings()
    home = open_state(found.home)
    open_record(found)
    with contextlib.ExitStack() as stack:
        progress = progress_on(sys.stderr, lines_only=debug)
        stack.enter_context(stopped_by_signals())
        stack.enter_context(console_to_log(home, shown=debug))
        stack.enter_context(progress)
        import dagster as dg

        from mlops_assets.definitions import defs

        yield Backfills(
            settings=found,
            graph=defs().resolve_asset_graph(),
            instance=stack.enter_context(dg.DagsterInstance.get()),
            progress=progress,
            log=stack.enter_context(log_file(home, "backfill", shown=debug)),
            stack=stack.enter_context(contextlib.ExitStack()),
        )
