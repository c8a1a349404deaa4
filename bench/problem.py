"""Every model of a year from its features to its champion, against a plain script of the same."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from bench.figures import Benchmark, Figure
from bench.plain_problem import declared
from bench.processes import Cost, median_cost, python
from bench.year import FIRST, LAST


def _measure(rounds: int) -> Iterator[Figure]:
    plain: list[Cost] = []
    whole_product: list[Cost] = []
    with tempfile.TemporaryDirectory() as kept:
        tables, features = Path(kept) / "plain", Path(kept) / "home"
        python("-m", "bench.plain_year", FIRST, LAST, str(tables))
        python(*product("--days", f"{FIRST}..{LAST}"), environment={"MLOPS_HOME": str(features)})
        for turn in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                made, home = Path(folder) / "plain", Path(folder) / "home"
                shutil.copytree(features, home)
                environment = {"MLOPS_HOME": str(home)}
                plain.append(
                    python(
                        *("-m", "bench.plain_problem", str(tables), str(made)),
                        environment=environment,
                    )
                )
                whole_product.append(
                    python(*product("--models-only", "--month", months()), environment=environment)
                )
                if turn == 0:
                    scores = json.loads(whole_product[0].output)["scores"]
                    for sentence in _differences(made, scores):
                        print(f"not comparable: {sentence}", file=sys.stderr)
    script, whole = median_cost(plain), median_cost(whole_product)
    name = PROBLEM.name
    yield Figure(name, "features to champions, wall", whole.wall, "s", script.wall, target=2.0)
    yield Figure(name, "features to champions, CPU", whole.cpu, "s", script.cpu)
    yield Figure(
        name,
        f"mean ROC AUC of {len(scores)} models, against the rate baseline",
        mean(score["roc_auc"] for score in scores),
        "",
        mean(score["baseline_roc_auc"] for score in scores),
    )


def product(*options: str) -> tuple[str, ...]:
    """The arguments of an interpreter that runs the main job with such options."""
    call = "import sys; from mlops_assets.cli import main; main(sys.argv[1:])"
    return ("-c", call, "run", *options, "--json")


def months() -> str:
    """The months of the declared problem, as the main job takes them."""
    problem = declared()
    year, month = map(int, problem.end_month.split("-"))
    last = f"{year - (month == 1)}-{(month - 2) % 12 + 1:02}"
    return f"{problem.first_month}..{last}"


def _differences(made: Path, scores: list[dict[str, object]]) -> Iterator[str]:
    """Where the plain script decided, or measured, otherwise than the product."""
    for score in scores:
        place = made / str(score["month"]) / str(score["origin"])
        evaluation = json.loads((place / "evaluation.json").read_text())
        decision = json.loads((place / "champion.json").read_text())
        found = (evaluation["model"]["roc_auc"], evaluation["n"], decision["outcome"])
        theirs = (score["roc_auc"], score["rows"], score["decision"])
        if found != theirs:
            yield f"{score['month']} {score['origin']}: {found} in place of {theirs}."


PROBLEM = Benchmark(
    name="problem",
    question="What do a year's models cost from features to champions, against a plain script?",
    rounds=2,
    measure=_measure,
)
