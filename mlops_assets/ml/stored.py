"""The form in which measured numbers are kept: frozen, strict and with as many digits as last."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, AllowInfNan, BaseModel, ConfigDict

DIGITS = 9


def _lasting(value: float) -> float:
    return round(value, DIGITS) + 0.0


Number = Annotated[float, AllowInfNan(False), AfterValidator(_lasting)]
"""A finite number to nine decimals: a processor with wider vector registers adds the same floats
in another order, and its sums differ in the sixteenth digit."""


class Stored(BaseModel):
    """A record that goes into a file: unknown fields are refused, none is ever changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """The bytes that are stored: the same record, the same bytes."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            pydantic.ValidationError: The bytes are something else.
        """
        return cls.model_validate_json(data)
