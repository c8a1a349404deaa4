"""A plain script for the work from features to champions: no orchestrator, no lake, no registry.

Run as `python -m bench.plain_problem TABLES FOLDER`, over the tables that `bench.plain_year` wrote.
Training, evaluation, report and decision are the product's own functions, because they are the
work itself. What it leaves out is all that surrounds them.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import yaml

from mlops_assets.components.evaluation_report import evaluate_model
from mlops_assets.components.ml_problem import MlProblem
from mlops_assets.components.partition_files import FILE
from mlops_assets.engines.as_of import as_of_join
from mlops_assets.ml.comparison import compare
from mlops_assets.ml.decision import ModelPin, decide
from mlops_assets.ml.model import Model
from mlops_assets.ml.training import train
from mlops_assets.settings import ROOT

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.components.training_set import TrainingSet

DECLARATION = ROOT / "mlops_assets" / "defs" / "flight_delay" / "defs.yaml"


def declared() -> MlProblem:
    """The problem as its file declares it."""
    return MlProblem.model_validate(yaml.safe_load(DECLARATION.read_text())["attributes"])


def make_champions(tables: Path, folder: Path) -> None:
    """Train and judge every month and segment, and decide on its champion.

    Args:
        tables: What `bench.plain_year` wrote.
        folder: Gets model, report, evaluation and decision of each month and segment.
    """
    problem = declared()
    training_set = problem.training_set(ROOT / problem.project)
    champions: dict[str, ModelPin] = {}
    models: dict[str, bytes] = {}
    for month in _months(problem):
        rows = _training_set(problem, training_set, tables, month)
        for segment in problem.segments:
            place = folder / month / segment
            place.mkdir(parents=True)
            train_on, judge_on = (_select(rows, problem, segment, s) for s in ("train", "evaluate"))
            trained = train(
                train_on,
                features=training_set.features,
                label=problem.spine.label,
                keys=problem.spine.keys,
                parameters=problem.estimator,
            ).to_ubj()
            evaluation, gates, report = evaluate_model(
                trained,
                train=train_on,
                evaluate_on=judge_on,
                baseline=problem.baseline,
                slices=problem.slices,
                costs=problem.costs,
                gates=problem.gates,
                title=f"{problem.name} {month} {segment}",
            )
            candidate = ModelPin.of(f"month={month}/{problem.segment}={segment}", trained)
            models[candidate.sha256] = trained
            champion = champions.get(segment)
            comparison = None
            if champion is not None and all(gate.passed for gate in gates):
                comparison = compare(
                    judge_on[problem.spine.label].to_numpy(zero_copy_only=False),
                    Model.from_ubj(trained).predict(judge_on),
                    Model.from_ubj(models[champion.sha256]).predict(judge_on),
                    seed=problem.estimator.seed,
                )
            decision = decide(candidate, gates, champion, comparison)
            if decision.champion is not None:
                champions[segment] = decision.champion
            (place / "model.ubj").write_bytes(trained)
            (place / "report.html").write_bytes(report.html)
            (place / "evaluation.json").write_bytes(evaluation.to_json())
            (place / "champion.json").write_bytes(decision.to_json())


def _months(problem: MlProblem) -> list[str]:
    first, end = (
        datetime.strptime(text, "%Y-%m") for text in (problem.first_month, problem.end_month)
    )
    count = (end.year - first.year) * 12 + end.month - first.month
    return [_month_after(first, n).strftime("%Y-%m") for n in range(count)]


def _month_after(month: datetime, count: int) -> datetime:
    number = month.year * 12 + month.month - 1 + count
    return datetime(number // 12, number % 12 + 1, 1)


def _training_set(
    problem: MlProblem, training_set: TrainingSet, tables: Path, month: str
) -> pa.Table:
    """The month's rows and those of the months before it, with the features of all views."""
    import duckdb

    evaluated = datetime.strptime(month, "%Y-%m")
    first, end = (_month_after(evaluated, n) for n in (-problem.training_months, 1))
    zone = ZoneInfo(problem.time_zone)
    start, cutoff = (
        at.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None) for at in (first, evaluated)
    )
    spine, lead = problem.spine, timedelta(minutes=problem.spine.lead_minutes)
    settled = start + timedelta(hours=max(view.ttl_hours or 0 for view in training_set.views))
    with duckdb.connect() as connection:
        for table in training_set.tables:
            days = [first + timedelta(days=n) for n in range((end - first).days)]
            files = [str(tables / table / f"day={day:%Y-%m-%d}" / FILE) for day in days]
            schema, name = table.split("/")
            connection.execute(f"create schema if not exists {schema}")
            rows = f"read_parquet({files}, hive_partitioning = false)"
            connection.execute(f"create view {schema}.{name} as from {rows}")
        events = f"""(
            select
                *,
                {spine.event_time} - interval {spine.lead_minutes} minute as predicted_at,
                if({spine.day} >= date '{evaluated:%Y-%m-%d}', 'evaluate', 'train') as split
            from {spine.table.replace("/", ".")}
            where {spine.label} is not null and (
                {spine.day} >= date '{evaluated:%Y-%m-%d}'
                or {spine.label_known_at} <= timestamp '{cutoff - lead}'
                and predicted_at >= timestamp '{settled}'
            )
        )"""
        query = as_of_join(events, "predicted_at", training_set.views)
        return connection.execute(query).to_arrow_table()


def _select(rows: pa.Table, problem: MlProblem, segment: str, split: str) -> pa.Table:
    import pyarrow.compute as pc

    wanted = pc.and_(pc.equal(rows[problem.segment], segment), pc.equal(rows["split"], split))
    return rows.filter(wanted)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    make_champions(source, target)
