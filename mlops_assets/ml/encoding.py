"""From a table's columns to the matrix a model reads, by a vocabulary that is stored with it.

Numbers and truth values stay numbers; text becomes the place of its word in the sorted vocabulary
of the training rows. The vocabulary travels inside the model, so a prediction needs nothing else.
Deriving features does not belong here: that is SQL, where engines and column lineage see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from mlops_assets.ml.labels import UnusableRowsError, require_columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


REFUSED_IN_NAMES = "[]<"
"""Characters that XGBoost refuses in the name of a feature."""


class Feature(BaseModel):
    """One input of a model: a number, or a category with the words that training saw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    vocabulary: tuple[str, ...] | None = None
    """The known words, sorted; `None` for a number."""


def fit_features(rows: pa.Table, names: Sequence[str]) -> tuple[Feature, ...]:
    """Decide from training rows how each named column is read.

    Raises:
        UnusableRowsError: A column is missing, or is neither number, truth value nor text.
    """
    import pyarrow.compute as pc

    require_columns(rows, list(names), "Training")
    features = []
    for name in names:
        column = rows.column(name)
        if _is_text(column.type):
            words = pc.unique(_as_text(column)).drop_null().to_pylist()
            features.append(Feature(name=name, vocabulary=tuple(sorted(words))))
        elif is_number(column.type):
            features.append(Feature(name=name))
        else:
            raise UnusableRowsError(
                f"Feature {name!r} has the type {column.type}; a feature is a number, a truth "
                "value or text: derive one from it in its feature view."
            )
    return tuple(features)


def encode(rows: pa.Table, features: Sequence[Feature]) -> npt.NDArray[np.float32]:
    """Return the matrix (rows x features); NaN where a value is null or a word was never seen.

    Raises:
        UnusableRowsError: A column is missing, of the other kind than in training, or infinite.
    """
    import numpy as np

    require_columns(rows, [feature.name for feature in features], "The model")
    matrix = np.empty((rows.num_rows, len(features)), dtype=np.float32)
    for place, feature in enumerate(features):
        matrix[:, place] = _encode_column(rows.column(feature.name), feature)
    return matrix


def _encode_column(column: pa.ChunkedArray, feature: Feature) -> npt.NDArray[np.float32]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan, dtype=np.float32)
    if feature.vocabulary is not None:
        _require_kind(_is_text(column.type), column, feature, "text")
        words = pa.array(feature.vocabulary, pa.string())
        column = pc.index_in(_as_text(column), value_set=words, skip_nulls=True)
    else:
        _require_kind(is_number(column.type), column, feature, "a number")
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
    with np.errstate(over="ignore"):
        wide = column.cast(pa.float64(), safe=False).to_numpy()
        values: npt.NDArray[np.float32] = wide.astype(np.float32)
    if np.isinf(values).any():
        raise UnusableRowsError(
            f"Feature {feature.name!r} holds a value beyond what a 32-bit float can carry; "
            "make it null or bound it in its feature view."
        )
    return values


def _require_kind(fits: bool, column: pa.ChunkedArray, feature: Feature, kind: str) -> None:
    if not fits:
        raise UnusableRowsError(
            f"Feature {feature.name!r} was {kind} when the model was trained and has the type "
            f"{column.type} now; give the model the columns it was trained on."
        )


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of that type is read as numbers; truth values are, and a column of nulls."""
    import pyarrow as pa

    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    return column.cast(pa.string())
