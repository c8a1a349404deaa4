"""What a run of MLflow holds: one model of the lake, and the report that judged it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mlops_assets.lake import Lake, PublishedPartition, Snapshot
from mlops_assets.ml.decision import Judgement
from mlops_assets.ml.evaluation import Evaluation
from mlops_assets.ml.model import Model
from mlops_assets.tracking import artefact, results
from mlops_assets.tracking.connection import TrackingError
from mlops_assets.tracking.results import Place

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

COMMIT, PIN, PARTITION = "lake/commit", "lake/pin", "lake/partition"
DATA_VERSION, SHA256 = "lake/data_version", "sha256"
REPORT_COMMIT, REPORT_VERSION = "report/commit", "report/data_version"


@dataclass(frozen=True)
class ModelRun:
    """A finished run of a model.

    Attributes:
        experiment: MLflow's id of its experiment.
        run: MLflow's id of it.
        logged_model: MLflow's id of the model in it.
        artefact: Where that model lies.
        tags: What it says of its origin.
    """

    experiment: str
    run: str
    logged_model: str
    artefact: str
    tags: Mapping[str, str]

    @classmethod
    def of(cls, client: MlflowClient, run: Run) -> Self:
        """Read what MLflow holds.

        Raises:
            TrackingError: Somebody took the model out of the run.
        """
        if run.outputs is None or len(run.outputs.model_outputs) != 1:
            raise TrackingError(
                f"run {run.info.run_id} in MLflow has lost its model: delete the run, then run "
                "`mlops-assets doctor`, which writes it again."
            )
        logged = client.get_logged_model(run.outputs.model_outputs[0].model_id)
        return cls(
            run.info.experiment_id,
            run.info.run_id,
            logged.model_id,
            logged.artifact_location,
            run.data.tags,
        )


def write_model(
    client: MlflowClient, lake: Lake, model: PublishedPartition, experiment: str
) -> ModelRun:
    """Write a model's run, which is finished only when everything of the model is in it."""
    from mlflow.entities import LoggedModelOutput, Metric, Param

    place = Place.of(model.key)
    content = Snapshot(lake, model.commit).read(model.key, results.MODEL_FILE)
    record = Model.from_ubj(content).record
    commit = lake.commit_info(model.commit)
    now = _milliseconds(commit)
    tags = _model_tags(model, place, commit["metadata"])
    run_id = client.create_run(
        experiment, start_time=now, tags=tags, run_name=f"{place.segment} {place.month}"
    ).info.run_id
    parameters = {name: str(value) for name, value in record.parameters.items()}
    logged = client.create_logged_model(
        experiment, name="model", source_run_id=run_id, tags=tags, params=parameters
    )
    artefact.write(client, logged, content, record, commit["metadata"])
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    counts = {"training_rows": record.rows, "training_positives": record.positives}
    client.log_batch(
        run_id,
        metrics=[
            Metric(name, count, now, 0, model_id=logged.model_id) for name, count in counts.items()
        ],
        params=[Param(name, value) for name, value in parameters.items()],
    )
    client.set_terminated(run_id, "FINISHED", end_time=now)
    return ModelRun(experiment, run_id, logged.model_id, logged.artifact_location, tags)


def _model_tags(
    model: PublishedPartition, place: Place, metadata: Mapping[str, str]
) -> dict[str, str]:
    [file] = model.manifest.files
    recorded = {
        "code_version": metadata.get(f"code_version/{model.key.table}"),
        **{
            name: metadata.get(name)
            for name in ("dagster/run_id", "environment/requirements.lock", "environment/python")
        },
    }
    return {
        COMMIT: model.commit,
        PIN: model.pin,
        PARTITION: place.partition.path,
        DATA_VERSION: model.manifest.data_version,
        SHA256: file.sha256,
        **dict(place.partition.values),
        **{name: value for name, value in recorded.items() if value is not None},
    }


def drop(client: MlflowClient, run: Run) -> None:
    """Take away what a process that was killed left unfinished."""
    left = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    for logged in left:
        client.delete_logged_model(logged.model_id)
    client.delete_run(run.info.run_id)


def write_report(
    client: MlflowClient, lake: Lake, report: PublishedPartition, run: ModelRun
) -> None:
    """Write what a report says of a model, and its page, into the model's run."""
    from mlflow.entities import Metric, RunTag

    held = Snapshot(lake, report.commit)
    evaluation = Evaluation.from_json(held.read(report.key, results.EVALUATION_FILE))
    judgement = Judgement.from_json(held.read(report.key, results.GATES_FILE))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / results.REPORT_FILE
        page.write_bytes(held.read(report.key, results.REPORT_FILE))
        client.log_artifact(run.run, str(page))
    now = _milliseconds(lake.commit_info(report.commit))
    tags = {
        f"gate/{gate.name}": f"{'passed' if gate.passed else 'failed'}: {gate.sentence}"
        for gate in judgement.gates
    }
    # MLflow writes a batch's tags last, so that this one tells that all of the report is there.
    tags |= {REPORT_COMMIT: report.commit, REPORT_VERSION: report.manifest.data_version}
    client.log_batch(
        run.run,
        metrics=[
            Metric(name, value, now, 0, model_id=run.logged_model)
            for name, value in _measured(evaluation).items()
        ],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )


def _measured(evaluation: Evaluation) -> dict[str, float]:
    """The numbers of an evaluation by which models are compared."""
    line = evaluation.recalibration
    calibration = {} if line is None else {"slope": line.slope, "intercept": line.intercept}
    return {
        "evaluated_rows": evaluation.n,
        "evaluated_positives": evaluation.positives,
        **evaluation.model.model_dump(),
        **{f"baseline_{name}": found for name, found in evaluation.baseline.model_dump().items()},
        "brier_skill": evaluation.brier_skill,
        **{f"calibration_{name}": found for name, found in calibration.items()},
        "calibration_error": evaluation.calibration_error,
        "cost": evaluation.operation.model.cost,
        "baseline_cost": evaluation.operation.baseline.cost,
    }


def _milliseconds(commit: Mapping[str, Any]) -> int:
    """A commit's time as MLflow counts it: writing a result again gives the same numbers."""
    return int(commit["creation_date"]) * 1000
