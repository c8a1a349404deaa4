"""Two processes that publish one partition at the same moment: one wins, never a mixture."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from installation import Installation, copied, installed
from main_job import intact
from small_source import Row, small_source

TESTS = Path(__file__).parents[1]


class Racer:
    """A process that publishes what its own source says."""

    def __init__(self, name: int, process: subprocess.Popen[str], source: Path) -> None:
        self.name = name
        self._process = process
        self._source = source

    def draw(self, number: int) -> None:
        """Give its source content that no round and no other process has."""

        def change(row: Row) -> None:
            if row["air_time"] != "NA":
                row["air_time"] = str(100 + 2 * number + self.name)

        rows = small_source(self._source.with_name(f"{self._source.name}-{number}"), change, days=1)
        (rows / "flights.csv").replace(self._source / "flights.csv")

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the racer died"
        return line


@contextmanager
def racer(name: int, home: Path, source: Path) -> Iterator[Racer]:
    environment = {
        **os.environ,
        "MLOPS_HOME": str(home),
        "MLOPS_SOURCE": str(source),
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    with subprocess.Popen(
        [sys.executable, str(TESTS / "soak" / "racer.py")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(source / "log.txt").open("w"),
        text=True,
    ) as process:
        try:
            yield Racer(name, process, source)
        finally:
            process.kill()


def race(installation: Installation, folder: Path, rounds: int) -> Counter[str]:
    """Let two processes race and judge every round; returns how often each ending was seen."""
    endings: Counter[str] = Counter()
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                racer(name, installation.home, small_source(folder / f"source-{name}", days=1))
            )
            for name in (0, 1)
        ]
        for one in racers:
            assert one.answer() == "ready\n"
        for number in range(rounds):
            for one in racers:
                one.draw(number)
            before = installation.lake.head()
            for one in racers:
                one.go()
            ending = judge(installation, before, [json.loads(one.answer()) for one in racers])
            print(f"round {number + 1:>2}: {ending}")
            endings[ending] += 1
    return endings


def judge(installation: Installation, before: str, answers: list[dict[str, Any]]) -> str:
    """Whether one whole result is there, and who else tried was told who won."""
    winners = [answer for answer in answers if answer["error"] is None]
    losers = [answer for answer in answers if answer["error"] is not None]
    assert winners, answers
    [there] = intact(installation.lake, "raw/flights").values()
    assert there.data_version in {answer["version"] for answer in winners}
    assert len({answer["version"] for answer in winners}) == len(winners)
    lost = "ConflictError: raw/flights day=2013-01-01 was published by another writer"
    for loser in losers:
        assert lost in loser["error"]
        assert f"run {winners[0]['run']}" in loser["error"]
    published = 0
    head = installation.lake.head()
    while head != before:
        head = installation.lake.commit_info(head)["parents"][0]
        published += 1
    assert published == len(winners)
    return "one published, the other named it" if losers else "one after the other"


@pytest.fixture
def contested(
    parsed_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> Iterator[Installation]:
    with installed(copied(parsed_home, tmp_path / "home"), definitions) as installation:
        yield installation


def test_of_two_processes_that_publish_one_partition_one_wins(
    contested: Installation, tmp_path: Path
) -> None:
    race(contested, tmp_path, rounds=3)


@pytest.mark.soak
def test_twenty_races_for_one_partition_never_mix(contested: Installation, tmp_path: Path) -> None:
    endings = race(contested, tmp_path, rounds=20)
    print(dict(endings))
    assert endings["one published, the other named it"]
