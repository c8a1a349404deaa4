"""Models, reports and champions of a small problem, published as its assets publish them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from itertools import count
from pathlib import Path

import pyarrow as pa

from mlops_assets.lake import Lake, Manifest, Partition, PublishedPartition, TablePartition
from mlops_assets.ml.decision import Decision, Judgement, ModelPin
from mlops_assets.ml.evaluation import Evaluation, evaluate
from mlops_assets.ml.gates import Gates
from mlops_assets.ml.model import Model
from mlops_assets.ml.threshold import Costs
from mlops_assets.ml.training import Estimator, train
from mlops_assets.tracking import results

GATES = Gates.model_validate(
    {"brier_skill": {"above": 0}, "calibration_slope": {"from": 9, "to": 9}}
)
METADATA = {
    "dagster/run_id": "a-run",
    "code_version/toy/model": "a-code-version",
    "environment/requirements.lock": "sha256:00",
    "environment/xgboost": "3.2.0",
}
_serial = count()


def partition(month: str, origin: str = "JFK") -> Partition:
    return Partition.of({"month": month, "origin": origin})


@cache
def rows(seed: int) -> pa.Table:
    """Rows as a training set has them: whole numbers, nulls, truth values and text."""
    draw = random.Random(seed)
    distances = [draw.randrange(100, 2500) for _ in range(400)]
    return pa.table(
        {
            "key": pa.array(range(400)),
            "carrier": pa.array([draw.choice(["AA", "DL", None]) for _ in distances]),
            "distance": pa.array(distances, pa.int64()),
            "seats": pa.array([draw.choice([None, 150, 180]) for _ in distances], pa.int64()),
            "weekend": pa.array([draw.choice([True, False]) for _ in distances]),
            "late": pa.array([draw.random() < distance / 3000 for distance in distances]),
        }
    )


@cache
def model(seed: int) -> Model:
    return train(
        rows(seed),
        features=["carrier", "distance", "seats", "weekend"],
        label="late",
        keys=["key"],
        parameters=Estimator(rounds=3, seed=seed),
    )


@cache
def evaluation(seed: int) -> Evaluation:
    labels = rows(seed)["late"].to_numpy(zero_copy_only=False)
    return evaluate(
        labels,
        model(seed).predict(rows(seed)),
        [labels.mean()] * len(labels),
        baseline_name="rate",
        costs=Costs(false_alarm=1, miss=3),
    )


def pin(month: str, seed: int, origin: str = "JFK") -> ModelPin:
    return ModelPin.of(partition(month, origin).path, model(seed).to_ubj())


def publish_models(lake: Lake, seeds: Mapping[Partition, int]) -> list[PublishedPartition]:
    """Publish models, each told by its seed, in one transaction."""

    def write(place: Partition, folder: Path) -> None:
        (folder / results.MODEL_FILE).write_bytes(model(seeds[place]).to_ubj())

    return _publish(lake, results.MODEL, list(seeds), write)


def publish_reports(
    lake: Lake, seeds: Mapping[Partition, int], page: str | None = None
) -> list[PublishedPartition]:
    """Publish the reports of such models, with a page of their own or the same for all."""

    def write(place: Partition, folder: Path) -> None:
        found = evaluation(seeds[place])
        judged = ModelPin.of(place.path, model(seeds[place]).to_ubj())
        (folder / results.REPORT_FILE).write_text(page or f"<p>the report of {place}</p>")
        (folder / results.EVALUATION_FILE).write_bytes(found.to_json())
        judgement = Judgement(model=judged, gates=GATES.judge(found))
        (folder / results.GATES_FILE).write_bytes(judgement.to_json())

    return _publish(lake, results.REPORT, list(seeds), write)


def publish_champion(lake: Lake, place: Partition, in_force: ModelPin | None) -> PublishedPartition:
    """Publish what a month decided."""

    def write(_: Partition, folder: Path) -> None:
        decision = Decision(
            outcome="kept",
            reason="the test wants it",
            candidate=in_force or ModelPin(partition=place.path, sha256="0" * 64),
            champion=in_force,
            previous=None,
            gates=(),
            comparison=None,
        )
        (folder / results.CHAMPION_FILE).write_bytes(decision.to_json())

    [published] = _publish(lake, results.CHAMPION, [place], write)
    return published


def _publish(
    lake: Lake, kind: str, places: list[Partition], write: Callable[[Partition, Path], None]
) -> list[PublishedPartition]:
    table, written = f"toy/{kind}", {}
    with lake.transaction(f"tx-{next(_serial)}", [table]) as transaction:
        for place in places:
            folder = transaction.scratch / place.path
            folder.mkdir(parents=True)
            write(place, folder)
            written[TablePartition(table, place)] = (Manifest.of_folder(folder), folder)
        transaction.write(written)
        return list(transaction.publish(kind, METADATA).partitions)
