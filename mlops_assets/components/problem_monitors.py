"""The monitors of a machine-learning problem as assets: a report for each day, and its check.

What a monitor looks at and when it raises an alarm is decided in `mlops_assets.monitors`. A monitor
publishes whatever it finds: an alarm is the result of a check, not a failure of the step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.components import partition_checks, publishing
from mlops_assets.components.alarm_alerts import NO_ALARM
from mlops_assets.components.code_version import code_version
from mlops_assets.components.monitored_days import DAY, MonitoredDays, look_back_days
from mlops_assets.components.monitoring import Monitoring, monitors
from mlops_assets.components.partition_checks import Finding as CheckFinding
from mlops_assets.components.prediction_assets import PredictionAssets
from mlops_assets.components.training_set import TrainingSet
from mlops_assets.engines.as_of import feature_column
from mlops_assets.lake import Lake, Manifest, Partition, Snapshot
from mlops_assets.ml.samples import SAMPLES_FILE
from mlops_assets.monitors.concept import LABEL
from mlops_assets.monitors.finding import FINDINGS_FILE, Findings, Look, Monitor
from mlops_assets.tracking.results import MONITOR_PREFIX, PREDICTIONS, REPORT_FILE

if TYPE_CHECKING:
    from mlops_assets.components.ml_problem import MlProblem

DESCRIPTIONS = {
    "performance": (
        "How good the scores of a day, a week and four weeks are, now that their labels are known: "
        "ROC AUC, Brier score, log loss and calibration, overall and by slice."
    ),
    "drift": (
        "Whether the features of a day, and the scores, are distributed as in the weeks before: "
        "PSI and KS, against what days differ by anyhow."
    ),
    "concept": (
        "Whether outcomes still follow from what is known before: residuals, and outcomes by "
        "slice against all others of the same day."
    ),
    "quality": (
        "Whether the rows of a day are all there and like those before: missing values, values "
        "never seen, rows, quarantine."
    ),
    "freshness": "How old the features of a day were when it was predicted, and which were absent.",
}


@dataclass(frozen=True)
class ProblemMonitors:
    """The monitors that a declared problem gets.

    Attributes:
        predictions: The assets that they look at.
        declared: What the problem says of monitors.
    """

    predictions: PredictionAssets
    declared: Monitoring

    def assets(self) -> list[dg.AssetsDefinition]:
        """One asset for each monitor."""
        return [self._asset(name, monitor) for name, monitor in self.monitors().items()]

    def monitors(self) -> dict[str, Monitor]:
        """The monitors by name."""
        views = {view.table.rpartition("/")[2]: view for view in self._training_set.views}
        of_the_day = {self._problem.spine.day}
        dated = [
            feature_column(view, feature)
            for view in views.values()
            for feature in view.features
            if set(view.entities) == of_the_day
        ]
        return monitors(
            self.declared,
            features=self._training_set.features,
            views=list(views),
            dated=dated,
        )

    @property
    def _problem(self) -> "MlProblem":
        return self.predictions.assets.problem

    @property
    def _training_set(self) -> TrainingSet:
        return self.predictions.assets.training_set

    def _deps(self, monitor: Monitor) -> list[dg.AssetDep]:
        window = dg.TimeWindowPartitionMapping(
            start_offset=-look_back_days(self.declared.reference_days),
            allow_nonexistent_upstream_partitions=True,
        )
        tables = [self.predictions.assets.key(PREDICTIONS)]
        if LABEL in monitor.columns:
            tables.append(dg.AssetKey(self._problem.spine.table.split("/")))
        return [dg.AssetDep(table, partition_mapping=window) for table in tables]

    def read_by(self, name: str, monitor: Monitor) -> MonitoredDays:
        """Where a monitor's days are read from."""
        spine = self._problem.spine
        predictions = publishing.table_name(self.predictions.assets.key(PREDICTIONS))
        return MonitoredDays(
            predictions=predictions,
            outcomes=spine.table if LABEL in monitor.columns else None,
            keys=spine.keys,
            label=spine.label,
            columns=monitor.columns,
            outcome_columns=self.declared.outcomes,
            reference_days=self.declared.reference_days,
            fewest_days=self.declared.fewest_days,
            raw_tables=self.declared.raw_tables if name == "quality" else (),
            inputs=self._training_set.tables if name == "freshness" else (),
            since={**self._training_set.since, predictions: self._training_set.own_since},
        )

    def _asset(self, name: str, monitor: Monitor) -> dg.AssetsDefinition:
        problem, key = self._problem, self.predictions.assets.key(f"{MONITOR_PREFIX}{name}")
        declared = self.declared.model_dump(mode="json")

        @dg.multi_asset(
            name=key.to_python_identifier(),
            specs=[
                dg.AssetSpec(
                    key,
                    description=DESCRIPTIONS[name],
                    deps=self._deps(monitor),
                    owners=[problem.owner],
                    kinds={"duckdb", "html"},
                    group_name=problem.name,
                    code_version=code_version(
                        __name__,
                        "mlops_assets.components.monitored_days",
                        "mlops_assets.components.monitoring",
                        "mlops_assets.monitors",
                        "mlops_assets.ml.encoding",
                        "mlops_assets.ml.intervals",
                        "mlops_assets.ml.page",
                        "mlops_assets.ml.pictures",
                        "mlops_assets.ml.report",
                        "mlops_assets.ml.samples",
                        "mlops_assets.ml.stored",
                        declared=(declared, monitor, problem.spine),
                    ),
                )
            ],
            check_specs=[
                partition_checks.spec(
                    NO_ALARM,
                    key,
                    f"Nothing that monitor_{name} judges lies beyond its limit.",
                    self.predictions.days,
                )
            ],
            partitions_def=self.predictions.days,
            backfill_policy=dg.BackfillPolicy.single_run(),
            # A check that is not asked for has no result; Dagster requires one otherwise, of the
            # kind that belongs to no partition.
            can_subset=True,
            **self.predictions.assets.profiled(),
        )
        def monitor_asset(
            context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
        ) -> Iterator[Any]:
            found: dict[Partition, list[CheckFinding]] = {}
            reader = self.read_by(name, monitor)

            def make(
                snapshot: Snapshot, partition: Partition, folder: Path
            ) -> tuple[Manifest, dict[str, Any]]:
                day = date.fromisoformat(dict(partition.values)[DAY])
                look = monitor.look(reader.history(snapshot, day))
                found[partition] = [no_alarm(look.findings)]
                return _write(folder, look, f"{problem.name} {name} {day}", self._facts(reader))

            if context.selected_asset_keys:
                yield from publishing.publish_each(
                    context,
                    lake,
                    make,
                    parameters={"monitors": declared},
                    also=self._checked(context, key, found),
                )
            else:
                snapshot = lake.snapshot()
                for partition in publishing.output_partitions(context):
                    stored = publishing.table_partition(key, partition)
                    findings = Findings.from_json(snapshot.read(stored, FINDINGS_FILE))
                    found[partition] = [no_alarm(findings)]
                yield from self._checked(context, key, found)

        return monitor_asset

    def _checked(
        self,
        context: dg.AssetExecutionContext,
        key: dg.AssetKey,
        found: Mapping[Partition, list[CheckFinding]],
    ) -> Iterator[Any]:
        """The check's results, if the step was asked for them."""
        if context.selected_asset_check_keys:
            yield from partition_checks.evaluations(context, key, found)

    def _facts(self, reader: MonitoredDays) -> Mapping[str, str]:
        return {
            "Predictions": reader.predictions,
            "Outcomes": reader.outcomes or "none",
            "Compared with": f"the {self.declared.reference_days} days before, "
            f"{self.declared.fewest_days} at least",
            "Chance of a false alarm": f"{self.declared.alarm_probability:g} a figure and day",
        }


def no_alarm(findings: Findings) -> CheckFinding:
    """The check of a day's findings."""
    return CheckFinding(
        check=NO_ALARM,
        passed=not findings.alarms,
        severity=dg.AssetCheckSeverity.WARN,
        sentence=findings.sentence,
        metadata={
            "alarms": len(findings.subjects),
            "about": ", ".join(findings.subjects),
            "not judged": len(findings.unjudged),
        },
    )


def _write(
    folder: Path, look: Look, title: str, facts: Mapping[str, str]
) -> tuple[Manifest, dict[str, Any]]:
    from mlops_assets.monitors.report import render

    report = render(look, title, facts)
    (folder / REPORT_FILE).write_bytes(report.html)
    (folder / FINDINGS_FILE).write_bytes(look.findings.to_json())
    (folder / SAMPLES_FILE).write_bytes(look.samples.to_json())
    return Manifest.of_folder(folder), {
        **{figure: float(value) for figure, value in look.figures.items()},
        "alarms": len(look.findings.subjects),
        "report": dg.MetadataValue.md(report.markdown),
    }
