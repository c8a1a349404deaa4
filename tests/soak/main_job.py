"""The main job as a process of its own, and what the base branch may hold when it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from installation import DAILY, FEATURES, MARTS, RAW, WHOLE
from verdict import Content

STEPS = [*((table,) for table in (*WHOLE, *RAW)), MARTS, FEATURES]
"""The tables that are published together, step by step."""

TABLES = (*WHOLE, *DAILY)


@dataclass(frozen=True)
class MainJob:
    """The main job over the first days of 2013.

    Attributes:
        last_day: Their last day.
        source: The source's folder; the packaged one if None.
    """

    last_day: str
    source: Path | None = None

    def start(self, home: Path) -> subprocess.Popen[bytes]:
        """Start it on a state directory; its output goes to a file there."""
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "MLOPS_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            **({"MLOPS_SOURCE": str(self.source)} if self.source else {}),
        }
        with (home / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, "-c", "from mlops_assets.cli import main; main()"),
                    *("run", "--days", f"2013-01-01..{self.last_day}"),
                ],
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def finish(self, home: Path) -> float:
        """Run it to its end; returns the seconds that it took."""
        started = time.monotonic()
        with _killed_at_the_end(self.start(home)) as process:
            assert process.wait() == 0, (home / "output.txt").read_text()
        return time.monotonic() - started

    def kill_after(self, home: Path, seconds: float) -> bool:
        """Start it and kill it without warning; returns whether it was still at work."""
        with _killed_at_the_end(self.start(home)) as process, suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode == -signal.SIGKILL

    def kill_in_step(self, home: Path, step: str, seconds: float) -> None:
        """Start it and kill it so many seconds after a step has opened its transaction."""
        with _killed_at_the_end(self.start(home)) as process:
            while not any((home / "scratch").glob(f"tx-*-{step}-*")):
                assert process.poll() is None, (home / "output.txt").read_text()
                time.sleep(0.01)
            time.sleep(seconds)


@contextmanager
def _killed_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def published(found: Content, whole: Content) -> list[str]:
    """The steps that a base branch holds, each of which it must hold as the undisturbed run does.

    Returns:
        The first table of each step that is there; those missing are missing with all tables.
    """
    there: list[str] = []
    for tables in STEPS:
        state = {table: found[table] for table in tables}
        if any(state.values()):
            assert state == {table: whole[table] for table in tables}, f"{tables[0]} is torn"
            there.append(tables[0])
    return there
