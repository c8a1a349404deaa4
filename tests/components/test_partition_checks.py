"""A check's result in one partition is that partition's alone, for people and for automation."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from mlops_assets.components import partition_checks, publishing
from mlops_assets.components.partition_checks import Finding

DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-01-05")
DATA = dg.AssetKey("data")


@dg.multi_asset(
    specs=[dg.AssetSpec(DATA)],
    check_specs=[partition_checks.spec("sound", DATA, "It is.", DAYS, blocking=True)],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def data(context: dg.AssetExecutionContext) -> Iterator[Any]:
    """Data of some days, of which those that a tag of the run names are bad."""
    bad = set(context.run.tags.get("bad", "").split()) & set(context.partition_keys)
    if not bad:
        yield dg.MaterializeResult(asset_key=DATA)
    for day in context.partition_keys:
        if bad and day not in bad:
            yield dg.AssetMaterialization(DATA, partition=day)
    found = {
        partition: [Finding("sound", key not in bad, f"{key} was looked at.")]
        for partition, key in publishing.partitions_by_key(context).items()
    }
    yield from partition_checks.evaluations(context, DATA, found, blocking=True)
    if bad:
        raise dg.Failure("some days are bad.")
    yield from partition_checks.given(context)


@dg.asset(
    partitions_def=DAYS,
    deps=[DATA],
    backfill_policy=dg.BackfillPolicy.single_run(),
    automation_condition=(
        ~dg.AutomationCondition.any_deps_missing()
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
    ),
)
def made_of_it() -> None:
    """What is made of a day once its data is sound."""


class History:
    """Runs, and what automation would start after them."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.definitions = dg.Definitions(assets=[data, made_of_it])

    def run(self, first: str, last: str, bad: str = "") -> dg.ExecuteInProcessResult:
        span = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[DATA],
            instance=self.instance,
            tags={"bad": bad, **span},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def ready(self) -> set[str]:
        result = dg.evaluate_automation_conditions(self.definitions, self.instance)
        return {str(day) for day in result.get_requested_partitions(made_of_it.key)}


def test_a_bad_day_of_a_range_holds_back_itself_alone() -> None:
    history = History()
    result = history.run("2013-01-01", "2013-01-03", bad="2013-01-02")
    assert not result.success
    found = {it.partition: it.passed for it in result.get_asset_check_evaluations()}
    assert found == {"2013-01-01": True, "2013-01-02": False, "2013-01-03": True}
    assert history.ready() == {"2013-01-01", "2013-01-03"}
    assert history.run("2013-01-02", "2013-01-02").success
    assert history.ready() == {"2013-01-01", "2013-01-02", "2013-01-03"}


def test_a_day_that_turns_bad_after_it_was_made_is_held_back() -> None:
    history = History()
    assert history.run("2013-01-01", "2013-01-04").success
    assert not history.run("2013-01-02", "2013-01-02", bad="2013-01-02").success
    assert history.ready() == {"2013-01-01", "2013-01-03", "2013-01-04"}
