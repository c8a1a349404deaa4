"""The dbt warehouse: models of one dbt project as assets, built a partition window at a time.

A step runs dbt once for its whole window, over views of exactly the pinned partitions that its
own partitions map to; its models write the files that are committed, and their tests read those
files. Nothing is recorded as materialized before the merge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtProject, dbt_assets
from dagster_dbt.asset_utils import get_asset_check_key_for_test, get_upstream_unique_ids

from mlops_assets.components import (
    column_lineage,
    dbt_build,
    dbt_manifest,
    published_tests,
    publishing,
    younger,
)
from mlops_assets.components.dbt_code_version import ProjectCode
from mlops_assets.components.dbt_support import refuse_unsupported
from mlops_assets.components.dbt_translator import WarehouseTranslator
from mlops_assets.components.sql_lineage import Columns, LineageError, trace
from mlops_assets.compute.assignment import profiled
from mlops_assets.engines import duckdb as engine
from mlops_assets.engines.schemas import Since
from mlops_assets.lake import (
    Lake,
    LakeError,
    Manifest,
    Partition,
    Snapshot,
    TablePartition,
    Transaction,
)

DATABASE = "warehouse"


class WarehouseStep(dg.Model, dg.Resolvable):
    """Models that are built by one dbt invocation and published by one transaction.

    Attributes:
        name: The step's name.
        select: Which models, in dbt's selection syntax.
        look_back_may_lack: How many days of a partition's look-back may be missing, its own day
            never: what is there is used, and the partition is stale once the rest comes. Without
            it one broken file would hold back every day of the month after it.
    """

    name: str
    select: str
    look_back_may_lack: int = 0


class DbtWarehouse(dg.Component, dg.Model, dg.Resolvable):
    """A dbt project whose models are lake tables, partitioned by day.

    Attributes:
        project: The project's folder, relative to the repository's root.
        first_day: The first day of the partitions, inclusive.
        end_day: The end of the partitions, exclusive.
        time_zone: The time zone whose days they are.
        owner: Who owns a model that names no owner in `meta`.
        steps: The steps, none of which holds a model that looks back on another of its own.
    """

    project: str
    first_day: str
    end_day: str
    time_zone: str
    owner: str
    steps: Sequence[WarehouseStep]

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Make one multi-asset of each step."""
        project = DbtProject(context.project_root / self.project)
        manifest = dbt_manifest.load(project.project_dir)
        sources = dbt_manifest.sources(dbt_manifest.prepared(project.project_dir))
        refuse_unsupported(manifest, sources, self.project)
        warehouse = Warehouse(
            project=project,
            manifest=manifest,
            translator=WarehouseTranslator(self.owner, ProjectCode.of(manifest, sources)),
        )
        partitions = dg.DailyPartitionsDefinition(
            start_date=self.first_day, end_date=self.end_day, timezone=self.time_zone
        )
        return dg.Definitions(
            assets=[_step_assets(step, warehouse, partitions) for step in self.steps]
        )


@dataclass(frozen=True)
class Warehouse:
    """A dbt project with what its steps share.

    Attributes:
        project: The project, as dagster-dbt names it.
        manifest: The content of its `manifest.json`.
        translator: How its models are named and described as assets.
    """

    project: DbtProject
    manifest: Mapping[str, Any]
    translator: WarehouseTranslator

    @property
    def prepared(self) -> Path:
        """The folder with its files and parsed state, as they were loaded; written anew if gone."""
        return dbt_manifest.prepared(self.project.project_dir)


def _step_assets(
    step: WarehouseStep, warehouse: Warehouse, partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    @dbt_assets(
        manifest=warehouse.manifest,
        select=step.select,
        project=warehouse.project,
        name=step.name,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        dagster_dbt_translator=warehouse.translator,
        **profiled(group=step.name),
    )
    def build(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Iterator[Any]:
        yield from Build(context, lake, warehouse, step.look_back_may_lack).run()

    return build


class Build:
    """One run of one step: its inputs shown, its models built, its files published."""

    def __init__(
        self, context: dg.AssetExecutionContext, lake: Lake, warehouse: Warehouse, may_lack: int
    ) -> None:
        self._context = context
        self._lake = lake
        self._warehouse = warehouse
        self._may_lack = may_lack

    @cached_property
    def _models(self) -> dict[dg.AssetKey, Mapping[str, Any]]:
        """The selected models by their asset key."""
        by_key = {
            self._warehouse.translator.get_asset_key(node): node
            for node in self._warehouse.manifest["nodes"].values()
            if node["resource_type"] == "model"
        }
        return {key: by_key[key] for key in sorted(self._context.selected_asset_keys)}

    def run(self) -> Iterator[Any]:
        """Build, audit and publish; yields the step's events, materializations after the merge.

        With checks alone selected, what is published is tested again as it is.

        Raises:
            dagster.Failure: A model or a test failed; never retried, since it would again.
        """
        context = self._context
        if not context.selected_asset_keys:
            yield from self._test_published()
            return
        days = sorted(context.partition_keys)
        with publishing.open_transaction(context, self._lake) as transaction:
            database = transaction.scratch / f"{DATABASE}.duckdb"
            written = transaction.scratch / "tables"
            inputs = self._show_inputs(transaction, database)
            folders = self._folders(written)
            for folder in folders:
                folder.mkdir(parents=True)
            outcome = dbt_build.build(
                self._warehouse.manifest,
                self._warehouse.prepared,
                list(self._models.values()),
                database,
                {"first_day": days[0], "last_day": days[-1], "lake_root": str(written)},
            )
            outcome = self._answering_all_checks(outcome)
            message = publishing.step_message(context)
            metadata = publishing.commit_metadata(context, parameters=self._younger())
            checks = list(self._check_results(outcome))
            if not outcome.succeeded:
                yield from checks
                kept = _kept(transaction, folders, f"rejected {message}", metadata)
                raise dg.Failure(
                    f"{outcome.reason} Nothing was published; {kept}", allow_retries=False
                )
            described = _described(folders)
            if unwritten := sorted(set(folders.values()) - described.keys()):
                first = unwritten[0]
                raise dg.Failure(
                    f"{first.table} wrote no file of {first.partition.path}: correct the model's "
                    "materialization, which writes one of every partition. Nothing was published.",
                    allow_retries=False,
                )
            tables = {part.table: list(found.schema) for part, (found, _) in described.items()}
            lineage = self._column_lineage(outcome, {**inputs, **tables})
            transaction.write(described)
            publication = transaction.publish(message, metadata)
        yield from publishing.materializations(
            context,
            publication,
            of_asset=column_lineage.metadata(context.instance, lineage),
            check_results=checks,
        )

    def _test_published(self) -> Iterator[dg.AssetCheckResult]:
        warehouse, selected = self._warehouse, self._context.selected_asset_check_keys
        outcome = published_tests.run(
            self._lake,
            warehouse.prepared,
            warehouse.manifest,
            [node for node in self._tests() if self._check_key(node["unique_id"]) in selected],
            warehouse.translator.get_asset_key,
            self._since,
        )
        outcome = self._answering_all_checks(outcome)
        yield from self._check_results(outcome)
        if not outcome.succeeded:
            raise dg.Failure(outcome.reason, allow_retries=False)

    def _tests(self) -> Iterator[Mapping[str, Any]]:
        nodes = self._warehouse.manifest["nodes"].values()
        return (node for node in nodes if node["resource_type"] == "test")

    def _check_key(self, unique_id: str) -> dg.AssetCheckKey | None:
        """The asset check that a test is; None for a model."""
        warehouse = self._warehouse
        return get_asset_check_key_for_test(
            warehouse.manifest, warehouse.translator, unique_id, warehouse.project
        )

    def _show_inputs(self, transaction: Transaction, database: Path) -> dict[str, list[str]]:
        """Make a view of each input; returns their columns."""
        nodes = {**self._warehouse.manifest["nodes"], **self._warehouse.manifest["sources"]}
        upstream = {
            unique_id: nodes[unique_id]
            for model in self._models.values()
            for unique_id in get_upstream_unique_ids(self._warehouse.manifest, model)
        }
        built = {model["unique_id"] for model in self._models.values()}
        with engine.connect(database) as connection:
            for unique_id in sorted(upstream.keys() - built):
                properties = upstream[unique_id]
                key = self._warehouse.translator.get_asset_key(properties)
                partitions = publishing.input_partitions(self._context, key)
                engine.create_view(
                    connection,
                    transaction.snapshot,
                    publishing.table_name(key),
                    partitions,
                    schema=properties["schema"],
                    name=properties["name"],
                    required=partitions
                    and self._required(transaction.snapshot, unique_id, key, partitions),
                    since=self._since(key),
                )
            return engine.columns(connection)

    def _younger(self) -> dict[str, Any]:
        """The first days of columns of what the step reads and makes, for its commit."""
        keys = {*self._context.assets_def.keys_by_input_name.values(), *self._models}
        found = {publishing.table_name(key): self._since(key) for key in sorted(keys)}
        return younger.metadata({table: days for table, days in found.items() if days})

    def _since(self, key: dg.AssetKey) -> Since:
        graph = self._context.job_def.asset_layer.asset_graph
        return younger.since_of(graph, publishing.table_name(key))

    def _required(
        self,
        snapshot: Snapshot,
        unique_id: str,
        key: dg.AssetKey,
        partitions: Sequence[Partition],
    ) -> Sequence[Partition]:
        """The partitions of an input that must exist, where some of a look-back may be missing."""
        table = publishing.table_name(key)
        look_back = timedelta(days=self._warehouse.translator.look_backs.get(unique_id, 0))
        own = publishing.output_partitions(self._context)
        if not self._may_lack or not look_back:
            return partitions
        missing = {_day(part) for part in set(partitions) - snapshot.stored(table).keys()}
        for day in map(_day, own):
            lacking = [gap for gap in missing if day - look_back <= gap <= day]
            if day in missing or len(lacking) > self._may_lack:
                return partitions
        if missing:
            gaps = ", ".join(str(day) for day in sorted(missing))
            self._context.log.warning(f"{table} is looked back on without {gaps}.")
        return sorted(own)

    def _folders(self, written: Path) -> dict[Path, TablePartition]:
        """Where the models write each partition; dbt's COPY makes no folders."""
        tables = [publishing.table_name(key) for key in self._models]
        return {
            written / table / partition.path: TablePartition(table, partition)
            for table in tables
            for partition in publishing.output_partitions(self._context)
        }

    def _column_lineage(
        self, outcome: dbt_build.BuildOutcome, tables: Mapping[str, Sequence[str]]
    ) -> dict[str, dict[str, Columns]]:
        """What the columns of each model depend on, by the SQL that was run.

        A model whose SQL cannot be traced is published without: it is no worse for it.

        Args:
            outcome: What was run.
            tables: The columns of the models and of their inputs.
        """
        sql = {node.unique_id: node.sql for node in outcome.nodes}
        lineage = {}
        for key, model in self._models.items():
            table = publishing.table_name(key)
            try:
                found = trace(sql[model["unique_id"]], tables, model["config"]["unique_key"])
            except LineageError as error:
                self._context.log.warning(f"{table} has no column lineage: {error}")
                continue
            lineage[table] = {name: found[name.lower()] for name in tables[table]}
        return lineage

    def _answering_all_checks(self, outcome: dbt_build.BuildOutcome) -> dbt_build.BuildOutcome:
        """The outcome, not a success if any check that Dagster asked for has no result."""
        selected = self._context.selected_asset_check_keys
        answered = {self._check_key(node.unique_id) for node in outcome.nodes if node.ran}
        unanswered = sorted(key.name for key in selected - answered)
        return replace(outcome, lacking=outcome.lacking or unanswered)

    def _check_results(self, outcome: dbt_build.BuildOutcome) -> Iterator[dg.AssetCheckResult]:
        selected = self._context.selected_asset_check_keys
        for node in outcome.nodes:
            key = self._check_key(node.unique_id)
            if key is None or key not in selected or not node.ran:
                continue
            severe = node.status != "warn"
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=node.status == "pass",
                severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
                metadata={"rows that break it": node.failures, "dbt says": node.message},
            )


def _day(partition: Partition) -> date:
    return date.fromisoformat(dict(partition.values)["day"])


def _described(
    folders: Mapping[Path, TablePartition],
) -> dict[TablePartition, tuple[Manifest, Path]]:
    """The partitions that were written; a model that failed left its folders empty."""
    written = [folder for folder in folders if any(folder.iterdir())]
    described = engine.describe_tables(written)
    return {folders[folder]: (manifest, folder) for folder, manifest in described.items()}


def _kept(
    transaction: Transaction,
    folders: Mapping[Path, TablePartition],
    message: str,
    metadata: Mapping[str, str],
) -> str:
    """Keep what a failed build wrote, where that can be done, and say whether it could.

    A full disk fails a copy halfway, and half a Parquet file cannot be described: that must not
    take the place of the failure that led to it.
    """
    from pyarrow import ArrowInvalid

    try:
        transaction.write(_described(folders))
        transaction.keep(message, metadata)
    except (OSError, LakeError, ArrowInvalid) as error:
        return f"what was built could not be kept: {error}"
    return f"what was built is kept on branch {transaction.branch}."
