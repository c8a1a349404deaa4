"""Column lineage holds: a raw column whose change moves a feature is named by that feature.

The models' own SQL and the training set's are run over a few real days, once as they are and once
for each raw column with that column changed. A feature moves if its value for any key does, or if
a row comes or goes.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
import yaml
from installation import Installation, asset_key

from mlops_assets.components import dbt_build, dbt_manifest, dbt_runner
from mlops_assets.components.column_lineage import SHOWN, STANDARD, recorded
from mlops_assets.components.ml_problem import MlProblem
from mlops_assets.components.sql_lineage import Column, Lineage, common, origins, trace
from mlops_assets.components.training_set import TrainingSet, Window
from mlops_assets.defs.raw.sources import bundled_directory
from mlops_assets.engines.duckdb import columns, quote
from mlops_assets.settings import ROOT, settings

PROJECT = ROOT / "dbt_project"
DECLARATION = ROOT / "mlops_assets/defs/flight_delay/defs.yaml"
TRAINING_SET = "flight_delay/training_set"
ARRIVAL_DELAY = Column("raw/flights", "arr_delay")
RAW_TABLES = ("flights", "weather", "planes", "airports", "airlines")

# In these days a month or a day is still a date when it is another row's, or one more.
MONTH, FIRST_DAY, LAST_DAY, LEFT_OUT = "2013-11", "2013-10-28", "2013-11-02", 31


@dataclass(frozen=True)
class Query:
    """A table, and how it is made.

    Attributes:
        table: Its name, as `schema/name`.
        sql: The query.
        key: The columns that name a row of it.
        reads: The tables that it reads.
    """

    table: str
    sql: str
    key: Sequence[str]
    reads: Sequence[str]


@pytest.fixture(scope="module")
def training_set(parsed_home: Path) -> Iterator[TrainingSet]:
    """The declared problem's."""
    attributes = yaml.safe_load(DECLARATION.read_text())["attributes"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_HOME", str(parsed_home))
        settings.cache_clear()
        yield MlProblem.model_validate(attributes).training_set(PROJECT)
    settings.cache_clear()


@pytest.fixture(scope="module")
def queries(training_set: TrainingSet, tmp_path_factory: pytest.TempPathFactory) -> list[Query]:
    """The models and the training set, each after what it reads."""
    window = Window.of(MONTH, training_set.months, training_set.time_zone)
    last = Query(
        table=TRAINING_SET,
        sql=training_set._query(window),
        key=training_set.spine.keys,
        reads=training_set.tables,
    )
    return [*models(tmp_path_factory.mktemp("compiled")), last]


def models(scratch: Path) -> list[Query]:
    """The models with the SQL that dbt makes of them."""
    manifest = dbt_manifest.reparse(dbt_manifest.prepared(PROJECT), scratch)
    # The project's own profile would have dbt make a database where the tests are started.
    profile = dbt_build.profile(PROJECT, scratch / "warehouse.duckdb")
    (scratch / "profiles.yml").write_text(json.dumps(profile))
    window = json.dumps({"first_day": FIRST_DAY, "last_day": LAST_DAY})
    result = dbt_runner.invoke(
        "compile", PROJECT, scratch, scratch, "--vars", window, manifest=manifest
    )
    assert result.success, result.exception
    content = dbt_manifest.load(PROJECT)
    tables = {
        name: f"{node['schema']}/{node['name']}"
        for name, node in {**content["sources"], **content["nodes"]}.items()
    }
    waiting = [
        Query(
            table=tables[node.unique_id],
            sql=node.compiled_code.replace(f'"{node.database}".', ""),
            key=node.config["unique_key"],
            reads=[tables[parent] for parent in node.depends_on.nodes],
        )
        for node in (ran.node for ran in result.result)
        if node.resource_type == "model"
    ]
    made: list[Query] = []
    while waiting:
        left = {query.table for query in waiting}
        made += [query for query in waiting if not left.intersection(query.reads)]
        waiting = [query for query in waiting if left.intersection(query.reads)]
    return made


class Warehouse:
    """The tables of all queries, in memory, over a few days of raw data.

    Attributes:
        queries: What makes them, each after what it reads.
        columns: The columns of every table.
    """

    def __init__(self, queries: Sequence[Query], scratch: Path) -> None:
        self.queries = queries
        # Small queries, many times: a second thread only costs.
        self._database = duckdb.connect(config={"threads": 1})
        for schema in ("raw", "source", *(query.table.split("/")[0] for query in queries)):
            self._database.execute(f"create schema if not exists {schema}")
        with zipfile.ZipFile(bundled_directory() / "flights.csv.zip") as archive:
            archive.extract("flights.csv", scratch)
        for table in RAW_TABLES:
            folder = scratch if table == "flights" else bundled_directory()
            rows = f"select * from read_csv('{folder / table}.csv', nullstr = 'NA')"
            if table in ("flights", "weather"):
                kept = "flight % 6 = 0" if table == "flights" else "true"
                rows = f"""
                    select * replace (timezone('UTC', time_hour) as time_hour) from ({rows})
                    where make_date(year, month, day) between '{FIRST_DAY}' and '{LAST_DAY}'
                    and day <> {LEFT_OUT} and {kept}
                """
            self._database.execute(
                f"create table source.{table} as select row_number() over () as n, * from ({rows})"
            )
            self._show(table)
        self._build(queries)
        self.columns = columns(self._database)
        self._whole = self._digests(queries)

    def moves(self, table: str) -> Iterator[tuple[Column, set[Column]]]:
        """Each column of a raw table, with the columns that are otherwise when it is."""
        below = self._downstream(f"raw/{table}")
        for name in self.columns[f"raw/{table}"]:
            self._show(table, f"replace ({self._changed(table, name)} as {quote(name)})")
            self._build(below)
            after = self._digests(below)
            moved = {column for column, digest in after.items() if digest != self._whole[column]}
            yield Column(f"raw/{table}", name), moved
        self._show(table)
        self._build(below)

    def _changed(self, table: str, column: str) -> str:
        """Of four rows one has the value of one that keeps it, one none, one a value moved."""
        [(kind,)] = self._database.execute(
            f"select distinct typeof({quote(column)}) from source.{table}"
        ).fetchall()
        other = f"coalesce(lag({quote(column)}) over (order by n), {quote(column)})"
        moved = {"VARCHAR": other, "TIMESTAMP": f"{quote(column)} + interval 1 hour"}
        return (
            f"case n % 4 when 0 then {other} when 1 then null "
            f"when 2 then {moved.get(kind, f'{quote(column)} + 1')} else {quote(column)} end"
        )

    def _show(self, table: str, replaced: str = "") -> None:
        self._database.execute(
            f"create or replace table raw.{table} as "
            f"select * exclude (n) {replaced} from source.{table}"
        )

    def _downstream(self, table: str) -> list[Query]:
        changed = {table}
        for query in self.queries:
            if changed.intersection(query.reads):
                changed.add(query.table)
        return [query for query in self.queries if query.table in changed]

    def _build(self, queries: Sequence[Query]) -> None:
        for query in queries:
            relation = query.table.replace("/", ".")
            self._database.execute(f"create or replace table {relation} as {query.sql}")

    def _digests(self, queries: Sequence[Query]) -> dict[Column, int]:
        """Of each column's values, with the keys that they belong to."""
        found = {}
        for query in queries:
            key = ", ".join(map(quote, query.key))
            names = self.columns[query.table]
            digests = ", ".join(f"sum(hash({key}, {quote(name)}))" for name in names)
            [row] = self._database.execute(
                f"select {digests} from {query.table.replace('/', '.')}"
            ).fetchall()
            found.update(
                {Column(query.table, name): row[place] for place, name in enumerate(names)}
            )
        return found


@pytest.fixture(scope="module")
def warehouse(queries: list[Query], tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(queries, tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def lineage(warehouse: Warehouse) -> Lineage:
    """Of every table, as a build records it."""
    return {
        query.table: trace(query.sql, warehouse.columns, query.key) for query in warehouse.queries
    }


@pytest.fixture(scope="module")
def moves(warehouse: Warehouse) -> dict[Column, set[Column]]:
    """By raw column, the columns that its change moves."""
    return dict(move for table in RAW_TABLES for move in warehouse.moves(table))


def unnamed(moves: Mapping[Column, set[Column]], lineage: Lineage) -> dict[Column, set[Column]]:
    """The columns that a raw column moves and that do not name it."""
    found: dict[Column, set[Column]] = {}
    for raw, moved in moves.items():
        silent = {column for column in moved if raw not in origins(lineage, column)}
        if silent:
            found[raw] = silent
    return found


def test_what_moves_a_column_is_named_by_it(
    moves: dict[Column, set[Column]], lineage: Lineage
) -> None:
    assert unnamed(moves, lineage) == {}


def test_a_lineage_that_forgets_what_decides_the_rows_is_found_out(
    moves: dict[Column, set[Column]], lineage: Lineage
) -> None:
    forgetful = {
        table: {name: deps - common(columns) for name, deps in columns.items()}
        for table, columns in lineage.items()
    }
    found = unnamed(moves, forgetful)
    assert Column("features/carrier_history", "carrier_flights_7d") in found[ARRIVAL_DELAY]
    assert Column(TRAINING_SET, "carrier_history__carrier_flights_7d") in found[ARRIVAL_DELAY]


def test_no_column_names_what_its_sql_never_reads(queries: list[Query], lineage: Lineage) -> None:
    sql = {
        raw: " ".join(query.sql for query in queries if raw in query.reads)
        for raw in (f"raw/{table}" for table in RAW_TABLES)
    }
    named = {
        raw
        for table, made in lineage.items()
        for name in made
        for raw in origins(lineage, Column(table, name))
    }
    assert {raw for raw in named if not re.search(rf"\b{raw.name}\b", sql[raw.table])} == set()


def test_the_training_set_records_the_same(training_set: TrainingSet, lineage: Lineage) -> None:
    assert training_set.column_lineage(MONTH) == lineage[TRAINING_SET]


def test_a_build_records_it_once_with_the_newest_event(
    built: Installation, queries: list[Query], lineage: Lineage
) -> None:
    models = {query.table for query in queries} - {TRAINING_SET}
    for table in models:
        newest, *others = (
            record.asset_materialization.metadata
            for record in built.instance.fetch_materializations(asset_key(table), limit=9).records
        )
        assert {STANDARD, SHOWN} <= newest.keys()
        assert not any({STANDARD, SHOWN} & other.keys() for other in others)
        assert others
    assert recorded(built.instance, models) == {
        table: columns for table, columns in lineage.items() if table in models
    }


def test_people_read_what_a_column_goes_back_to(built: Installation) -> None:
    shown = built.materialization("features/carrier_history").metadata[SHOWN].value
    lines = {line.split(" | ")[0]: line for line in shown.splitlines()}
    _, reads, goes_back_to = lines["| *every column*"].split(" | ")
    assert "[marts/fct_flights](/assets/marts/fct_flights): carrier, flight_date" in reads
    assert "[raw/flights](/assets/raw/flights): arr_delay, carrier" in goes_back_to
    assert "is_cancelled" in lines["| carrier_cancelled_rate_7d"]
