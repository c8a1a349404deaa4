"""A deployment on the stand-in: webserver, daemon and code server as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import prompt_daemon
import yaml
from command_line import COMMAND, Ended, configured, environment
from instance_on_this_machine import instance_environment, on_this_machine
from ports import free_port
from postgres_server import PASSWORD
from stand_in_kubernetes import StandIn

from mlops_assets.settings import ROOT

HERE = Path(__file__).parent
DEFINITIONS = "mlops_assets.definitions"
# Each pod takes seconds of a processor to import Dagster, and there may be two for all of them.
PATIENCE = 600.0

PROFILES = """
cluster: nvidia-operator
default: cpu-small
profiles:
  cpu-small: {cpu: 100m, memory: 256Mi}
  gpu-small: {cpu: 1, memory: 1Gi, gpus: 1}
  gpu-large: {cpu: 2, memory: 4Gi, gpus: 1, shared_memory: 1Gi}
  gpu-huge: {cpu: 1, memory: 1Gi, gpus: 3}
"""


@dataclass
class Deployment:
    """A Dagster deployment whose runs are pods.

    Attributes:
        home: Dagster's home.
        cluster: Where its runs are pods.
        port: The Postgres that it records in; SQLite if None.
        variables: What every process and every pod of it gets.
        module: Its definitions.
        secrets: What they get beside that, pods by a Secret.
        processes: Its servers by name, as long as they run.
    """

    home: Path
    cluster: StandIn
    port: int | None
    variables: Mapping[str, str]
    module: str = "labelled_assets"
    secrets: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> Path:
        """Where pods say what they made."""
        return self.home / "notes"

    @property
    def environment(self) -> dict[str, str]:
        """What its servers, and commands beside them, find in theirs."""
        given = {**self.variables, **self.secrets, **instance_environment(self.home)}
        return environment(**given)

    @property
    def url(self) -> str:
        """The webserver's address."""
        return f"http://127.0.0.1:{self.ports['webserver']}"

    def take(self, seconds: float) -> None:
        """Let every partition take so long, also those that are being made."""
        (self.notes / "seconds").write_text(str(seconds))

    def prepare(self) -> None:
        """Write what the processes are configured by."""
        self.notes.mkdir(parents=True)
        self.take(0)
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "dagster-run"}},
            _of_strings("ConfigMap", "mlops-assets", self.variables),
            _of_strings("ConfigMap", "profiles", {}),
            _of_strings("Secret", "lakefs-credentials", self.secrets),
            _of_strings("Secret", "dagster-postgresql", {"postgresql-password": PASSWORD}),
        )
        (self.home / "profiles.yaml").write_text(PROFILES)
        self.ports.update(code=free_port(), webserver=free_port())
        location = {"host": "127.0.0.1", "port": self.ports["code"], "location_name": "tests"}
        workspace = {"load_from": [{"grpc_server": location}]}
        (self.home / "workspace.yaml").write_text(yaml.safe_dump(workspace))
        self.configure()

    def configure(self, **launcher: Any) -> None:
        """Write `dagster.yaml`, with other settings of the launcher than the usual."""
        document = yaml.safe_load(INSTANCE.read_text())
        moved = on_this_machine(document, self.home, self.cluster.kubeconfig, self.port)
        moved["run_launcher"]["config"] |= launcher
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(moved))

    def start(self, *names: str) -> None:
        """Start servers, and wait until they answer."""
        code, web = str(self.ports["code"]), str(self.ports["webserver"])
        workspace = str(self.home / "workspace.yaml")
        local = ("--host", "127.0.0.1", "--port")
        arguments = {
            "code": ("-m", "dagster", "api", "grpc", "-m", self.module, *local, code),
            "webserver": ("-m", "dagster_webserver", "-w", workspace, *local, web),
            "daemon": (prompt_daemon.__file__, "run", "-w", workspace),
        }
        for name in names or arguments:
            with (self.home / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, *arguments[name]],
                    cwd=HERE,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            if name == "code":
                # Whoever looks too early keeps the error until somebody reloads the location.
                self.until(self._serves_code, "the code server listens")
        if "webserver" in self.processes:
            self.until(self._answers, "the webserver answers")

    def kill(self, *names: str) -> None:
        """SIGKILL servers with all that they started."""
        for name in names:
            process = self.processes.pop(name)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self) -> None:
        """End everything."""
        for process in self.processes.values():
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes.clear()

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Its record, for this process."""
        with (
            configured(**self.environment),
            dg.DagsterInstance.get() as found,
        ):
            yield found

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """What the webserver answers to the query that a page of the UI sends."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        assert "errors" not in found, found["errors"]
        return found["data"]

    def turn_on(self, kind: str, name: str) -> None:
        """Start a schedule or a sensor, as its switch in the UI does."""
        selector = {**REPOSITORY, f"{kind.lower()}Name": name}
        self.ask(
            f"mutation ($it: {kind}Selector!) {{ start{kind}({kind.lower()}Selector: $it) "
            "{ __typename ... on PythonError { message } } }",
            it=selector,
        )

    def launch(self, job: str) -> str:
        """Launch a job; the run's id."""
        selector = {**REPOSITORY, "jobName": job}
        params = {"selector": selector, "runConfigData": {}, "mode": "default"}
        found = self.ask(LAUNCH, params=params)["launchRun"]
        return str(found["run"]["runId"])

    def materialize(self, asset: str, **tags: str) -> str:
        """Materialize an asset, as a click in the UI does; the run's id."""
        selector = {
            **REPOSITORY,
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]}],
        }
        written = [{"key": key, "value": value} for key, value in tags.items()]
        params = {
            "selector": selector,
            "runConfigData": {},
            "mode": "default",
            "executionMetadata": {"tags": written},
        }
        found = self.ask(LAUNCH, params=params)["launchRun"]
        return str(found["run"]["runId"])

    def launch_again(self, run: str) -> str:
        """Launch what a run did not make; the new run's id."""
        params = {"parentRunId": run, "strategy": "FROM_FAILURE"}
        found = self.ask(LAUNCH_AGAIN, params=params)["launchRunReexecution"]
        return str(found["run"]["runId"])

    def status(self, run: str) -> str:
        """How far a run is."""
        return str(self.ask(STATUS, id=run)["runOrError"]["status"])

    def said(self, run: str) -> str:
        """All that is recorded of a run, in words."""
        with self.instance() as instance:
            return "\n".join(
                f"{entry.message} {entry.dagster_event and entry.dagster_event.message}"
                for entry in instance.all_logs(run)
            )

    def pod_of(self, run: str) -> dict[str, Any] | None:
        """The pod of a run, if there is one."""
        pods = self.cluster.find("pods", f"dagster/run-id={run}")
        return pods[0] if pods else None

    def ended(self, run: str) -> dg.DagsterRunStatus:
        """How a run ended, once it has."""

        over = ("SUCCESS", "FAILURE", "CANCELED")
        self.until(lambda: self.status(run) in over, f"the run {run} ends")
        return dg.DagsterRunStatus(self.status(run))

    def command(self, *arguments: str) -> Ended:
        """What `mlops-assets` says, over these assets."""
        over = [sys.executable, "-c", OVER.format(module=self.module)]
        command = COMMAND if self.module == DEFINITIONS else over
        done = subprocess.run(
            [*command, *arguments],
            cwd=HERE,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def until(self, true: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
        """Wait until something is, and return it."""
        end = time.monotonic() + patience
        while time.monotonic() < end and not self._ended():
            if found := true():
                return found
            time.sleep(0.2)
        logs = "\n".join(
            f"--- {log.name}\n{log.read_text()[-4000:]}" for log in self.home.glob("*.log")
        )
        raise AssertionError(f"{self._ended() or 'time'} is over before {what}\n{logs}")

    def _ended(self) -> list[str]:
        """The servers that ended by themselves."""
        return [name for name, one in self.processes.items() if one.poll() is not None]

    def _serves_code(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports["code"])) == 0

    def _answers(self) -> bool:
        try:
            locations = self.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        except OSError:
            return False
        loaded = [entry["locationOrLoadError"]["__typename"] for entry in locations]
        return loaded == ["RepositoryLocation"]

    def made(self, asset: str) -> list[dict[str, Any]]:
        """What pods noted of an asset."""
        found = [json.loads(path.read_text()) for path in self.notes.glob("*.json")]
        return [one for one in found if one["asset"] == asset]


REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "tests"}
INSTANCE = ROOT / "infra" / "k8s" / "base" / "dagster.yaml"
OVER = """
import {module}, mlops_assets.definitions
mlops_assets.definitions.defs = lambda: {module}.defs
from mlops_assets.cli import main
main()
"""
LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
LAUNCH_AGAIN = """mutation ($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
BACKFILL = """mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
LOCATIONS = """query { workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { __typename ... on RepositoryLocation { name } } } } } }"""


def _of_strings(kind: str, name: str, data: Mapping[str, str]) -> dict[str, Any]:
    field_name = "stringData" if kind == "Secret" else "data"
    metadata = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    return {**metadata, field_name: dict(data)}


@contextmanager
def deployed(
    home: Path,
    cluster: StandIn,
    port: int | None,
    module: str = "labelled_assets",
    secrets: Mapping[str, str] | None = None,
    **variables: str,
) -> Iterator[Deployment]:
    """A deployment, ended when the test is over.

    Args:
        home: Dagster's home.
        cluster: Where its runs are pods.
        port: The Postgres that it records in; SQLite if None.
        module: Its definitions.
        secrets: What its servers and pods get beside `variables`, by a Secret.
        variables: What they get.
    """
    given = {
        "PYTHONPATH": str(HERE),
        "MLOPS_PROFILES": str(home / "profiles.yaml"),
        "MLOPS_HOME": str(home / "state"),
        "TEST_NOTES": str(home / "notes"),
        **variables,
    }
    made = Deployment(home, cluster, port, given, module, secrets or {})
    try:
        made.prepare()
        made.start()
        yield made
    finally:
        made.stop()
