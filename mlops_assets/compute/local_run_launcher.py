"""Launches runs on this machine, each in a process that has its code in memory when it starts.

Where Dagster's own launcher has the code server start a new interpreter for each run, this one
keeps a process for each code location that forks them (`warm_runs.py`). Its runs have the code that
the code server has: a location that was reloaded gets another such process. And a run whose process
is gone, as after a power cut, is found by Dagster's run monitoring; Dagster's own launcher leaves
it STARTED for ever.

Code locations that are not of this Python on this machine, and systems that are not Linux, where
forking is not safe, are left to Dagster's own launcher.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeGuard

import dagster as dg
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.remote_representation.code_location import CodeLocation, GrpcServerCodeLocation
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._serdes import serialize_value

from mlops_assets.compute.run_process import process_of

if TYPE_CHECKING:
    from dagster._core.instance.ref import InstanceRef
    from dagster._core.origin import RepositoryPythonOrigin
    from dagster._serdes import ConfigurableClassData

# The definitions take 8 s where dbt's project has to be parsed, on two busy cores.
READY_SECONDS = 180

log = logging.getLogger(__name__)


class _WarmProcess:
    """The other end of a process that forks runs of one version of a code location."""

    def __init__(self, version: str, order: dict[str, Any]) -> None:
        self.version = version
        ours, theirs = socket.socketpair()
        ours.settimeout(READY_SECONDS)
        self._control = ours
        self._answers = ours.makefile("r", encoding="utf-8")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlops_assets.compute.warm_runs", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self.problem: str | None = self._ask(order)["problem"]

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def start(self, run_id: str) -> None:
        self._ask({"run": run_id})

    def _ask(self, said: dict[str, Any]) -> dict[str, Any]:
        try:
            self._control.sendall(f"{json.dumps(said)}\n".encode())
            answer = self._answers.readline()
        except OSError as error:
            self._process.kill()
            raise DagsterLaunchFailedError(
                f"The process that starts runs does not answer ({error}): launch the run again, "
                "and a new one is started."
            ) from error
        if not answer:
            raise DagsterLaunchFailedError(
                "The process that starts runs has ended: launch the run again, and a new one is "
                "started. What it said is among the daemon's words."
            )
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        """Have it end with its last run."""
        self._answers.close()
        self._control.close()


class LocalRunLauncher(DefaultRunLauncher):
    """Dagster's own launcher, with runs that start warm and are missed when they are gone."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._lock = Lock()
        self._warm: dict[str, _WarmProcess] = {}
        self._retired: list[_WarmProcess] = []

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process of a run.

        Raises:
            DagsterUserCodeUnreachableError: The run's code server is down.
            DagsterLaunchFailedError: No process could be started.
        """
        run = context.dagster_run
        place, code = run.remote_job_origin, run.job_code_origin
        if place is None or code is None or context.workspace is None:
            super().launch_run(context)
            return
        location = context.workspace.get_code_location(place.location_name)
        if not _is_of_this_python(location, code.repository_origin):
            super().launch_run(context)
            return
        with self._lock:
            # Asked now: the location may have been reloaded since this process last looked at it.
            version = location.client.get_server_id()
            self._ready(location.name, version, code.repository_origin).start(run.run_id)
        self._run_ids.add(run.run_id)

    def _ready(self, location: str, version: str, origin: RepositoryPythonOrigin) -> _WarmProcess:
        """The process that forks runs of a version of a code location."""
        found = self._warm.get(location)
        if found is not None and found.alive and found.version == version:
            return found
        self._close(location)
        found = _started(version, location, origin, self._instance.get_ref())
        self._warm[location] = found
        return found

    def _close(self, location: str) -> None:
        if (old := self._warm.pop(location, None)) is not None:
            old.close()
            self._retired.append(old)
        # Looking takes note of the end of those that have ended, which else were zombies.
        self._retired = [process for process in self._retired if process.alive]

    def dispose(self) -> None:
        """Have the processes end with their last runs."""
        with self._lock:
            for location in list(self._warm):
                self._close(location)
        super().dispose()

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run's process, which records the run as cancelled.

        Returns:
            False if there is none.
        """
        run = self._instance.get_run_by_id(run_id)
        process = None if run is None else process_of(run)
        if run is None or run.is_finished or process is None:
            return bool(super().terminate(run_id))
        self._instance.report_run_canceling(run)
        return process.interrupt()

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: run monitoring may ask for any run."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether somebody still carries out a run.

        A run that no launcher launched, as of `dagster asset materialize`, counts as running: its
        process tells nobody its number, and is none of a launcher's business.
        """
        found = worker(run, Path(self._instance.root_directory) if self.has_instance else None)
        if found.status is WorkerStatus.NOT_FOUND:
            return CheckRunHealthResult(WorkerStatus.RUNNING, found.msg)
        return found


def worker(run: dg.DagsterRun, home: Path | None = None) -> CheckRunHealthResult:
    """What has become of whoever was to carry out a run.

    Args:
        run: A run that has not ended.
        home: Dagster's home, without which nobody can look at a process on another machine.

    Returns:
        `RUNNING`, unless it is known to be gone: then `FAILED`; `NOT_FOUND` if none was noted.
    """
    if (process := process_of(run)) is not None:
        if not process.is_gone(home, run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        told = f"its process {process.pid} on {process.host} is gone"
        return CheckRunHealthResult(WorkerStatus.FAILED, told)
    if (place := run.tags.get(GRPC_INFO_TAG)) is None:
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "no process of it was noted")
    try:
        DagsterGrpcClient(**json.loads(place)).ping("")
    except DagsterUserCodeUnreachableError:
        return CheckRunHealthResult(
            WorkerStatus.FAILED, "the code server below which it ran is gone"
        )
    return CheckRunHealthResult(WorkerStatus.RUNNING)


def _started(
    version: str, location: str, origin: RepositoryPythonOrigin, instance: InstanceRef
) -> _WarmProcess:
    order = {
        "location": location,
        "origin": serialize_value(origin),
        "instance": serialize_value(instance),
    }
    warm = _WarmProcess(version, {**order, "definitions": True})
    if warm.problem is None:
        return warm
    warm.close()
    log.warning(
        "Runs of %s load their definitions each for itself, because a process that has them "
        "cannot be forked: %s",
        location,
        warm.problem,
    )
    warm = _WarmProcess(version, {**order, "definitions": False})
    if warm.problem is not None:
        warm.close()
        raise DagsterLaunchFailedError(f"No process can start runs of {location}: {warm.problem}")
    return warm


def _is_of_this_python(
    location: CodeLocation, origin: RepositoryPythonOrigin
) -> TypeGuard[GrpcServerCodeLocation]:
    if not isinstance(location, GrpcServerCodeLocation):
        return False
    server = location.client
    here = server.socket is not None or server.host in ("localhost", "127.0.0.1")
    return here and sys.platform == "linux" and origin.executable_path == sys.executable
