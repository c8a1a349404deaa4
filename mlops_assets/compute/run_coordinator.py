"""The queue of runs, which knows before it launches anything which of them get a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from dagster._config import UserConfigSchema
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._serdes import ConfigurableClassData

from mlops_assets.compute.failures import fail_for_good
from mlops_assets.compute.profiles import ProfileError, configured_profiles
from mlops_assets.compute.resolver import resolve

POOLS = "pools"


class ProfiledRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, with each run's profile stamped on it as it is submitted.

    Every way of starting a run submits it here: the UI, a backfill, a schedule, a sensor, a
    condition, a retry. Queue limits are decided before the launcher is asked anything and see tags
    alone, so the stamp is what `tag_concurrency_limits` on `compute/device` counts.
    """

    def __init__(
        self,
        *,
        pools: Mapping[str, int] | None = None,
        **stock: Any,  # noqa: ANN401 - the stock settings, which `config_type` has checked
    ) -> None:
        super().__init__(**stock)
        self._pools = pools or {}

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The stock settings, and the limits that pools begin with."""
        stock: Any = super().config_type()
        return {
            **stock,
            POOLS: dg.Field(
                dg.Map(str, int),
                is_required=False,
                default_value={},
                description=(
                    "The limit of each pool that nobody has set one for. Dagster's own default is "
                    "not applied before a pool's first run has been launched."
                ),
            ),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> Self:
        """Make the queue that `dagster.yaml` describes."""
        return cls(inst_data=inst_data, **config_value)

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Stamp the run with its profile and put it into the queue, unless it is there already.

        A run whose profile cannot be told fails here, with the reason as its failure: an error
        raised to the submitter would end a whole backfill for one of its runs.
        """
        run = context.dagster_run
        if run.status is not dg.DagsterRunStatus.NOT_STARTED:
            # A daemon that was ended in the middle of a tick submits its runs again.
            return super().submit_run(context)
        try:
            resolved = resolve(self._instance, run, configured_profiles())
        except ProfileError as error:
            fail_for_good(self._instance, run, str(error))
            return self._instance.get_run_by_id(run.run_id) or run
        tags = resolved.tags(run)
        if tags:
            self._instance.add_run_tags(run.run_id, tags)
        self._seed_pools()
        return super().submit_run(context)

    def _seed_pools(self) -> None:
        """Give the pools that have no limit theirs; one that somebody set in the UI stays."""
        if not self._pools:
            return
        log = self._instance.event_log_storage
        known = {pool.name for pool in log.get_pool_limits() if not pool.from_default}
        for name, limit in self._pools.items():
            if name not in known:
                log.set_concurrency_slots(name, limit)
        self._pools = {}
