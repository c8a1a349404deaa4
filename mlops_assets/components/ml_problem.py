"""A machine-learning problem: one declaration becomes a training set, a model and a report.

Training sets are made a month at a time for all segments, models and reports for each month and
segment: a month's as-of joins are done once, and Dagster's own partition mappings, which its
daemon can read, describe every dependency.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import dagster as dg
from pydantic import Field

from mlops_assets.components import publishing
from mlops_assets.components.code_version import code_version
from mlops_assets.components.training_set import Spine, TrainingSet, feature_views
from mlops_assets.lake import Lake, Manifest, Partition, Snapshot, TablePartition
from mlops_assets.ml.training import Estimator

if TYPE_CHECKING:
    import pyarrow as pa

MODEL_FILE = "model.ubj"
REPORT_FILE = "report.html"
EVALUATION_FILE = "evaluation.json"

# The training set's module reads the rows that a model is made of, and that it is judged on.
MODEL_CODE = (
    "mlops_assets.components.ml_problem",
    "mlops_assets.components.training_set",
    "mlops_assets.ml",
)


class MlProblem(dg.Component, dg.Model, dg.Resolvable):
    """A binary classification over time, trained on the months before the one it is judged on.

    Attributes:
        name: The problem's name; the first part of its assets' keys.
        description: What is predicted, when, and for whom.
        owner: Who answers for it.
        project: The dbt project that holds the spine and the feature views.
        first_month: The first month that a model is evaluated on, as `2013-04`.
        end_month: The end of the months, exclusive.
        time_zone: The time zone whose months they are.
        segment: The column whose values get models of their own.
        segments: Those values.
        spine: Whose label is predicted, when and from which of its own columns.
        feature_views: The names of the feature views to join, in order.
        training_months: How many months before the evaluated one are trained on.
        baseline: The columns whose rates the model has to beat.
        slices: The columns whose values the report looks at one by one.
        estimator: The estimator's parameters.
    """

    name: str
    description: str
    owner: str
    project: str
    first_month: str
    end_month: str
    time_zone: str
    segment: str
    segments: Sequence[str]
    spine: Spine
    feature_views: Sequence[str]
    training_months: Annotated[int, Field(gt=0)]
    baseline: Sequence[str]
    slices: Sequence[str]
    estimator: dict[str, Any]

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Make the three assets, and two jobs: a month's training set; a segment's model judged.

        They are two because a job has one kind of partitions.
        """
        estimator = Estimator.model_validate(self.estimator)
        views = feature_views(context.project_root / self.project, self.feature_views)
        training_set = TrainingSet(
            spine=self.spine,
            views=views,
            months=self.training_months,
            segment=self.segment,
            time_zone=self.time_zone,
        )
        months = dg.MonthlyPartitionsDefinition(
            start_date=self.first_month,
            end_date=self.end_month,
            timezone=self.time_zone,
            fmt="%Y-%m",
        )
        return dg.Definitions(
            assets=[
                self._training_set_asset(training_set, months),
                self._model_asset(training_set, months, estimator),
                self._report_asset(training_set, months),
            ],
            jobs=[
                dg.define_asset_job(
                    f"{self.name}_training_set",
                    selection=dg.AssetSelection.assets(self._key("training_set")),
                    description=f"The rows that {self.name} learns a month's models from.",
                ),
                dg.define_asset_job(
                    f"{self.name}_evaluation",
                    selection=dg.AssetSelection.assets(
                        self._key("model"), self._key("evaluation_report")
                    ),
                    description=f"One model of {self.name}, trained and judged on its month.",
                ),
            ],
        )

    def _key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([self.name, name])

    def _training_set_asset(
        self, training_set: TrainingSet, months: dg.MonthlyPartitionsDefinition
    ) -> dg.AssetsDefinition:
        window = dg.TimeWindowPartitionMapping(start_offset=-self.training_months)

        @dg.asset(
            key=self._key("training_set"),
            description=(
                "Flights of a month and of the months before it, each with what was known of it "
                "at its prediction time."
            ),
            deps=[
                dg.AssetDep(dg.AssetKey(table.split("/")), partition_mapping=window)
                for table in training_set.tables
            ],
            partitions_def=months,
            backfill_policy=dg.BackfillPolicy.single_run(),
            owners=[self.owner],
            kinds={"duckdb", "parquet"},
            group_name=self.name,
            code_version=code_version(
                "mlops_assets.components.training_set",
                "mlops_assets.engines",
                declared=training_set,
            ),
        )
        def training_set_asset(
            context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
        ) -> Iterator[Any]:
            yield from publishing.publish_each(
                context,
                lake,
                lambda snapshot, month, folder: (training_set.build(snapshot, month, folder), {}),
            )

        return training_set_asset

    def _model_asset(
        self,
        training_set: TrainingSet,
        months: dg.MonthlyPartitionsDefinition,
        estimator: Estimator,
    ) -> dg.AssetsDefinition:
        @dg.asset(
            key=self._key("model"),
            description=f"{self.description} One model for each month and {self.segment}.",
            deps=[self._key("training_set")],
            partitions_def=self._partitions(months),
            owners=[self.owner],
            kinds={"xgboost"},
            group_name=self.name,
            code_version=code_version(
                *MODEL_CODE,
                declared=(estimator, training_set.features, self.spine.label, self.spine.keys),
            ),
        )
        def model_asset(
            context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
        ) -> Iterator[Any]:
            from mlops_assets.ml.training import train

            def make(
                snapshot: Snapshot, partition: Partition, folder: Path
            ) -> tuple[Manifest, dict[str, Any]]:
                model = train(
                    self._rows(snapshot, training_set, partition, "train"),
                    features=training_set.features,
                    label=self.spine.label,
                    keys=self.spine.keys,
                    parameters=estimator,
                )
                (folder / MODEL_FILE).write_bytes(model.to_ubj())
                return Manifest.of_folder(folder), {
                    "training rows": model.record.rows,
                    "late among them": model.record.positives,
                    "features": len(model.record.features),
                }

            yield from publishing.publish_each(context, lake, make)

        return model_asset

    def _report_asset(
        self, training_set: TrainingSet, months: dg.MonthlyPartitionsDefinition
    ) -> dg.AssetsDefinition:
        model_key = self._key("model")

        @dg.asset(
            key=self._key("evaluation_report"),
            description=(
                f"How the model of a month and {self.segment} did on that month, which it never "
                f"saw, against the rate by {' and '.join(self.baseline)}."
            ),
            deps=[self._key("training_set"), model_key],
            partitions_def=self._partitions(months),
            owners=[self.owner],
            kinds={"xgboost", "html"},
            group_name=self.name,
            code_version=code_version(
                *MODEL_CODE,
                "mlops_assets.components.evaluation_report",
                declared=(self.baseline, self.slices, self.name, self.spine.label),
            ),
        )
        def report_asset(
            context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
        ) -> Iterator[Any]:
            from mlops_assets.components.evaluation_report import evaluate_model, show

            def make(
                snapshot: Snapshot, partition: Partition, folder: Path
            ) -> tuple[Manifest, dict[str, Any]]:
                source = publishing.table_partition(model_key, partition)
                stored = snapshot.require(source.table, [partition])[partition]
                evaluation, report = evaluate_model(
                    snapshot.read(source, MODEL_FILE),
                    train=self._rows(snapshot, training_set, partition, "train"),
                    evaluate_on=self._rows(snapshot, training_set, partition, "evaluate"),
                    label=self.spine.label,
                    baseline=self.baseline,
                    slices=self.slices,
                    title=f"{self.name} {' '.join(value for _, value in partition.values)}",
                    facts={"Model's SHA-256": stored.manifest.files[0].sha256},
                )
                (folder / REPORT_FILE).write_bytes(report.html)
                (folder / EVALUATION_FILE).write_bytes(evaluation.to_json())
                return Manifest.of_folder(folder), show(evaluation, report)

            yield from publishing.publish_each(context, lake, make)

        return report_asset

    def _partitions(self, months: dg.MonthlyPartitionsDefinition) -> dg.MultiPartitionsDefinition:
        segments = dg.StaticPartitionsDefinition(list(self.segments))
        return dg.MultiPartitionsDefinition({"month": months, self.segment: segments})

    def _rows(
        self, snapshot: Snapshot, training_set: TrainingSet, partition: Partition, split: str
    ) -> "pa.Table":
        values = dict(partition.values)
        table = publishing.table_name(self._key("training_set"))
        source = TablePartition(table, Partition.of({"month": values["month"]}))
        return training_set.rows(snapshot, source, values[self.segment], split)
