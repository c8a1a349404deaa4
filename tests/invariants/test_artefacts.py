"""Nothing executable in an artefact: models are UBJ, and a pickle is refused unopened."""

import pickle
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from installation import Installation

from mlops_assets.components.ml_problem import MlProblem
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Manifest, Partition, TablePartition
from mlops_assets.settings import ROOT

MONTH, ORIGIN = "2013-04", "JFK"
KEY = f"{MONTH}|{ORIGIN}"
MODEL = TablePartition("flight_delay/model", Partition.of({"month": MONTH, "origin": ORIGIN}))
TRAINING_SET = TablePartition("flight_delay/training_set", Partition.of({"month": MONTH}))


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def trainable(installation: Installation) -> Installation:
    """An installation whose lake holds a month's training set of invented rows."""
    problem = yaml.safe_load((ROOT / "mlops_assets/defs/flight_delay/defs.yaml").read_text())
    declared = MlProblem.model_validate(problem["attributes"])
    columns = declared.training_set(ROOT / declared.project).columns
    draw = random.Random(2013)
    rows = [
        {
            **{name: draw.randrange(24) for name in columns},
            **dict.fromkeys(declared.spine.keys, number),
            "carrier": draw.choice(["AA", "B6"]),
            "origin": ORIGIN,
            "split": "train" if number % 3 else "evaluate",
            "is_late": draw.random() < 0.4,
        }
        for number in range(300)
    ]
    with installation.lake.transaction("tx-rows", [TRAINING_SET.table]) as transaction:
        folder = transaction.scratch / "rows"
        folder.mkdir()
        pq.write_table(pa.Table.from_pylist(rows), folder / "part-0.parquet")
        transaction.write({TRAINING_SET: (describe_tables([folder])[folder], folder)})
        transaction.publish("invented rows", {})
    return installation


def test_a_model_is_stored_as_ubj_and_nothing_else(trainable: Installation) -> None:
    assert trainable.materialize(
        ["flight_delay/model", "flight_delay/evaluation_report"], KEY
    ).success
    [stored] = trainable.lake.snapshot().stored(MODEL.table).values()
    assert [file.name for file in stored.manifest.files] == ["model.ubj"]
    assert trainable.lake.snapshot().read(MODEL, "model.ubj").startswith(b"{L")


def test_a_pickle_in_a_models_place_is_refused_unopened(
    trainable: Installation, tmp_path: Path
) -> None:
    mark = tmp_path / "opened"
    with trainable.lake.transaction("tx-pickle", [MODEL.table]) as transaction:
        folder = transaction.scratch / "model"
        folder.mkdir()
        (folder / "model.ubj").write_bytes(pickle.dumps(Bomb(mark)))
        transaction.write({MODEL: (Manifest.of_folder(folder), folder)})
        transaction.publish("a pickle", {})
    head = trainable.lake.head()

    result = trainable.materialize(["flight_delay/evaluation_report"], KEY)

    [event] = [event for event in result.all_events if event.is_step_failure]
    error = event.step_failure_data.error
    assert error is not None
    assert error.cause is not None
    assert "The file is a pickle, and was not opened" in error.cause.message
    assert not mark.exists()
    assert trainable.lake.head() == head
