"""A code server and a daemon as processes of their own, and runs of what they serve."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._cli.job import _create_run
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._grpc.client import DagsterGrpcClient

from mlops_assets.settings import ROOT

LOCATION = "told"
PATIENCE_SECONDS = 90
INSTANCE = ROOT / "infra" / "dagster.yaml"


def eventually(look: Callable[[], Any]) -> Any:
    """What somebody sees once there is something to see."""
    patience = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < patience, f"still not: {look}"
        time.sleep(0.1)
    return found


@dataclass
class ServedCode:
    """A code location in a folder, and the processes that serve it.

    Attributes:
        folder: Holds the code, and Dagster's home.
    """

    folder: Path
    processes: list[psutil.Popen] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "dagster"

    @property
    def code(self) -> Path:
        return self.folder / "told.py"

    @property
    def socket(self) -> str:
        return str(self.folder / "code.sock")

    def lay_out(self) -> None:
        self.home.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("told.py"), self.code)
        shutil.copy(INSTANCE, self.home)
        served = {"host": "localhost", "socket": self.socket, "location_name": LOCATION}
        (self.folder / "workspace.yaml").write_text(
            json.dumps({"load_from": [{"grpc_server": served}]})
        )

    def start(self, *arguments: str) -> psutil.Popen:
        process = psutil.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env={**os.environ, "DAGSTER_HOME": str(self.home), "TOLD_TO_THE_SERVER": "yes"},
            stdout=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def serve(self) -> None:
        Path(self.socket).unlink(missing_ok=True)
        self.start("dagster", "code-server", "start", "-f", str(self.code), "-s", self.socket)
        eventually(self.is_served)

    def is_served(self) -> bool:
        try:
            DagsterGrpcClient(socket=self.socket, host="localhost").get_server_id()
        except DagsterUserCodeUnreachableError:
            return False
        return True

    def look_after(self) -> None:
        self.start("dagster._daemon", "run", "-w", str(self.folder / "workspace.yaml"))

    def reload(self) -> None:
        DagsterGrpcClient(socket=self.socket, host="localhost").reload_code(timeout=60)

    def family(self) -> list[psutil.Process]:
        """The processes that were started, and all that they started."""
        found: list[psutil.Process] = []
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [psutil.Process(process.pid), *process.children(recursive=True)]
        return found

    def kill(self) -> None:
        """A power cut."""
        family = self.family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
        self.processes = []


@dataclass
class Record:
    """Dagster's record, and runs in it."""

    instance: dg.DagsterInstance
    workspace: WorkspaceRequestContext
    home: Path

    def create(self, job: str, tags: dict[str, str] | None = None) -> str:
        location = self.workspace.get_code_location(LOCATION)
        (repository,) = location.get_repositories().values()
        run = _create_run(
            instance=self.instance,
            code_location=location,
            remote_repo=repository,
            remote_job=repository.get_full_job(job),
            run_config={},
            tags=tags,
            op_selection=None,
            run_id=None,
        )
        return str(run.run_id)

    def launch(self, job: str) -> str:
        run_id = self.create(job)
        self.instance.launch_run(run_id, self.workspace)
        return run_id

    def submit(self, job: str, tags: dict[str, str]) -> str:
        run_id = self.create(job, tags)
        self.instance.submit_run(run_id, self.workspace)
        return run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run_id)
        assert found is not None
        return found

    def told(self, run_id: str) -> dict[str, Any]:
        """What a run tells of its process."""
        place = self.home / run_id
        eventually(place.exists)
        found: dict[str, Any] = json.loads(place.read_text())
        return found

    def ended(self, run_id: str) -> dg.DagsterRunStatus:
        """How a run ended."""
        eventually(lambda: self.run(run_id).is_finished)
        return self.run(run_id).status

    def said(self, run_id: str) -> str:
        """All that is recorded of a run, in words."""
        return "\n".join(entry.message for entry in self.instance.all_logs(run_id))


@contextlib.contextmanager
def record_of(served: ServedCode) -> Iterator[Record]:
    """The record of an instance, in this process, as its webserver has it."""
    target = GrpcServerTarget(
        host="localhost", port=None, socket=served.socket, location_name=LOCATION
    )
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, target) as process,
    ):
        yield Record(instance, process.create_request_context(), served.home)
