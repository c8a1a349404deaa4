"""What the manifests start and run, on this machine: as far as its programs are here."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import psycopg2
import pytest
import yaml
from command_line import environment
from grpc_health.v1 import health_pb2, health_pb2_grpc
from instance_on_this_machine import NO_CLUSTER, instance_environment, write_instance
from kubernetes_manifests import Manifest, containers, overlay, pods
from ports import free_port
from postgres_server import PASSWORD, USER, postgres
from required import program

from mlops_assets.settings import ROOT

BASE = ROOT / "infra" / "k8s" / "base"
PATIENCE_SECONDS = 240
MLFLOW_USER = "CREATE ROLE mlflow LOGIN PASSWORD 'plain'; CREATE SCHEMA AUTHORIZATION mlflow"


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    with postgres() as port:
        yield port


def container(pod: str) -> Manifest:
    [found] = containers(pods(overlay("gpu"))[pod])
    return found


class TestDatabases:
    ADMINISTRATOR = "postgres"
    SERVERS = ("dagster", "lakefs", "mlflow")

    def make(self, port: int, **passwords: str) -> subprocess.CompletedProcess[str]:
        given = {f"{name.upper()}_PASSWORD": value for name, value in passwords.items()}
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": self.ADMINISTRATOR}
        # As the image's entry point calls it.
        return subprocess.run(
            [
                *(program("psql", "postgresql"), "-v", "ON_ERROR_STOP=1", "--no-psqlrc"),
                *("--dbname=postgres", f"--file={BASE / 'databases.sql'}"),
            ],
            env={"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, **place, **given},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_each_server_has_a_database_that_no_other_may_open(self) -> None:
        passwords = {name: f'{name}\'s "own"' for name in self.SERVERS}
        with postgres(self.ADMINISTRATOR) as port:
            assert self.make(port, **passwords).returncode == 0
            for user in self.SERVERS:
                for name in self.SERVERS:
                    place = {"host": "127.0.0.1", "port": port, "dbname": name, "user": user}
                    if name != user:
                        with pytest.raises(psycopg2.OperationalError, match="permission denied"):
                            psycopg2.connect(**place, password=passwords[user])
                        continue
                    with psycopg2.connect(**place, password=passwords[user]) as connection:
                        # A data branch's record is a schema of its own.
                        connection.cursor().execute(
                            "CREATE SCHEMA branch_x; CREATE TABLE t (i int)"
                        )
                    connection.close()

    def test_a_missing_password_is_an_error_and_not_an_open_door(self) -> None:
        with postgres(self.ADMINISTRATOR) as port:
            ended = self.make(port, dagster="a", lakefs="b")
            assert ended.returncode != 0
            place = {"host": "127.0.0.1", "port": port, "user": "mlflow", "password": ""}
            with pytest.raises(psycopg2.OperationalError):
                psycopg2.connect(**place, dbname="postgres")


class TestLakefs:
    """Its start, with a program in its place that says what it was asked and what it holds."""

    SECRET = "5ecre7"
    STAND_IN = """#!/bin/sh
echo "$@" "${LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY:-none}" >>"$ASKED"
if [ "$1" = setup ]; then printf "$SAYS"; exit "$CODE"; fi
"""

    def start(self, folder: Path, says: str, code: int) -> tuple[int, str, list[str]]:
        stand_in = folder / "lakefs"
        stand_in.write_text(self.STAND_IN)
        stand_in.chmod(0o755)
        asked = folder / "asked"
        script = (BASE / "lakefs-start.sh").read_text().replace("/tmp", str(folder))
        ended = subprocess.run(
            ["sh", "-c", script],
            env={
                "PATH": f"{folder}:{os.environ['PATH']}",
                "ASKED": str(asked),
                "SAYS": says,
                "CODE": str(code),
                "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": "AKIA",
                "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": self.SECRET,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout + ended.stderr, asked.read_text().splitlines()

    def test_the_first_start_makes_the_user_and_tells_nobody_the_key(self, tmp_path: Path) -> None:
        code, said, asked = self.start(tmp_path, f"secret_access_key: {self.SECRET}", 0)
        assert code == 0
        assert self.SECRET not in said
        assert [line.split()[0] for line in asked] == ["setup", "run"]
        assert asked[1] == "run none"
        assert not (tmp_path / "setup").exists()

    def test_later_ones_find_it_made(self, tmp_path: Path) -> None:
        code, _, asked = self.start(tmp_path, "Setup is already complete.", 1)
        assert code == 0
        assert asked[1] == "run none"

    def test_a_database_that_is_away_stops_the_start_with_its_words(self, tmp_path: Path) -> None:
        code, said, asked = self.start(tmp_path, "Failed to setup DB: refused", 1)
        assert code == 1
        assert "Failed to setup DB: refused" in said
        assert len(asked) == 1


@contextmanager
def started(
    arguments: list[str], folder: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server as its pod starts it; its words are in a file of the folder."""
    name = folder / f"{arguments[0]}.log"
    with name.open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / arguments[0]), *arguments[1:]],
            cwd=folder,
            env=environment(**variables),
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    patience = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < patience, "it does not answer"
        time.sleep(0.5)


def answer(port: int, path: str, host: str | None = None) -> int | None:
    """The status of an answer; None if there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={} if host is None else {"Host": host})
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def here(arguments: list[str], *places: tuple[str, object]) -> list[str]:
    """The arguments of a container, with other places; each of them is there."""
    joined = "\n".join(arguments)
    for given, other in places:
        assert given in joined
        joined = joined.replace(given, str(other))
    return joined.split("\n")


def test_mlflow_answers_under_its_names_and_no_others(database: int, tmp_path: Path) -> None:
    port = free_port()
    given = container("mlflow")
    arguments = here(
        given["args"],
        ("0.0.0.0", "127.0.0.1"),
        ("--port=5000", f"--port={port}"),
        ("/var/lib/mlflow", tmp_path / "artifacts"),
    )
    variables = {one["name"]: one["value"] for one in given["env"] if "value" in one}
    address = variables["MLFLOW_BACKEND_STORE_URI"]
    assert address.startswith("postgresql+psycopg2://mlflow:$(DATABASE_PASSWORD)@postgres:5432/")
    with psycopg2.connect(
        host="127.0.0.1", port=database, user=USER, password=PASSWORD, dbname="postgres"
    ) as connection:
        connection.cursor().execute(MLFLOW_USER)
    connection.close()
    address = f"postgresql+psycopg2://mlflow:plain@127.0.0.1:{database}/postgres"
    variables |= {"MLFLOW_BACKEND_STORE_URI": address, "HOME": str(tmp_path)}
    with started(arguments, tmp_path, variables) as server:
        probe = given["readinessProbe"]["httpGet"]["path"]
        # The kubelet calls a pod by its address.
        until(lambda: answer(port, probe, "10.1.2.3:5000") == 200, server)
        asked = "/api/2.0/mlflow/experiments/search?max_results=1"
        assert answer(port, asked, "mlflow:5000") == 200
        assert answer(port, asked, f"localhost:{port}") == 200
        assert answer(port, asked, "evil.example.com") == 403
        done = subprocess.run(
            [sys.executable, "-c", STORE],
            env={**environment(), "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert [path.read_text() for path in (tmp_path / "artifacts").rglob("note.txt")] == ["kept"]


STORE = """
import mlflow
with mlflow.start_run():
    mlflow.log_text("kept", "note.txt")
"""


@pytest.mark.timeout(3 * PATIENCE_SECONDS + 60)
def test_dagsters_servers_start_and_answer_their_probes(database: int, tmp_path: Path) -> None:
    home, kubeconfig = tmp_path / "dagster", tmp_path / "kubeconfig"
    home.mkdir()
    kubeconfig.write_text(NO_CLUSTER)
    write_instance(home, database, kubeconfig)
    variables = {**instance_environment(home), "MLOPS_HOME": str(tmp_path / "home")}
    grpc_port, http_port = free_port(), free_port()
    workspace = yaml.safe_load((BASE / "workspace.yaml").read_text())
    [location] = workspace["load_from"]
    assert location["grpc_server"]["host"] == "dagster-code"
    location["grpc_server"] |= {"host": "127.0.0.1", "port": grpc_port}
    (tmp_path / "workspace.yaml").write_text(yaml.safe_dump(workspace))
    code, webserver, daemon = (
        container(f"dagster-{name}") for name in ("code", "webserver", "daemon")
    )
    place = ("/etc/dagster/workspace.yaml", tmp_path / "workspace.yaml")
    local = ("0.0.0.0", "127.0.0.1")
    with started(
        here(code["args"], local, ("--port=4000", f"--port={grpc_port}")), tmp_path, variables
    ) as server:
        service = code["readinessProbe"]["grpc"]["service"]
        until(lambda: serves(grpc_port, service), server)
        with (
            started(
                here(webserver["args"], local, ("--port=3000", f"--port={http_port}"), place),
                tmp_path,
                variables,
            ) as pages,
            started(here(daemon["args"], place), tmp_path, variables) as loops,
        ):
            probe = webserver["readinessProbe"]["httpGet"]["path"]
            until(lambda: answer(http_port, probe) == 200, pages)
            check = daemon["livenessProbe"]["exec"]["command"]
            until(lambda: succeeds(check, tmp_path, variables), loops)


def serves(port: int, service: str) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            said = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=5
            )
        except grpc.RpcError:
            return False
        return said.status == health_pb2.HealthCheckResponse.SERVING


def succeeds(command: list[str], folder: Path, variables: Mapping[str, str]) -> bool:
    done = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        # Where the repository is, Dagster would take its home from the `.env` of `make`.
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        check=False,
    )
    return done.returncode == 0
