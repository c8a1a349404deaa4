"""The stored model: one UBJ file that predicts on its own, and says how it was trained.

Here belong its bytes, their inspection before anything opens them, and prediction. Making a model
is `training`. Whether a model is the one that was published is the lake's concern, by its own
checksum; the seal in these bytes tells a whole file from a damaged one wherever it lies.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from mlops_assets.ml.encoding import Feature, encode
from mlops_assets.ml.labels import sorted_by

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import xgboost

_RECORD, _SEAL = "mlops_assets_record", "mlops_assets_seal"
_UNSEALED = "0" * 64
"""The seal is the SHA-256 of the model in which the seal itself is this."""

_SEALED = re.compile(
    re.escape(_SEAL.encode() + b"SL" + len(_UNSEALED).to_bytes(8, "big")).join([b"(", b")"])
    + rb"([0-9a-f]{64})"
)
EXPLAINED_ROWS = 1_000
"""Explaining 9,000 rows took four times as long as training on 80,000."""

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
        booster.set_attr(**{_RECORD: record.model_dump_json(), _SEAL: _UNSEALED})
        self._booster = booster
        self.record = record

    def to_ubj(self) -> bytes:
        """Return the model as XGBoost's own UBJ: no clock, no identifier, nothing executable."""
        unsealed = bytes(self._booster.save_raw("ubj"))
        return _sealed(unsealed, _seal_of(unsealed))

    @classmethod
    def from_ubj(cls, data: bytes) -> Self:
        """Read a model that `to_ubj` wrote.

        Raises:
            NotAModelError: The bytes are a pickle or another format, damaged, or another's model.
        """
        _require_intact(data)
        import xgboost

        booster = xgboost.Booster()
        try:
            booster.load_model(bytearray(data))
            record = TrainingRecord.model_validate_json(booster.attr(_RECORD) or "")
        except (xgboost.core.XGBoostError, ValidationError) as problem:
            raise NotAModelError(
                "The model is whole, and written in a form that this version does not read; use "
                "the version that trained it, or materialize it again."
            ) from problem
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

    def importance(self, rows: pa.Table) -> dict[str, float]:
        """The mean absolute effect of each feature on the score, in log-odds.

        TreeSHAP as XGBoost computes it (Lundberg and others, 2020), over at most `EXPLAINED_ROWS`
        rows evenly spread over the sorted rows.

        Raises:
            UnusableRowsError: A feature or a key is missing or of another kind than in training.
        """
        import numpy as np

        order = sorted_by(rows, self.record.keys, "The explanation")
        places = np.unique(np.linspace(0, len(order) - 1, EXPLAINED_ROWS).round().astype(np.int64))
        matrix = encode(rows.take(order.take(places)), self.record.features)
        effects = self._booster.predict(
            feature_matrix(matrix, self.record.features), pred_contribs=True
        )
        means = np.abs(effects[:, :-1].astype(np.float64)).mean(axis=0)
        names = [feature.name for feature in self.record.features]
        return dict(zip(names, means.tolist(), strict=True))


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


def _require_intact(data: bytes) -> None:
    """Let only the very bytes that `to_ubj` wrote through to XGBoost's reader.

    It ends the whole process on an empty file, and of 600 models with flipped bits or foreign bytes
    40 killed it even behind a check of their structure; a worker must refuse such a file and live.
    """
    if not data.startswith(b"{L"):
        raise NotAModelError(f"{_recognize(data)}, not an XGBoost model in UBJ form; {_REMEDY}.")
    found = _SEALED.search(data)
    if not found:
        raise NotAModelError(f"The model carries no seal of this product; {_REMEDY}.")
    if found[2].decode() != _seal_of(_sealed(data, _UNSEALED)):
        raise NotAModelError(f"The model is damaged: its bytes do not match its seal; {_REMEDY}.")


def _sealed(data: bytes, seal: str) -> bytes:
    return _SEALED.sub(rb"\g<1>" + seal.encode(), data, count=1)


def _seal_of(unsealed: bytes) -> str:
    return sha256(unsealed).hexdigest()


def _recognize(data: bytes) -> str:
    if not data:
        return "The file is empty"
    known = {b"\x80": "a pickle, and was not opened", b'{"': "JSON", b"PK": "a zip archive"}
    for start, format_name in known.items():
        if data.startswith(start):
            return f"The file is {format_name}"
    return f"The file begins with {data[:4]!r}"
