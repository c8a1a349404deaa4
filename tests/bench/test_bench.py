"""The harness, and the plain script as an independent reference for the warehouse's SQL."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from postgres_server import server

from bench.__main__ import run
from bench.agreement import differences
from bench.bookkeeping import BATCHED, POOLED, STOCK, spent
from bench.figures import Benchmark, Figure, table
from bench.plain_year import MODELS
from bench.postgres_server import PostgresServer
from bench.processes import python
from bench.queue import WARM_UP, Measured
from mlops_assets.components.partition_files import FILE, write_table

# Longer than the histories' seven days, so that outcomes are forgotten too.
FIRST, LAST = "2013-01-01", "2013-01-10"


def _measure(rounds: int) -> Iterator[Figure]:
    yield Figure("trivial", "kept promise", 3.0 * rounds, "s", baseline=6.0, target=1.5)
    yield Figure("trivial", "broken promise", 12.0, "s", baseline=6.0, target=1.5)
    yield Figure("trivial", "no promise", 7.0, "1/s")


TRIVIAL = Benchmark("trivial", "Does the harness work?", rounds=2, measure=_measure)


def test_each_figure_is_appended_as_one_json_line_with_the_machine_facts(tmp_path: Path):
    results = tmp_path / "results.jsonl"

    run([TRIVIAL], None, results)
    run([TRIVIAL], 3, results)

    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["figure"] for line in lines] == [
        *("kept promise", "broken promise", "no promise"),
        *("kept promise", "broken promise", "no promise"),
    ]
    assert [line["value"] for line in lines[::3]] == [6.0, 9.0]
    first, *_, last = lines
    assert (first["ratio"], first["baseline"], first["target"]) == (1.0, 6.0, 1.5)
    assert (last["ratio"], last["baseline"], last["target"]) == (None, None, None)
    for line in lines:
        assert {"benchmark", "unit", "at", "cores", "python", "commit"} <= line.keys()
        assert line["versions"]["dagster"]


def test_the_table_says_which_targets_were_met(tmp_path: Path):
    rows = table(run([TRIVIAL], None, tmp_path / "results.jsonl")).splitlines()

    assert [row.split()[-1] for row in rows[1:]] == ["met", "missed", "1/s"]


def test_the_rate_of_the_queue_leaves_out_the_runs_that_ended_while_it_filled():
    filling = [float(30 * number) for number in range(WARM_UP)]
    steady = [filling[-1] + 2.0 * number for number in range(1, 31)]

    assert Measured(filling + steady).rate == pytest.approx(30.0)


# What SQLite holds is compared row by row in `tests/compute/test_event_logs.py`.
@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.soak), "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[PostgresServer | None]:
    if request.param == "sqlite":
        yield None
        return
    with server() as running:
        yield running


def test_the_same_events_are_recorded_through_every_storage_that_is_compared(
    database: PostgresServer | None,
):
    found = [spent(kind, database, runs=2)["recording"] for kind in (STOCK, BATCHED, POOLED)]

    assert len({each["events"] for each in found}) == 1
    assert all(each["events"] > 0 and each["wall"] > 0 for each in found)


@dataclass(frozen=True)
class Made:
    """What the plain script and the product made of the same days."""

    tables: Path
    home: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    found = Made(folder / "plain", folder / "home")
    python("-m", "bench.plain_year", FIRST, LAST, str(found.tables))
    python(
        *("-m", "bench.product", f"{FIRST}..{LAST}", "--with-reference-tables"),
        environment={"MLOPS_HOME": str(found.home)},
    )
    return found


def test_the_lake_holds_what_a_plain_script_computes(made: Made):
    tables = {folder.relative_to(made.tables).as_posix() for folder in made.tables.glob("*/*")}

    assert tables >= {name.replace(".", "/") for name in MODELS} | {"raw/flights", "raw/weather"}
    assert differences(made.tables, made.home) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda rows: rows.slice(1), "10 partitions have other rows, the first day=2013-01-01"),
        (lambda rows: rows.drop_columns("origin"), "the columns are"),
        (lambda rows: pa.concat_tables([rows.slice(1), rows.slice(1, 1)]), "some rows differ"),
    ],
    ids=["a row fewer", "a column fewer", "another row"],
)
def test_a_table_that_differs_from_the_lake_is_named(
    made: Made, tmp_path: Path, change, difference
):
    table = "features/carrier_history"
    shutil.copytree(made.tables / table, tmp_path / table)
    for file in (tmp_path / table).rglob(FILE):
        write_table(change(pq.read_table(file, partitioning=None)), file)

    (found,) = differences(tmp_path, made.home)

    assert found.startswith(f"{table}: ")
    assert difference in found
