"""Rows that can be learned from: outcomes as zeros and ones, and one order for any rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


class UnusableRowsError(ValueError):
    """Rows that no model can be trained on, scored on or judged by; the message says why."""


def require_columns(rows: pa.Table, columns: list[str], purpose: str) -> None:
    """Refuse a table that lacks one of `columns`, naming all that are missing.

    Raises:
        UnusableRowsError: A column is missing.
    """
    missing = [column for column in columns if column not in rows.column_names]
    if missing:
        raise UnusableRowsError(
            f"{purpose} needs the columns {', '.join(map(repr, missing))}, which the rows do not "
            f"have; they have {', '.join(map(repr, rows.column_names))}."
        )


def binary_labels(rows: pa.Table, label: str, purpose: str) -> npt.NDArray[np.int64]:
    """Return the label column as an array of 0 and 1, one entry a row.

    Raises:
        UnusableRowsError: The column is missing, holds a null or another value, or one class only.
    """
    require_columns(rows, [label], purpose)
    column = rows.column(label)
    if column.null_count:
        raise UnusableRowsError(
            f"{purpose} found {column.null_count} of {rows.num_rows} rows without a {label!r}; "
            "rows whose outcome is unknown are scored, never learned from: filter them out."
        )
    return checked_labels(column.to_numpy(), repr(label), purpose)


def checked_labels(values: npt.ArrayLike, name: str, purpose: str) -> npt.NDArray[np.int64]:
    """Return `values` as an array of 0 and 1 that holds both.

    Raises:
        UnusableRowsError: There are no values, another value than 0 and 1, or one class only.
    """
    import numpy as np

    labels = np.asarray(values)
    if not labels.size:
        raise UnusableRowsError(f"{purpose} was given no rows; widen the window they come from.")
    if not np.isin(labels, (0, 1)).all():
        raise UnusableRowsError(
            f"{purpose} needs 0 or 1 (or false and true) in {name}, and found other values."
        )
    classes = np.unique(labels)
    if len(classes) == 1:
        raise UnusableRowsError(
            f"{purpose} needs both outcomes in {name}, and all {labels.size} rows have "
            f"{int(classes[0])}; widen the window they come from."
        )
    return labels.astype(np.int64)


def sorted_by(rows: pa.Table, keys: Sequence[str], purpose: str) -> pa.Array:
    """The places of the rows in the order of their keys, which no query without ORDER BY keeps.

    Raises:
        UnusableRowsError: A key is missing, or the keys name a row twice.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    require_columns(rows, list(keys), purpose)
    plain = rows.select(list(keys))
    for place, field in enumerate(plain.schema):
        if pa.types.is_dictionary(field.type):
            column = plain.column(place).cast(field.type.value_type)
            plain = plain.set_column(place, field.name, column)
    distinct = plain.group_by(list(keys)).aggregate([]).num_rows
    if distinct != rows.num_rows:
        raise UnusableRowsError(
            f"{purpose} needs keys that tell its rows apart, and {', '.join(map(repr, keys))} "
            f"name only {distinct} of {rows.num_rows}; add a key or remove the duplicates."
        )
    return pc.sort_indices(plain, sort_keys=[(key, "ascending") for key in keys])
