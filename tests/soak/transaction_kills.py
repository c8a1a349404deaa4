"""Kills of a process that publishes raw tables, each aimed at a phase of its transaction."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
from forked_workers import Workers
from installation import copied
from phases import Phase, Step
from small_source import Row, small_source
from verdict import Content, judge, opened

ASSETS = ("raw/flights",)
TABLES = ("raw/flights", "raw/flights_quarantine")
"""They are published together: a mixture of two runs' content in them is a torn state."""

AIMED_AT = [phase for phase in Phase if phase is not Phase.ENDED]
PATIENCE = 60.0


@dataclass(frozen=True)
class Workload:
    """What a process does when it is killed.

    Attributes:
        name: For people.
        home: The state directory before; copied for each kill.
        source: The folder of the source's files.
        days: One day, or the first and the last of a range.
        before: What the tables consist of before.
        after: What they consist of when it was not disturbed.
        objects: How many objects it stages.
        events: How many materializations it records.
        began: When each phase began, in seconds after the start.
    """

    name: str
    home: Path
    source: Path
    days: Sequence[str]
    before: Content
    after: Content
    objects: int
    events: int
    began: dict[Phase, float]

    @property
    def phases(self) -> list[Phase]:
        """Those that it passes through: a single event is there or not."""
        return [phase for phase in AIMED_AT if phase is not Phase.RECORDING or self.events > 1]

    def span(self, phase: Phase) -> float:
        """How long a phase took, in seconds; at least what one look at it takes."""
        later = [at for other, at in self.began.items() if other > phase]
        return max(min(later, default=0.0) - self.began.get(phase, 0.0), 0.002)


@dataclass
class Tally:
    """What came of the kills.

    Attributes:
        hits: How many struck each phase.
        published: Of those, how many left everything of the step on the base branch.
        unrecorded: How many left something there that no event named.
        late: How many came after the run had ended; they are none.
    """

    hits: Counter[Phase] = field(default_factory=Counter)
    published: Counter[Phase] = field(default_factory=Counter)
    unrecorded: Counter[Phase] = field(default_factory=Counter)
    late: int = 0

    def lines(self) -> Iterator[str]:
        """The rows of the table in docs/reliability.md."""
        yield "| phase that the kill hit | kills | published | left to `doctor` | torn |"
        yield "|---|---|---|---|---|"
        for phase in AIMED_AT:
            yield (
                f"| {phase.label} | {self.hits[phase]} | {self.published[phase]} "
                f"| {self.unrecorded[phase]} | 0 |"
            )
        yield (
            f"| all | {self.hits.total()} | {self.published.total()} "
            f"| {self.unrecorded.total()} | 0 |"
        )


class Range:
    """Where transactions are shot at.

    Args:
        workers: What the processes are forked from.
        empty: A state directory with an empty lake and record.
        folder: For everything that is made.
        definitions: The real ones.
        workloads: How many kinds of step.
    """

    def __init__(
        self,
        workers: Workers,
        empty: Path,
        folder: Path,
        definitions: dg.Definitions,
        *,
        workloads: int,
    ) -> None:
        self._workers = workers
        self._folder = folder
        self._definitions = definitions
        self._copies = 0
        first = small_source(folder / "first", _bad_on("1"), days=3, every=4)
        second = small_source(folder / "second", _bad_on("2"), days=3, every=4)
        published = self._copy(empty)
        days = ("2013-01-01", "2013-01-03")
        told = workers.materialize(published, ASSETS, days, source=first).answer()
        assert told["error"] is None, told
        kinds = (
            ("three days over others", published, second, days),
            ("three new days", empty, first, days),
            ("one day over another", published, second, ("2013-01-02",)),
        )
        self.workloads = [self._undisturbed(*kind) for kind in kinds[:workloads]]

    def shoot(self, kills: int, aims: Sequence[Phase]) -> Tally:
        """Kill processes, spread over phases and workloads, judge each and say what came of it."""
        tally = Tally()
        for number in range(kills):
            if number and number % 50 == 0:
                print(f"{number} kills, 0 torn")
            phase = min(aims, key=lambda phase: (tally.hits[phase], random.random()))
            able = [one for one in self.workloads if phase in one.phases]
            self._shoot(able[number % len(able)], phase, tally, number)
        return tally

    def _shoot(self, workload: Workload, aim: Phase, tally: Tally, number: int) -> None:
        hit = Phase.ENDED
        while hit is Phase.ENDED:
            home = self._copy(workload.home)
            step = Step(home, objects=workload.objects, events=workload.events)
            worker = self._workers.materialize(home, ASSETS, workload.days, source=workload.source)
            _wait_for(step, aim)
            # Some of a short phase is over before it is seen: half of the kills come at once.
            time.sleep(max(0.0, random.uniform(-1, 1)) * workload.span(aim))
            worker.kill()
            hit = step.phase()
            step.close()
            if hit is Phase.ENDED:
                tally.late += 1
                shutil.rmtree(home)
        where = f"{workload.name}, {hit.label}"
        found = judge(home, TABLES, self._definitions, doctor=bool(number % 2))
        assert found.content in (workload.before, workload.after), f"torn: {where}"
        tally.hits[hit] += 1
        tally.published[hit] += found.content == workload.after
        tally.unrecorded[hit] += bool(found.unrecorded)
        again = self._workers.materialize(
            home, ASSETS, workload.days, source=workload.source
        ).answer()
        assert again["error"] is None, f"{where}: {again}"
        converged = judge(home, TABLES, self._definitions, doctor=False)
        assert converged.content == workload.after, f"not the undisturbed content: {where}"
        assert not converged.unrecorded, f"not recorded when it had run again: {where}"
        shutil.rmtree(home)

    def _undisturbed(self, name: str, home: Path, source: Path, days: Sequence[str]) -> Workload:
        before = judge(home, TABLES, self._definitions, doctor=False).content
        done = self._copy(home)
        told = self._workers.materialize(done, ASSETS, days, source=source).answer()
        assert told["error"] is None, told
        after = judge(done, TABLES, self._definitions, doctor=False).content
        assert after != before
        with opened(done, self._definitions) as found:
            base, work = found.lake.commit_info(found.lake.head())["parents"]
            changes = found.lake.repo().ref(base).diff(other_ref=work, type="two_dot")
            objects = len(list(changes))
        # For a range Dagster records each partition by itself, and then we with its version.
        events = 1 if len(days) == 1 else 2 * 3
        watched = self._copy(home)
        step = Step(watched, objects=objects, events=events)
        began: dict[Phase, float] = {}
        started = time.monotonic()
        worker = self._workers.materialize(watched, ASSETS, days, source=source)
        while Phase.ENDED not in began:
            began.setdefault(step.phase(), time.monotonic() - started)
            time.sleep(0.0005)
        worker.answer()
        step.close()
        return Workload(name, home, source, days, before, after, objects, events, began)

    def _copy(self, home: Path) -> Path:
        self._copies += 1
        return copied(home, self._folder / f"home-{self._copies}")


def _bad_on(day: str) -> object:
    """Change all rows of a source, and spoil one row of a day for the quarantine."""
    spoilt = []

    def change(row: Row) -> None:
        if row["air_time"] != "NA":
            row["air_time"] = str(int(row["air_time"]) + int(day))
        if row["day"] == day and not spoilt:
            spoilt.append(row)
            row["distance"] = "-1"

    return change


def _wait_for(step: Step, phase: Phase) -> None:
    patience = time.monotonic() + PATIENCE
    while step.phase() < phase:
        assert time.monotonic() < patience, f"never {phase.label}"
        time.sleep(0.0005)
