"""`mlops-assets ui` serves the graph, and ends all that it started."""

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
from conftest import COMMAND, Ended, environment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_ui_shows_every_asset_and_ends_with_all_its_children(own_state: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "ui", "--port", str(port)],
        env=environment(MLOPS_HOME=own_state),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("dagster_webserver" in " ".join(child.cmdline()) for child in children)
        assert any("dagster._daemon" in " ".join(child.cmdline()) for child in children)
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            data=json.dumps({"query": "{ assetNodes { assetKey { path } } }"}).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(asked) as answer:
            nodes = json.load(answer)["data"]["assetNodes"]
        assert ["flight_delay", "evaluation_report"] in [node["assetKey"]["path"] for node in nodes]
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    assert code == 0
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_a_port_that_is_taken_is_named(own_state: Path, command: Callable[..., Ended]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = command("ui", "--port", str(port), MLOPS_HOME=own_state)
    assert ended.code == 1
    assert f"port {port} of 127.0.0.1 is taken" in ended.err
