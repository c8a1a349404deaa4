"""The stored model: one UBJ file that predicts on its own, and says how it was trained.

Here belong its bytes, their inspection before anything opens them, and prediction. Making a model
is `training`. Whether bytes are the very ones that were published is the lake's concern, by
checksum; what is refused here is what could never be a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError

from mlops_assets.ml.encoding import Feature, encode
from mlops_assets.ml.ubj import DamagedUbjError, read_object

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import xgboost

_ATTRIBUTE = "mlops_assets"
_REMEDY = "publish models with Model.to_ubj() and materialize this one again"


class NotAModelError(ValueError):
    """Bytes refused as a model before anything opened them; the message says why."""


class TrainingRecord(BaseModel):
    """What a model says about its own making; it lies inside the model's bytes.

    `parameters` is a plain mapping, so that a model stays readable after an estimator has gained or
    lost a parameter. The number of threads is not among them: it changes nothing in the bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: tuple[Feature, ...]
    label: str
    keys: tuple[str, ...]
    parameters: dict[str, int | float | str]
    rows: int
    positives: int


class Model:
    """A trained classifier with the record of its training."""

    def __init__(self, booster: xgboost.Booster, record: TrainingRecord) -> None:
        booster.set_attr(**{_ATTRIBUTE: record.model_dump_json()})
        self._booster = booster
        self.record = record

    def to_ubj(self) -> bytes:
        """Return the model as XGBoost's own UBJ: no clock, no identifier, nothing executable."""
        return bytes(self._booster.save_raw("ubj"))

    @classmethod
    def from_ubj(cls, data: bytes) -> Self:
        """Read a model that `to_ubj` wrote.

        Raises:
            NotAModelError: The bytes are a pickle, another format, damaged, or not of this product.
        """
        record = _inspect(data)
        import xgboost

        booster = xgboost.Booster()
        try:
            booster.load_model(bytearray(data))
        except xgboost.core.XGBoostError as problem:
            reason = str(problem).strip().splitlines()[-1]
            raise NotAModelError(f"XGBoost refuses the model ({reason}); {_REMEDY}.") from problem
        return cls(booster, record)

    def predict(self, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Return the probability of the label being 1 for each row, in the rows' order.

        Columns are found by name; others are ignored. Nulls and unseen categories are missing
        values, which every tree sends down its default branch.

        Raises:
            UnusableRowsError: A feature is missing or of another kind than in training.
        """
        import numpy as np

        matrix = encode(rows, self.record.features)
        if not len(matrix):
            return np.empty(0)
        scores = self._booster.predict(feature_matrix(matrix, self.record.features))
        return np.asarray(scores, dtype=np.float64)


def feature_matrix(
    matrix: npt.NDArray[np.float32],
    features: tuple[Feature, ...],
    labels: npt.NDArray[np.int64] | None = None,
    threads: int = 0,
) -> xgboost.DMatrix:
    """Wrap an encoded matrix (rows x features) for XGBoost; 0 threads means all there are."""
    import xgboost

    return xgboost.DMatrix(
        matrix,
        label=labels,
        feature_names=[feature.name for feature in features],
        feature_types=["q" if feature.vocabulary is None else "c" for feature in features],
        enable_categorical=True,
        nthread=threads,
    )


class _Attributes(BaseModel):
    record: Json[TrainingRecord] = Field(alias=_ATTRIBUTE)


class _Learner(BaseModel):
    attributes: _Attributes


class _Content(BaseModel):
    learner: _Learner


def _inspect(data: bytes) -> TrainingRecord:
    if not data.startswith(b"{L"):
        raise NotAModelError(f"{_recognize(data)}, not an XGBoost model in UBJ form; {_REMEDY}.")
    try:
        content = read_object(data)
    except DamagedUbjError as problem:
        raise NotAModelError(f"The model is damaged: {problem}; {_REMEDY}.") from problem
    try:
        return _Content.model_validate(content).learner.attributes.record
    except ValidationError as problem:
        raise NotAModelError(
            f"The model does not carry the features it was trained on; {_REMEDY}."
        ) from problem


def _recognize(data: bytes) -> str:
    if not data:
        return "The file is empty"
    known = {b"\x80": "a pickle, and was not opened", b'{"': "JSON", b"PK": "a zip archive"}
    for start, format_name in known.items():
        if data.startswith(start):
            return f"The file is {format_name}"
    return f"The file begins with {data[:4]!r}"
