"""The daemons that a backfill needs, for a command that waits for one where no daemon is alive.

Run as `python -m mlops_assets.cli.backfill_daemon` in a state directory, by `cli/backfill.py`. It
carries out what is asked for and starts nothing by itself: no schedule, no sensor. It ends with
the command, whose end closes its standard input. Where another command's is alive it waits for
that one's end: two daemons of one kind would launch the same run twice.

The daemons and their controller are Dagster's internals; a test runs a backfill through them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.controller import create_daemon_of_type, daemon_controller_from_instance
from dagster._daemon.daemon import BackfillDaemon, DagsterDaemon, MonitoringDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._utils.interrupts import capture_interrupts, raise_interrupts_as

from mlops_assets.cli.only_one import in_turn
from mlops_assets.settings import ROOT

if TYPE_CHECKING:
    from dagster._core.workspace.context import IWorkspaceProcessContext
    from dagster._daemon.daemon import DaemonIterator

# Dagster looks every 30 s: a backfill whose assets follow each other in three runs idled for more
# than a minute.
LOOK_SECONDS = 2

# A daemon says every 30 s that it is alive, later if it is busy.
SILENCE_SECONDS = 90

STANDARD_INPUT = 0

BACKFILL = BackfillDaemon.daemon_type()
QUEUE = QueuedRunCoordinatorDaemon.daemon_type()
MONITORING = MonitoringDaemon.daemon_type()
# A backfill waits for the retry of a run that is to be retried.
RETRIES = EventLogConsumerDaemon.daemon_type()


class PromptBackfillDaemon(BackfillDaemon):
    """Dagster's backfill daemon, which looks again after 2 s instead of 30."""

    def core_loop(
        self,
        workspace_process_context: IWorkspaceProcessContext[Any],
        shutdown_event: threading.Event,
    ) -> DaemonIterator:
        """Look after the backfills until somebody asks it to end."""
        while not shutdown_event.is_set():
            yield from execute_backfill_iteration(workspace_process_context, self._logger)
            shutdown_event.wait(LOOK_SECONDS)
            yield None


def needed(instance: dg.DagsterInstance) -> list[str]:
    """The daemons of an instance without which no backfill gets on."""
    return [
        kind
        for kind in instance.get_required_daemon_types()
        if kind in (BACKFILL, QUEUE, MONITORING, RETRIES)
    ]


def alive(instance: dg.DagsterInstance) -> bool:
    """Whether daemons look after the backfills of an instance, by what they last said."""
    heartbeats = instance.get_daemon_heartbeats()
    now = time.time()
    # One that lies far ahead was said before the clock was set back.
    return all(
        kind in heartbeats and abs(now - heartbeats[kind].timestamp) < SILENCE_SECONDS
        for kind in needed(instance)
    )


def _daemons(instance: dg.DagsterInstance) -> Iterator[DagsterDaemon[Any]]:
    made: dict[str, Callable[[], DagsterDaemon[Any]]] = {
        BACKFILL: lambda: PromptBackfillDaemon(settings={"use_threads": False}),
        QUEUE: lambda: QueuedRunCoordinatorDaemon(interval_seconds=LOOK_SECONDS),
        MONITORING: lambda: create_daemon_of_type(MONITORING, instance),
        RETRIES: lambda: create_daemon_of_type(RETRIES, instance),
    }
    return (made[kind]() for kind in needed(instance))


def _end_with_the_command() -> None:
    """Stop as SIGTERM would once nobody holds the other end of standard input."""
    while os.read(STANDARD_INPUT, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _the_only_one(home: Path) -> Iterator[None]:
    """Wait until no other process does this for the same home of Dagster's."""
    with raise_interrupts_as(KeyboardInterrupt), in_turn(home, "a backfill's daemon"):
        yield


@contextlib.contextmanager
def _heartbeats_wiped(instance: dg.DagsterInstance) -> Iterator[None]:
    """Leave no heartbeat behind: the next command would wait for a daemon that has ended."""
    try:
        yield
    finally:
        instance.wipe_daemon_heartbeats()


def main() -> None:
    """Look after the backfills of the instance that the environment names."""
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    target = WorkspaceFileTarget([str(ROOT / "workspace.yaml")])
    try:
        with (
            capture_interrupts(),
            dg.DagsterInstance.get() as instance,
            _the_only_one(Path(instance.root_directory)),
            _heartbeats_wiped(instance),
            daemon_controller_from_instance(
                instance, target, gen_daemons=_daemons, code_server_log_level="warning"
            ) as controller,
        ):
            controller.check_daemon_loop()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
