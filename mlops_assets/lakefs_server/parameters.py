"""What the query parameters and headers of the API may hold, by their names.

Belongs here: refusing values that lakeFS's description of its API rules out, before anything is
looked up. Does not: what a parameter means, which is its handler's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlops_assets.lakefs_server.errors import InvalidError

MOST = 1000
"""The largest page that a list answers with, and so the largest `amount`."""

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_FLAGS = frozenset(
    {"first_parent", "force", "limit", "no_tombstone", "presign", "show_hidden", "user_metadata"}
)
_NOT_EMPTY = frozenset({"amount", "dest_path", "objects", "path", "prefixes", "ref", "type"})
_REPEATED = frozenset({"objects", "prefixes"})
_DIFFS = ("two_dot", "three_dot")


def check(query: Mapping[str, Sequence[str]], headers: Mapping[bytes, bytes]) -> None:
    """Raise InvalidError for a value that no endpoint takes; unknown names are ignored."""
    for name, values in query.items():
        if name in _FLAGS or name in _NOT_EMPTY:
            if len(values) > 1 and name not in _REPEATED:
                raise InvalidError(f"Invalid format for parameter {name}: multiple values")
            for value in values:
                _check_value(name, value)
    for name in ("If-Match", "If-None-Match", "Range"):
        if headers.get(name.lower().encode()) == b"":
            raise _refusal(name, "header", "empty value is not allowed")


def _check_value(name: str, value: str) -> None:
    if not value:
        raise _refusal(name, "query", "empty value is not allowed")
    if name in _FLAGS and value not in TRUE and value not in _FALSE:
        raise _refusal(name, "query", f"value {value}: an invalid boolean")
    if name == "amount":
        _check_amount(value)
    if name == "type" and value not in _DIFFS:
        raise _refusal(name, "query", f"value is not one of {', '.join(_DIFFS)}")


def _check_amount(value: str) -> None:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise _refusal("amount", "query", f"value {value}: an invalid integer")
    if len(digits) > len(str(MOST)) or not -1 <= int(value) <= MOST:
        raise _refusal("amount", "query", f"number must be at least -1 and at most {MOST}")


def _refusal(name: str, place: str, reason: str) -> InvalidError:
    return InvalidError(f'parameter "{name}" in {place} has an error: {reason}')
