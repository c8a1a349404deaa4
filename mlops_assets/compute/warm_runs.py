"""A process that has loaded a code location and forks one process for each run of it.

A run's process of its own imports Dagster and the definitions anew: 2.6 s of processor time for a
run that computes nothing, 8 s where the definitions take their time. A fork of this one starts with
both in memory. It is started and spoken to by `local_run_launcher.py`, over a socket, a JSON object
a line, and ends once nobody holds the other end and its last run has ended.

A fork copies the one thread that forks, so nothing here may start another: not a lake's server, not
a library's pool of workers. Should the definitions leave threads behind, this process says so and
its place is taken by one that has loaded Dagster alone.

What Dagster offers for carrying out a run in this process is internal, and is used here alone.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._cli.api import _execute_run_command_body
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import RepositoryPythonOrigin
from dagster._core.secrets.env_file import get_env_var_dict
from dagster._serdes import deserialize_value
from dagster._utils import get_run_crash_explanation
from dagster._utils.hosted_user_process import recon_repository_from_origin
from dagster._utils.interrupts import capture_interrupts

from mlops_assets.compute.run_process import own_tags, sign_of_life

TICK_SECONDS = 0.5

# A run's process ends with this once Dagster has recorded the run's end. Any other code, 0 too, is
# that of a process that something else ended.
RECORDED = 77

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)

Task = Callable[[], None]
"""What a forked process is to do."""


@dataclass(frozen=True)
class Order:
    """What to be ready for.

    Attributes:
        location: The code location's name.
        origin: Where its definitions are loaded from.
        instance: Dagster's record.
        definitions: Whether to load the definitions, or Dagster alone.
    """

    location: str
    origin: RepositoryPythonOrigin
    instance: InstanceRef
    definitions: bool

    @classmethod
    def parse(cls, line: str) -> Order:
        """The order that a line holds."""
        said = json.loads(line)
        return cls(
            said["location"],
            deserialize_value(said["origin"], RepositoryPythonOrigin),
            deserialize_value(said["instance"], InstanceRef),
            said["definitions"],
        )


def prepare(order: Order) -> str | None:
    """Load what runs need.

    Returns:
        What keeps this process from forking; None if nothing does.
    """
    # What a code server does before it loads the definitions, which may read the environment.
    os.environ.update(get_env_var_dict(str(Path.cwd())))
    with dg.DagsterInstance.from_ref(order.instance) as instance:
        instance.inject_env_vars(order.location)
    if order.definitions:
        try:
            recon_repository_from_origin(order.origin).get_definition().load_all_definitions()
        except Exception:  # noqa: BLE001 - the run's own process meets it again and records it
            return f"they do not load: {traceback.format_exc()}"
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        return f"they leave {threads - 1} threads behind."
    # What is in memory now stays in memory: without this the collector of every fork would touch,
    # and so copy, all of it.
    gc.collect()
    gc.freeze()
    return None


def carry_out(order: Order, run_id: str) -> None:
    """Carry out a run in this process, and record its end."""
    _reseed()
    with (
        capture_interrupts(),
        dg.DagsterInstance.from_ref(order.instance) as instance,
        sign_of_life(Path(instance.root_directory), run_id),
    ):
        # Before its first step: a run that is STARTED has a process that can be looked for.
        instance.add_run_tags(run_id, own_tags(run_id))
        _execute_run_command_body(run_id, instance, lambda _: None, set_exit_code_on_failure=False)


def _reseed() -> None:
    """Give this process random numbers of its own; Python's own module does so by itself."""
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()


def record_crash(order: Order, run_id: str, code: int) -> None:
    """Record that the process of a run ended before the run did, as a code server records it."""
    with dg.DagsterInstance.from_ref(order.instance) as instance:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return
        told = get_run_crash_explanation(f"Run execution process for {run_id}", code)
        instance.report_run_failed(run, told)


class Forks:
    """The processes that were forked: of which run, if of one.

    Attributes:
        running: By their numbers.
    """

    def __init__(self) -> None:
        self.running: dict[int, str | None] = {}

    def start(self, run_id: str | None) -> int:
        """Fork; 0 in the new process.

        Whoever interrupts it before it has handlers waits until it does.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
            self.running[pid] = run_id
        return pid

    def ended(self) -> list[tuple[str, int]]:
        """The runs whose processes have ended since the last look before the run did, with why."""
        found = []
        for pid, run_id in list(self.running.items()):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                del self.running[pid]
                code = os.waitstatus_to_exitcode(status)
                if run_id is not None and code != RECORDED:
                    found.append((run_id, code))
        return found


def serve(control: socket.socket, order: Order) -> Task | None:
    """Fork a process for each run that is asked for, until nobody can ask and all have ended.

    Returns:
        In a forked process, what it is to do; None in this one, in the end.
    """
    forks = Forks()
    # Both are closed in a fork too: while one of them holds the socket, nobody misses this process.
    with control.makefile("r", encoding="utf-8") as asked, selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while selector.get_map() or forks.running:
            ready = selector.select(TICK_SECONDS if forks.running else None)
            for run_id, code in forks.ended():
                if not forks.start(None):
                    return partial(record_crash, order, run_id, code)
            if not ready:
                continue
            if not (line := asked.readline()):
                selector.unregister(control)
                continue
            run_id = json.loads(line)["run"]
            if not (pid := forks.start(run_id)):
                return partial(carry_out, order, run_id)
            answer(control, {"pid": pid})
    return None


def answer(control: socket.socket, said: dict[str, Any]) -> None:
    """Say something to whoever asked."""
    control.sendall(f"{json.dumps(said)}\n".encode())


def main() -> None:
    """Serve whoever holds the other end of the socket whose descriptor is the only argument."""
    # Ctrl-C and the end of a terminal reach the whole group: they are for the runs. This process
    # ends with its last one.
    outlives_its_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        control.set_inheritable(False)
        with control.makefile("r", encoding="utf-8") as lines:
            order = Order.parse(lines.readline())
        problem = prepare(order)
        answer(control, {"problem": problem})
        if problem is not None:
            return
        task = serve(control, order)
    if task is None:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not outlives_its_terminal:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
    task()
    # Not at once, as multiprocessing's forks end: what the run's libraries do at exit is done.
    sys.exit(RECORDED)


if __name__ == "__main__":
    main()
