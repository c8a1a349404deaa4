"""A problem over made-up flights: real assets, in seconds, whose outcome the test chooses."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_assets.components.ml_problem import MlProblem
from mlops_assets.components.partition_files import FILE
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Lake, Partition, TablePartition
from mlops_assets.ml.decision import Decision
from mlops_assets.ml.gates import GateResult
from mlops_assets.settings import ROOT
from mlops_assets.tracking.projection import Tracking

ORIGINS = ("EWR", "JFK")
CARRIERS = ("AA", "DL", "UA")
FEATURES = ("carrier", "scheduled_departure_hour", "distance_miles")

Row = dict[str, Any]

ATTRIBUTES: dict[str, Any] = {
    "name": "toy",
    "description": "Will the flight be late?",
    "owner": "team:tests",
    "project": "dbt_project",
    "first_month": "2013-04",
    "end_month": "2013-09",
    "time_zone": "America/New_York",
    "segment": "origin",
    "segments": list(ORIGINS),
    "spine": {
        "table": "marts/fct_flights",
        "keys": ["scheduled_departure_at", "origin", "carrier", "flight_number"],
        "day": "flight_date",
        "event_time": "scheduled_departure_at",
        "lead_minutes": 120,
        "label": "is_late",
        "label_known_at": "outcome_known_at",
        "features": list(FEATURES),
    },
    "feature_views": [],
    "training_months": 1,
    "baseline": ["carrier"],
    "slices": ["carrier"],
    "costs": {"false_alarm": 1, "miss": 3},
    "gates": {
        "brier_skill": {"above": 0},
        "calibration_slope": {"from": 0.5, "to": 1.5},
        "slice_roc_auc": {
            "column": "carrier",
            "at_least": 0.55,
            "fewest_rows": 200,
            "fewest_of_each": 20,
        },
    },
    "estimator": {"rounds": 80, "depth": 2, "seed": 1, "eta": 0.1},
}


def problem_definitions(**attributes: Any) -> dg.Definitions:
    """The problem's assets and jobs.

    Args:
        attributes: What it declares otherwise.
    """
    problem = MlProblem.model_validate({**ATTRIBUTES, **attributes})
    context = cast("dg.ComponentLoadContext", SimpleNamespace(project_root=ROOT))
    return problem.build_defs(context)


def made_up(
    month: str, origin: str, *, rows: int, change: Callable[[Row], None] = lambda _: None
) -> list[Row]:
    """Flights of a training set: the longer the route, the likelier late.

    Args:
        month: The evaluated month.
        origin: The airport.
        rows: How many, a half of them to train on.
        change: Called with each, to spoil it.
    """
    draw = random.Random(f"{month} {origin}")
    year, number = map(int, month.split("-"))
    made = []
    for flight in range(rows):
        split = "train" if flight % 2 else "evaluate"
        day = date(year, number - (split == "train"), 1 + flight % 28)
        hour = 6 + flight % 16
        departure = datetime(day.year, day.month, day.day, hour)
        distance = draw.randrange(100, 2500)
        row = {
            "scheduled_departure_at": departure,
            "predicted_at": departure - timedelta(hours=2),
            "flight_number": flight,
            "flight_date": day,
            "origin": origin,
            "carrier": CARRIERS[flight % len(CARRIERS)],
            "scheduled_departure_hour": hour,
            "distance_miles": distance,
            "is_late": draw.random() < distance / 3000,
            "split": split,
        }
        change(row)
        made.append(row)
    return made


@dataclass(frozen=True)
class Toy:
    """The problem's assets over a lake.

    Attributes:
        lake: Where.
        folder: The test's own.
        instance: Dagster's record.
    """

    lake: Lake
    folder: Path
    instance: dg.DagsterInstance

    def publish(self, month: str, rows: Sequence[Row]) -> None:
        """Publish a month's training set."""
        folder = self.folder / f"{month}-{self.lake.head()[:8]}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(list(rows)), folder / FILE)
        key = TablePartition("toy/training_set", Partition.of({"month": month}))
        with self.lake.transaction(f"tx-{folder.name}", [key.table]) as transaction:
            transaction.write({key: (describe_tables([folder])[folder], folder)})
            transaction.publish(f"made-up rows of {month}", {})

    def run(
        self,
        *partitions: str,
        order: dict[str, str] | None = None,
        tracking: Tracking | None = None,
        assets: Sequence[str] | None = None,
        **attributes: Any,
    ) -> dg.ExecuteInProcessResult:
        """Train, judge and decide: one partition, or the range from the first to the second.

        Args:
            partitions: Keys as `2013-04|JFK`.
            order: The champion's config.
            tracking: The MLflow that follows.
            assets: Which of the assets alone; all if None.
            attributes: What the problem declares otherwise.
        """
        definitions = dg.Definitions.merge(
            problem_definitions(**attributes),
            dg.Definitions(
                resources={"lake": self.lake, "tracking": tracking}, executor=dg.in_process_executor
            ),
        )
        span = {}
        if len(partitions) == 2:
            span = {
                "dagster/asset_partition_range_start": partitions[0],
                "dagster/asset_partition_range_end": partitions[1],
            }
        return definitions.resolve_job_def("toy_evaluation").execute_in_process(
            instance=self.instance,
            partition_key=None if span else partitions[0],
            tags=span,
            run_config={
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
                **({"ops": {"toy__champion": {"config": order}}} if order else {}),
            },
            asset_selection=assets and [dg.AssetKey(asset.split("/")) for asset in assets],
            raise_on_error=False,
        )

    def decision(self, partition: str) -> Decision:
        """What was decided on a partition, as the base branch holds it."""
        month, origin = partition.split("|")
        key = TablePartition("toy/champion", Partition.of({"month": month, "origin": origin}))
        return Decision.from_json(self.lake.snapshot().read(key, "champion.json"))

    def failed_gates(self, partition: str) -> list[GateResult]:
        """The gates that the candidate of a partition did not pass."""
        return [gate for gate in self.decision(partition).gates if not gate.passed]
