"""A lake with every kind of result: raw data, tables, and what two months of a problem became."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from installation import WHOLE, Installation, installed, reading
from small_source import small_source
from toy_problem import ORIGINS, Toy, made_up, problem_definitions

# Two months are the least that a training set of one month before the evaluated one needs.
DAYS = ("2013-01-01", "2013-02-28")
REAL_MONTH, MADE_UP_MONTHS = "2013-02", ("2013-03", "2013-04")
TABLES = ("raw/flights", "raw/weather", "staging/stg_flights", "marts/fct_flights")
DECLARED = {
    "first_month": REAL_MONTH,
    "estimator": {"rounds": 30, "depth": 2, "seed": 1, "eta": 0.1},
}


def with_problem(definitions: dg.Definitions, **declared: object) -> dg.Definitions:
    """The real definitions and a small problem beside their own."""
    return dg.Definitions.merge(definitions, problem_definitions(**DECLARED, **declared))


def build(home: Path, source: Path, definitions: dg.Definitions) -> None:
    """Make the lake.

    Days are made in one range and the months of models in another, as `mlops-assets run` does;
    the last months learn from rows that are made up.
    """
    small_source(source, days=59, every=40)
    with reading(source), installed(home, definitions) as made:
        expect(made, WHOLE)
        expect(made, TABLES, DAYS)
        expect(made, ["toy/training_set"], REAL_MONTH)
        toy = Toy(made.lake, home.parent / "made-up", made.instance)
        for month in MADE_UP_MONTHS:
            rows = [row for origin in ORIGINS for row in made_up(month, origin, rows=1_500)]
            toy.publish(month, rows)
        models = ["toy/model", "toy/evaluation_report", "toy/champion"]
        expect(made, models, (f"{REAL_MONTH}|EWR", f"{MADE_UP_MONTHS[-1]}|JFK"))


def expect(made: Installation, assets: list[str] | tuple[str, ...], keys: object = None) -> None:
    assert made.materialize(assets, keys).success
