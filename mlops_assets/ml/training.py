"""Training: rows and parameters in, a model out, the same bytes for the same rows.

Which rows (the window, the as-of join, the flights whose outcome is known) is decided upstream, in
SQL. Judging the model is `evaluation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mlops_assets.ml.encoding import encode, fit_features
from mlops_assets.ml.labels import UnusableRowsError, binary_labels, sorted_by
from mlops_assets.ml.model import Model, TrainingRecord, feature_matrix

if TYPE_CHECKING:
    import pyarrow as pa


class Estimator(BaseModel):
    """Parameters of gradient-boosted trees, with defaults for some 60-90 thousand rows.

    `threads` (0: all there are) is left out of every dump: it is where a model was trained and not
    what it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Literal["binary:logistic"] = "binary:logistic"
    tree_method: Literal["hist"] = "hist"
    rounds: int = Field(150, ge=1, le=10_000)
    depth: int = Field(6, ge=1, le=16)
    eta: float = Field(0.06, gt=0, le=1)
    subsample: float = Field(0.8, gt=0, le=1)
    colsample: float = Field(0.6, gt=0, le=1)
    min_child_weight: float = Field(10.0, ge=0)
    seed: int = Field(0, ge=0, lt=2**31)
    threads: int = Field(0, ge=0, le=256, exclude=True)


def train(
    rows: pa.Table,
    *,
    features: Sequence[str],
    label: str,
    keys: Sequence[str],
    parameters: Estimator,
) -> Model:
    """Train on `rows` and return the model.

    `keys` name the columns that tell one row from another: rows are sorted by them first, because
    row sampling goes by position and a query without ORDER BY returns another order each time.

    Raises:
        UnusableRowsError: Rows, a column or an outcome is missing, a feature has a type that no
            model reads, the label or nothing is among the features, or `keys` name a row twice.
    """
    if not features or label in features:
        raise UnusableRowsError(
            f"Training needs features, and the label {label!r} not among them; it was given "
            f"{', '.join(map(repr, features)) or 'none'}."
        )
    ordered = rows.take(sorted_by(rows, keys, "Training"))
    labels = binary_labels(ordered, label, "Training")
    described = fit_features(ordered, features)
    record = TrainingRecord(
        features=described,
        label=label,
        keys=tuple(keys),
        parameters=parameters.model_dump(),
        rows=len(labels),
        positives=int(labels.sum()),
    )
    import xgboost

    booster = xgboost.train(
        _booster_parameters(parameters, record),
        feature_matrix(encode(ordered, described), described, labels, parameters.threads),
        num_boost_round=parameters.rounds,
    )
    return Model(booster, record)


def _booster_parameters(parameters: Estimator, record: TrainingRecord) -> dict[str, Any]:
    return {
        "objective": parameters.objective,
        "tree_method": parameters.tree_method,
        "device": "cpu",
        "max_depth": parameters.depth,
        "eta": parameters.eta,
        "subsample": parameters.subsample,
        "colsample_bytree": parameters.colsample,
        "min_child_weight": parameters.min_child_weight,
        "seed": parameters.seed,
        "nthread": parameters.threads,
        # From two integers: XGBoost's own estimate is a float sum that its threads share.
        "base_score": record.positives / record.rows,
        "validate_parameters": True,
    }
