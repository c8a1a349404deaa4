"""What database drivers give, as columns of declared types: nothing is rounded, cut or guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.sources.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa


def column(place: str, of: pa.Field, values: Sequence[Any]) -> pa.Array:
    """A column of what a driver gives.

    Args:
        place: What errors call the table.
        of: The column's name and type.
        values: Its values, None where there is none.

    Raises:
        SourceError: A value is not of the type.
    """
    import pyarrow as pa

    convert: Callable[[Any], Any] = str
    if pa.types.is_integer(of.type):
        convert = _whole
    elif pa.types.is_floating(of.type):
        convert = _measure
    elif pa.types.is_timestamp(of.type):
        convert = instant
    converted = []
    for value in values:
        try:
            converted.append(None if value is None else convert(value))
        except (ValueError, TypeError, OverflowError) as error:
            raise SourceError(
                f"{place}: the column {of.name} holds {value!r}, which is not of type {of.type}. "
                "Correct the value, or make it null if it is missing."
            ) from error
    try:
        return pa.array(converted, of.type)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise SourceError(
            f"{place}: the column {of.name} does not fit the type {of.type} ({error}). Correct "
            "the value."
        ) from error


def _whole(value: Any) -> int:  # noqa: ANN401 - as the driver gives it
    whole = int(value)
    if whole != float(value):
        raise ValueError(value)
    return whole


def _measure(value: Any) -> float:  # noqa: ANN401 - as the driver gives it
    measure = float(value)
    if measure - measure != 0:
        raise ValueError(value)
    return measure


def instant(value: Any) -> datetime:  # noqa: ANN401 - as the driver gives it
    """An instant in UTC; one without a zone is in UTC already.

    Raises:
        TypeError: It is none, nor text.
        ValueError: It is text that names none.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise TypeError(value)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
