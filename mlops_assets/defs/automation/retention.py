"""The weekly sweep of what failed work left in the lake."""

import dagster as dg
from pydantic import Field

from mlops_assets.components.retention import DAYS, sweep_all
from mlops_assets.defs.automation.run_tags import started_by
from mlops_assets.defs.resources import sweep_places
from mlops_assets.settings import settings


class Retention(dg.Config):
    """How far a sweep goes."""

    days: int = Field(DAYS, ge=1, description="How old failed work is when it goes, in days.")
    dry_run: bool = Field(default=False, description="Only say what would go.")


@dg.op(
    description=(
        "Drops old work branches and frees what no branch, tag, model or report names any more."
    )
)
def sweep_lake(context: dg.OpExecutionContext, config: Retention) -> None:
    """What `mlops-assets lakefs gc` does."""
    found = sweep_all(sweep_places(settings()), days=config.days, dry_run=config.dry_run)
    context.log.info(found.to_text())


@dg.job(description="Frees what failed and forgotten work left in the lake.")
def retention() -> None:
    """The sweep, by itself."""
    sweep_lake()


weekly_retention = dg.ScheduleDefinition(
    name="weekly_retention",
    job=retention,
    tags=started_by("weekly_retention"),
    cron_schedule="0 4 * * 0",
    description=(
        f"Every Sunday at 04:00 UTC: work branches older than {DAYS} days, and what no branch, "
        "tag, model or report names any more. Off until you switch it on; `mlops-assets lakefs gc "
        "--dry-run` says what would go."
    ),
)
