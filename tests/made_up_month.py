"""A month's training set with made-up rows, published as the asset publishes its own.

The real months before the first model take minutes to build.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from installation import Installation, asset_key

from mlops_assets.components.ml_problem import MlProblem
from mlops_assets.components.partition_files import FILE
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Partition, TablePartition
from mlops_assets.settings import ROOT

MONTH, ORIGIN = "2013-04", "LGA"
ROWS = 4_000
DECLARATION = ROOT / "mlops_assets/defs/flight_delay/defs.yaml"


def publish_training_set(
    installation: Installation, folder: Path, origins: Sequence[str] = (ORIGIN,)
) -> None:
    """Publish and record the training set of `MONTH`, with rows of some airports.

    Without the record the UI would ask before it trains on rows that it has not heard of.
    """
    folder.mkdir(parents=True)
    pq.write_table(pa.concat_tables(map(made_up_rows, origins)), folder / FILE)
    key = TablePartition("flight_delay/training_set", Partition.of({"month": MONTH}))
    with installation.lake.transaction("tx-made-up-rows", [key.table]) as transaction:
        transaction.write({key: (describe_tables([folder])[folder], folder)})
        transaction.publish("made-up rows", {})
    installation.instance.report_runless_asset_event(
        dg.AssetMaterialization(asset_key(key.table), partition=MONTH)
    )


def made_up_rows(origin: str = ORIGIN) -> pa.Table:
    """Flights that are the later the longer their route, of two months."""
    problem = MlProblem.model_validate(yaml.safe_load(DECLARATION.read_text())["attributes"])
    columns = problem.training_set(ROOT / problem.project).columns
    draw = random.Random(2013)
    rows = []
    for number in range(ROWS):
        split = "evaluate" if number % 4 == 0 else "train"
        day = date(2013, 4 if split == "evaluate" else 3, 1 + number % 28)
        departure = datetime(day.year, day.month, day.day, 6 + number % 16)
        miles = draw.randrange(100, 2500)
        rows.append(
            {
                **{name: draw.randrange(9) for name in columns},
                "scheduled_departure_at": departure,
                "predicted_at": departure - timedelta(hours=2),
                "flight_number": number,
                "flight_date": day,
                "origin": origin,
                "carrier": draw.choice(["AA", "DL", "UA"]),
                "dest": "ATL",
                "tail_number": "N1",
                "distance_miles": miles,
                "is_late": draw.random() < miles / 3000,
                "split": split,
            }
        )
    return pa.Table.from_pylist(rows)
