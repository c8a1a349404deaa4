"""What the lake holds, in figures: how new its tables are, and what its monitors measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pydantic import ValidationError

from mlops_assets.lake import (
    Lake,
    LakeError,
    Partition,
    Snapshot,
    TablePartition,
    UnreachableLakeError,
)
from mlops_assets.lake.contents import Contents
from mlops_assets.metrics.figures import Figure, gathered, named
from mlops_assets.ml.samples import SAMPLES_FILE, Sample, Samples
from mlops_assets.monitors.finding import ALARM

MONITOR = re.compile(r"(?P<problem>\w+)/monitor_(?P<monitor>\w+)\Z")

MOMENTS = {"day": "%Y-%m-%d", "month": "%Y-%m"}
"""The dimensions that are times, with their form."""


class LakeFigures:
    """The figures of one lake, of which only what has changed is read again."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._contents = Contents(lake)
        self._rows: dict[str, int] = {}
        self._samples: dict[str, tuple[Sample, ...]] = {}
        self._unreadable: dict[str, str] = {}
        self._unseen: set[str] = set()

    def read(self) -> list[Figure]:
        """The figures as of the base branch's head.

        Raises:
            LakeError: The server does not answer or refuses.
        """
        contents = self._contents
        contents.follow()
        # Cut off by a server that stops answering, what has changed is still to be looked at.
        self._unseen |= contents.changed
        snapshot = Snapshot(self._lake, contents.commit)
        for table in sorted(self._unseen):
            if contents.tables[table]:
                self._look(snapshot, TablePartition(table, max(contents.tables[table])))
            self._unseen.discard(table)
        return [*self._tables(), *self._monitors(), self._damaged()]

    def _look(self, snapshot: Snapshot, newest: TablePartition) -> None:
        """Read the newest partition of a table."""
        table = newest.table
        self._unreadable.pop(table, None)
        try:
            found = snapshot.stored(table, [newest.partition])
            # A partition of reports has no rows.
            self._rows[table] = found[newest.partition].manifest.rows or 0
            if MONITOR.match(table):
                self._samples[table] = Samples.from_json(
                    snapshot.read(newest, SAMPLES_FILE)
                ).samples
        except UnreachableLakeError:
            raise
        except (LakeError, ValidationError) as error:
            # One table that somebody wrote by hand must not hide the figures of all the others.
            self._samples.pop(table, None)
            self._unreadable[table] = str(error)

    def _tables(self) -> Iterator[Figure]:
        newest = Figure(
            "mlops_newest_partition_timestamp_seconds",
            "When the newest partition of a table begins, its day or month, at midnight UTC.",
            ("table",),
        )
        count = Figure("mlops_partitions", "How many partitions a table has.", ("table",))
        rows = Figure(
            "mlops_newest_partition_rows", "Rows of the newest partition of a table.", ("table",)
        )
        for table, partitions in sorted(self._contents.tables.items()):
            if not partitions:
                continue
            count.add(len(partitions), table)
            rows.add(self._rows.get(table, 0), table)
            moment = begins(max(partitions))
            if moment is not None:
                newest.add(moment, table)
        return iter((newest, count, rows))

    def _monitors(self) -> Iterator[Figure]:
        alarms = Figure(
            "mlops_monitor_alarms",
            "How many alarms a monitor raises on its newest day.",
            ("problem", "monitor"),
        )
        rows: list[tuple[str, str, Mapping[str, str], float]] = []
        for table, samples in sorted(self._samples.items()):
            place = MONITOR.match(table)
            if place is None or not self._contents.tables[table]:
                continue
            problem, monitor = place["problem"], place["monitor"]
            raised = sum(sample.value for sample in samples if sample.name == ALARM)
            alarms.add(raised, problem, monitor)
            for sample in samples:
                labels = {re.sub(r"\W", "_", key): value for key, value in sample.labels}
                rows.append(
                    (
                        named(monitor, sample.name),
                        f"{sample.name} of the newest day of monitor_{monitor}.",
                        {**labels, "problem": problem},
                        sample.value,
                    )
                )
        yield alarms
        yield from gathered(rows)

    def _damaged(self) -> Figure:
        found = Figure(
            "mlops_unreadable_tables", "Tables whose newest partition cannot be read.", ("table",)
        )
        for table in self._unreadable:
            found.add(1, table)
        return found


def begins(partition: Partition) -> float | None:
    """When a partition begins, seconds since 1970, at midnight UTC; None if it is no time."""
    for dimension, value in partition.values:
        if dimension in MOMENTS:
            try:
                return datetime.strptime(value, MOMENTS[dimension]).replace(tzinfo=UTC).timestamp()
            except ValueError:
                return None
    return None
