"""Measured numbers by name and labels, in the form in which a monitor stores them.

One form for all who show them: Dagster plots them by name, Prometheus reads name and labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from mlops_assets.ml.stored import Number, Stored

SAMPLES_FILE = "samples.json"
"""What the file is called that a monitor's partition holds them in."""


class Sample(Stored):
    """One number."""

    name: str
    """What is measured, as Prometheus names it: `roc_auc`, `missing_share`; a unit ends it."""
    labels: tuple[tuple[str, str], ...] = ()
    """Of what: pairs like `("carrier", "UA")`, in order; none for the whole."""
    value: Number

    @classmethod
    def of(cls, name: str, value: float, **labels: str) -> Self:
        """A number with its labels."""
        return cls(name=name, labels=tuple(sorted(labels.items())), value=value)


class Samples(Stored):
    """What a monitor measured of one partition."""

    samples: tuple[Sample, ...]

    def by_name(self, name: str) -> Mapping[tuple[tuple[str, str], ...], float]:
        """The numbers of that name by their labels."""
        return {sample.labels: sample.value for sample in self.samples if sample.name == name}
