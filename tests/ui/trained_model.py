"""A trained model and the rows that it learnt from, published as the assets publish theirs.

The rows are made up: the real months before the first model take minutes to build.
"""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from installation import Installation, asset_key

from mlops_assets.components.partition_files import FILE
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Manifest, Partition, TablePartition
from mlops_assets.ml.training import Estimator, train
from mlops_assets.tracking.results import MODEL_FILE

MONTH, ORIGIN = "2013-04", "LGA"
FEATURES = ("carrier", "scheduled_departure_hour")
KEYS = ("scheduled_departure_at", "flight_number")
ROWS = 2_000


def publish_model(installation: Installation, folder: Path) -> None:
    """Publish and record the training set of `MONTH` and the model of `ORIGIN` that learns from it.

    Without the record the UI would ask before it evaluates a model that it has not heard of.
    """
    rows = made_up_rows()
    model = train(
        rows.filter(pc.equal(rows["split"], "train")),
        features=FEATURES,
        label="is_late",
        keys=KEYS,
        parameters=Estimator(rounds=20),
    )
    tables, models = folder / "training_set", folder / "model"
    for place in (tables, models):
        place.mkdir(parents=True)
    pq.write_table(rows, tables / FILE)
    (models / MODEL_FILE).write_bytes(model.to_ubj())
    month = Partition.of({"month": MONTH})
    segment = Partition.of({"month": MONTH, "origin": ORIGIN})
    names = ["flight_delay/training_set", "flight_delay/model"]
    with installation.lake.transaction("tx-made-up-model", names) as transaction:
        transaction.write(
            {
                TablePartition(names[0], month): (describe_tables([tables])[tables], tables),
                TablePartition(names[1], segment): (Manifest.of_folder(models), models),
            }
        )
        transaction.publish("made-up rows and the model of them", {})
    for asset, partition in zip(names, (MONTH, f"{MONTH}|{ORIGIN}"), strict=True):
        installation.instance.report_runless_asset_event(
            dg.AssetMaterialization(asset_key(asset), partition=partition)
        )


def made_up_rows() -> pa.Table:
    """Flights that are the later the later in the day they leave, of two months."""
    chance = random.Random(2013)
    rows = []
    for number in range(ROWS):
        hour = 6 + number % 16
        split = "evaluate" if number % 4 == 0 else "train"
        day = date(2013, 4 if split == "evaluate" else 3, 1 + number % 28)
        departure = datetime(day.year, day.month, day.day, hour)
        rows.append(
            {
                "scheduled_departure_at": departure,
                "predicted_at": departure - timedelta(hours=2),
                "flight_number": number,
                "flight_date": day,
                "origin": ORIGIN,
                "carrier": chance.choice(["AA", "DL", "UA"]),
                "scheduled_departure_hour": hour,
                "is_late": chance.random() < hour / 30,
                "split": split,
            }
        )
    return pa.Table.from_pylist(rows)
