"""The assets of a machine-learning problem: training set, model, evaluation report, champion."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.components import column_lineage, gate_checks, publishing, younger
from mlops_assets.components.champion import ChampionOrder, Contest
from mlops_assets.components.champion import show as show_decision
from mlops_assets.components.code_version import code_version
from mlops_assets.components.following import followed
from mlops_assets.components.sql_lineage import Column, Columns
from mlops_assets.components.training_set import TrainingSet
from mlops_assets.compute.assignment import StepArguments, profiled
from mlops_assets.lake import (
    Lake,
    Manifest,
    Partition,
    Snapshot,
    TablePartition,
)
from mlops_assets.ml.decision import Judgement, ModelPin
from mlops_assets.ml.labels import UnusableRowsError
from mlops_assets.tracking.projection import Tracking
from mlops_assets.tracking.results import (
    CHAMPION,
    CHAMPION_FILE,
    EVALUATION_FILE,
    GATES_FILE,
    MODEL,
    MODEL_FILE,
    MONTH,
    REPORT,
    REPORT_FILE,
    Place,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.components.ml_problem import MlProblem, Training
    from mlops_assets.ml.gates import GateResult

# The training set's module reads the rows that a model is made of, and that it is judged on.
MODEL_CODE = (
    "mlops_assets.components.problem_assets",
    "mlops_assets.components.training_set",
    "mlops_assets.ml",
)


OPTIONAL = "optional"
"""By what a dependency's metadata says that it may be missing."""


@dataclass(frozen=True)
class ProblemAssets:
    """The assets that a declared problem becomes.

    Attributes:
        problem: The declaration.
        training_set: How its training sets are made and read.
    """

    problem: "MlProblem"
    training_set: TrainingSet

    def key(self, name: str) -> dg.AssetKey:
        """The key of the problem's asset of that name."""
        return dg.AssetKey([self.problem.name, name])

    @cached_property
    def months(self) -> dg.MonthlyPartitionsDefinition:
        """The months that models are evaluated on."""
        return dg.MonthlyPartitionsDefinition(
            start_date=self.problem.first_month,
            end_date=self.problem.end_month,
            timezone=self.problem.time_zone,
            fmt="%Y-%m",
        )

    @cached_property
    def partitions(self) -> dg.MultiPartitionsDefinition:
        """Every month for every segment."""
        segments = dg.StaticPartitionsDefinition(list(self.problem.segments))
        return dg.MultiPartitionsDefinition({MONTH: self.months, self.problem.segment: segments})

    def training_set_asset(self) -> dg.AssetsDefinition:
        """The rows that a month's models learn from and are judged on, for all segments."""
        window = dg.TimeWindowPartitionMapping(start_offset=-self.problem.training_months)

        @dg.asset(
            key=self.key("training_set"),
            description=(
                "Rows of a month and of the months before it, each with what was known of it at "
                "its prediction time."
            ),
            deps=[self.input(table, window) for table in self.training_set.tables],
            partitions_def=self.months,
            backfill_policy=dg.BackfillPolicy.single_run(),
            owners=[self.problem.owner],
            kinds={"duckdb", "parquet"},
            group_name=self.problem.name,
            metadata=younger.metadata(self.training_set.own_since),
            **self.profiled(),
            code_version=code_version(
                "mlops_assets.components.training_set",
                "mlops_assets.engines",
                declared=self.training_set,
            ),
        )
        def training_set_asset(
            context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
        ) -> Iterator[Any]:
            def make(
                snapshot: Snapshot, month: Partition, folder: Path
            ) -> tuple[Manifest, dict[str, Any]]:
                with named(f"{self.problem.name} {month}"):
                    return self.training_set.build(snapshot, month, folder), {}

            columns = self.training_set.column_lineage(context.partition_keys[0])
            lineage = {self.table("training_set"): columns}
            of_asset = column_lineage.metadata(context.instance, lineage)
            yield from publishing.publish_each(
                context,
                lake,
                make,
                parameters=self.training_set.declared(),
                of_asset=of_asset,
            )

        return training_set_asset

    def model_asset(self) -> dg.AssetsDefinition:
        """One model for each month and segment."""
        problem, training_set = self.problem, self.training_set

        @dg.asset(
            key=self.key(MODEL),
            description=f"{problem.description} One model for each month and {problem.segment}.",
            deps=[self.key("training_set")],
            partitions_def=self.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            owners=[problem.owner],
            kinds={"xgboost"},
            group_name=problem.name,
            **self.profiled(problem.training),
            code_version=code_version(
                *MODEL_CODE,
                declared=(
                    problem.estimator,
                    training_set.features,
                    problem.spine.label,
                    problem.spine.keys,
                ),
            ),
        )
        def model_asset(
            context: dg.AssetExecutionContext,
            lake: dg.ResourceParam[Lake],
            tracking: dg.ResourceParam[Tracking | None],
        ) -> Iterator[Any]:
            from mlops_assets.ml.training import train

            def make(
                snapshot: Snapshot, partition: Partition, folder: Path
            ) -> tuple[Manifest, dict[str, Any]]:
                with named(f"{problem.name} {partition}"):
                    model = train(
                        self._rows(snapshot, partition, "train"),
                        features=training_set.features,
                        label=problem.spine.label,
                        keys=problem.spine.keys,
                        parameters=problem.estimator,
                    )
                (folder / MODEL_FILE).write_bytes(model.to_ubj())
                return Manifest.of_folder(folder), {
                    "training rows": model.record.rows,
                    "late among them": model.record.positives,
                    "features": len(model.record.features),
                }

            parameters = {
                "estimator": problem.estimator.model_dump(mode="json"),
                "features": training_set.features,
                "label": problem.spine.label,
                "keys": problem.spine.keys,
            }
            lineage = {self.table("model"): self._columns_of_model()}
            of_asset = column_lineage.metadata(context.instance, lineage)
            yield from publishing.publish_each(
                context,
                lake,
                make,
                parameters=parameters,
                published=followed(context, tracking, lake, Tracking.record_model),
                of_asset=of_asset,
            )

        return model_asset

    def report_asset(self) -> dg.AssetsDefinition:
        """How each model did on its month, with the gates as checks."""
        problem = self.problem
        report_key, model_key = self.key(REPORT), self.key(MODEL)

        @dg.multi_asset(
            name=report_key.to_python_identifier(),
            specs=[
                dg.AssetSpec(
                    report_key,
                    description=(
                        f"How the model of a month and {problem.segment} did on that month, which "
                        f"it never saw, against the rate by {' and '.join(problem.baseline)}."
                    ),
                    deps=[self.key("training_set"), model_key],
                    owners=[problem.owner],
                    kinds={"xgboost", "html"},
                    group_name=problem.name,
                    code_version=code_version(
                        *MODEL_CODE,
                        "mlops_assets.components.evaluation_report",
                        declared=(
                            problem.baseline,
                            problem.slices,
                            problem.costs,
                            problem.gates,
                            problem.name,
                            problem.spine.label,
                        ),
                    ),
                )
            ],
            check_specs=gate_checks.specs(report_key, problem.gates.asked(), self.partitions),
            partitions_def=self.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            # A check that is not asked for has no result; Dagster requires one otherwise, of the
            # kind that belongs to no partition.
            can_subset=True,
            **self.profiled(),
        )
        def report_asset(
            context: dg.AssetExecutionContext,
            lake: dg.ResourceParam[Lake],
            tracking: dg.ResourceParam[Tracking | None],
        ) -> Iterator[Any]:
            from mlops_assets.components.evaluation_report import evaluate_model, show

            judged: dict[Partition, tuple[GateResult, ...]] = {}

            def make(
                snapshot: Snapshot, partition: Partition, folder: Path
            ) -> tuple[Manifest, dict[str, Any]]:
                source = publishing.table_partition(model_key, partition)
                stored = snapshot.require(source.table, [partition])[partition]
                pin = ModelPin(partition=partition.path, sha256=stored.manifest.files[0].sha256)
                counted = [*problem.baseline, problem.spine.label]
                with named(f"{problem.name} {partition}"):
                    evaluation, gates, report = evaluate_model(
                        snapshot.read(source, MODEL_FILE),
                        train=self._rows(snapshot, partition, "train", counted),
                        evaluate_on=self._rows(snapshot, partition, "evaluate"),
                        baseline=problem.baseline,
                        slices=problem.slices,
                        costs=problem.costs,
                        gates=problem.gates,
                        title=f"{problem.name} {' '.join(value for _, value in partition.values)}",
                    )
                judged[partition] = gates
                (folder / REPORT_FILE).write_bytes(report.html)
                (folder / EVALUATION_FILE).write_bytes(evaluation.to_json())
                (folder / GATES_FILE).write_bytes(Judgement(model=pin, gates=gates).to_json())
                return Manifest.of_folder(folder), show(evaluation, report)

            if context.selected_asset_keys:
                parameters = {
                    "baseline": problem.baseline,
                    "slices": problem.slices,
                    "costs": problem.costs.model_dump(mode="json"),
                    "gates": problem.gates.model_dump(mode="json", by_alias=True),
                }
                yield from publishing.publish_each(
                    context,
                    lake,
                    make,
                    parameters=parameters,
                    published=followed(context, tracking, lake, Tracking.record_report),
                    also=gate_checks.evaluations(context, judged),
                )
            else:
                snapshot = lake.snapshot()
                for partition in publishing.output_partitions(context):
                    report = publishing.table_partition(report_key, partition)
                    judgement = Judgement.from_json(snapshot.read(report, GATES_FILE))
                    judged[partition] = judgement.gates
                yield from gate_checks.evaluations(context, judged)

        return report_asset

    def champion_asset(self) -> dg.AssetsDefinition:
        """Which model of a segment is in force after a month, and why."""
        problem = self.problem
        champion_key = self.key(CHAMPION)

        @dg.asset(
            key=champion_key,
            description=(
                f"The model of each {problem.segment} that is in force after a month, and why: the "
                "month's own if it passed every gate and did better than the newest earlier "
                "champion on the same rows."
            ),
            deps=[
                *(self.key(name) for name in ("training_set", MODEL, REPORT)),
                dg.AssetDep(champion_key, partition_mapping=self.month_before()),
            ],
            partitions_def=self.partitions,
            # No backfill policy: with one, Dagster takes a backfill of several months for one run,
            # asks for all of them at once, and then splits it into a run a month, which its queue
            # starts two at a time and in any order. Without one it waits for the month before.
            owners=[problem.owner],
            kinds={"json"},
            group_name=problem.name,
            **self.profiled(),
            code_version=code_version(
                *MODEL_CODE,
                "mlops_assets.components.champion",
                declared=(problem.spine.label, problem.estimator.seed),
            ),
        )
        def champion_asset(
            context: dg.AssetExecutionContext,
            config: ChampionOrder,
            lake: dg.ResourceParam[Lake],
            tracking: dg.ResourceParam[Tracking | None],
        ) -> Iterator[Any]:
            contest = Contest(label=problem.spine.label, seed=problem.estimator.seed)
            order = config.order()

            def make(
                snapshot: Snapshot, partition: Partition, folder: Path
            ) -> tuple[Manifest, dict[str, Any]]:
                decision = contest.hold(
                    snapshot,
                    Place.of(publishing.table_partition(champion_key, partition)),
                    lambda: self._rows(snapshot, partition, "evaluate"),
                    order,
                )
                (folder / CHAMPION_FILE).write_bytes(decision.to_json())
                return Manifest.of_folder(folder), show_decision(decision)

            parameters = {"label": problem.spine.label, "seed": problem.estimator.seed}
            yield from publishing.publish_each(
                context,
                lake,
                make,
                parameters=parameters,
                published=followed(context, tracking, lake, Tracking.record_champion),
                chain=lambda partition: dict(partition.values)[problem.segment],
            )

        return champion_asset

    def input(self, table: str, window: dg.TimeWindowPartitionMapping) -> dg.AssetDep:
        """A table that is read over a window, marked where it may be missing."""
        return dg.AssetDep(
            dg.AssetKey(table.split("/")),
            partition_mapping=window,
            metadata={OPTIONAL: table in self.training_set.optional},
        )

    def month_before(self) -> dg.MultiPartitionMapping:
        """The same segment's partition of the month before."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            before = dg.TimeWindowPartitionMapping(
                start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True
            )
            segment = self.problem.segment
            return dg.MultiPartitionMapping(
                {
                    MONTH: dg.DimensionPartitionMapping(MONTH, before),
                    segment: dg.DimensionPartitionMapping(segment, dg.IdentityPartitionMapping()),
                }
            )

    def profiled(self, training: "Training | None" = None) -> StepArguments:
        """What a step asks for on a cluster; the deployment's default unless it trains."""
        name = self.problem.name
        if training is None:
            return profiled(group=name, problem=name)
        return profiled(
            training.profile,
            group=name,
            problem=name,
            rules=training.partitions,
            partitions=self.partitions,
        )

    def table(self, name: str) -> str:
        """The lake's name of the problem's table of that name."""
        return publishing.table_name(self.key(name))

    def _columns_of_model(self) -> dict[str, Columns]:
        """A model's columns are its features, each a column of the training set."""
        source = self.table("training_set")
        return {name: frozenset({Column(source, name)}) for name in self.training_set.features}

    def _rows(
        self,
        snapshot: Snapshot,
        partition: Partition,
        split: str,
        columns: list[str] | None = None,
    ) -> "pa.Table":
        values = dict(partition.values)
        source = TablePartition(self.table("training_set"), Partition.of({MONTH: values[MONTH]}))
        segment = values[self.problem.segment]
        return self.training_set.rows(snapshot, source, segment, split, columns)


@contextmanager
def named(place: str) -> Iterator[None]:
    """Name the problem and partition whose rows cannot be used."""
    try:
        yield
    except UnusableRowsError as error:
        raise UnusableRowsError(f"{place}: {error}") from error
