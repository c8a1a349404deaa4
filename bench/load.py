"""How long a process takes to load the definitions, against importing Dagster and dagster-dbt."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from bench.figures import Benchmark, Figure
from bench.processes import Cost, median_cost, python

IMPORT = "import dagster, dagster_dbt"
# What a code server does: the module's definitions, resolved to a repository.
LOAD = "from mlops_assets.definitions import defs; defs().get_repository_def()"


def _measure(rounds: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as home:
        environment = {"MLOPS_HOME": home}
        python("-c", LOAD, environment=environment)  # prepares the manifest
        imports: list[Cost] = []
        loads: list[Cost] = []
        for _ in range(rounds):
            imports.append(python("-c", IMPORT, environment=environment))
            loads.append(python("-c", LOAD, environment=environment))
    imported, loaded = median_cost(imports), median_cost(loads)
    name = LOADING.name
    yield Figure(name, "load the definitions, wall", loaded.wall, "s", imported.wall, target=1.5)
    yield Figure(name, "load the definitions, CPU", loaded.cpu, "s", imported.cpu)


LOADING = Benchmark(
    name="load",
    question="How much slower is loading the definitions than `import dagster, dagster_dbt`?",
    rounds=7,
    measure=_measure,
)
