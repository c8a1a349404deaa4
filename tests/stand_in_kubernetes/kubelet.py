"""Runs the pods that are bound, as local processes, and says how they are."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stand_in_kubernetes.clock import stamp
from stand_in_kubernetes.environment import NotConfiguredError, command, variables
from stand_in_kubernetes.kinds import POD
from stand_in_kubernetes.pods import holds_resources, is_leaving, set_state
from stand_in_kubernetes.processes import Process
from stand_in_kubernetes.store import Object, Store, record
from stand_in_kubernetes.timeline import Timeline
from stand_in_kubernetes.volumes import Mounts, made

Devices = Callable[[Object], dict[str, tuple[int, ...]]]
_START_ERROR = 128


@dataclass
class _Running:
    """A pod's process, when it started, and what will have ended it."""

    process: Process
    started: str
    began: float
    reason: str = ""
    kill_at: float | None = None


class Kubelet:
    """Every node's kubelet.

    Args:
        store: The objects.
        timeline: Where starts and ends are noted.
        devices: The devices that a pod was given.
        folder: Where pods' folders and logs lie.
        mounts: Where volumes may be linked.
    """

    def __init__(
        self, store: Store, timeline: Timeline, devices: Devices, folder: Path, mounts: Mounts
    ) -> None:
        self._store, self._timeline, self._devices = store, timeline, devices
        self._folder, self._mounts = folder, mounts
        self._running: dict[str, _Running] = {}

    def log(self, pod: Object) -> Path:
        """The file with a pod's output."""
        return self._folder / f"{pod['metadata']['uid']}.log"

    def reconcile(self) -> float | None:
        """Start and end what is due; the seconds until more is due by the clock, if ever."""
        soonest: float | None = None
        for pod in self._store.find(POD, matches=holds_resources):
            running = self._running.get(pod["metadata"]["uid"])
            if running is None:
                self._start_or_remove(pod)
                continue
            if is_leaving(pod):
                self._terminate(pod, running, pod["metadata"]["deletionGracePeriodSeconds"])
            limit = pod["spec"].get("activeDeadlineSeconds")
            if limit and running.kill_at is None:
                left = running.began + limit - time.monotonic()
                if left > 0:
                    soonest = min(left, soonest or left)
                    continue
                running.reason = "DeadlineExceeded"
                grace = pod["spec"]["terminationGracePeriodSeconds"]
                self._terminate(pod, running, grace)
            if running.kill_at is not None:
                left = running.kill_at - time.monotonic()
                if left <= 0:
                    running.process.kill()
                else:
                    soonest = min(left, soonest or left)
        return soonest

    def kill(self, pod: Object, reason: str) -> None:
        """SIGKILL a pod's process and its children, for a reason that its status then gives."""
        running = self._running.get(pod["metadata"]["uid"])
        if running is None:
            raise ValueError(f"pod {pod['metadata']['name']} has no process")
        running.reason = reason
        running.process.kill()

    def close(self) -> None:
        """Kill every process."""
        for running in self._running.values():
            running.process.kill()

    @property
    def busy(self) -> bool:
        """Whether a process is still there."""
        return bool(self._running)

    def _terminate(self, pod: Object, running: _Running, grace: float) -> None:
        kill_at = time.monotonic() + grace
        if running.kill_at is None:
            running.kill_at = kill_at
            name = pod["spec"]["containers"][0]["name"]
            record(self._store, POD, pod, "Killing", f"Stopping container {name}")
            running.process.signal(signal.SIGTERM)
        running.kill_at = min(running.kill_at, kill_at)

    def _start_or_remove(self, pod: Object) -> None:
        if is_leaving(pod):
            self._store.remove(POD, pod)
            self._timeline.note("ended", pod)
            return
        pod["status"] |= {"hostIP": "127.0.0.1", "podIP": "127.0.0.1"}
        pod["status"].setdefault("startTime", stamp())
        folder = self._folder / pod["metadata"]["uid"]
        try:
            places = made(self._store, pod, folder / "volumes")
        except NotConfiguredError as missing:
            self._wait(pod, "ContainerCreating", "FailedMount", str(missing))
            return
        try:
            given = variables(self._store, pod, self._devices(pod))
        except NotConfiguredError as missing:
            self._wait(pod, "CreateContainerConfigError", "Failed", f"Error: {missing}")
            return
        self._mounts.link(pod, places)
        self._start(pod, given, folder)

    def _wait(self, pod: Object, reason: str, event: str, message: str) -> None:
        waiting = {"reason": reason}
        if reason == "CreateContainerConfigError":
            waiting["message"] = message.removeprefix("Error: ")
        seen = pod["status"].get("containerStatuses", [{}])[0].get("state")
        if seen != {"waiting": waiting}:
            record(self._store, POD, pod, event, message)
            set_state(pod, "Pending", waiting=waiting)
            self._store.save(POD, pod)

    def _start(self, pod: Object, given: dict[str, str], folder: Path) -> None:
        container = pod["spec"]["containers"][0]
        words = command(pod, given)
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        given = {"HOME": str(home), **given}
        started = stamp()
        try:
            process = Process(
                words or ["/no/command/and/no/image"],
                given,
                Path(container.get("workingDir") or home),
                self.log(pod),
                lambda code: self._ended(pod, code),
            )
        except OSError as error:
            message = f'exec: "{words[0] if words else ""}": {error.strerror}: {error.filename}'
            record(self._store, POD, pod, "Failed", f"Error: failed to start container: {message}")
            end = {"exitCode": _START_ERROR, "reason": "StartError", "message": message}
            self._finish(pod, {**end, "startedAt": started, "finishedAt": stamp()})
            return
        self._running[pod["metadata"]["uid"]] = _Running(process, started, time.monotonic())
        self._timeline.note("started", pod, _numbers(self._devices(pod)))
        record(self._store, POD, pod, "Started", f"Started container {container['name']}")
        set_state(pod, "Running", running={"startedAt": started})
        self._store.save(POD, pod)

    def _ended(self, pod: Object, code: int) -> None:
        running = self._running.pop(pod["metadata"]["uid"])
        reason = running.reason or ("Error" if code else "Completed")
        if reason == "DeadlineExceeded":
            pod["status"] |= {
                "reason": reason,
                "message": "Pod was active on the node longer than the specified deadline",
            }
        end = {"exitCode": code, "reason": reason}
        self._finish(pod, {**end, "startedAt": running.started, "finishedAt": stamp()})

    def _finish(self, pod: Object, end: dict[str, object]) -> None:
        late = pod["status"].get("reason") == "DeadlineExceeded"
        set_state(pod, "Failed" if end["exitCode"] or late else "Succeeded", terminated=end)
        self._store.save(POD, pod)
        self._timeline.note("ended", pod)
        if is_leaving(pod):
            self._store.remove(POD, pod)


def _numbers(devices: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted(number for taken in devices.values() for number in taken))
