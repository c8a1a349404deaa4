"""What the monitors tell of a year of real flights, and of faults that are put into it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import Benchmark, Figure
from bench.injections import (
    CELSIUS,
    KILOMETRES,
    KILOMETRES_AN_HOUR,
    NO_WEATHER,
    UNITS,
    WEATHER,
    Fault,
    doubled,
    write_source,
)
from bench.plain_problem import declared
from bench.problem import months, product
from bench.processes import python
from bench.year import FIRST, LAST

if TYPE_CHECKING:
    from mlops_assets.monitors.finding import Monitor
    from mlops_assets.monitors.history import DayRows, History

NAME = "monitoring"
MONITORS = ("performance", "drift", "concept", "quality", "freshness")
CARRIERS = ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX", "FL", "AS", "F9")
"""From 160 flights a day to two."""

FIRST_PREDICTED = date(2013, 4, 1)
STARTS = tuple(date(2013, 5, 1) + timedelta(days=9 * place) for place in range(26))
"""A fault begins on each; the first month has too few days before it."""

WEATHER_TABLES = ("raw/weather", "staging/stg_weather", "features/weather_now")
RAW_FAULTS: tuple[tuple[Fault, date], ...] = (
    (CELSIUS, date(2013, 7, 9)),
    (KILOMETRES_AN_HOUR, date(2013, 9, 18)),
    (KILOMETRES, date(2013, 12, 3)),
    (doubled("UA"), date(2013, 10, 8)),
    (doubled("US"), date(2013, 6, 4)),
    (NO_WEATHER, date(2013, 11, 5)),
)
WEEK = 7

FailedCheck = Mapping[str, str]


def _measure(rounds: int) -> Iterator[Figure]:
    del rounds  # The same data give the same figures.
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        environment = {"MLOPS_HOME": str(home)}
        python(*product("--days", f"{FIRST}..{LAST}"), environment=environment)
        python(*product("--models-only", "--month", months()), environment=environment)
        yield from untouched(home)
        yield from broad(home)
        yield from from_raw(home, Path(folder))


def untouched(home: Path) -> Iterator[Figure]:
    """Predict the year and monitor it as it is: what it costs, and what is called an alarm."""
    problem = declared()
    segments = problem.segments
    first_month, last_month = months().split("..")
    span = f"{FIRST_PREDICTED}..{LAST}"
    scored = (
        f"{problem.name}/deployed_model={first_month}|{segments[0]}..{last_month}|{segments[-1]}"
    )
    _launched(home, scored, f"{problem.name}/predictions={span}")
    failed: list[FailedCheck] = []
    for name in MONITORS:
        [found] = _launched(home, f"{problem.name}/monitor_{name}={span}")
        yield Figure(NAME, f"{name}: nine months backfilled in one run", found["seconds"])
        failed += found["failed_checks"]
    for month, alarms in episodes(failed).items():
        told = f" ({'; '.join(alarms)})" if alarms else ""
        yield Figure(NAME, f"alarms of {month} untouched{told}", len(alarms), "alarms")


def episodes(failed: Iterable[FailedCheck]) -> dict[str, list[str]]:
    """The alarms of each month: a subject's days in a row are one, whichever monitors tell it."""
    days: dict[str, set[date]] = defaultdict(set)
    for check in failed:
        for subject in check["about"].split(", "):
            days[subject].add(date.fromisoformat(check["partition"]))
    found: dict[str, list[str]] = {f"2013-{month:02}": [] for month in range(4, 13)}
    for subject, alarmed in sorted(days.items()):
        for day in sorted(alarmed):
            if day - timedelta(days=1) not in alarmed:
                found[f"{day:%Y-%m}"].append(f"{subject} on {day}")
    return found


def broad(home: Path) -> Iterator[Figure]:
    """Put each fault into the rows that monitors read, from many days on."""
    year = Year(home)
    for fault in (*UNITS, NO_WEATHER):
        yield from _shares(year, fault, ("quality", "drift", "freshness"), {"weather_now"})
    for carrier in CARRIERS:
        yield from _shares(year, doubled(carrier), ("concept",), {f"carrier {carrier}"})
    for carrier in CARRIERS[:4]:
        fault = doubled(carrier, early_too=False)
        yield from _shares(year, fault, ("concept",), {f"carrier {carrier}"})


def _shares(
    year: Year, fault: Fault, monitors: Sequence[str], subjects: set[str]
) -> Iterator[Figure]:
    told = [year.days_until_told(fault, start, monitors, subjects) for start in STARTS]
    at_once = sum(days == 0 for days in told) / len(told)
    in_time = sum(days is not None for days in told) / len(told)
    yield Figure(NAME, f"{fault.name}: told on its first day, of {len(told)}", at_once, "share")
    yield Figure(NAME, f"{fault.name}: told by the day after", in_time, "share")


class Year:
    """The days of a state directory's lake, as monitors see them."""

    def __init__(self, home: Path) -> None:
        from mlops_assets.components.prediction_assets import PredictionAssets
        from mlops_assets.components.problem_assets import ProblemAssets
        from mlops_assets.components.problem_monitors import ProblemMonitors
        from mlops_assets.defs.resources import find_lake
        from mlops_assets.settings import ROOT, Settings

        problem = declared()
        assert problem.monitors is not None
        training_set = problem.training_set(ROOT / problem.project)
        assets = PredictionAssets(ProblemAssets(problem, training_set))
        watched = ProblemMonitors(assets, problem.monitors)
        self._monitors: dict[str, Monitor] = watched.monitors()
        self._readers = {
            name: watched.read_by(name, monitor) for name, monitor in self._monitors.items()
        }
        self._snapshot = find_lake(Settings.model_validate({"MLOPS_HOME": home})).snapshot()

    def days_until_told(
        self, fault: Fault, start: date, monitors: Sequence[str], subjects: set[str]
    ) -> int | None:
        """How many days after its start a fault is told of: 0 or 1; None if it is not."""
        for after in (0, 1):
            for name in monitors:
                history = self._history(name, start + timedelta(days=after))
                spoilt = _with(history, fault, start)
                monitor = _looking_at(self._monitors[name], fault)
                if subjects & set(monitor.look(spoilt).findings.subjects):
                    return after
        return None

    @cache  # noqa: B019  # it lives as long as the benchmark
    def _history(self, name: str, day: date) -> History:
        return self._readers[name].history(self._snapshot, day)


def _looking_at(monitor: Monitor, fault: Fault) -> Monitor:
    """The monitor with only those features that the fault can be in: the same alarms, sooner."""
    from dataclasses import replace

    from mlops_assets.monitors.drift import Drift
    from mlops_assets.monitors.quality import Quality

    if fault.table != "weather" or not isinstance(monitor, Drift | Quality):
        return monitor
    return replace(
        monitor, features=tuple(name for name in monitor.features if name.startswith(WEATHER))
    )


def _with(history: History, fault: Fault, start: date) -> History:
    from dataclasses import replace

    def spoilt(day: DayRows) -> DayRows:
        return fault.into(day) if day.day >= start else day

    return replace(
        history, today=spoilt(history.today), before=[spoilt(day) for day in history.before]
    )


def from_raw(home: Path, scratch: Path) -> Iterator[Figure]:
    """Put faults into the raw files, and make everything from there on again."""
    from mlops_assets.defs.raw.sources import bundled_directory

    for place, (fault, start) in enumerate(RAW_FAULTS):
        days = WEEK if fault is NO_WEATHER else 2
        last = start + timedelta(days=days - 1)
        copy = scratch / f"home-{place}"
        shutil.copytree(home, copy)
        source = write_source(bundled_directory(), scratch / f"source-{place}", fault, start, last)
        failed = _monitored_again(copy, source, f"{start}..{last}", fault)
        subject = fault.name.partition(":")[0] if fault.table == "flights" else "weather_now"
        told = sorted(
            {check["partition"] for check in failed if subject in check["about"]}
            or {str(last + timedelta(days=99))}
        )
        after = (date.fromisoformat(told[0]) - start).days
        yield Figure(
            NAME, f"from raw files on, {fault.name} from {start}: told after", after, "days"
        )
        shutil.rmtree(copy)


def _monitored_again(home: Path, source: Path, span: str, fault: Fault) -> list[FailedCheck]:
    problem = declared()
    training_set = problem.training_set(_root() / problem.project)
    upstream = [
        *("raw/flights", "raw/weather", "staging/stg_flights", "staging/stg_weather"),
        *training_set.tables,
    ]
    steps = []
    if fault is NO_WEATHER:
        upstream = [table for table in upstream if table not in WEATHER_TABLES]
        steps.append(f"without:{','.join(WEATHER_TABLES)}={span}")
    steps.append(f"{','.join(upstream)}={span}")
    steps.append(f"{problem.name}/predictions={span}")
    steps += [f"{problem.name}/monitor_{name}={span}" for name in MONITORS]
    launched = _launched(home, *steps, source=source)
    return [check for found in launched for check in found["failed_checks"]]


def _root() -> Path:
    from mlops_assets.settings import ROOT

    return ROOT


def _launched(home: Path, *arguments: str, source: Path | None = None) -> list[dict[str, Any]]:
    environment = {"MLOPS_HOME": str(home), **({"MLOPS_SOURCE": str(source)} if source else {})}
    lines = python("-m", "bench.launch", *arguments, environment=environment).output.splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    for step in found:
        if not step["succeeded"]:
            why = sorted({check["check"] for check in step["failed_checks"]})
            print(f"not made: {', '.join(step['assets'])}: {', '.join(why)}", flush=True)
    return found


MONITORING = Benchmark(
    name=NAME,
    question="Which faults do monitors tell of, when, and what do they call an alarm without one?",
    rounds=1,
    measure=_measure,
)
