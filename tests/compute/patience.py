"""How long tests of threads and databases wait for what has to happen."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60
"""Seconds."""


def becomes(condition: Callable[[], bool]) -> bool:
    """Whether something is so before patience ends."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
