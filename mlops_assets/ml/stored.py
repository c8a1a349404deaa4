"""The form in which measured numbers are kept: frozen, strict and with as many digits as last."""

from __future__ import annotations

from typing import Annotated

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
