"""A monitor asks for a model: which month is asked for, when, and how often."""

from typing import Any

import dagster as dg
import pytest

from mlops_assets.components.alarm_alerts import Alarms
from mlops_assets.components.trainable import newest_trainable
from mlops_assets.defs.automation.conditions import STARTED_BY
from mlops_assets.defs.automation.retraining import retrain_on_alarm

DAYS = dg.DailyPartitionsDefinition("2013-04-01", end_date="2013-07-01")
MONTHS = dg.MonthlyPartitionsDefinition("2013-05", end_date="2013-08", fmt="%Y-%m")
KEY = dg.AssetKey(["toy", "training_set"])


def window(name: str, **metadata: Any) -> dg.AssetDep:
    mapping = dg.TimeWindowPartitionMapping(start_offset=-1)
    return dg.AssetDep(name, partition_mapping=mapping, metadata=metadata)


@dg.asset(partitions_def=DAYS)
def view() -> None: ...


@dg.asset(partitions_def=DAYS)
def weather() -> None: ...


@dg.asset(key=KEY, partitions_def=MONTHS, deps=[window("view"), window("weather", optional=True)])
def training_set() -> None: ...


@dg.asset(
    key=["toy", "monitor_drift"],
    partitions_def=DAYS,
    check_specs=[
        dg.AssetCheckSpec("no_alarm", asset=["toy", "monitor_drift"], partitions_def=DAYS)
    ],
)
def monitor(context):
    passed = context.run.tags["alarm"] == "no"
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=passed)])


DEFINITIONS = dg.Definitions([view, weather, training_set, monitor])


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


def filled(instance: dg.DagsterInstance, *months: str) -> None:
    for day in DAYS.get_partition_keys():
        if day[:7] in months:
            instance.report_runless_asset_event(dg.AssetMaterialization("view", partition=day))


def looked(instance: dg.DagsterInstance, day: str, *, alarm: str) -> None:
    dg.materialize([monitor], instance=instance, partition_key=day, tags={"alarm": alarm})


def tick(instance: dg.DagsterInstance, cursor: str | None) -> tuple[list[Any], str, str]:
    """The requests of a tick, why there are none, and the cursor after it."""
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, repository_def=DEFINITIONS.get_repository_def()
    )
    found = retrain_on_alarm(context)
    if isinstance(found, dg.SkipReason):
        return [], str(found.skip_message), str(context.cursor)
    reason = found.skip_reason.skip_message if found.skip_reason else ""
    return list(found.run_requests or ()), str(reason), str(found.cursor)


def test_the_newest_month_that_has_all_of_its_days_is_the_one_to_train(instance) -> None:
    graph = DEFINITIONS.resolve_asset_graph()
    assert newest_trainable(graph, instance, KEY) is None
    filled(instance, "2013-04", "2013-05")
    assert newest_trainable(graph, instance, KEY) == "2013-05"


def test_an_asset_that_there_is_none_of_has_no_month(instance) -> None:
    graph = DEFINITIONS.resolve_asset_graph()
    assert newest_trainable(graph, instance, dg.AssetKey("nothing")) is None


def test_alarms_ask_for_one_training_and_ask_again_only_when_another_is_raised(instance) -> None:
    filled(instance, "2013-04", "2013-05")
    looked(instance, "2013-06-01", alarm="yes")
    requests, reason, cursor = tick(instance, None)
    assert (requests, reason) == ([], "Alarms are followed from now on.")

    looked(instance, "2013-06-02", alarm="no")
    requests, reason, cursor = tick(instance, cursor)
    assert (requests, reason) == ([], "No monitor raised an alarm since the last tick.")

    looked(instance, "2013-06-03", alarm="yes")
    looked(instance, "2013-06-04", alarm="yes")
    [request], _, cursor = tick(instance, cursor)
    assert (request.asset_selection, request.partition_key) == ([KEY], "2013-05")
    assert request.tags[STARTED_BY] == "retrain_on_alarm"
    assert tick(instance, cursor)[0] == []


def test_an_alarm_that_is_raised_amid_a_tick_asks_once(instance, monkeypatch) -> None:
    filled(instance, "2013-04", "2013-05")
    cursor = tick(instance, None)[2]
    looked(instance, "2013-06-03", alarm="yes")
    end = Alarms.end

    def end_before_another(alarms: Alarms) -> int:
        found = end(alarms)
        looked(instance, "2013-06-04", alarm="yes")
        return found

    with monkeypatch.context() as amid:
        amid.setattr(Alarms, "end", end_before_another)
        [first], _, cursor = tick(instance, cursor)
    [second], _, cursor = tick(instance, cursor)
    assert tick(instance, cursor)[0] == []
    # Of the same key the second was dropped, as if nobody had raised the later alarm.
    assert first.run_key != second.run_key


def test_an_alarm_before_there_is_a_month_to_learn_from_is_told_so(instance) -> None:
    _, _, cursor = tick(instance, None)
    looked(instance, "2013-06-03", alarm="yes")
    requests, reason, _ = tick(instance, cursor)
    assert requests == []
    assert reason == "No month of toy has all of its days: nothing can be learnt."
