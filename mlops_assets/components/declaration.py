"""Mistakes in a declaration, each one sentence with the file and the line that it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import dagster as dg


@dataclass(frozen=True)
class Declaration:
    """Where the attributes of a component were written.

    Attributes:
        positions: The tree of positions that Dagster read with the file; None for a component
            that was made in Python.
        root: The folder that file names are told relative to.
        below: The keys of the file that paths begin below.
    """

    positions: Any = None
    root: Path = Path()
    below: tuple[str, ...] = ("attributes",)

    def mistake(self, path: Iterable[str | int], sentence: str) -> dg.DagsterInvalidDefinitionError:
        """The error for what stands at a path of keys and places."""
        if self.positions is None:
            return dg.DagsterInvalidDefinitionError(sentence)
        keys = [*self.below, *path]
        position, _ = self.positions.lookup_closest_and_path(keys, None)
        file = Path(position.filename)
        shown = file.relative_to(self.root) if file.is_relative_to(self.root) else file
        return dg.DagsterInvalidDefinitionError(f"{shown}:{position.start.line}: {sentence}")

    def require(
        self, path: Iterable[str | int], kind: str, name: str, known: Iterable[str]
    ) -> None:
        """Refuse a name that is not among the known ones.

        Args:
            path: Where the name stands.
            kind: What it should name, with its article's noun: `feature view`.
            name: The name.
            known: What there is.

        Raises:
            dagster.DagsterInvalidDefinitionError: There is nothing of that name.
        """
        names = sorted(known)
        if name in names:
            return
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}."
        raise self.mistake(path, f"there is no {kind} {name!r}: {hint}")
