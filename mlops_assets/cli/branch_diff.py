"""What a data branch has changed: tables, partitions, rows, and what reports say of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlops_assets.lake import Lake, Snapshot, TablePartition, branches
from mlops_assets.lake.branches import Fork, PartitionChange

SHORT = 12
FEW = 6
"""Of so many partitions of a table each is shown."""


@dataclass(frozen=True)
class MetricChange:
    """How a figure of an evaluation report differs.

    Attributes:
        report: The report's partition.
        metric: The figure's name.
        before: On the base branch; None where it has no such report.
        now: On the data branch.
    """

    report: TablePartition
    metric: str
    before: float | None
    now: float


@dataclass(frozen=True)
class BranchDiff:
    """What a data branch has changed since it parted from the base branch.

    Attributes:
        fork: How the two stand to each other.
        base_branch: The base branch's name.
        changes: The partitions that differ from what the base branch holds now.
        metrics: The figures of reports that differ.
        conflicts: The partitions that both have changed: they would not merge.
    """

    fork: Fork
    base_branch: str
    changes: Sequence[PartitionChange]
    metrics: Sequence[MetricChange]
    conflicts: Sequence[TablePartition]

    def tables(self) -> Mapping[str, Sequence[PartitionChange]]:
        """The changes by table."""
        found: dict[str, list[PartitionChange]] = {}
        for change in self.changes:
            found.setdefault(change.key.table, []).append(change)
        return found

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {
            "branch": self.fork.branch,
            "commit": self.fork.head,
            "base_branch": self.base_branch,
            "base_commit": self.fork.base_head,
            "parted_at": self.fork.base,
            "changes": [
                {
                    "table": change.key.table,
                    "partition": change.key.partition.path,
                    "kind": change.kind,
                    "rows_before": change.rows_before,
                    "rows": change.rows,
                }
                for change in self.changes
            ],
            "metrics": [
                {**asdict(metric), "report": f"{metric.report.folder}"} for metric in self.metrics
            ],
            "conflicts": [key.folder for key in self.conflicts],
        }

    def to_text(self) -> str:
        """The changes for people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        fork = self.fork
        if not self.changes:
            yield f"{fork.branch} holds nothing that differs from {self.base_branch}."
            return
        yield (
            f"{fork.branch} at {fork.head[:SHORT]}, against {self.base_branch} at "
            f"{fork.base_head[:SHORT]}"
        )
        yield f"  {'table':<34} {'added':>7} {'changed':>8} {'removed':>8} {'rows':>14}"
        for table, changes in self.tables().items():
            kinds = [change.kind for change in changes]
            yield (
                f"  {table:<34} {kinds.count('added'):>7,} {kinds.count('changed'):>8,} "
                f"{kinds.count('removed'):>8,} {_rows(changes):>14}"
            )
            if len(changes) <= FEW:
                for change in changes:
                    line = f"    {change.key.partition!s:<32} {change.kind} {_rows([change])}"
                    yield line.rstrip()
        if self.metrics:
            yield ""
            yield f"  {'report':<34} {'metric':<20} {'before':>8} {'now':>8} {'change':>9}"
        for metric in self.metrics:
            before = "-" if metric.before is None else f"{metric.before:.4f}"
            moved = "" if metric.before is None else f"{metric.now - metric.before:+.4f}"
            yield (
                f"  {metric.report.partition!s:<34} {metric.metric:<20} {before:>8} "
                f"{metric.now:>8.4f} {moved:>9}"
            )
        if self.conflicts:
            yield ""
            yield (
                f"  {len(self.conflicts)} of them {self.base_branch} has changed too, first "
                f"{self.conflicts[0]}: they would not merge."
            )


def _rows(changes: Sequence[PartitionChange]) -> str:
    """How the number of rows changes; nothing where no table is meant."""
    counted = [
        (change.rows or 0) - (change.rows_before or 0)
        for change in changes
        if change.rows is not None or change.rows_before is not None
    ]
    return f"{sum(counted):+,} rows" if counted else ""


def branch_diff(lake: Lake, name: str) -> BranchDiff:
    """Compare a data branch with the base branch.

    Raises:
        LakeError: There is no such branch, or the lake does not answer.
    """
    fork = branches.fork(lake, name)
    changes = branches.differences(lake, fork)
    return BranchDiff(
        fork=fork,
        base_branch=lake.base_branch,
        changes=changes,
        metrics=list(_metrics(lake, fork, changes)),
        conflicts=branches.conflicts(lake, fork),
    )


def _metrics(lake: Lake, fork: Fork, changes: Sequence[PartitionChange]) -> Iterator[MetricChange]:
    from mlops_assets.tracking.results import EVALUATION_FILE, REPORT

    before, now = Snapshot(lake, fork.base_head), Snapshot(lake, fork.head)
    for change in changes:
        if not change.key.table.endswith(f"/{REPORT}") or change.kind == "removed":
            continue
        figures = _figures(now.read(change.key, EVALUATION_FILE))
        known = (
            _figures(before.read(change.key, EVALUATION_FILE)) if change.kind == "changed" else {}
        )
        for metric, figure in figures.items():
            if known.get(metric) != figure:
                yield MetricChange(change.key, metric, known.get(metric), figure)


def _figures(content: bytes) -> dict[str, float]:
    """The figures by which people compare two evaluations of a model."""
    from mlops_assets.ml.evaluation import Evaluation

    found = Evaluation.from_json(content)
    return {
        "ROC AUC": float(found.model.roc_auc),
        "PR AUC": float(found.model.pr_auc),
        "Brier score": float(found.model.brier),
        "Brier skill": float(found.brier_skill),
    }
