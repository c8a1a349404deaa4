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
import prompt_daemon
import pytest
from command_line import COMMAND
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from installation import DAILY, WHOLE, Installation, asset_key, installed, reading
from landed_files import land
from made_up_month import MONTH, publish_training_set
from prompt_daemon import NIGHTS, write_night
from small_source import small_source

from mlops_assets.defs.automation.run_tags import STARTED_BY
from mlops_assets.settings import ROOT, settings
from mlops_assets.sources.storage import REST_SECONDS

ORIGINS = ("EWR", "JFK", "LGA")
NEXT_MONTH, DEPLOYED = "2013-05", "flight_delay/deployed_model"
BEFORE = ("2013-01-01", "2013-04-01")
"""The days that are there before any lands, of each 20th flight."""
BEFORE_DAYS = 91

PATIENCE_SECONDS = 3600
"""A day takes seconds at rest; of thirty with twenty kills on a busy machine each takes minutes."""
LOOKS = 3
"""So often every sensor looks before there is nothing to do: a condition asks for what it saw at
the look before, some a look later."""

UNDER_WAY = (
    BulkActionStatus.REQUESTED,
    BulkActionStatus.CANCELING,
    BulkActionStatus.FAILING,
)

STOCK = (sys.executable, "-m", "dagster._daemon")
PROMPT = (sys.executable, prompt_daemon.__file__)

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


def deploy(made: Installation) -> None:
    """Judge the prepared models, and say which of them score that month and the next."""
    for origin in ORIGINS:
        judged = ("flight_delay/evaluation_report", "flight_delay/champion")
        assert made.materialize(judged, f"{MONTH}|{origin}").success
        for month in (MONTH, NEXT_MONTH):
            assert made.materialize([DEPLOYED], f"{month}|{origin}").success


@dataclass
class Landing:
    """A state directory with its landing area and the daemon that looks at it.

    Attributes:
        installation: What this process has open of the state directory.
        area: The landing area.
        log: Where the daemon's words go.
        prompt: Whether its daemon is `prompt_daemon`; else it is Dagster's own, as users start it,
            and each minute is a night.
    """

    installation: Installation
    area: Path
    log: Path
    prompt: bool = True
    _changed: float = field(default=0)
    _daemon: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's record."""
        return self.installation.instance

    @property
    def environment(self) -> dict[str, str]:
        """The environment of whoever works on it."""
        nights = {NIGHTS: str(self._nights)} if self.prompt else {"MLOPS_NIGHTLY": "* * * * *"}
        return {**os.environ, "MLOPS_LANDING": str(self.area), **nights}

    @property
    def _nights(self) -> Path:
        return self.log.with_name("nights")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Take raw data from the landing area in this process too."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLOPS_LANDING", str(self.area))
            settings.cache_clear()
            yield
        settings.cache_clear()

    def drop(self, table: str, day: str, content: str | None = None) -> None:
        """Drop a table's file of a day, whole or not at all; the real one if it has no content."""
        land(self.area, table, day, content)
        # A file that was written a moment ago counts as being written.
        self._changed = time.time() + REST_SECONDS

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
                [*(PROMPT if self.prompt else STOCK), "run", "-w", str(ROOT / "workspace.yaml")],
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
        """Have nights come until one brings nothing."""
        seen = -1
        while seen < (seen := len(self.runs())):
            self.pass_a_night()

    def pass_a_night(self) -> None:
        """Have everything flow as far as it does by day, and then what a night brings."""
        self._calm()
        self._night()
        self._calm()

    def _night(self) -> None:
        """Have a night come, in which features are made."""
        if self.prompt:
            self._changed = write_night(self._nights)
            return
        minute = 60.0
        self._changed = (time.time() // minute + 1) * minute
        self.wait(lambda: time.time() > self._changed)

    def _calm(self) -> None:
        """Wait until nothing is under way, and every sensor has looked since and found nothing."""

        def calm() -> bool:
            before = self._last_change()
            return (
                before is not None
                and all(looks >= LOOKS for looks in self._looks(before))
                # What the last look found would be there by now.
                and self._last_change() == before
            )

        self.wait(calm)

    def _last_change(self) -> float | None:
        """When the last thing came or ended, or None as long as something is under way."""
        runs = self.instance.get_run_records()
        backfills = self.instance.get_backfills()
        if any(run.end_time is None for run in runs) or any(
            backfill.status in UNDER_WAY for backfill in backfills
        ):
            return None
        ends = [run.end_time or 0 for run in runs]
        ends += [backfill.backfill_end_timestamp or 0 for backfill in backfills]
        return max(self._changed, *ends)

    def _looks(self, since: float) -> Iterator[int]:
        """How often each sensor that is on has looked since then."""
        for state in self.instance.all_instigator_state(
            instigator_statuses={InstigatorStatus.RUNNING}
        ):
            ticks = self.instance.get_ticks(
                state.instigator_origin_id, state.selector_id, after=since
            )
            yield sum(tick.status is not TickStatus.STARTED for tick in ticks)

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
def landing(home: Path, definitions: dg.Definitions, *, prompt: bool = True) -> Iterator[Landing]:
    """Open a prepared state directory with an empty landing area; the daemon is not started."""
    area = home.parent / "landing"
    area.mkdir(exist_ok=True)
    with installed(home, definitions) as opened:
        made = Landing(opened, area, home.parent / "daemon.log", prompt)
        try:
            yield made
        finally:
            made.stop()


def started_by(run: dg.DagsterRun) -> str | None:
    """The schedule or sensor that a run names as what started it."""
    return run.tags.get(STARTED_BY)
