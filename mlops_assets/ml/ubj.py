"""A reader of the part of Universal Binary JSON that XGBoost writes its models in.

It exists because XGBoost's own reader ends the whole process on an empty file and allocates
without bound on a truncated one. What passes here is whole and well formed, so that a damaged
model is one sentence instead of a dead worker. Nothing in the bytes is ever executed. It knows
nothing of what a model means.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None"

_SCALARS = {b"i": "b", b"U": "B", b"I": "h", b"l": "i", b"L": "q", b"d": "f", b"D": "d"}
_CONSTANTS: dict[bytes, Value] = {b"Z": None, b"T": True, b"F": False}
_DEEPEST = 32


class DamagedUbjError(ValueError):
    """Bytes that are not one whole, well-formed UBJ object; the message says where."""


def read_object(data: bytes) -> dict[str, Value]:
    """Read the one object that `data` holds.

    Arrays of one numeric type come back as their raw big-endian bytes: a model holds hundreds of
    thousands of tree nodes, which no caller looks at one by one.

    Raises:
        DamagedUbjError: The bytes are cut short, go on after the object, or hold an unknown marker.
    """
    reader = _Reader(data)
    if reader.take(1) != b"{":
        raise DamagedUbjError("it does not begin with an object")
    found = reader.members(depth=0)
    if reader.at != len(data):
        raise DamagedUbjError(f"{len(data) - reader.at} bytes follow its end")
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self._data):
            raise DamagedUbjError(f"byte {self.at} promises more than its {len(self._data)} bytes")
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def members(self, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while (marker := self.take(1)) != b"}":
            name = self.text(marker)
            found[name] = self.value(self.take(1), depth + 1)
        return found

    def value(self, marker: bytes, depth: int) -> Value:
        if depth > _DEEPEST:
            raise DamagedUbjError(f"byte {self.at} is nested deeper than {_DEEPEST} levels")
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker in _SCALARS:
            return self.scalar(marker)
        if marker == b"S":
            return self.text(self.take(1))
        if marker == b"[":
            return self.array(depth)
        if marker == b"{":
            return self.members(depth)
        raise DamagedUbjError(f"byte {self.at - 1} is the unknown marker {marker!r}")

    def scalar(self, marker: bytes) -> int | float:
        number: int | float
        form = struct.Struct(">" + _SCALARS[marker])
        (number,) = form.unpack(self.take(form.size))
        return number

    def text(self, marker: bytes) -> str:
        start = self.at
        try:
            return self.take(self.length(marker)).decode()
        except UnicodeDecodeError as problem:
            raise DamagedUbjError(f"the text at byte {start} is not UTF-8") from problem

    def length(self, marker: bytes) -> int:
        if marker not in _SCALARS or marker in b"dD":
            raise DamagedUbjError(f"byte {self.at - 1} should begin a length and is {marker!r}")
        return int(self.scalar(marker))

    def array(self, depth: int) -> list[Value] | bytes:
        marker = self.take(1)
        if marker == b"$":
            kind = self.take(1)
            if kind not in _SCALARS or self.take(1) != b"#":
                raise DamagedUbjError(f"the array at byte {self.at} has no known type and length")
            return self.take(self.length(self.take(1)) * struct.calcsize(">" + _SCALARS[kind]))
        if marker == b"#":
            return [self.value(self.take(1), depth + 1) for _ in range(self.length(self.take(1)))]
        found = []
        while marker != b"]":
            found.append(self.value(marker, depth + 1))
            marker = self.take(1)
        return found
