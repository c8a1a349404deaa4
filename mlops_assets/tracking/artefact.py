"""A model as MLflow keeps it: the very bytes of the lake, beside what MLflow needs to open them."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.tracking import loader
from mlops_assets.tracking.results import MODEL_FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

    from mlops_assets.ml.model import TrainingRecord

# What a process that opens the model needs beside this package; the lock names the rest.
REQUIRED = ("numpy", "pyarrow", "xgboost")


def write(
    client: MlflowClient,
    logged: LoggedModel,
    content: bytes,
    record: TrainingRecord,
    environment: Mapping[str, str],
) -> None:
    """Write a model's artefact, with no pickle in it and nothing that MLflow would have to guess.

    Args:
        client: Where to.
        logged: The model that it belongs to.
        content: The bytes of the model.
        record: What they say of their training.
        environment: What the work commit says of packages, as `environment/xgboost`.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    pinned = {name: environment.get(f"environment/{name}") for name in REQUIRED}
    with tempfile.TemporaryDirectory() as folder:
        data, saved = Path(folder) / MODEL_FILE, Path(folder) / "saved"
        data.write_bytes(content)
        with warnings.catch_warnings():
            # It asks for an example of the input to guess from; the signature is given.
            warnings.simplefilter("ignore", UserWarning)
            mlflow.pyfunc.save_model(
                saved,
                loader_module=loader.__name__,
                data_path=str(data),
                model_config={loader.DIGEST: sha256(content).hexdigest()},
                pip_requirements=[
                    f"mlops-assets=={version('mlops-assets')}",
                    *(f"{name}=={found}" for name, found in pinned.items() if found),
                ],
                signature=_signature(record),
                mlflow_model=Model(
                    run_id=logged.source_run_id,
                    model_id=logged.model_id,
                    model_uuid=logged.model_id,
                ),
            )
        client.log_model_artifacts(logged.model_id, str(saved))


def _signature(record: TrainingRecord) -> ModelSignature:
    """The raw columns that the model reads, and the probability that it answers.

    Of a number MLflow is told nothing more: with `double` it would refuse the frame that a training
    set is read into, whose whole numbers are `int64`, and with `long` any that has a null.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(AnyType() if feature.vocabulary is None else DataType.string, feature.name)
                for feature in record.features
            ]
        ),
        outputs=Schema([ColSpec(DataType.double)]),
    )
