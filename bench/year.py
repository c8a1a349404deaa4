"""The year 2013 from raw files to features, against a plain script that computes the same."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.agreement import differences
from bench.figures import Benchmark, Figure
from bench.processes import Cost, median_cost, python

PREPARE = "from mlops_assets.definitions import defs; defs()"
FIRST, LAST = "2013-01-01", "2013-12-31"


def _measure(rounds: int) -> Iterator[Figure]:
    plain: list[Cost] = []
    product: list[Cost] = []
    recorded: list[Cost] = []
    for turn in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            tables, home = Path(folder) / "plain", Path(folder) / "home"
            # Parsing the dbt project belongs to a change of the project, not to a year's work.
            python("-c", PREPARE, environment={"MLOPS_HOME": str(home)})
            plain.append(python("-m", "bench.plain_year", FIRST, LAST, str(tables)))
            product.append(
                python(
                    *("-m", "bench.product", f"{FIRST}..{LAST}", "--with-reference-tables"),
                    environment={"MLOPS_HOME": str(home)},
                )
            )
            spent = json.loads(product[-1].output)["recording"]
            recorded.append(Cost(spent["wall"], spent["cpu"]))
            if turn == 0:
                for sentence in differences(tables, home):
                    print(f"not comparable: {sentence}", file=sys.stderr)
    script, whole = median_cost(plain), median_cost(product)
    work = median_cost(
        Cost(run.wall - record.wall, run.cpu - record.cpu)
        for run, record in zip(product, recorded, strict=True)
    )
    name = YEAR.name
    yield Figure(name, "without event bookkeeping, wall", work.wall, "s", script.wall, target=2.0)
    yield Figure(name, "without event bookkeeping, CPU", work.cpu, "s", script.cpu)
    yield Figure(name, "with event bookkeeping, wall", whole.wall, "s", script.wall)
    yield Figure(name, "with event bookkeeping, CPU", whole.cpu, "s", script.cpu)


YEAR = Benchmark(
    name="year",
    question="What does a year from raw files to features cost, against a plain script?",
    rounds=2,
    measure=_measure,
)
