"""Making results again, on a branch of their own that nobody else sees."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlops_assets.cli.asset_partitions import place_of
from mlops_assets.cli.execution import FailedRunError, Runner
from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.plan import RANGE_END, RANGE_START
from mlops_assets.lake.connection import WORK_PREFIX

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.lake import Lake, TablePartition

Span = tuple[str | None, str | None]
"""First and last key of partitions that one run makes; None without partitions."""


@dataclass(frozen=True)
class Step:
    """Partitions of assets that one step makes.

    Attributes:
        name: The step's name.
        assets: Its assets.
        partitions: The keys of their partitions, in order; `None` alone without partitions.
        configs: What the step is configured with, by partition, where anything is.
    """

    name: str
    assets: Sequence[dg.AssetKey]
    partitions: Sequence[str | None]
    configs: Mapping[str | None, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rebuild:
    """A branch on which results are made again, and what makes them.

    Attributes:
        definitions: What exists.
        graph: Its assets.
        runner: Carries out the runs; its lake's base branch is the one of this rebuild.
    """

    definitions: dg.Definitions
    graph: dg.AssetGraph
    runner: Runner

    @property
    def lake(self) -> Lake:
        """The lake as the steps see it."""
        return self.runner.lake

    @cached_property
    def _job(self) -> dg.JobDefinition:
        """All assets, over this rebuild's lake."""
        from mlops_assets.defs.resources import private_definitions

        private = private_definitions(self.definitions, self.lake)
        return private.resolve_implicit_global_asset_job_def()

    def places(self, step: Step) -> list[TablePartition]:
        """The lake's names of what a step makes, asset by asset."""
        return [
            place_of(self.graph, asset, key) for asset in step.assets for key in step.partitions
        ]

    def clear(self, keys: Sequence[TablePartition]) -> None:
        """Take partitions away, so that making them again is a commit that says how it was done.

        What equals the pin would be no change, and would leave nothing to compare.
        """
        branch, tables = f"{self.lake.base_branch}-cleared", sorted({key.table for key in keys})
        with self.lake.transaction(branch, tables) as transaction:
            transaction.remove(keys)
            transaction.publish("partitions to be made again", {})

    def make(self, step: Step) -> None:
        """Run a step for its partitions.

        Raises:
            CommandError: It failed.
            KeyboardInterrupt: Somebody stopped it.
        """
        definition = self.graph.get(step.assets[0]).partitions_def
        for first, last in spans(definition, step.partitions):
            config = step.configs.get(first)
            options = {
                "asset_selection": list(step.assets),
                "run_config": {"ops": {step.name: {"config": config}}} if config else None,
                "partition_key": first if first == last else None,
                "tags": {} if first == last else {RANGE_START: first, RANGE_END: last},
            }
            try:
                self.runner.run(self._job, _title(step, first, last), options)
            except FailedRunError as error:
                raise CommandError(
                    f"it cannot be made again: {error.told} Nothing of this attempt is kept."
                ) from error


def _title(step: Step, first: str | None, last: str | None) -> str:
    if first is None:
        return step.name
    return f"{step.name}: {first}" if first == last else f"{step.name}: {first} to {last}"


def spans(
    definition: dg.PartitionsDefinition[str] | None, keys: Sequence[str | None]
) -> list[Span]:
    """The runs that make partitions: one for each unbroken stretch of time, else one for each.

    Args:
        definition: How the asset is partitioned; None if it is not.
        keys: The partitions' keys.
    """
    from dagster import TimeWindowPartitionsDefinition

    if definition is None:
        return [(None, None)]
    wanted = set(keys)
    runs: list[Span] = []
    unbroken = False
    for key in definition.get_partition_keys():
        if key not in wanted:
            unbroken = False
            continue
        if unbroken:
            runs[-1] = (runs[-1][0], key)
        else:
            runs.append((key, key))
        unbroken = isinstance(definition, TimeWindowPartitionsDefinition)
    return runs


@contextlib.contextmanager
def rebuilding(definitions: dg.Definitions, runner: Runner, commit: str) -> Iterator[Rebuild]:
    """Open a rebuild from a state of the lake; nothing of it stays, however it ends.

    Args:
        definitions: What exists.
        runner: Carries out runs; a lake that it has is where the branch is made.
        commit: The state to start from.
    """
    branch = f"{WORK_PREFIX}rebuild-{uuid.uuid4().hex}"
    with runner.lake.temporary(branch, commit) as lake:
        yield Rebuild(
            definitions,
            definitions.resolve_asset_graph(),
            Runner(runner.home, lake, runner.instance, runner.progress, runner.stopped),
        )
