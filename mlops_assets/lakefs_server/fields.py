"""The fields of a JSON body, each of the type that the API gives it.

Belongs here: reading a field or refusing it in one sentence that names it. Does not: what a field
means. Taken as they came, a list where a text belongs was a 500, and `"false"` was true.
"""

from __future__ import annotations

import json
from typing import NoReturn

from mlops_assets.lakefs_server.errors import InvalidError

_INT64 = (1 << 63) - 1


class Fields:
    """A JSON object. A field that is null is missing, as the generated clients send it."""

    def __init__(self, values: dict[str, object]) -> None:
        self._values = values

    def holds(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """A text; raises InvalidError if it is something else."""
        value = self._values.get(name)
        if value is None:
            return default
        return value if isinstance(value, str) else _refuse(name, "a text")

    def required(self, name: str) -> str:
        """A text that must be there and not empty; raises InvalidError."""
        return self.text(name) or _refuse_missing(name)

    def check_present(self, name: str) -> None:
        """Raise InvalidError if a field is missing; it may be empty."""
        if not self.holds(name):
            _refuse_missing(name)

    def flag(self, name: str) -> bool:
        """True or false, false if missing; raises InvalidError if it is something else."""
        value = self._values.get(name)
        if value is None:
            return False
        return value if isinstance(value, bool) else _refuse(name, "true or false")

    def number(self, name: str, default: int = 0, most: int = _INT64) -> int:
        """A whole number of at most that magnitude; raises InvalidError if it is none."""
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            return _refuse(name, "a whole number")
        return value if abs(value) <= most else _refuse(name, f"at most {most}")

    def texts(self, name: str) -> list[str]:
        """A list of texts that must be there; raises InvalidError."""
        value = self._values.get(name)
        if value is None:
            return _refuse_missing(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            return _refuse(name, "a list of texts")
        return value

    def strings(self, name: str) -> dict[str, str]:
        """An object whose values are texts, empty if missing; raises InvalidError."""
        value = self._values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            return _refuse(name, "an object of texts")
        return value

    def inner(self, name: str) -> Fields:
        """An object in this one, empty if missing; raises InvalidError if it is something else."""
        value = self._values.get(name)
        if value is None:
            return Fields({})
        return Fields(value) if isinstance(value, dict) else _refuse(name, "an object")


def parse(body: bytes) -> object:
    """A body as JSON, an empty one as an object without fields.

    Raises:
        InvalidError: It is none, or holds what no UTF-8 can: half of a surrogate pair.
    """
    try:
        found = json.loads(body or b"{}", parse_constant=_no_number)
        if b"\\u" in body:
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"the request's body is not JSON: {error}") from None
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _refuse(name: str, wanted: str) -> NoReturn:
    raise InvalidError(f"{name}: invalid value: give {wanted}")


def _refuse_missing(name: str) -> NoReturn:
    raise InvalidError(f"{name}: required value")
