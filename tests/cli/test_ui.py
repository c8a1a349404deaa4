"""`mlops-assets ui` serves the graph and the registry, and ends all that it started."""

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import psutil
import pytest
from command_line import COMMAND, DAYS, Ended, configured, environment
from ports import free_port

from mlops_assets.cli.ui import servers
from mlops_assets.settings import settings


def mlflow_status(port: int, path: str, host: str = "127.0.0.1") -> int:
    """How MLflow's server answers a request for a path that names a host."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/{path}", headers={"host": f"{host}:{port}"}
    )
    try:
        with urllib.request.urlopen(asked) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_ui_of_a_branch_shows_what_it_holds_and_ends_with_all_its_children(
    own_state: Path, command: Callable[..., Ended]
) -> None:
    assert command("branch", "create", "exp", MLOPS_HOME=own_state).code == 0
    port, mlflow_port = free_port(), free_port()
    process = subprocess.Popen(
        [*COMMAND, "ui", "--branch", "exp", "--port", f"{port}", "--mlflow-port", f"{mlflow_port}"],
        env=environment(MLOPS_HOME=own_state),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        assert f"http://127.0.0.1:{mlflow_port}" in process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("dagster_webserver" in " ".join(child.cmdline()) for child in children)
        assert any("dagster._daemon" in " ".join(child.cmdline()) for child in children)
        query = "{ assetNodes { assetKey { path } partitionStats { numMaterialized } } }"
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(asked) as answer:
            nodes = json.load(answer)["data"]["assetNodes"]
        made = {"/".join(node["assetKey"]["path"]): node["partitionStats"] for node in nodes}
        assert made["raw/flights"] == {"numMaterialized": len(DAYS)}
        assert made["flight_delay/evaluation_report"] == {"numMaterialized": 0}
        of_dagster = [child for child in children if "dagster" in " ".join(child.cmdline())]
        assert {child.environ()["LAKEFS_BRANCH"] for child in of_dagster} == {"exp"}
        recorded = {child.environ()["DAGSTER_HOME"] for child in of_dagster}
        assert recorded == {str(own_state / "branches" / "exp" / "dagster")}
        search = "api/2.0/mlflow/experiments/search?max_results=1"
        assistant = "ajax-api/3.0/mlflow/assistant/config"
        assert mlflow_status(mlflow_port, search) == HTTPStatus.OK
        assert mlflow_status(mlflow_port, search, "another.example") == HTTPStatus.FORBIDDEN
        assert mlflow_status(mlflow_port, assistant) == HTTPStatus.NOT_FOUND
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    assert code == 0
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


@pytest.mark.parametrize(
    ("name", "told"),
    [("exp", "there is no data branch exp here"), ("../..", "cannot name a branch")],
)
def test_a_branch_that_is_none_is_not_served(
    own_state: Path, command: Callable[..., Ended], name: str, told: str
) -> None:
    ended = command("ui", "--branch", name, MLOPS_HOME=own_state)
    assert ended.code == 1
    assert told in ended.err


@pytest.mark.parametrize(
    ("option", "free"), [("--port", "--mlflow-port"), ("--mlflow-port", "--port")]
)
def test_a_port_that_is_taken_is_named_with_its_option(
    own_state: Path, command: Callable[..., Ended], option: str, free: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = command("ui", option, str(port), free, str(free_port()), MLOPS_HOME=own_state)
    assert ended.code == 1
    assert f"port {port} of 127.0.0.1 is taken" in ended.err
    assert f"with {option}." in ended.err


@pytest.mark.parametrize(
    ("registry", "served"),
    [({}, ["Dagster", "MLflow"]), ({"MLFLOW_TRACKING_URI": "http://another"}, ["Dagster"])],
)
def test_only_the_registry_of_the_state_directory_is_served(
    tmp_path: Path, registry: dict[str, str], served: list[str]
) -> None:
    with configured(MLOPS_HOME=tmp_path, **registry):
        assert [server.name for server in servers(settings(), 3000, 5000)] == served
