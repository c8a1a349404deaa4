"""What Dagster's record of partitions costs, on the stock storages and on ours."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import Benchmark, Figure
from bench.postgres_server import PostgresServer, installed, postgres_server
from bench.processes import Cost, median_cost, python

STOCK, BATCHED, POOLED = "stock", "stock in batches", "pooled"
SQLITE, POSTGRES = "SQLite", "Postgres"
RUNS = 20
TARGET = 0.5
"""Of the stock storages' time."""
BATCHES = {"DAGSTER_EVENT_BATCH_SIZE": "500"}
"""What the product's commands set for every process that they start."""

STORAGES = {
    STOCK: {
        "run_storage": ("dagster_postgres", "PostgresRunStorage"),
        "schedule_storage": ("dagster_postgres", "PostgresScheduleStorage"),
        "event_log_storage": ("dagster_postgres", "PostgresEventLogStorage"),
    },
    POOLED: {
        "run_storage": ("mlops_assets.compute.postgres_storages", "PooledPostgresRunStorage"),
        "schedule_storage": (
            "mlops_assets.compute.postgres_storages",
            "PooledPostgresScheduleStorage",
        ),
        "event_log_storage": (
            "mlops_assets.compute.postgres_event_log",
            "PooledPostgresEventLogStorage",
        ),
    },
}


def spent(kind: str, server: PostgresServer | None, *, runs: int = 0) -> dict[str, Any]:
    """Run `bench.no_op_year` in a fresh record; what it said that it cost.

    Args:
        kind: The storages: `STOCK`, `BATCHED` or `POOLED`.
        server: The Postgres to record in, which has nothing else in it; None for SQLite.
        runs: How many runs of a day each; 0 for one run of the whole year.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "dagster"
        home.mkdir()
        settings: dict[str, Any] = {"telemetry": {"enabled": False}}
        if server is not None:
            settings |= server.storages(STORAGES[POOLED if kind == POOLED else STOCK], {})
        elif kind == POOLED:
            settings["event_log_storage"] = {
                "module": "mlops_assets.compute.event_log",
                "class": "PooledSqliteEventLogStorage",
                "config": {"dagster_home": str(home)},
            }
        (home / "dagster.yaml").write_text(json.dumps(settings))
        batches = {"DAGSTER_EVENT_BATCH_SIZE": "0"} if kind == STOCK else BATCHES
        said = python(
            *("-m", "bench.no_op_year", str(home), "--runs", str(runs)), environment=batches
        )
    found: dict[str, Any] = json.loads(said.output.splitlines()[-1])
    return found


def _measure(rounds: int) -> Iterator[Figure]:
    pg_ctl = installed()
    if pg_ctl is None:
        print("  There is no Postgres on this machine: only SQLite is measured.", flush=True)
    for database in (SQLITE, POSTGRES) if pg_ctl else (SQLITE,):
        year: dict[str, list[Cost]] = {STOCK: [], BATCHED: [], POOLED: []}
        recorded: dict[str, list[Cost]] = {STOCK: [], BATCHED: [], POOLED: []}
        days: dict[str, list[Cost]] = {STOCK: [], POOLED: []}
        for _ in range(rounds):
            for kind, costs in year.items():
                with _fresh(pg_ctl, database) as server:
                    whole = spent(kind, server)
                costs.append(Cost(whole["wall"], whole["cpu"]))
                part = whole["recording"]
                recorded[kind].append(Cost(part["wall"], part["cpu"]))
            for kind, costs in days.items():
                with _fresh(pg_ctl, database) as server:
                    each = spent(kind, server, runs=RUNS)
                costs.append(Cost(each["wall"] / RUNS, each["cpu"] / RUNS))
        yield from _figures(f"{database}: a run of a year", year, POOLED, TARGET)
        yield from _figures(f"{database}: recording its events", recorded, POOLED)
        yield from _figures(f"{database}: a run of a day", days, POOLED)
        yield from _figures(f"{database}: a run of a year, stock in batches", year, BATCHED)


@contextmanager
def _fresh(pg_ctl: Path | None, database: str) -> Iterator[PostgresServer | None]:
    if pg_ctl is None or database == SQLITE:
        yield None
        return
    with postgres_server(pg_ctl) as server:
        yield server


def _figures(
    name: str, costs: Mapping[str, list[Cost]], kind: str, target: float | None = None
) -> Iterator[Figure]:
    measured, stock = median_cost(costs[kind]), median_cost(costs[STOCK])
    yield Figure(BOOKKEEPING.name, f"{name}, wall", measured.wall, "s", stock.wall, target)
    yield Figure(BOOKKEEPING.name, f"{name}, CPU", measured.cpu, "s", stock.cpu)


BOOKKEEPING = Benchmark(
    name="bookkeeping",
    question="What does Dagster's record of 10 no-op assets over 365 days cost, against its own?",
    rounds=1,
    measure=_measure,
)
