"""Every asset of the real graph is made by somebody, and by one, and says when it is late."""

from __future__ import annotations

import dagster as dg
import pytest
import yaml

from mlops_assets.defs.automation.policies import governed, policy_of
from mlops_assets.defs.automation.run_tags import STARTED_BY
from mlops_assets.settings import ROOT

STARTED_FROM_OUTSIDE = {
    "raw/airlines",
    "raw/airports",
    "raw/flights",
    "raw/planes",
    "raw/weather",
}
"""What schedules and sensors of sources start."""

FLOWS = ("flow_of_data", "flow_of_models", "flow_of_tables")


@pytest.fixture(scope="module")
def repository(definitions: dg.Definitions) -> dg.RepositoryDefinition:
    return definitions.get_repository_def()


def test_every_asset_has_a_condition_or_is_started_from_outside(
    repository: dg.RepositoryDefinition,
) -> None:
    graph = repository.asset_graph
    without = {
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if graph.get(key).automation_condition is None
    }
    assert without == STARTED_FROM_OUTSIDE


def test_every_condition_says_in_words_when_it_holds(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    for key in graph.get_all_asset_keys():
        condition = graph.get(key).automation_condition
        if condition is not None:
            label = condition.get_label()
            assert label, key
            assert label.startswith("made "), key


def test_every_asset_says_when_it_is_late(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.freshness_policy is not None, key
        assert "Late" in str(node.metadata["late"]), key


def test_each_asset_belongs_to_one_sensor_and_dagster_adds_none(
    repository: dg.RepositoryDefinition,
) -> None:
    graph = repository.asset_graph
    flows = [
        sensor
        for sensor in repository.sensor_defs
        if isinstance(sensor, dg.AutomationConditionSensorDefinition)
    ]
    assert sorted(sensor.name for sensor in flows) == sorted(FLOWS)
    targets = [sensor.asset_selection.resolve(graph) for sensor in flows]
    assert sum(map(len, targets)) == len(set().union(*targets))
    assert set().union(*targets) == graph.get_all_asset_keys()


def test_each_sensor_takes_the_work_of_its_kind(repository: dg.RepositoryDefinition) -> None:
    def taken(name: str) -> set[str]:
        selection = repository.get_sensor_def(name).asset_selection
        assert selection is not None
        return {key.to_user_string() for key in selection.resolve(repository.asset_graph)}

    assert taken("flow_of_models") == {"flight_delay/model"}
    assert {name.split("/")[0] for name in taken("flow_of_tables")} == {
        "staging",
        "marts",
        "features",
    }
    assert "flight_delay/training_set" in taken("flow_of_data")


def test_runs_say_who_started_them_and_are_tried_again_after_a_crash_alone(
    repository: dg.RepositoryDefinition,
) -> None:
    for name in FLOWS:
        sensor = repository.get_sensor_def(name)
        assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
        assert sensor.run_tags == {
            STARTED_BY: name,
            "dagster/max_retries": "2",
            "dagster/retry_on_asset_or_op_failure": "false",
        }


def test_nothing_is_on_by_accident_and_everything_is_described(
    repository: dg.RepositoryDefinition,
) -> None:
    for sensor in repository.sensor_defs:
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED, sensor.name
        assert sensor.description, sensor.name
    for schedule in repository.schedule_defs:
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED, schedule.name
        assert schedule.description, schedule.name


@pytest.mark.parametrize(
    ("key", "kinds", "group", "label"),
    [
        ("raw/flights", {"parquet"}, "raw", None),
        ("staging/stg_flights", {"dbt"}, "staging", "made when its inputs or code change"),
        ("features/x", {"dbt"}, "features", "made at 0 3 * * * America/New_York where"),
        ("p/training_set", set(), "p", "made at 0 5 2 * * America/New_York where"),
        ("p/model", {"xgboost"}, "p", "made when its inputs change, and at 0 5 2 * *"),
        ("p/evaluation_report", set(), "p", "made when its inputs or code change, a tick later"),
        ("p/champion", set(), "p", "made when its inputs or code change, a tick later"),
        ("p/deployed_model", set(), "p", "made when its inputs or code change"),
        ("p/predictions", set(), "p", "made when its inputs change, by the model that is deployed"),
        ("p/monitor_drift", set(), "p", "made when its inputs or code change, a tick later"),
    ],
)
def test_who_is_made_when(key: str, kinds: set[str], group: str, label: str | None) -> None:
    policy = policy_of(dg.AssetSpec(key.split("/"), kinds=kinds, group_name=group))
    assert policy is not None
    assert (policy.condition is None) == (label is None)
    if policy.condition is not None and label is not None:
        assert str(policy.condition.get_label()).startswith(label)


def test_what_nothing_is_said_of_is_left_as_it_is() -> None:
    assert policy_of(dg.AssetSpec(["elsewhere", "table"], group_name="elsewhere")) is None


def test_what_asks_for_a_gpu_is_marked() -> None:
    @dg.asset(key=["p", "model"], group_name="p", pool="gpu")
    def model() -> None: ...

    @dg.asset(key=["p", "champion"], group_name="p")
    def champion() -> None: ...

    graph = governed(dg.Definitions([model, champion])).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["p", "model"])).tags["compute/device"] == "gpu"
    assert "compute/device" not in graph.get(dg.AssetKey(["p", "champion"])).tags


def test_freshness_is_judged_on_the_cluster_and_not_where_the_data_ended_in_2013() -> None:
    enabled = {
        place: yaml.safe_load((ROOT / "infra" / place).read_text())["freshness"]["enabled"]
        for place in ("dagster.yaml", "k8s/base/dagster.yaml")
    }
    assert enabled == {"dagster.yaml": False, "k8s/base/dagster.yaml": True}
