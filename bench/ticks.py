"""What a tick of each sensor of automation costs, and holds in memory, with ten thousand days."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import Benchmark, Figure
from bench.long_history import LATE_DAY, NEW_DAY
from bench.processes import Cost, median_cost, python

SENSORS = ("flow_of_tables", "flow_of_data", "flow_of_models")
"""Whose ticks are measured; another one needs its kind of tick in `long_history.tick` alone."""

SECONDS = 5.0
GIB = 1.0
"""What a tick shall not exceed; figures stand against it."""

FIRST, IDLE, CHANGED_CODE = "first", "nothing new", "changed code"


def _measure(rounds: int) -> Iterator[Figure]:
    with _recorded() as recorded:
        costs: dict[tuple[str, str], list[Cost]] = {}
        peaks: dict[str, list[float]] = {}
        for number in range(rounds):
            home = recorded.parent / f"round-{number}"
            shutil.copytree(recorded, home)
            for event, cost in _history(home):
                spent = Cost(cost["wall"], cost["cpu"])
                costs.setdefault((event, cost["sensor"]), []).append(spent)
                peaks.setdefault(cost["sensor"], []).append(cost["gib"])
    for (event, sensor), spent_by_round in costs.items():
        measured, name = median_cost(spent_by_round), f"{sensor}, {event}"
        yield Figure(TICKS.name, f"{name}, wall", measured.wall, "s", SECONDS, 1.0)
        yield Figure(TICKS.name, f"{name}, CPU", measured.cpu, "s")
    for sensor, gib in peaks.items():
        yield Figure(TICKS.name, f"{sensor}, most memory", max(gib), "GiB", GIB, 1.0)


def _history(home: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ticks after one another: of a sensor just switched on by the command, then after events."""
    _run(home, "look")
    for event in (FIRST, IDLE, NEW_DAY, LATE_DAY, CHANGED_CODE):
        if event in (NEW_DAY, LATE_DAY):
            _run(home, "happens", event)
        code = ("--code", "changed") if event == CHANGED_CODE else ()
        for sensor in SENSORS:
            yield event, {"sensor": sensor, **json.loads(_run(home, "tick", sensor, *code))}


@contextmanager
def _recorded() -> Iterator[Path]:
    """A record of ten thousand days of everything, made once."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "recorded"
        home.mkdir()
        settings: Mapping[str, Any] = {
            "telemetry": {"enabled": False},
            "event_log_storage": {
                "module": "mlops_assets.compute.event_log",
                "class": "PooledSqliteEventLogStorage",
                "config": {"dagster_home": {"env": "RECORD"}},
            },
        }
        (home / "dagster.yaml").write_text(json.dumps(settings))
        _run(home, "record")
        yield home


def _run(home: Path, *arguments: str) -> str:
    environment = {"RECORD": str(home)}
    said = python("-m", "bench.long_history", str(home), *arguments, environment=environment)
    return said.output.splitlines()[-1] if said.output else ""


TICKS = Benchmark(
    name="ticks",
    question="Does a tick of each automation sensor stay under 5 s and 1 GiB with 10,000 days?",
    rounds=1,
    measure=_measure,
)
