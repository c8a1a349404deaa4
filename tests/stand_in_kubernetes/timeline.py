"""What became of pods, and when: what tests ask about GPUs."""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

from stand_in_kubernetes.quantities import gpus


class Entry(NamedTuple):
    """Something that happened to a pod.

    `event` is pending, scheduled, started or ended; `at` is a time of the monotonic clock; `gpus`
    is how many it asked for, `devices` the numbers of those that it was given on `node`.
    """

    at: float
    event: str
    pod: str
    node: str
    gpus: int
    devices: tuple[int, ...]


class Timeline:
    """The record; it may be read from any thread.

    Args:
        capacity: How many GPUs the nodes have between them.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._known: set[tuple[str, str]] = set()

    def note(self, event: str, pod: dict[str, Any], devices: tuple[int, ...] = ()) -> None:
        """Record an event of a pod; only the first of its kind counts."""
        key = pod["metadata"]["uid"], event
        with self._lock:
            if key in self._known:
                return
            self._known.add(key)
            name, node = pod["metadata"]["name"], pod["spec"].get("nodeName", "")
            wanted = gpus(pod["spec"])
            self._entries.append(Entry(time.monotonic(), event, name, node, wanted, devices))

    def entries(self) -> list[Entry]:
        """Everything until now, in order."""
        with self._lock:
            return list(self._entries)

    def most_gpu_pods(self, since: float = 0.0, until: float = float("inf")) -> int:
        """How many pods had GPUs at once, at most, in an interval."""
        return max((len(state.holding) for _, state in self._steps(since, until)), default=0)

    def idle_gpu_seconds(
        self, since: float = 0.0, until: float = float("inf"), *, pending: bool = True
    ) -> float:
        """The GPU-seconds in an interval that no pod held.

        Args:
            since: The interval's start; the first event if that is later.
            until: Its end; the last event if that is earlier.
            pending: Count a free GPU only while a pod waits to be given it. False counts every free
                GPU, for tests whose runs wait in a queue before they are pods.
        """
        idle = 0.0
        for seconds, state in self._steps(since, until):
            free = self._capacity - sum(state.holding.values())
            wanted = sum(state.waiting.values())
            idle += seconds * (min(free, wanted) if pending else free)
        return idle

    def _steps(self, since: float, until: float) -> list[tuple[float, _State]]:
        """How long which pods held and awaited GPUs, from event to event."""
        entries = [entry for entry in self.entries() if entry.gpus]
        steps = []
        state = _State({}, {})
        for entry, following in zip(entries, [*entries[1:], None], strict=True):
            state = state.after(entry)
            start = max(entry.at, since)
            end = min(following.at if following else entry.at, until)
            if start <= end:
                steps.append((end - start, state))
        return steps


class _State(NamedTuple):
    """The GPUs that pods hold and await, by pod."""

    holding: dict[str, int]
    waiting: dict[str, int]

    def after(self, entry: Entry) -> _State:
        holding = {pod: n for pod, n in self.holding.items() if pod != entry.pod}
        waiting = {pod: n for pod, n in self.waiting.items() if pod != entry.pod}
        if entry.event == "pending":
            waiting[entry.pod] = entry.gpus
        elif entry.event in {"scheduled", "started"}:
            holding[entry.pod] = entry.gpus
        return _State(holding, waiting)
