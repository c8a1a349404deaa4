"""One figure with its labels, and its name as Prometheus takes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

PREFIX = "mlops_"


@dataclass
class Figure:
    """A number for each of several things.

    Attributes:
        name: Its name, with the unit at the end.
        means: What it is, in a sentence.
        labels: The names of the labels.
        values: The number for each row of their values.
    """

    name: str
    means: str
    labels: tuple[str, ...] = ()
    values: dict[tuple[str, ...], float] = field(default_factory=dict)

    def add(self, value: float, *of: str) -> None:
        """Add a number.

        Args:
            value: The number.
            of: The labels' values, in order.
        """
        self.values[of] = value


def named(*parts: str) -> str:
    """A name made of parts, with what Prometheus does not take replaced."""
    return PREFIX + "_".join(re.sub(r"[^a-zA-Z0-9_]", "_", part) for part in parts)


def gathered(
    rows: Iterable[tuple[str, str, Mapping[str, str], float]],
) -> list[Figure]:
    """Figures of rows of name, meaning, labels and value, whose labels may differ within a name.

    A figure has the labels of all of its rows; a row without one has the empty text, which
    Prometheus takes as no label.
    """
    grouped: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    means: dict[str, str] = {}
    for name, meaning, labels, value in rows:
        grouped.setdefault(name, []).append((labels, value))
        means.setdefault(name, meaning)
    figures = []
    for name, found in grouped.items():
        keys = sorted({key for labels, _ in found for key in labels})
        figure = Figure(name, means[name], tuple(keys))
        for labels, value in found:
            figure.add(value, *(labels.get(key, "") for key in keys))
        figures.append(figure)
    return figures
