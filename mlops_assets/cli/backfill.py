"""`mlops-assets backfill`: partitions made through Dagster's instance, by its queue and launcher.

The backfill is Dagster's own, so that the UI shows it. The command adds it, has a daemon where
none is alive, and waits; what it knows it reads from the record.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING

from mlops_assets.cli.children import child, log_file
from mlops_assets.cli.execution import console_to_log
from mlops_assets.cli.faults import CommandError, StoppedError
from mlops_assets.cli.interrupts import stopped_by_signals
from mlops_assets.cli.progress import progress_on
from mlops_assets.cli.record import open_record, opened_record
from mlops_assets.settings import Settings, open_state, settings

if TYPE_CHECKING:
    import subprocess

    import dagster as dg
    from dagster._core.execution.backfill import PartitionBackfill

    from mlops_assets.cli.backfill_outcome import Outcome
    from mlops_assets.cli.backfill_record import Following
    from mlops_assets.cli.branching import Merged
    from mlops_assets.cli.progress import Progress
    from mlops_assets.lake import Lake

LOOK_SECONDS = 1.0
BRANCH = "backfill-"
DAEMON = "mlops_assets.cli.backfill_daemon"


@dataclass(frozen=True)
class New:
    """A backfill to add.

    Attributes:
        selection: Which assets, in Dagster's syntax for selections.
        partitions: Which of their partitions; None if they have none.
        tags: Of the backfill and of each of its runs.
        isolated: Make everything on a data branch, and publish all of it or nothing.
    """

    selection: str
    partitions: str | None
    tags: Mapping[str, str]
    isolated: bool = False


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
        self.progress.begin(f"backfill {backfill.backfill_id}: {backfill.title}")
        try:
            self._wait(following)
        except KeyboardInterrupt as stop:
            raise StoppedError(self._leave(following)) from stop
        return outcome(following, self.settings.home)

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
        done, total = counts[Status.DONE], sum(counts.values())
        shown = [f"{number:,} {state}" for state, number in counts.items() if number]
        left = total - done - counts[Status.FAILED]
        if done and left:
            shown.append(about(following.seconds / done * left))
        self.progress.advance(", ".join(shown), done, total)

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
            own = child(["-m", DAEMON], self.log, home, self.settings.environment)
            self.daemon.append(self.stack.enter_context(own))

    def _leave(self, following: Following) -> str:
        """Stop waiting: what another's daemon makes goes on, what ours makes ends whole.

        Returns:
            What becomes of the backfill.
        """
        name = following.backfill.backfill_id
        if self.attended():
            return (
                f"backfill {name} goes on under the daemon that is alive: watch it in the UI or "
                f"with `mlops-assets backfill --resume {name}`, end it with `--cancel {name}`."
            )
        self.end(following.backfill)
        return (
            f"stopped: what was published stays whole; backfill {name} makes the rest with "
            f"`mlops-assets backfill --resume {name}`."
        )


def about(seconds: float) -> str:
    """A time that is left, as roughly as it can be known."""
    return f"about {seconds:.0f} s left" if seconds < 90 else f"about {seconds / 60:.0f} min left"


@dataclass(frozen=True)
class _Held:
    """A backfill that somebody named.

    Attributes:
        backfills: The instance that holds it.
        newest: The newest attempt at it.
        branch: Its data branch, if it is isolated.
    """

    backfills: Backfills
    newest: PartitionBackfill
    branch: str | None


@dataclass(frozen=True)
class _Session:
    """What one invocation of the command shares, whichever instance it works in.

    Attributes:
        settings: This process's.
        definitions: What exists.
        progress: Where it tells how far it is.
        log: Where a daemon of ours writes.
        debug: Show on standard error what else goes to a file.
    """

    settings: Settings
    definitions: dg.Definitions
    progress: Progress
    log: IO[str]
    debug: bool

    @cached_property
    def graph(self) -> dg.AssetGraph:
        """The assets."""
        return self.definitions.resolve_asset_graph()

    @cached_property
    def lake(self) -> Lake:
        """The lake of these settings."""
        from mlops_assets.defs.resources import connect

        return connect(self.settings)

    @contextlib.contextmanager
    def backfills(self, branch: str | None) -> Iterator[Backfills]:
        """The backfills of the base branch's instance, or of a data branch's."""
        found = self.settings if branch is None else self.settings.on_branch(branch)
        with opened_record(found) as instance, contextlib.ExitStack() as stack:
            yield Backfills(found, instance, self.graph, self.progress, self.log, stack)

    @contextlib.contextmanager
    def holding(self, backfill_id: str) -> Iterator[_Held]:
        """A backfill in the instance that holds it, on whichever branch that is.

        Raises:
            RequestError: There is no such backfill.
        """
        from mlops_assets.cli import backfill_record as record

        for branch in (None, *self._isolated()):
            with self.backfills(branch) as backfills:
                found = record.find(backfills.instance, backfill_id)
                if found is not None:
                    yield _Held(backfills, found, branch)
                    return
        with self.backfills(None) as backfills:
            raise record.unknown(backfills.instance, backfill_id)

    def _isolated(self) -> list[str]:
        """The data branches of isolated backfills that have a record here."""
        from mlops_assets.lake import branches

        return [
            name
            for name in branches.names(self.lake)
            if name.startswith(BRANCH) and self.settings.on_branch(name).dagster_home.is_dir()
        ]

    def merge(self, branch: str) -> Merged:
        """Publish what an isolated backfill made, and take its branch away.

        Raises:
            CommandError: A check fails on what would be published.
            ConflictError: The base branch changed a partition that the backfill made.
        """
        from mlops_assets.cli import branching

        self.progress.begin(f"merging {branch} into {self.lake.base_branch}")
        merged = branching.merge(self.settings, self.lake, self.definitions, branch, self.progress)
        branching.drop(self.settings, self.lake, branch)
        return merged


def start(new: New, *, debug: bool) -> Outcome:
    """Add a backfill, and wait for its end.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        RequestError: What was asked for does not exist.
        LakeError: The lake does not answer or refuses.
        CommandError: The daemon ended by itself, or what an isolated backfill made is not merged.
        StoppedError: Somebody stopped it.
    """
    from mlops_assets.cli import backfill_plan, branching
    from mlops_assets.components.backfills import add, new_id

    with _session(debug=debug) as session:
        targets = backfill_plan.targets(session.graph, new.selection, new.partitions)
        name = new_id()
        branch = f"{BRANCH}{name}" if new.isolated else None
        if branch is not None:
            branching.create(session.settings, session.lake, session.graph, branch, None)
        title = " ".join(filter(None, (new.selection, new.partitions)))
        with session.backfills(branch) as backfills:
            added = add(
                backfills.instance, session.graph, targets, new.tags, name=name, title=title
            )
            outcome = backfills.run(added)
        return _published(session, outcome, branch)


def resume(backfill_id: str, *, debug: bool) -> Outcome:
    """Make what a backfill has not made, or wait for one that a daemon is at.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        RequestError: There is no such backfill.
        LakeError: The lake does not answer or refuses.
        CommandError: It made everything, the daemon ended by itself, or what an isolated backfill
            made is not merged.
        StoppedError: Somebody stopped it.
    """
    with _session(debug=debug) as session:
        with session.holding(backfill_id) as held:
            outcome = held.backfills.run(_rest(held))
        return _published(session, outcome, held.branch)


def _rest(held: _Held) -> PartitionBackfill:
    """What is left of a backfill, as one to wait for.

    Raises:
        CommandError: Nothing is.
    """
    from mlops_assets.cli import backfill_record as record

    newest, backfills = held.newest, held.backfills
    if not record.is_over(newest):
        if backfills.attended():
            return newest
        newest = backfills.end(newest)
    again = record.resumed(backfills.instance, backfills.graph, newest)
    if again is not None:
        return again
    if held.branch is None:
        raise CommandError(
            f"backfill {newest.backfill_id} made everything: nothing is left to make."
        )
    # It made everything and was not merged: a check failed on that, or somebody killed it there.
    return newest


def _published(session: _Session, outcome: Outcome, branch: str | None) -> Outcome:
    """An isolated backfill's outcome, merged if all of it passed."""
    if branch is None:
        return outcome
    merged = session.merge(branch) if outcome.succeeded else None
    return replace(outcome, branch=branch, merged=merged, base_branch=session.lake.base_branch)


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

    with _session(debug=debug) as session, session.holding(backfill_id) as held:
        name, branch = held.newest.backfill_id, held.branch
        if record.is_over(held.newest):
            return f"backfill {name} is over: there is nothing to end."
        held.backfills.end(held.newest)
        stays = (
            "what it published stays."
            if branch is None
            else f"what it made lies on {branch}: `mlops-assets branch drop --force {branch}` "
            "throws it away."
        )
        return f"backfill {name} has ended; {stays}"


@contextlib.contextmanager
def _session(*, debug: bool) -> Iterator[_Session]:
    found = settings()
    home = open_state(found.home)
    open_record(found)
    progress = progress_on(sys.stderr, lines_only=debug)
    with (
        stopped_by_signals(),
        console_to_log(home, shown=debug),
        log_file(home, "backfill", shown=debug) as log,
        progress,
    ):
        from mlops_assets.definitions import defs

        yield _Session(found, defs(), progress, log, debug)
