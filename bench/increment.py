"""One more day from raw to features, when 30 days and when 364 days are already there.

Each round works on a copy of the prepared state, so that no round builds on another's day.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from bench.figures import Benchmark, Figure
from bench.processes import Cost, median_cost, python

FIRST = date(2013, 1, 1)
FEW, MANY = 30, 364


@dataclass
class Costs:
    """What the next day cost, round by round, in a cold process and in a warm one."""

    cold: list[Cost] = field(default_factory=list)
    warm: list[Cost] = field(default_factory=list)


def _measure(rounds: int) -> Iterator[Figure]:
    costs = {FEW: Costs(), MANY: Costs()}
    with tempfile.TemporaryDirectory() as folder:
        states = {days: Path(folder) / f"{days}-days" for days in costs}
        _days(states[FEW], (1, FEW), "--with-reference-tables")
        shutil.copytree(states[FEW], states[MANY])
        _days(states[MANY], (FEW + 1, MANY))
        for _ in range(rounds):
            for days, found in costs.items():
                home = Path(folder) / "home"
                shutil.copytree(states[days], home)
                found.cold.append(_days(home, (days + 1, days + 1)))
                shutil.rmtree(home)
                shutil.copytree(states[days], home)
                found.warm.append(_warm_day(home, days))
                shutil.rmtree(home)
    name = INCREMENT.name
    for kind in ("warm", "cold"):
        few, many = (median_cost(getattr(costs[days], kind)) for days in (FEW, MANY))
        what = f"next day after {MANY} days and after {FEW}, {kind} process"
        yield Figure(name, f"{what}, wall", many.wall, "s", few.wall, target=1.2)
        yield Figure(name, f"{what}, CPU", many.cpu, "s", few.cpu)


def _days(home: Path, numbers: tuple[int, int], *options: str) -> Cost:
    return python(
        *("-m", "bench.product", _span(*numbers), *options),
        environment={"MLOPS_HOME": str(home)},
    )


def _warm_day(home: Path, days: int) -> Cost:
    """The next day in a process that has just made the last day again, to no change."""
    said = python(
        *("-m", "bench.product", _span(days, days), _span(days + 1, days + 1)),
        environment={"MLOPS_HOME": str(home)},
    ).output
    spent = json.loads(said.splitlines()[-1])
    return Cost(spent["wall"], spent["cpu"])


def _span(first: int, last: int) -> str:
    """The days of the year by their number, the first being 1, as a range."""
    days = (FIRST + timedelta(days=number - 1) for number in (first, last))
    return "..".join(day.isoformat() for day in days)


INCREMENT = Benchmark(
    name="increment",
    question="Does one day cost more the more days there are?",
    rounds=3,
    measure=_measure,
)
