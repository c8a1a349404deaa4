"""Processes that publish from one pin: of one partition one wins, of different ones all do."""

from __future__ import annotations

import csv
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from forked_workers import Worker, Workers
from installation import Installation, copied
from small_source import small_source
from verdict import intact, judge, opened

FLIGHTS = "raw/flights"
TABLES = (FLIGHTS, f"{FLIGHTS}_quarantine")
DAYS = [f"2013-01-0{day}" for day in range(1, 9)]
PATIENCE = 60.0


class Contest:
    """A state directory and processes that publish flights there, each what its own source says.

    Args:
        workers: What the processes are forked from.
        installation: The state directory, as this process looks at it.
        folder: For the sources.
        days: How many days the sources hold.
    """

    def __init__(
        self, workers: Workers, installation: Installation, folder: Path, *, days: int
    ) -> None:
        self._workers = workers
        self._installation = installation
        self._lake = installation.lake
        self._folder = folder
        self._first = small_source(folder / "source", days=days, every=4)
        with (self._first / "flights.csv").open() as stream:
            self._rows = list(csv.DictReader(stream))
        self._drawn = 0

    def race(self, days: Sequence[str]) -> list[dict[str, Any]]:
        """Let a process publish each of these days, all of them from the same pin; their answers.

        A signal holds each from when its work branch is there until those of all are.
        """
        held: list[Worker] = []
        before, kept = self._lake.head(), len(self._lake.work_branches())
        for number, day in enumerate(days, start=1):
            held.append(
                self._workers.materialize(
                    self._installation.home, [FLIGHTS], [day], source=self._source()
                )
            )
            self._wait_for_branches(kept + number)
            os.kill(held[-1].pid, signal.SIGSTOP)
        assert self._lake.head() == before, "one was too quick to be held"
        for worker in random.sample(held, len(held)):
            os.kill(worker.pid, signal.SIGCONT)
        return [worker.answer() for worker in held]

    def merged_since(self, commit: str) -> list[str]:
        """The runs whose work the base branch got since a commit, the newest first."""
        runs = []
        head = self._lake.head()
        while head != commit:
            head, work = self._lake.commit_info(head)["parents"]
            runs.append(str(self._lake.commit_info(work)["metadata"]["dagster/run_id"]))
        return runs

    def judge(self, before: str, answers: list[dict[str, Any]]) -> None:
        """One of the writers of a partition won, its result is there whole, and all others know."""
        [winner] = [answer for answer in answers if answer["error"] is None]
        [[partition, there]] = intact(self._lake, FLIGHTS).items()
        [version] = winner["versions"].values()
        assert there.data_version == version
        assert self.merged_since(before) == [winner["run"]]
        work = self._lake.commit_info(self._lake.head())["parents"][1]
        told = (
            f"ConflictError: {FLIGHTS} {partition} was published by another writer meanwhile "
            f"(run {winner['run']}, commit {work[:12]})"
        )
        kept = self._lake.work_branches()
        for loser in answers:
            if loser is not winner:
                assert told in loser["error"]
                # What it made is there for whoever wants to look at it.
                [branch] = [name for name in kept if loser["run"] in name]
                [made] = self._lake.snapshot(branch).stored(FLIGHTS).values()
                assert made.manifest != there

    def _wait_for_branches(self, number: int) -> None:
        patience = time.monotonic() + PATIENCE
        while len(self._lake.work_branches()) < number:
            assert time.monotonic() < patience, "a process does not start its transaction"
            time.sleep(0.005)

    def _source(self) -> Path:
        """A source with content that none before had."""
        self._drawn += 1
        folder = self._folder / f"source-{self._drawn}"
        folder.mkdir()
        for file in self._first.iterdir():
            if file.name != "flights.csv":
                (folder / file.name).symlink_to(file)
        with (folder / "flights.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(self._rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "distance": str(self._drawn)} for row in self._rows)
        return folder


@pytest.fixture
def contested(
    empty_home: Path, workers: Workers, definitions: dg.Definitions, tmp_path: Path
) -> Iterator[Installation]:
    with opened(copied(empty_home, tmp_path / "home"), definitions) as installation:
        yield installation


def race_for_one(contest: Contest, installation: Installation, writers: int, rounds: int) -> None:
    for number in range(1, rounds + 1):
        before = installation.lake.head()
        answers = contest.race(["2013-01-01"] * writers)
        contest.judge(before, answers)
        print(f"round {number:>2}: of {writers} one won, {writers - 1} named it")


def test_of_two_processes_that_publish_one_partition_one_wins(
    workers: Workers, contested: Installation, tmp_path: Path
) -> None:
    race_for_one(Contest(workers, contested, tmp_path, days=1), contested, 2, rounds=2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_of_eight_processes_that_publish_one_partition_one_wins_fifty_times(
    workers: Workers, contested: Installation, definitions: dg.Definitions, tmp_path: Path
) -> None:
    race_for_one(Contest(workers, contested, tmp_path, days=1), contested, 8, rounds=50)
    found = judge(contested.home, TABLES, definitions, doctor=False)
    assert (found.unrecorded, len(found.branches)) == (0, 50 * 7)


@pytest.mark.parametrize("writers", [2, pytest.param(8, marks=pytest.mark.soak)])
def test_processes_that_publish_different_partitions_all_win(
    workers: Workers,
    contested: Installation,
    definitions: dg.Definitions,
    tmp_path: Path,
    writers: int,
) -> None:
    contest = Contest(workers, contested, tmp_path, days=writers)
    before = contested.lake.head()
    answers = contest.race(DAYS[:writers])
    assert [answer["error"] for answer in answers] == [None] * writers
    assert sorted(contest.merged_since(before)) == sorted(answer["run"] for answer in answers)
    versions = {name: version for answer in answers for name, version in answer["versions"].items()}
    found = judge(contested.home, TABLES, definitions, doctor=False)
    assert found.unrecorded == 0
    assert versions == {
        f"{FLIGHTS} {day}": manifest.data_version
        for day, (_, manifest) in zip(DAYS, sorted(found.content[FLIGHTS].items()), strict=False)
    }
