"""The main job, in this process: from raw data to evaluated models, run by run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.cli.execution import Runner
from mlops_assets.cli.plan import PROBLEM, Calendar, Launch, Request, launches
from mlops_assets.cli.watch import RunWatch

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.cli.progress import Progress
    from mlops_assets.lake import Lake
    from mlops_assets.settings import Settings


@dataclass(frozen=True)
class Finished:
    """One run that ended well.

    Attributes:
        launch: What it was.
        watch: What it did.
    """

    launch: Launch
    watch: RunWatch


@dataclass(frozen=True)
class MainJob:
    """The main job and what surrounds it.

    Attributes:
        settings: This process's.
        lake: The lake of these settings.
        progress: Where it tells how far it is.
        stopped: Tells whether somebody asked it to stop.
    """

    settings: Settings
    lake: Lake
    progress: Progress
    stopped: Callable[[], bool]

    def run(self, request: Request) -> list[Finished]:
        """Bring what was asked for up to date.

        Returns:
            The runs, in order.

        Raises:
            RequestError: What was asked for does not exist.
            FailedRunError: A run failed; the base branch holds what the runs before it published.
            KeyboardInterrupt: Somebody stopped it.
        """
        import dagster as dg

        from mlops_assets.definitions import defs

        definitions = defs()
        plan = launches(request, calendar(definitions))
        with dg.DagsterInstance.get() as instance:
            runner = Runner(self.settings.home, self.lake, instance, self.progress, self.stopped)
            return [
                Finished(
                    launch,
                    runner.run(
                        definitions.resolve_job_def(launch.job),
                        launch.title,
                        {"partition_key": launch.partition, "tags": dict(launch.tags)},
                    ),
                )
                for launch in plan
            ]


def calendar(definitions: dg.Definitions) -> Calendar:
    """Which partitions the definitions have."""
    import dagster as dg

    def keys(asset: str) -> dg.PartitionsDefinition[str]:
        found = definitions.resolve_asset_graph().get(dg.AssetKey(asset.split("/"))).partitions_def
        if found is None:
            raise ValueError(f"{asset} has no partitions.")
        return found

    models = keys(f"{PROBLEM}/model")
    if not isinstance(models, dg.MultiPartitionsDefinition):
        raise TypeError(f"{PROBLEM}/model is not partitioned by month and origin.")
    return Calendar(
        days=keys("raw/flights").get_partition_keys(),
        months=keys(f"{PROBLEM}/training_set").get_partition_keys(),
        origins=models.get_partitions_def_for_dimension("origin").get_partition_keys(),
    )


def commits_of(finished: Sequence[Finished]) -> Mapping[tuple[str, str | None], str | None]:
    """The work commit that names each result of some runs, by asset and partition."""
    return {
        key: commit
        for run in finished
        for step in run.watch.steps.values()
        for key, commit in step.published.items()
    }
