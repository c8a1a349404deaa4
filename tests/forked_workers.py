"""Processes that are at work within milliseconds: forks of one that has loaded everything.

A process that materializes an asset spends four seconds on imports. Run as a program, this module
makes them once and forks at every order, before it has started any thread: its forks start their
own servers, instances and threads, as a process of its own would. It is told what to do in lines of
JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, Self

import dagster as dg
from installation import copied, installed

TESTS = Path(__file__).parent
PATIENCE = 120.0
"""Seconds after which a worker that says nothing has hung."""


@dataclass
class Worker:
    """One process at work.

    Attributes:
        pid: Its number, its own until it is waited for.
        answer_path: The file that it writes its answer to.
        log: The file of its output.
    """

    pid: int
    answer_path: Path
    log: Path
    workers: Workers = field(repr=False)

    def kill(self) -> bool:
        """Kill it without warning; whether it was still at work."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """Wait for its end; its exit status, or the number of its signal below 0."""
        return self.workers.reap(self.pid)

    def answer(self) -> Any:
        """Wait for its end, and say what it answered."""
        status = self.wait()
        assert status == 0, f"status {status}: {self.log.read_text()[-4000:]}"
        return json.loads(self.answer_path.read_text())

    def said(self) -> Any:
        """Wait for what it answers while it goes on."""
        patience = time.monotonic() + PATIENCE
        while not self.answer_path.exists():
            assert time.monotonic() < patience, self.log.read_text()[-4000:]
            time.sleep(0.005)
        return json.loads(self.answer_path.read_text())


class Workers:
    """The loaded process.

    Args:
        home: A state directory with dbt's parsed project; gets an empty lake and record.
        folder: For the workers' answers and output.
        command: What goes before Python, such as a clock's forger.
    """

    def __init__(self, home: Path, folder: Path, command: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._started = 0
        self._alive: set[int] = set()
        self._lock = threading.Lock()
        environment = {
            **os.environ,
            "MLOPS_HOME": str(home),
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
            # Threads that an import starts would be missing in a fork.
            "OPENBLAS_NUM_THREADS": "1",
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
        }
        self._process = subprocess.Popen(
            [*command, sys.executable, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "workers.txt").open("w"),
            text=True,
        )
        self._ask({"import": self.start("prepare", home).answer()})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pid in list(self._alive):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.reap(pid)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def start(
        self, work: str, home: Path, /, *, source: Path | None = None, **arguments: Any
    ) -> Worker:
        """Have a new process do something.

        Args:
            work: The name of a function of this module's `WORK`.
            home: The state directory.
            source: The folder of the source's files; the packaged one if None.
            arguments: The function's. `environment` sets more variables.
        """
        self._started += 1
        answer = self._folder / f"{self._started}.json"
        log = self._folder / f"{self._started}.txt"
        environment = {
            "MLOPS_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            **({"MLOPS_SOURCE": str(source)} if source else {}),
            **arguments.pop("environment", {}),
        }
        order = {
            "work": work,
            "arguments": arguments,
            "environment": environment,
            "answer": str(answer),
            "log": str(log),
        }
        pid = self._ask(order)["pid"]
        self._alive.add(pid)
        return Worker(pid, answer, log, self)

    def materialize(
        self,
        home: Path,
        assets: Sequence[str],
        days: Sequence[str],
        *,
        source: Path | None = None,
        **arguments: Any,
    ) -> Worker:
        """Have a new process materialize assets for a day or a range of days."""
        return self.start(
            "materialize", home, source=source, assets=list(assets), days=list(days), **arguments
        )

    def reap(self, pid: int) -> int:
        """Wait for a worker's end; see `Worker.wait`."""
        status = None
        while status is None:
            # Asked and not waited for, so that other threads can start workers meanwhile.
            status = self._ask({"reap": pid})["status"]
            if status is None:
                time.sleep(0.01)
        self._alive.discard(pid)
        return os.waitstatus_to_exitcode(status)

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(f"{json.dumps(order)}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, (self._folder / "workers.txt").read_text()[-4000:]
        return json.loads(answer)


@cache
def definitions() -> dg.Definitions:
    """The real ones, loaded before the first fork."""
    from mlops_assets.definitions import defs

    return defs()


def materialize(assets: list[str], days: list[str]) -> dict[str, Any]:
    """Run assets, and say how it went.

    Args:
        assets: Their keys, parted by `/`.
        days: One day, or the first and the last of a range.
    """
    with installed(Path(os.environ["MLOPS_HOME"]), definitions()) as installation:
        span = days[0] if len(days) == 1 else (days[0], days[-1])
        return told(installation.materialize(assets, span))


def prepare() -> list[str]:
    """Make an empty lake and record, materialize something beside them, and name what it took.

    Returns:
        The modules that are imported by now.
    """
    home = Path(os.environ["MLOPS_HOME"])
    with installed(home, definitions()):
        pass
    with tempfile.TemporaryDirectory() as folder:
        tried = copied(home, Path(folder) / "home")
        with installed(tried, definitions()) as installation:
            installation.materialize(["raw/flights"], ("2013-01-01", "2013-01-02"))
    return sorted(sys.modules)


def told(result: Any) -> dict[str, Any]:
    """How a run went: its id, its first failure, and the data versions that it recorded."""
    found: dict[str, Any] = {"run": result.run_id, "error": None, "versions": {}}
    for event in result.all_events:
        if event.is_step_failure and found["error"] is None:
            error = event.step_failure_data.error
            found["error"] = (error.cause or error).message
        elif event.is_step_materialization:
            made = event.step_materialization_data.materialization
            version = (made.tags or {}).get("dagster/data_version")
            found["versions"][f"{made.asset_key.to_user_string()} {made.partition}"] = version
    return found


def serve(answer: str) -> NoReturn:
    """Serve a state directory's lake until killed, after having said where."""
    from mlops_assets.lakefs_server import EmbeddedServer

    home = Path(os.environ["MLOPS_HOME"])
    endpoint = EmbeddedServer(home / "lakefs").start()
    _answer(Path(answer), list(endpoint))
    while True:
        signal.pause()


WORK = {"prepare": prepare, "materialize": materialize, "serve": serve}


def _answer(path: Path, content: Any) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content))
    draft.replace(path)


def _carry_out(order: dict[str, Any]) -> NoReturn:
    """Do what a fork was made for, and end it past what its origin would do at its end."""
    status = 1
    try:
        _work(order)
        status = 0
    except Exception:  # noqa: BLE001 - to its log; the exit status says that it failed
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _work(order: dict[str, Any]) -> None:
    output = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.environ.update(order["environment"])
    path = Path(order["answer"])
    arguments = order["arguments"]
    if order["work"] == "serve":
        arguments["answer"] = str(path)
    _answer(path, WORK[order["work"]](**arguments))


def _take_orders(orders: IO[str], answers: IO[str]) -> None:
    for line in orders:
        order = json.loads(line)
        answer = {}
        if "import" in order:
            for module in order["import"]:
                # Some that a library names by itself, such as `six.moves`, cannot be asked for.
                with suppress(ImportError):
                    importlib.import_module(module)
        elif "reap" in order:
            ended, status = os.waitpid(order["reap"], os.WNOHANG)
            answer["status"] = status if ended else None
        else:
            threads = list(Path("/proc/self/task").iterdir())
            assert len(threads) == 1, "a fork would lack the others"
            answer["pid"] = os.fork()
            if not answer["pid"]:
                _carry_out(order)
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Load the definitions, then take orders until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    definitions().get_repository_def().get_implicit_global_asset_job_def()
    _take_orders(sys.stdin, answers)


if __name__ == "__main__":
    main()
