"""Days of the real year that are dropped into a landing area while Dagster's daemon is on.

What came before them is there: a month of marts for the features to look back on, and a model of
each airport, trained on made-up rows.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import dagster as dg
import pytest
from command_line import COMMAND
from installation import DAILY, WHOLE, Installation, asset_key, installed, reading
from landed_files import content_of, land
from made_up_month import MONTH, publish_training_set
from small_source import small_source

from mlops_assets.defs.automation.run_tags import STARTED_BY
from mlops_assets.settings import ROOT, settings

ORIGINS = ("EWR", "JFK", "LGA")
BEFORE = ("2013-01-01", "2013-04-01")
"""The days that are there before any lands, of each 20th flight."""
BEFORE_DAYS = 91

PATIENCE_SECONDS = 3600
"""A day takes seconds at rest; of thirty with twenty kills on a busy machine each takes minutes."""
QUIET_SECONDS = 100
"""Nothing is under way and nothing begins for so long: the night comes every minute here."""

DAEMON = (sys.executable, "-m", "dagster._daemon", "run")

SENSORS = ("arrivals", "flow_of_tables", "flow_of_models", "flow_of_data")


def prepare(home: Path, definitions: dg.Definitions) -> None:
    """Make a state directory with what came before."""
    source = small_source(home.parent / "before", days=BEFORE_DAYS, every=20)
    with reading(source), installed(home, definitions) as past:
        assert past.materialize(WHOLE).success
        assert past.materialize(DAILY, BEFORE).success
        publish_training_set(past, home.parent / "made-up", ORIGINS)
        models = (f"{MONTH}|{ORIGINS[0]}", f"{MONTH}|{ORIGINS[-1]}")
        assert past.materialize(["flight_delay/model"], models).success


@dataclass
class Landing:
    """A state directory with its landing area and the daemon that looks at it.

    Attributes:
        installation: What this process has open of the state directory.
        area: The landing area.
        log: Where the daemon's words go.
    """

    installation: Installation
    area: Path
    log: Path
    _daemon: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's record."""
        return self.installation.instance

    @property
    def environment(self) -> dict[str, str]:
        """The environment of whoever works on it."""
        return {
            **os.environ,
            "MLOPS_LANDING": str(self.area),
            # Features are made at night: here every minute is one.
            "MLOPS_NIGHTLY": "* * * * *",
        }

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Take raw data from the landing area in this process too."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLOPS_LANDING", str(self.area))
            settings.cache_clear()
            yield
        settings.cache_clear()

    def drop(self, day: str, change: Callable[[str, str], str] = lambda _, text: text) -> None:
        """Drop the files of a day, each whole or not at all.

        Args:
            day: The day.
            change: Called with a table and its text, to change it.
        """
        for table in ("flights", "weather"):
            land(self.area, table, day, change(table, content_of(table, day)))

    def switch_on(self, names: Sequence[str] = SENSORS) -> None:
        """Turn sensors on, by the command."""
        subprocess.run(
            [*COMMAND, "automation", "on", *names], env=self.environment, check=True, timeout=300
        )

    def start(self) -> None:
        """Start the daemon."""
        stream: IO[bytes]
        with self.log.open("ab") as stream:
            self._daemon = subprocess.Popen(
                [*DAEMON, "-w", str(ROOT / "workspace.yaml")],
                # Where the repository is, Dagster would take its home from the `.env` of `make`.
                cwd=self.log.parent,
                env=self.environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill the daemon, with its code server and all of its runs, as a power cut does."""
        assert self._daemon is not None
        os.killpg(self._daemon.pid, signal.SIGKILL)
        self._daemon.wait()

    def stop(self) -> None:
        """End the daemon, if it is running."""
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.send_signal(signal.SIGINT)
            try:
                self._daemon.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()

    def runs(self) -> list[dg.DagsterRun]:
        """All runs, the oldest first."""
        return list(reversed(self.instance.get_runs()))

    def wait(self, wanted: Callable[[], bool]) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: It does not; the daemon's last words are in the message.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while not wanted():
            assert self._daemon is not None
            if time.monotonic() > end or self._daemon.poll() is not None:
                runs = Counter((run.job_name, run.status.value) for run in self.runs())
                raise TimeoutError(f"{runs}\n{self.log.read_text()[-8000:]}")
            time.sleep(1)

    def settle(self) -> None:
        """Wait until nothing has begun or been under way for a while."""
        since = time.monotonic()
        seen = -1

        def quiet() -> bool:
            nonlocal since, seen
            runs = self.runs()
            if len(runs) != seen or any(not run.is_finished for run in runs):
                since, seen = time.monotonic(), len(runs)
            return time.monotonic() - since > QUIET_SECONDS

        self.wait(quiet)

    def made(self, asset: str) -> set[str]:
        """The partitions of an asset that Dagster's record holds."""
        return self.installation.materialized(asset)

    def times_made(self, asset: str) -> Counter[str]:
        """How many runs made each partition of an asset; a range is recorded twice by one."""
        records = self.instance.fetch_materializations(asset_key(asset), limit=10_000).records
        made = {(record.partition_key, record.run_id) for record in records}
        return Counter(partition for partition, _ in made if partition is not None)

    def repeated(self, asset: str, days: Collection[str]) -> int:
        """How often runs made partitions of an asset whose content was there already."""
        records = self.instance.fetch_materializations(asset_key(asset), limit=10_000).records
        versions: dict[str, dict[str, str]] = {}
        for record in reversed(records):
            made = record.asset_materialization
            assert made is not None
            # A range is recorded once more for the whole run, in Dagster's own version.
            version = (made.tags or {}).get("dagster/data_version")
            if made.partition in days and version is not None:
                versions.setdefault(made.partition, {})[record.run_id] = version
        return sum(len(runs) - len(set(runs.values())) for runs in versions.values())

    def versions(self, asset: str) -> dict[str, str]:
        """The content of each partition that the base branch holds, by its path."""
        stored = self.installation.lake.snapshot().stored(asset)
        return {part.path: found.manifest.data_version for part, found in stored.items()}


@contextmanager
def landing(home: Path, definitions: dg.Definitions) -> Iterator[Landing]:
    """Open a prepared state directory with an empty landing area; the daemon is not started."""
    area = home.parent / "landing"
    area.mkdir(exist_ok=True)
    with installed(home, definitions) as opened:
        made = Landing(opened, area, home.parent / "daemon.log")
        try:
            yield made
        finally:
            made.stop()


def started_by(run: dg.DagsterRun) -> str | None:
    """The schedule or sensor that a run names as what started it."""
    return run.tags.get(STARTED_BY)
