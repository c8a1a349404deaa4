"""How a backfill ended: what it made, what it did not and why, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.cli.asset_partitions import step_name

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.cli.backfill_record import FollowedRun, Following, Part
    from mlops_assets.cli.branching import Merged


@dataclass(frozen=True)
class Group:
    """Partitions of one asset.

    Attributes:
        asset: Its key, as people write it.
        partitions: The partitions' keys, in the asset's order; none if it has no partitions.
    """

    asset: str
    partitions: Sequence[str]

    def __str__(self) -> str:
        """The asset with its partitions, those that follow each other as a range."""
        return " ".join([self.asset, *([", ".join(self.partitions)] if self.partitions else [])])

    def to_json(self) -> dict[str, Any]:
        """The group as a document."""
        return {"asset": self.asset, "partitions": list(self.partitions)}


@dataclass(frozen=True)
class Failure:
    """A run of a backfill that failed.

    Attributes:
        run: Its id.
        step: The step that failed; None if the run failed outside of its steps.
        reason: Why.
        parts: The partitions that the step did not make.
    """

    run: str
    step: str | None
    reason: str
    parts: Sequence[Group]

    def to_json(self) -> dict[str, Any]:
        """The failure as a document."""
        return {
            "run": self.run,
            "step": self.step,
            "reason": self.reason,
            "failed": [group.to_json() for group in self.parts],
        }


@dataclass(frozen=True)
class Outcome:
    """How a backfill ended.

    Attributes:
        backfill: Its id.
        made: How many partitions of assets it made.
        total: How many it was to make.
        runs: How many runs it took.
        failures: Its runs that failed, in order.
        not_run: What was not begun, since what it waits for failed or somebody stopped it.
        seconds: How long the command waited.
        branch: The data branch of an isolated backfill; None if it published as it went.
        base_branch: What that branch is merged into.
        merged: How it was; None if it was not.
    """

    backfill: str
    made: int
    total: int
    runs: int
    failures: Sequence[Failure]
    not_run: Sequence[Group]
    seconds: float
    branch: str | None = None
    base_branch: str | None = None
    merged: Merged | None = None

    @property
    def succeeded(self) -> bool:
        """Whether everything was made."""
        return self.made == self.total

    def to_json(self) -> dict[str, Any]:
        """The outcome as a document."""
        return {
            "succeeded": self.succeeded,
            "backfill": self.backfill,
            "partitions_made": self.made,
            "partitions": self.total,
            "runs": self.runs,
            "failures": [failure.to_json() for failure in self.failures],
            "not_run": [group.to_json() for group in self.not_run],
            "seconds": round(self.seconds, 1),
            "branch": self.branch,
            "merged": self.merged and self.merged.to_json(),
        }

    def to_text(self) -> str:
        """The outcome for people: one line, and one for each failure."""
        runs = f"{self.runs} run{'s' if self.runs != 1 else ''}"
        lines = [
            f"backfill {self.backfill}: {self.made:,} of {self.total:,} partitions made in "
            f"{runs}, {self.seconds:.0f} s"
        ]
        for failure in self.failures:
            what = "; ".join(map(str, failure.parts)) or f"run {failure.run}"
            lines.append(f"  failed: {what}: {failure.reason}")
        lines += [f"  not run: {group}" for group in self.not_run]
        if self.merged is not None:
            lines.append(f"  {self.merged.to_text()}")
        return "\n".join(lines)

    def sentence(self) -> str:
        """What went wrong and the way out; for an outcome that did not succeed."""
        published = (
            "What passed is published;"
            if self.branch is None
            else f"{self.base_branch} never saw it; what passed lies on {self.branch};"
        )
        again = (
            f"{published} mend the cause, then `mlops-assets backfill --resume {self.backfill}` "
            "makes the rest."
        )
        if not self.failures:
            return f"{self.total - self.made} partitions were not made. {again}"
        first = self.failures[0]
        parts = "; ".join(map(str, first.parts)) or f"run {first.run}"
        return f"{parts} failed: {first.reason.rstrip('.')}. {again}"


def outcome(following: Following, home: Path) -> Outcome:
    """How a backfill ended that was followed to its end."""
    from mlops_assets.cli.backfill_record import Status

    statuses = following.statuses()
    missing = {part for part, status in statuses.items() if status is not Status.DONE}
    failures, explained = [], set()
    for name, run in following.runs.items():
        parts = _failed_parts(following.graph, run) & missing
        if run.failed:
            explained |= parts
            step, reason = run.watch.failed_step, run.watch.told(str(home))
            groups = grouped(following.graph, parts)
            failures.append(Failure(name, step, reason, groups))
    return Outcome(
        backfill=following.backfill.backfill_id,
        made=len(statuses) - len(missing),
        total=len(statuses),
        runs=len(following.runs),
        failures=failures,
        not_run=grouped(following.graph, missing - explained),
        seconds=following.seconds,
    )


def _failed_parts(graph: dg.AssetGraph, run: FollowedRun) -> set[Part]:
    """What the step was to make at which a run failed; all that the run was to, if no step did."""
    from dagster import AssetKey

    return {
        part
        for part in run.covers
        if run.watch.failed_step in (None, step_name(graph, AssetKey.from_user_string(part[0])))
    }


def grouped(graph: dg.AssetGraph, parts: Iterable[Part]) -> list[Group]:
    """Partitions by asset, in the order of both; those that follow each other as a range."""
    by_asset: dict[str, list[str]] = {}
    for asset, key in parts:
        by_asset.setdefault(asset, []).extend([] if key is None else [key])
    groups = []
    for asset in graph.toposorted_asset_keys:
        name = asset.to_user_string()
        if name not in by_asset:
            continue
        definition = graph.get(asset).partitions_def
        ranges = []
        if definition is not None:
            subset = definition.subset_with_partition_keys(by_asset[name])
            ranges = [
                found.start if found.start == found.end else f"{found.start}..{found.end}"
                for found in subset.get_partition_key_ranges(definition)
            ]
        groups.append(Group(name, ranges))
    return groups
