"""Whether somebody asked this process to stop, whoever took the signal.

dbt answers Ctrl-C by failing its build, and Dagster by failing its step: by its result alone a
stopped run is a failed one, and the next would start.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}


@contextlib.contextmanager
def noticed_interrupts() -> Iterator[Callable[[], bool]]:
    """Notice signals beside whatever handles them; for the main thread.

    Yields:
        Tells whether a signal to stop has come.
    """
    reader, writer = socket.socketpair()
    received: set[int] = set()

    def stopped() -> bool:
        with contextlib.suppress(BlockingIOError):
            received.update(reader.recv(4096))
        return not STOP_SIGNALS.isdisjoint(received)

    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield stopped
        finally:
            signal.set_wakeup_fd(before)
