"""How far a step has come, told from outside by what lies in its state directory."""

from __future__ import annotations

import sqlite3
from enum import IntEnum
from pathlib import Path
from typing import Any


class Phase(IntEnum):
    """The moments of a step that publishes; each begins when what it is named by is there."""

    STARTING = 0
    BRANCHED = 1
    UPLOADING = 2
    UPLOADED = 3
    COMMITTED = 4
    MERGED = 5
    CLEANED = 6
    RECORDING = 7
    RECORDED = 8
    ENDED = 9

    @property
    def label(self) -> str:
        """For people."""
        return LABELS[self]


LABELS = {
    Phase.STARTING: "before the work branch",
    Phase.BRANCHED: "reading and checking the rows",
    Phase.UPLOADING: "uploading, some files staged",
    Phase.UPLOADED: "all files staged, not committed",
    Phase.COMMITTED: "committed, not merged",
    Phase.MERGED: "merged, work branch still there",
    Phase.CLEANED: "work branch gone, nothing recorded",
    Phase.RECORDING: "some materializations recorded",
    Phase.RECORDED: "all recorded, run not ended",
    Phase.ENDED: "run ended",
}


class Step:
    """A step of a process that is at work, or was killed.

    Args:
        home: The state directory as it is before the step.
        objects: How many objects it stages, removals included.
        events: How many materializations it records.
    """

    def __init__(self, home: Path, *, objects: int, events: int) -> None:
        self._lake = _looked_into(home / "lakefs" / "metadata.sqlite")
        self._index = _looked_into(home / "dagster" / "history" / "runs" / "index.db")
        self._runs = _looked_into(home / "dagster" / "history" / "runs.db")
        self._objects = objects
        self._events = events
        self._head = self._base()
        self._kept = self._branches()
        self._recorded = self._materializations()
        self._ended = self._ends()

    def close(self) -> None:
        """Look no more."""
        for database in (self._lake, self._index, self._runs):
            database.close()

    def phase(self) -> Phase:
        """How far it has come by now."""
        # From the end, so that what happens between two looks cannot look like less.
        if self._ends() > self._ended:
            return Phase.ENDED
        recorded = self._materializations() - self._recorded
        if recorded:
            return Phase.RECORDED if recorded >= self._events else Phase.RECORDING
        new = sorted(self._branches().keys() - self._kept.keys())
        if self._base() != self._head:
            return Phase.MERGED if new else Phase.CLEANED
        return self._on_branch(new[0]) if new else Phase.STARTING

    def _on_branch(self, name: str) -> Phase:
        if self._branches().get(name) != self._head:
            return Phase.COMMITTED
        staged = _one(
            self._lake,
            "SELECT count(*) FROM staging JOIN branches ON id = branch WHERE name = ?",
            name,
        )
        if not staged:
            return Phase.BRANCHED
        return Phase.UPLOADED if staged >= self._objects else Phase.UPLOADING

    def _base(self) -> str:
        return str(_one(self._lake, "SELECT head FROM branches WHERE name = 'main'"))

    def _branches(self) -> dict[str, str]:
        query = "SELECT name, head FROM branches WHERE name LIKE 'tx-%'"
        return dict(self._lake.execute(query).fetchall())

    def _materializations(self) -> int:
        return int(
            _one(
                self._index,
                "SELECT count(*) FROM event_logs "
                "WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND partition IS NOT NULL",
            )
        )

    def _ends(self) -> int:
        return int(_one(self._runs, "SELECT count(*) FROM runs WHERE status = 'SUCCESS'"))


def _looked_into(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing: closed as the last one, another kind would tidy up."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30, isolation_level=None)


def _one(database: sqlite3.Connection, query: str, *values: str) -> Any:
    [[found]] = database.execute(query, values).fetchall()
    return found
