"""Which upstream columns can move each output column of a SQL query.

An output depends on what its own expression reads, and on all that decides which rows there are:
filters, joins, groups, duplicates removed, limits. Neither sqlglot's `lineage` nor dagster-dbt,
which is built on it, will do: both follow the expressions of the select list alone, so that a
count of late flights names nothing of what makes a flight late. What this module cannot follow
with certainty it refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sqlglot import exp

DIALECT = "duckdb"

ROWS = "*"
"""In place of a column's name: which rows the table has, whatever they hold."""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        table: The table's name in the lake: schema and name, parted by `/`.
        name: The column's name, or `ROWS`.
    """

    table: str
    name: str


Columns = frozenset[Column]
Lineage = Mapping[str, Mapping[str, Columns]]
"""By table and column of it, the upstream columns that can move that column."""


class LineageError(ValueError):
    """A query whose columns cannot be traced; the message names what stands in the way."""


def trace(
    sql: str, tables: Mapping[str, Sequence[str]], key: Iterable[str] = ()
) -> dict[str, Columns]:
    """Find the upstream columns of each output column of a query.

    Args:
        sql: The query, in DuckDB's dialect; a table in it has a schema.
        tables: The columns of the tables that it may read.
        key: The output columns by which a row is found: what moves one of them moves every value
            to another row.

    Returns:
        By name of the output column in lower case, as the dialect compares names. Each table that
        is read is there as `ROWS` too.

    Raises:
        LineageError: The query is beyond what can be traced.
    """
    from sqlglot import errors, exp, parse_one
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.schema import MappingSchema

    schema = MappingSchema(dialect=DIALECT)
    for table, columns in tables.items():
        folder, name = table.split("/")
        schema.add_table(exp.table_(name, db=folder), dict.fromkeys(columns, "unknown"))
    try:
        query = parse_one(sql, dialect=DIALECT)
        for named in query.find_all(exp.Table):
            named.set("catalog", None)
        # Gives every column its table, and writes out stars, positions and aliases.
        qualified = qualify(query, dialect=DIALECT, schema=schema, validate_qualify_columns=False)
    except errors.SqlglotError as error:
        raise LineageError(f"sqlglot cannot read it: {error}") from error
    found = _query(qualified, _Scope(tables=tables))
    rows = found.rows.union(*(found.column(name.lower()) for name in key))
    return {name: found.column(name) | rows for name, _ in found.columns}


def origins(lineage: Lineage, column: Column) -> Columns:
    """Follow a column through every table whose lineage is known.

    Returns:
        The columns that it goes back to, of tables that no query made.
    """
    found, seen, left = set(), set(), [column]
    while left:
        at = left.pop()
        if at in seen:
            continue
        seen.add(at)
        made = lineage.get(at.table, {})
        if at.name == ROWS:
            # What decides a table's rows is among what each of its columns depends on.
            left += common(made)
        elif at.name in made:
            left += made[at.name]
        else:
            found.add(at)
    return frozenset(found)


def common(columns: Mapping[str, Columns]) -> Columns:
    """What every column of a table depends on."""
    return frozenset.intersection(*columns.values()) if columns else frozenset()


@dataclass(frozen=True)
class _Relation:
    """What a table, a query or a function gives to the query around it.

    Attributes:
        columns: Its columns in order, each with what its values depend on.
        rows: What its rows depend on.
        others: What a column that is not listed depends on; None if there is no such column.
    """

    columns: Sequence[tuple[str, Columns]]
    rows: Columns
    others: Columns | None = None

    def column(self, name: str) -> Columns:
        """What the values of a column depend on."""
        named = [reads for known, reads in self.columns if known == name]
        if named:
            return frozenset().union(*named)
        if self.others is not None:
            return self.others
        raise LineageError(f"there is no column {name!r} where it is read.")

    @property
    def everything(self) -> Columns:
        """What all of it depends on."""
        return self.rows.union(self.others or (), *(reads for _, reads in self.columns))

    def of_match(self, condition: Columns) -> _Relation:
        """The same where at most one row is matched to each row of another relation.

        The other one's rows stay as they are; which row is matched decides every value here.
        """
        reads = condition | self.rows
        return _Relation(
            columns=[(name, found | reads) for name, found in self.columns],
            rows=frozenset(),
            others=None if self.others is None else self.others | reads,
        )


@dataclass
class _Scope:
    """What a query's expressions can name.

    Attributes:
        tables: The columns of the tables.
        parent: The scope of the query around it.
        queries: Its named queries (`with`).
        sources: What it reads from, by alias.
        outputs: Its own output columns, which an order names.
    """

    tables: Mapping[str, Sequence[str]]
    parent: _Scope | None = None
    queries: dict[str, _Relation] = field(default_factory=dict)
    sources: dict[str, _Relation] = field(default_factory=dict)
    outputs: Sequence[tuple[str, Columns]] = ()

    def inner(self) -> _Scope:
        """The scope of a query inside this one."""
        return _Scope(self.tables, parent=self, queries=dict(self.queries))

    def source(self, alias: str) -> _Relation:
        """What an alias stands for, here or in a query around."""
        if alias in self.sources:
            return self.sources[alias]
        if self.parent is None:
            raise LineageError(f"it is not clear what {alias!r} stands for.")
        return self.parent.source(alias)

    def column(self, column: exp.Column) -> Columns:
        """What a column in an expression depends on."""
        if column.table:
            return self.source(column.table).column(column.name)
        return _Relation(self.outputs, frozenset()).column(column.name)


def _query(query: exp.Expr, scope: _Scope) -> _Relation:
    from sqlglot import exp

    scope = scope.inner()
    for named in query.ctes if isinstance(query, exp.Query) else ():
        scope.queries[named.alias] = _query(named.this, scope)
    if isinstance(query, exp.Select):
        return _select(query, scope)
    if isinstance(query, exp.SetOperation):
        return _set_operation(query, scope)
    if isinstance(query, exp.Subquery):
        inner = _query(query.this, scope)
        scope.outputs = inner.columns
        return _Relation(inner.columns, inner.rows | _reads_around(query, scope))
    raise LineageError(f"a query of kind {type(query).__name__} cannot be traced.")


def _select(select: exp.Select, scope: _Scope) -> _Relation:
    from sqlglot import exp

    rows: Columns = frozenset()
    if select.args.get("from_"):
        rows |= _read_from(select.args["from_"].this, scope)
    rows |= _joined(select, scope)
    scope.outputs = [
        (output.alias_or_name, _reads([output], scope)) for output in select.expressions
    ]
    rows |= _reads_around(select, scope)
    group = select.args.get("group")
    if select.args.get("distinct") or (isinstance(group, exp.Group) and group.args.get("all")):
        rows = rows.union(*(reads for _, reads in scope.outputs))
    return _Relation(scope.outputs, rows)


def _set_operation(operation: exp.SetOperation, scope: _Scope) -> _Relation:
    from sqlglot import exp

    left, right = (_query(part, scope) for part in (operation.this, operation.expression))
    rows = left.rows | right.rows
    if operation.args.get("by_name"):
        both = _Relation([*left.columns, *right.columns], rows)
        columns = [(name, both.column(name)) for name in dict(both.columns)]
    else:
        pairs = zip(left.columns, right.columns, strict=True)
        columns = [(name, reads | others) for (name, reads), (_, others) in pairs]
    if operation.args.get("distinct") or not isinstance(operation, exp.Union):
        rows = rows.union(*(reads for _, reads in columns))
    scope.outputs = columns
    return _Relation(columns, rows | _reads_around(operation, scope))


# The parts of a query that are followed one by one; the others decide its rows.
_FOLLOWED = {"with_", "this", "expression", "expressions", "from_", "joins"}


def _reads_around(query: exp.Expr, scope: _Scope) -> Columns:
    """What a query reads to decide its rows, beside what it reads from."""
    parts = [part for name, part in query.args.items() if name not in _FOLLOWED]
    return _reads(parts, scope)


def _joined(query: exp.Expr, scope: _Scope) -> Columns:
    """Add what a query joins to its scope; returns what the joins make the rows depend on."""
    rows: Columns = frozenset()
    for join in query.args.get("joins") or ():
        before = set(scope.sources)
        of_source = _read_from(join.this, scope)
        condition = _reads_around(join, scope)
        if join.args.get("method") == "ASOF" and join.side == "LEFT":
            for alias in scope.sources.keys() - before:
                scope.sources[alias] = scope.sources[alias].of_match(condition)
        else:
            rows |= of_source | condition
    return rows


def _read_from(source: exp.Expr, scope: _Scope) -> Columns:
    """Add a source to the scope; returns what its rows depend on."""
    from sqlglot import exp

    if source.args.get("pivots"):
        raise LineageError("a pivot cannot be traced.")
    if isinstance(source, exp.Subquery) and isinstance(source.this, exp.Table):
        return _read_from(source.this, scope)  # joins in parentheses
    if isinstance(source, exp.Subquery):
        relation = _query(source, scope)
    elif isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
        relation = _table(source, scope)
    else:  # a function, values, an unnested list: every column can come from every argument
        arguments = source.args.get("expressions") or [source.this]
        reads = _reads([source.this, *arguments], scope)
        relation = _Relation((), reads, others=reads)
    scope.sources[source.alias_or_name] = relation
    return relation.rows | _joined(source, scope)


def _table(table: exp.Table, scope: _Scope) -> _Relation:
    if not table.db and table.name in scope.queries:
        return scope.queries[table.name]
    name = f"{table.db}/{table.name}"
    known = {known.lower(): known for known in scope.tables}
    if name not in known:
        raise LineageError(f"it reads {name}, which is none of its inputs.")
    name = known[name]
    columns = [(column.lower(), frozenset({Column(name, column)})) for column in scope.tables[name]]
    return _Relation(columns, frozenset({Column(name, ROWS)}))


def _reads(parts: Iterable[object], scope: _Scope) -> Columns:
    """What expressions read; a query inside them counts with all that it gives."""
    from sqlglot import exp

    # A star, a whole row and the like stand for columns that nothing here names.
    nameless = (exp.Star, exp.Columns, exp.TableColumn, exp.Table, exp.Lateral)
    found: Columns = frozenset()
    left = list(parts)
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, exp.Column) and not isinstance(part.this, exp.Star):
            found |= scope.column(part)
        elif isinstance(part, exp.Query):
            found |= _query(part, scope).everything
        elif isinstance(part, exp.Count) and isinstance(part.this, exp.Star):
            continue
        elif isinstance(part, nameless):
            raise LineageError(f"{part.sql(DIALECT)!r} cannot be traced; name the columns.")
        elif isinstance(part, exp.Expr):
            left += part.iter_expressions()
    return found
