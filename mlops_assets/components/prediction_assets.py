"""A problem at work: which model is deployed to a month, and the predictions of each day."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from mlops_assets.components import column_lineage, publishing, younger
from mlops_assets.components.code_version import code_version
from mlops_assets.components.deployment import deploy
from mlops_assets.components.deployment import show as show_deployment
from mlops_assets.components.predictions import Scoring
from mlops_assets.components.problem_assets import OPTIONAL, ProblemAssets, named
from mlops_assets.lake import Lake, Manifest, Partition, Snapshot
from mlops_assets.tracking.results import (
    CHAMPION,
    DEPLOYED,
    DEPLOYED_FILE,
    MODEL,
    MONTH,
    PREDICTIONS,
    Place,
)


@dataclass(frozen=True)
class PredictionAssets:
    """The assets by which a declared problem's models are used.

    Attributes:
        assets: Those by which they are made.
    """

    assets: ProblemAssets

    @cached_property
    def days(self) -> dg.DailyPartitionsDefinition:
        """The days of the months that have models."""
        problem = self.assets.problem
        return dg.DailyPartitionsDefinition(
            start_date=f"{problem.first_month}-01",
            end_date=f"{problem.end_month}-01",
            timezone=problem.time_zone,
        )

    def deployed_model_asset(self) -> dg.AssetsDefinition:
        """Which model scores a month's events of a segment, and why."""
        assets, problem = self.assets, self.assets.problem
        key = assets.key(DEPLOYED)

        @dg.asset(
            key=key,
            description=(
                f"Which model scores a month's events of a {problem.segment}: the champion that "
                "was in force when the month began; before any was decided, the month's own model, "
                "which was trained on the months before."
            ),
            deps=[
                dg.AssetDep(assets.key(CHAMPION), partition_mapping=assets.month_before()),
                # Read where no champion was decided before.
                dg.AssetDep(assets.key(MODEL), metadata={OPTIONAL: True}),
            ],
            partitions_def=assets.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            owners=[problem.owner],
            kinds={"json"},
            group_name=problem.name,
            **assets.profiled(),
            code_version=code_version(
                "mlops_assets.components.deployment",
                "mlops_assets.ml.deployment",
                "mlops_assets.ml.decision",
            ),
        )
        def deployed_model_asset(
            context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
        ) -> Iterator[Any]:
            def make(
                snapshot: Snapshot, partition: Partition, folder: Path
            ) -> tuple[Manifest, dict[str, Any]]:
                found = deploy(snapshot, Place.of(publishing.table_partition(key, partition)))
                (folder / DEPLOYED_FILE).write_bytes(found.to_json())
                return Manifest.of_folder(folder), show_deployment(found)

            yield from publishing.publish_each(context, lake, make)

        return deployed_model_asset

    def predictions_asset(self) -> dg.AssetsDefinition:
        """A day's events scored by the models in force."""
        assets, problem = self.assets, self.assets.problem
        training_set = assets.training_set
        look_back = dg.TimeWindowPartitionMapping(
            start_offset=-training_set.look_back_days, allow_nonexistent_upstream_partitions=True
        )

        @dg.asset(
            key=assets.key(PREDICTIONS),
            description=(
                f"{problem.description} Every event of a day, scored by the model deployed to its "
                "month with what was known at its prediction time; each row names the model, its "
                "commit and the commit of the data it learnt from."
            ),
            deps=[
                dg.AssetKey(problem.spine.table.split("/")),
                *(assets.input(view.table, look_back) for view in training_set.views),
                dg.AssetDep(assets.key(DEPLOYED), partition_mapping=self._month_of_day()),
            ],
            partitions_def=self.days,
            backfill_policy=dg.BackfillPolicy.single_run(),
            owners=[problem.owner],
            kinds={"xgboost", "parquet"},
            group_name=problem.name,
            metadata=younger.metadata(training_set.own_since),
            **assets.profiled(),
            code_version=code_version(
                "mlops_assets.components.partition_files",
                "mlops_assets.components.predictions",
                "mlops_assets.components.training_set",
                "mlops_assets.engines",
                "mlops_assets.ml.model",
                "mlops_assets.ml.encoding",
                declared=training_set,
            ),
        )
        def predictions_asset(
            context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
        ) -> Iterator[Any]:
            scoring = Scoring(problem.name, training_set)

            def make(
                snapshot: Snapshot, day: Partition, folder: Path
            ) -> tuple[Manifest, dict[str, Any]]:
                with named(f"{problem.name} {day}"):
                    return scoring.build(snapshot, day, folder)

            columns = scoring.column_lineage(date.fromisoformat(context.partition_keys[0]))
            lineage = {assets.table(PREDICTIONS): columns}
            yield from publishing.publish_each(
                context,
                lake,
                make,
                parameters=training_set.declared(),
                of_asset=column_lineage.metadata(context.instance, lineage),
            )

        return predictions_asset

    def _month_of_day(self) -> dg.MultiToSingleDimensionPartitionMapping:
        """All segments of the month that a day lies in."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=MONTH)
