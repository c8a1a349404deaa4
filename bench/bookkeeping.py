"""What Dagster's record of a year of days costs, on the stock event log and on ours."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Benchmark, Figure
from bench.processes import Cost, median_cost, python

STOCK = "stock"
POOLED = "pooled"
ASSETS = 10


def _measure(rounds: int) -> Iterator[Figure]:
    runs: dict[str, list[Cost]] = {STOCK: [], POOLED: []}
    records: dict[str, list[Cost]] = {STOCK: [], POOLED: []}
    for _ in range(rounds):
        for storage in (STOCK, POOLED):
            with tempfile.TemporaryDirectory() as folder:
                home = Path(folder) / "dagster"
                said = python("-m", "bench.no_op_year", storage, str(home)).output
            spent = json.loads(said.splitlines()[-1])
            runs[storage].append(Cost(spent["wall"], spent["cpu"]))
            records[storage].append(Cost(spent["recording"]["wall"], spent["recording"]["cpu"]))
    for what, costs in (("the run", runs), ("recording its events", records)):
        ours, stock = median_cost(costs[POOLED]), median_cost(costs[STOCK])
        yield Figure(BOOKKEEPING.name, f"{what}, wall", ours.wall, "s", stock.wall)
        yield Figure(BOOKKEEPING.name, f"{what}, CPU", ours.cpu, "s", stock.cpu)


BOOKKEEPING = Benchmark(
    name="bookkeeping",
    question="What does a run of 10 no-op assets over 365 days cost, against Dagster's own log?",
    rounds=1,
    measure=_measure,
)
