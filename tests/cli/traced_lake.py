"""A lake with every kind of result: raw data, tables, and what three months of a problem became."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from installation import WHOLE, Days, Installation, installed, reading
from small_source import small_source
from toy_problem import ORIGINS, Toy, made_up, problem_definitions

# Two months are the least that a training set of one month before the evaluated one needs.
DAYS = ("2013-01-01", "2013-02-28")
EVERY = 40
REAL_MONTH, MADE_UP_MONTHS = "2013-02", ("2013-03", "2013-04")
TABLES = ("raw/flights", "raw/weather", "staging/stg_flights", "marts/fct_flights")
MODELS = ("toy/model", "toy/evaluation_report", "toy/champion")
ESTIMATOR = {"rounds": 30, "depth": 2, "seed": 1, "eta": 0.1}
REASON = "it was steadier"


def with_problem(definitions: dg.Definitions, **declared: object) -> dg.Definitions:
    """The real definitions, and a small problem beside theirs."""
    problem = problem_definitions(**{"first_month": REAL_MONTH, "estimator": ESTIMATOR, **declared})
    return dg.Definitions.merge(definitions, problem)


def build(home: Path, source: Path, definitions: dg.Definitions) -> None:
    """Make the lake, and let its base branch move on.

    Days are made in one range and months of models in another, as `mlops-assets run` does; the
    later months learn from rows that are made up. Of JFK somebody ordered the first model back.
    """
    small_source(source, days=59, every=EVERY)
    with reading(source), installed(home, definitions) as made:
        expect(made, WHOLE)
        expect(made, TABLES, DAYS)
        expect(made, ["toy/training_set"], REAL_MONTH)
        toy = Toy(made.lake, home.parent / "made-up", made.instance)
        for month in MADE_UP_MONTHS:
            rows = [row for origin in ORIGINS for row in made_up(month, origin, rows=1_500)]
            toy.publish(month, rows)
        expect(made, MODELS, (f"{REAL_MONTH}|EWR", f"{MADE_UP_MONTHS[-1]}|JFK"))
        first = toy.decision(f"{REAL_MONTH}|JFK").candidate
        order = {"partition": first.partition, "sha256": first.sha256, "reason": REASON}
        assert toy.run(f"{MADE_UP_MONTHS[-1]}|JFK", order=order, estimator=ESTIMATOR).success
        toy.publish("2013-04", made_up("2013-04", "EWR", rows=100))


def expect(made: Installation, assets: Sequence[str], keys: Days | str | None = None) -> None:
    assert made.materialize(assets, keys).success
