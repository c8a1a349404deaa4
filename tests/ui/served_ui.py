"""`mlops-assets ui` on a free port, with the processes that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from ports import free_port

COMMAND = (sys.executable, "-c", "from mlops_assets.cli import main; main()")


@dataclass(frozen=True)
class Ui:
    """A running UI: its address, and the processes that serve it."""

    url: str
    processes: list[psutil.Process]


@contextmanager
def served(home: Path) -> Iterator[Ui]:
    """The UI of a state directory, ended as Ctrl-C does."""
    port, mlflow_port = free_port(), free_port()
    server = subprocess.Popen(
        [*COMMAND, "ui", "--port", str(port), "--mlflow-port", str(mlflow_port)],
        stdout=subprocess.PIPE,
        env={**os.environ, "MLOPS_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")},
        text=True,
    )
    processes = [psutil.Process(server.pid)]
    try:
        assert server.stdout is not None
        assert f"http://127.0.0.1:{port}" in server.stdout.readline()
        processes += processes[0].children(recursive=True)
        yield Ui(f"http://127.0.0.1:{port}", processes)
        processes += processes[0].children(recursive=True)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
