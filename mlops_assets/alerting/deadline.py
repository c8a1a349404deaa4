"""A call that has an end: what servers drip byte by byte satisfies every timeout of a socket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Make a call, and leave it alone if it takes too long.

    The call itself goes on in a thread that keeps no process alive, as those of an executor would;
    what it comes to is lost.

    Args:
        seconds: How long it may take.
        call: It.

    Raises:
        TimeoutError: It took longer.
        BaseException: What it raises.
    """
    ended: Future[T] = Future()

    def carry_out() -> None:
        try:
            ended.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            ended.set_exception(error)

    threading.Thread(target=carry_out, daemon=True).start()
    return ended.result(timeout=seconds)
