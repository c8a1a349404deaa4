"""What a query's columns come from, held against DuckDB: what moves an output must be named."""

import duckdb
import pytest

from mlops_assets.components.sql_lineage import (
    ROWS,
    Column,
    LineageError,
    common,
    origins,
    trace,
)

TABLES = {"s/t": ["a", "b", "c", "l"], "s/u": ["a", "d"]}

# Every value of a column is replaced by the same expression over the row's number.
CONTENT = {
    "s.t": "select n % 3 as a, n % 5 as b, n * 7 % 11 as c, [n, n % 2] as l from range(12) as r(n)",
    "s.u": "select n % 4 as a, n * 3 % 7 as d from range(6) as r(n)",
}
PERTURBED = {
    "a": "(a + 1) % 4",
    "b": "case when b = 2 then null else 4 - b end",
    "c": "(c * c + 3) % 5",
    "d": "case when d = 3 then null else 7 - d end",
    "l": "list_transform(l, lambda x: x * 5 + 1)",
}


def named(text: str) -> set[Column]:
    """The columns `t.a u.d` of the tables of these tests; `t.*` is the rows."""
    parted = (dep.split(".") for dep in text.split())
    return {Column(f"s/{table}", name) for table, name in parted}


QUERIES = {
    "an expression": ("select a + b as x, 1 as one from s.t", "x: t.a t.b; one: "),
    "a filter": ("select a as x from s.t where b > 1", "x: t.a t.b"),
    "a star": ("select * exclude (l, c) replace (c as b) from s.t", "a: t.a; b: t.c"),
    "an inner join": ("select c as x from s.t join s.u using (a)", "x: t.c t.a u.a u.*"),
    "a left join, which can repeat rows": (
        "select c as x from s.t left join s.u on t.a = u.a",
        "x: t.c t.a u.a u.*",
    ),
    "a semi join": ("select c as x from s.t semi join s.u using (a)", "x: t.c t.a u.a u.*"),
    "joins in parentheses": (
        "select c as x from (s.t join s.u on t.a = u.a)",
        "x: t.c t.a u.a u.*",
    ),
    "an as-of join keeps the rows on its left": (
        "select c as x, d as y from s.t asof left join s.u on t.a = u.a and t.b >= u.d",
        "x: t.c; y: u.d t.a t.b u.a u.*",
    ),
    "an inner as-of join does not": (
        "select c as x from s.t asof join s.u on t.a = u.a and t.b >= u.d",
        "x: t.c t.a t.b u.a u.d u.*",
    ),
    "groups": ("select a as k, sum(c) as x from s.t group by k", "k: t.a; x: t.a t.c"),
    "groups by position": ("select a, count(*) as x from s.t group by 1", "a: t.a; x: t.a"),
    "groups by all": ("select a, sum(c) as x from s.t group by all", "a: t.a t.c; x: t.a t.c"),
    "a condition on groups": (
        "select a as k from s.t group by a having sum(c) > 20",
        "k: t.a t.c",
    ),
    "an aggregate's own filter": ("select count(*) filter (where b > 1) as x from s.t", "x: t.b"),
    "an aggregate's own order": ("select first(a order by c) as x from s.t", "x: t.a t.c"),
    "a window": (
        "select a as x, sum(c) over (partition by a order by b) as y from s.t",
        "x: t.a; y: t.a t.b t.c",
    ),
    "a named window": (
        "select a as x, sum(c) over w as y from s.t window w as (partition by b)",
        "x: t.a t.b; y: t.b t.c",
    ),
    "a condition on a window": (
        "select a as x from s.t qualify row_number() over (order by c) < 4",
        "x: t.a t.c",
    ),
    "duplicates removed": (
        "select distinct a as x, b as y from s.t",
        "x: t.a t.b; y: t.a t.b",
    ),
    "one row of each": (
        "select distinct on (a) a as x, c as y from s.t order by b",
        "x: t.a t.b t.c; y: t.a t.b t.c",
    ),
    "a limit": ("select a as x from s.t order by c, b limit 3", "x: t.a t.b t.c"),
    "a limit ordered by an output": (
        "select a as x, c - a as z from s.t order by z, x limit 3",
        "x: t.a t.c; z: t.a t.c",
    ),
    "only how many rows": ("select count(*) as x from s.t", "x: "),
    "named queries": (
        "with p(k, v) as (select a, c from s.t where b > 0), q as (select k, max(v) as m from p "
        "group by k) select m as x from q",
        "x: t.a t.b t.c",
    ),
    "a query that nothing reads": (
        "with p as (select d from s.u) select a as x from s.t",
        "x: t.a",
    ),
    "a union by position": (
        "select a as x, b as y from s.t union all select d, a from s.u where d > 2",
        "x: t.a u.d u.*; y: t.b u.a u.d u.*",
    ),
    "a union by name": (
        "select a as x, b as y from s.t union all by name select d as y from s.u",
        "x: t.a u.*; y: t.b u.d u.*",
    ),
    "a union without duplicates": (
        "select a as x, b as y from s.t union select a, d from s.u",
        "x: t.a t.b u.a u.d u.*; y: t.a t.b u.a u.d u.*",
    ),
    "a difference": (
        "select a as x from s.t except select d from s.u",
        "x: t.a u.d u.*",
    ),
    "a query in a filter": (
        "select c as x from s.t where a in (select d from s.u where u.a > 1)",
        "x: t.a t.c u.a u.d u.*",
    ),
    "a query that exists": (
        "select c as x from s.t where exists (select 1 from s.u where u.d = t.b)",
        "x: t.b t.c u.d u.*",
    ),
    "a query in an expression": (
        "select c as x, (select max(d) from s.u where u.a = t.a) as y from s.t",
        "x: t.c; y: t.a u.a u.d u.*",
    ),
    "a query beside a table": (
        "select x from s.t, lateral (select t.c + t.b as x) as n",
        "x: t.b t.c",
    ),
    "a function of other columns": ("select n as x from s.t, range(t.b) as r(n)", "x: t.b"),
    "a list unnested": ("select a as x, e as y from s.t, unnest(l) as n(e)", "x: t.a t.l; y: t.l"),
    "a function of each element": (
        "select list_transform(l, lambda e: e + b) as x from s.t",
        "x: t.b t.l",
    ),
    "values": (
        "select a * v.n as x from s.t cross join (values (1), (2)) as v(n)",
        "x: t.a",
    ),
}


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema s")
    return connection


@pytest.mark.parametrize("case", QUERIES)
def test_each_column_names_what_it_reads_and_what_decides_its_rows(case: str) -> None:
    sql, expected = QUERIES[case]
    found = trace(sql, TABLES)
    wanted = {
        name.strip(): named(f"t.* {deps}")
        for name, _, deps in (column.partition(":") for column in expected.split(";"))
    }
    assert found == wanted


@pytest.mark.parametrize("case", QUERIES)
def test_no_other_column_moves_an_output(case: str, database: duckdb.DuckDBPyConnection) -> None:
    sql, _ = QUERIES[case]
    lineage = trace(sql, TABLES)
    before = outputs(database, sql)
    for table, columns in TABLES.items():
        for column in columns:
            after = outputs(database, sql, (table, column))
            moved = {name for name in lineage if before[name] != after[name]}
            assert moved <= {name for name in lineage if Column(table, column) in lineage[name]}


def outputs(
    database: duckdb.DuckDBPyConnection, sql: str, perturbed: tuple[str, str] | None = None
) -> dict[str, list[str]]:
    """The values of each output column, in order of size."""
    for table, content in CONTENT.items():
        replaced = ""
        if perturbed and perturbed[0].replace("/", ".") == table:
            replaced = f"replace ({PERTURBED[perturbed[1]]} as {perturbed[1]})"
        database.execute(f"create or replace table {table} as select * {replaced} from ({content})")
    rows = database.execute(sql).df()
    return {name: sorted(map(repr, rows[name])) for name in rows}


def test_what_moves_a_key_moves_every_value_to_another_row() -> None:
    found = trace("select a as k, b as x from s.t", TABLES, key=["k"])
    assert found["x"] == named("t.* t.a t.b")


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("select x from s.unknown", "s/unknown, which is none of its inputs"),
        ("pivot s.t on a using sum(b)", "kind Pivot"),
        ("select * from s.t pivot (sum(b) for a in (1, 2))", "a pivot"),
        ("select columns('a|b') from s.t", "cannot be traced; name the columns"),
        ("select t from s.t", "cannot be traced; name the columns"),
        ("select missing from s.t, s.u", "'missing'"),
        (
            "with recursive r as (select 1 as n union all select n + 1 from r) select n from r",
            "/r,",
        ),
        ("select from where", "sqlglot cannot read it"),
    ],
)
def test_what_cannot_be_followed_with_certainty_is_refused(sql: str, why: str) -> None:
    with pytest.raises(LineageError, match=why):
        trace(sql, TABLES)


def test_a_column_goes_back_through_tables_of_which_only_the_rows_are_read() -> None:
    lineage = {
        "s/kept": trace("select a as x, a as y from s.t where b > 1", TABLES),
        "s/passed": trace("select x from s.kept", {"s/kept": ["x", "y"]}),
        "s/counted": trace("select count(*) as n from s.passed", {"s/passed": ["x"]}),
    }
    assert lineage["s/counted"]["n"] == {Column("s/passed", ROWS)}
    assert common(lineage["s/kept"]) == named("t.* t.a t.b")
    assert origins(lineage, Column("s/counted", "n")) == named("t.a t.b")
