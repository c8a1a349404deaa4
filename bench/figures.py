"""What a benchmark says: figures with their targets, as JSON lines and as one table.

Decides nothing about how anything is measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

DISTRIBUTIONS = ("dagster", "dagster-dbt", "dbt-core", "dbt-duckdb", "duckdb", "lakefs", "pyarrow")


@dataclass(frozen=True)
class Figure:
    """One number that a benchmark measured.

    Attributes:
        benchmark: The benchmark's name.
        figure: What was measured.
        value: The median over the rounds.
        unit: The unit of `value` and `baseline`.
        baseline: The median of what it is compared with; None if with nothing.
        target: What `value` over `baseline` shall not exceed; None if nothing was promised.
    """

    benchmark: str
    figure: str
    value: float
    unit: str = "s"
    baseline: float | None = None
    target: float | None = None

    @property
    def ratio(self) -> float | None:
        """`value` over `baseline`; None without a baseline."""
        return self.value / self.baseline if self.baseline else None

    @property
    def verdict(self) -> str:
        """`met` or `missed`; empty where nothing was promised."""
        if self.target is None or self.ratio is None:
            return ""
        return "met" if self.ratio <= self.target else "missed"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark, described.

    Attributes:
        name: What it is called on the command line.
        question: The question that its figures answer.
        rounds: How often it measures where the command line does not say.
        measure: Measures so many rounds and gives the figures.
    """

    name: str
    question: str
    rounds: int
    measure: Callable[[int], Iterator[Figure]]


def machine_facts(root: Path) -> Mapping[str, Any]:
    """What a figure depends on beside the code: cores, versions, commit.

    Args:
        root: The repository; its commit is marked with `+` where files differ from it, and null
            where it is no git repository.
    """
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in DISTRIBUTIONS},
        "commit": _commit(root),
    }


def _commit(root: Path) -> str | None:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def append(figures: Iterable[Figure], facts: Mapping[str, Any], path: Path) -> None:
    """Append one JSON line for each figure to the file at `path`."""
    with path.open("a", encoding="utf-8") as lines:
        for figure in figures:
            content = {
                "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                **asdict(figure),
                "ratio": figure.ratio,
                **facts,
            }
            lines.write(json.dumps(content) + "\n")


def table(figures: Sequence[Figure]) -> str:
    """The figures as one table, a row each."""
    header = ("benchmark", "figure", "measured", "against", "ratio", "target", "")
    rows = [
        (
            figure.benchmark,
            figure.figure,
            f"{figure.value:.2f} {figure.unit}",
            "" if figure.baseline is None else f"{figure.baseline:.2f} {figure.unit}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            "" if figure.target is None else f"≤ {figure.target:.1f}",
            figure.verdict,
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )
