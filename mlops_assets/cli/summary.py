"""What the main job ends with: scores, commits, where the reports are, and what took how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.cli.plan import PROBLEM

if TYPE_CHECKING:
    from mlops_assets.cli.main_job import Finished
    from mlops_assets.lake import Snapshot

REPORTS = f"{PROBLEM}/evaluation_report"
CHAMPIONS = f"{PROBLEM}/champion"
SHORT = 12


@dataclass(frozen=True)
class Score:
    """How one model did on the month that it never saw.

    Attributes:
        month: That month.
        origin: The airport.
        commit: The work commit that names the report.
        roc_auc: Of the model.
        baseline_roc_auc: Of the rate that it has to beat.
        brier_skill: 1 - its Brier score over the baseline's.
        rows: How many flights it was judged on.
        gain: The champion's Brier score less its own, on the same rows; None where no other
            champion was met.
        decision: Whether it was promoted, or the champion before kept.
        reason: Why, in a sentence.
        report: A copy of the report, outside the lake.
    """

    month: str
    origin: str
    commit: str
    roc_auc: float
    baseline_roc_auc: float
    brier_skill: float
    rows: int
    gain: float | None
    decision: str
    reason: str
    report: Path


@dataclass(frozen=True)
class StepTime:
    """How long a step took.

    Attributes:
        run: What its run did.
        step: Its name.
        partitions: How many partitions of its assets it published.
        commits: The work commits that name them.
        seconds: How long it took.
        recording_seconds: How much of that went into Dagster's record.
    """

    run: str
    step: str
    partitions: int
    commits: Sequence[str]
    seconds: float
    recording_seconds: float


@dataclass(frozen=True)
class Summary:
    """The main job's result.

    Attributes:
        base_branch: The branch that everything was published to.
        commit: Its head.
        scores: The models' scores; empty where none was trained.
        steps: What took how long.
        planning_seconds: How long Dagster took to record what would run.
        seconds: How long all took, loading the definitions included.
        log: Where Dagster's own words are; None if they were shown.
    """

    base_branch: str
    commit: str
    scores: Sequence[Score]
    steps: Sequence[StepTime]
    planning_seconds: float
    seconds: float
    log: Path | None

    @property
    def bookkeeping_seconds(self) -> float:
        """How much of the time Dagster's record took."""
        return self.planning_seconds + sum(step.recording_seconds for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {
            "succeeded": True,
            "base_branch": self.base_branch,
            "commit": self.commit,
            "scores": [{**vars(score), "report": str(score.report)} for score in self.scores],
            "steps": [
                {
                    **vars(step),
                    "commits": list(step.commits),
                    "seconds": round(step.seconds, 2),
                    "recording_seconds": round(step.recording_seconds, 2),
                }
                for step in self.steps
            ],
            "seconds": round(self.seconds, 2),
            "bookkeeping_seconds": round(self.bookkeeping_seconds, 2),
            "log": None if self.log is None else str(self.log),
            "ui": "make ui",
        }

    def to_text(self) -> str:
        """The summary for people."""
        return "\n".join([*self._score_lines(), *self._time_lines(), *self._place_lines()])

    def _score_lines(self) -> Iterable[str]:
        if not self.scores:
            return
        yield f"{PROBLEM}, each model judged on a month that it never saw"
        yield (
            f"  {'month':<8} {'origin':<7} {'ROC AUC':>8} {'baseline':>9} {'Brier skill':>12} "
            f"{'over champion':>14} {'rows':>8}  {'decision':<9} commit"
        )
        for score in self.scores:
            gain = "-" if score.gain is None else f"{score.gain:+.5f}"
            yield (
                f"  {score.month:<8} {score.origin:<7} {score.roc_auc:>8.3f} "
                f"{score.baseline_roc_auc:>9.3f} {score.brier_skill:>12.3f} {gain:>14} "
                f"{score.rows:>8,}  {score.decision:<9} {score.commit[:SHORT]}"
            )
        yield ""
        for score in self.scores:
            yield f"  {score.month} {score.origin} {score.decision}: {score.reason}"
        yield ""

    def _time_lines(self) -> Iterable[str]:
        yield f"  {'step':<32} {'partitions':>10} {'seconds':>8}  commit"
        for step in self.steps:
            commits = (
                step.commits[0][:SHORT]
                if len(step.commits) == 1
                else f"{len(step.commits)} commits"
            )
            yield f"  {step.step:<32} {step.partitions:>10,} {step.seconds:>8.1f}  {commits}"
        yield (
            f"  {'everything':<32} {'':>10} {self.seconds:>8.1f}  of which Dagster's record took "
            f"{self.bookkeeping_seconds:.1f}"
        )
        yield ""

    def _place_lines(self) -> Iterable[str]:
        yield f"commit   {self.commit[:SHORT]} on {self.base_branch}"
        for number, score in enumerate(self.scores):
            yield f"{'reports' if number == 0 else '':<8} {score.report}"
        if self.log is not None:
            yield f"log      {self.log}"
        yield "UI       make ui"


def scores(
    snapshot: Snapshot, commits: Mapping[tuple[str, str | None], str | None], folder: Path
) -> list[Score]:
    """Read the evaluations that some runs published, and copy their reports out of the lake.

    Args:
        snapshot: The pinned state to read.
        commits: The work commit of each asset and partition that the runs published.
        folder: The reports are written to `<folder>/<month>/<origin>.html`.
    """
    from mlops_assets.lake import Partition, TablePartition
    from mlops_assets.ml.decision import Decision
    from mlops_assets.ml.evaluation import Evaluation

    found = []
    for (asset, partition), commit in sorted(commits.items(), key=lambda item: str(item[0])):
        if asset != REPORTS or partition is None:
            continue
        month, origin = partition.split("|")
        lake_partition = Partition.of({"month": month, "origin": origin})
        key = TablePartition(REPORTS, lake_partition)
        evaluation = Evaluation.from_json(snapshot.read(key, "evaluation.json"))
        decision = Decision.from_json(
            snapshot.read(TablePartition(CHAMPIONS, lake_partition), "champion.json")
        )
        report = folder / month / f"{origin}.html"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_bytes(snapshot.read(key, "report.html"))
        found.append(
            Score(
                month=month,
                origin=origin,
                commit=commit or snapshot.commit,
                roc_auc=float(evaluation.model.roc_auc),
                baseline_roc_auc=float(evaluation.baseline.roc_auc),
                brier_skill=float(evaluation.brier_skill),
                rows=evaluation.n,
                gain=float(decision.comparison.improvement) if decision.comparison else None,
                decision=decision.outcome,
                reason=decision.reason,
                report=report,
            )
        )
    return found


def step_times(finished: Sequence[Finished]) -> list[StepTime]:
    """What took how long, in the order in which it ran."""
    return [
        StepTime(
            run=run.launch.title,
            step=step.name,
            partitions=len(step.published),
            commits=sorted({commit for commit in step.published.values() if commit}),
            seconds=step.seconds,
            recording_seconds=step.recording_seconds,
        )
        for run in finished
        for step in run.watch.steps.values()
    ]
