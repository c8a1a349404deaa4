"""How somebody asks this process to stop.

dbt answers Ctrl-C by failing its build, and Dagster by failing its step: by its result alone a
stopped run is a failed one, and the next would start. A command that serves ends by the signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import NoReturn

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
OUTPUTS = (1, 2)


@contextlib.contextmanager
def noticed_interrupts() -> Iterator[Callable[[], bool]]:
    """Notice signals beside whatever handles them; for the main thread.

    Yields:
        Tells whether a signal to stop has come.
    """
    reader, writer = socket.socketpair()
    received: set[int] = set()

    def hang_up(*_: object) -> None:
        # Dagster knows how to end a run by SIGTERM.
        signal.raise_signal(signal.SIGTERM)

    def stopped() -> bool:
        with contextlib.suppress(BlockingIOError):
            received.update(reader.recv(4096))
        return not STOP_SIGNALS.isdisjoint(received)

    with reader, writer, _hang_up_handled(hang_up):
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield stopped
        finally:
            signal.set_wakeup_fd(before)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop as Ctrl-C does: by themselves they would leave what it started.

    SIGINT too, since a process that a shell started in the background ignores it, and so would
    Dagster, its child: ending it then took until the last resort, 20 s later.
    """

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        with _hang_up_handled(stop):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _hang_up_handled(then: Callable[[], object]) -> Iterator[None]:
    """Handle the end of the terminal, unless `nohup` has the command outlive it.

    A terminal that is gone fails whoever writes to it, and what is left to be done would fail with
    the sentence that tells of it.
    """
    terminals = [descriptor for descriptor in OUTPUTS if os.isatty(descriptor)]

    def hang_up(*_: object) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in terminals:
            if not os.isatty(descriptor):
                os.dup2(nowhere, descriptor)
        os.close(nowhere)
        then()

    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
