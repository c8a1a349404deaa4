"""What somebody tags in a real lake or registry starts what its rule says, once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from lake_tables import day, publish
from ports import free_port

from mlops_assets.components.backoff import RED_AFTER
from mlops_assets.components.tag_rules import TagRules
from mlops_assets.defs.automation import tags as tag_sensor
from mlops_assets.defs.automation.tags import RULES, TagSourceError
from mlops_assets.lake import Lake
from mlops_assets.settings import settings
from mlops_assets.tracking.connection import Registry
from mlops_assets.tracking.runs import PARTITION

FLIGHTS = "marts/fct_flights"
_serial = count()


@pytest.fixture(scope="module")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty registry; making its database takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    with Registry(None, folder).opened():
        return folder


class Tagging:
    """The sensor over a lake and a registry, and what the test does to them."""

    def __init__(self, lake: Lake, registry: Registry, definitions: dg.Definitions) -> None:
        self.lake, self.registry, self.definitions = lake, registry, definitions
        self.instance = dg.DagsterInstance.get()
        self.cursor: str | None = None
        self.rules = RULES
        self.warned: list[str] = []

    def tick(self) -> str:
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.definitions
        ) as context:
            context.log.warning = self.warned.append  # type: ignore[assignment, method-assign]
            found = tag_sensor.tick(context, self.rules)
        self.cursor = found.cursor
        assert found.skip_reason is not None
        return str(found.skip_reason.skip_message)

    def commit(self, *days: str, table: str = FLIGHTS) -> str:
        """Publish days of a table; the commit of the base branch that they came with."""
        serial = next(_serial)
        content = {day(name, table): {"data.parquet": f"{serial}".encode()} for name in days}
        publish(self.lake, f"tx-{serial}", content)
        return self.lake.head()

    def tag(self, name: str, commit: str) -> None:
        self.lake.repo().tag(name).create(commit)

    def untag(self, name: str) -> None:
        self.lake.repo().tag(name).delete()

    def version(self, model: str, partition: str | None, **tags: str) -> None:
        with self.registry.opened() as client:
            client.create_registered_model(model)
            found = client.create_model_version(
                model,
                source=str(self.registry.folder),
                tags={} if partition is None else {PARTITION: partition},
                await_creation_for=0,
            )
            for key, value in tags.items():
                client.set_model_version_tag(model, found.version, key, value)

    def started(self) -> dict[str, dict[str, list[str]]]:
        """The partitions of each asset of each backfill, by its title."""
        graph = self.definitions.resolve_asset_graph()
        return {
            str(backfill.title): {
                key.to_user_string(): sorted(
                    part.partition_key or ""
                    for part in backfill.get_asset_backfill_data(
                        graph
                    ).target_subset.iterate_asset_partitions()
                    if part.asset_key == key
                )
                for key in backfill.asset_selection or ()
            }
            for backfill in self.instance.get_backfills()
        }


@pytest.fixture
def tagging(
    lake: Lake,
    empty_registry: Path,
    definitions: dg.Definitions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Tagging]:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(empty_registry, home / "mlflow")
    monkeypatch.setenv("MLOPS_HOME", str(home))
    monkeypatch.setenv("LAKEFS_REPOSITORY", lake.repository)
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", lake.credentials.endpoint)
    monkeypatch.setenv("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", lake.credentials.access_key_id)
    monkeypatch.setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", lake.credentials.secret_access_key)
    settings.cache_clear()
    with dg.instance_for_test(temp_dir=str(tmp_path)):
        yield Tagging(lake, Registry(None, home / "mlflow"), definitions)
    settings.cache_clear()


def test_a_tagged_commit_starts_what_follows_from_the_days_that_it_changed(
    tagging: Tagging,
) -> None:
    tagging.commit("2013-02-01")
    fixed = tagging.commit("2013-05-03", "2013-05-04")
    tagging.tick()
    tagging.tag("retrain-weather-fix", fixed)
    told = tagging.tick()
    [started] = tagging.started().values()
    months = started["flight_delay/training_set"]
    assert "2013-05" in months
    assert "2013-04" not in months
    models = {f"{month}|{origin}" for month in months for origin in ("EWR", "JFK", "LGA")}
    assert set(started["flight_delay/model"]) == models
    assert set(started["flight_delay/evaluation_report"]) == models
    assert models <= set(started["flight_delay/champion"])
    assert "retrain-weather-fix starts flight_delay/training_set" in told
    [backfill] = tagging.instance.get_backfills()
    assert backfill.tags["mlops/started_by"] == "tags"
    assert backfill.tags["mlops/tag"] == "retrain-weather-fix"


def test_a_tag_on_the_branch_means_the_last_change_of_the_table(tagging: Tagging) -> None:
    tagging.commit("2013-02-01")
    tagging.commit("2013-05-03")
    tagging.commit("2013-05-03", "2013-08-01", table="flight_delay/predictions")
    head = tagging.commit("2013-08-01", table="flight_delay/monitor_drift")
    tagging.tick()
    tagging.tag("retrain-weather-fix", head)
    tagging.tick()
    [started] = tagging.started().values()
    assert "2013-05" in started["flight_delay/training_set"]
    assert "2013-02" not in started["flight_delay/training_set"]
    assert tagging.warned == []


def test_a_tag_that_selects_nothing_is_a_warning(tagging: Tagging) -> None:
    tagging.tick()
    tagging.tag("retrain-nothing", tagging.commit("2013-05-03", table="flight_delay/predictions"))
    told = tagging.tick()
    assert told == "retrain-nothing starts nothing: it selects no partition of the rule retrain."
    assert tagging.warned == [told]
    assert not tagging.started()


def test_a_tag_starts_once_and_again_only_when_it_is_moved(tagging: Tagging) -> None:
    first, second = tagging.commit("2013-05-03"), tagging.commit("2013-06-03")
    tagging.tick()
    before = tagging.cursor
    tagging.tag("rescore-now", first)
    tagging.tick()
    tagging.tick()
    assert len(tagging.started()) == len(tagging.instance.get_backfills()) == 1
    # A tick that died before it could note what it had started.
    tagging.cursor = before
    tagging.tick()
    assert len(tagging.instance.get_backfills()) == 1
    tagging.untag("rescore-now")
    assert tagging.tick() == "No new tag."
    tagging.tag("rescore-now", second)
    tagging.tick()
    assert len(tagging.instance.get_backfills()) == 2


def test_what_was_tagged_before_the_sensor_was_switched_on_starts_nothing(
    tagging: Tagging,
) -> None:
    tagging.tag("retrain-old", tagging.commit("2013-05-03"))
    tagging.tick()
    tagging.tick()
    assert not tagging.started()


def test_a_tag_without_a_rule_starts_nothing(tagging: Tagging) -> None:
    tagging.tick()
    tagging.tag("release-1", tagging.commit("2013-05-03"))
    tagging.version("flight_delay.JFK", "month=2013-05/origin=JFK", evaluate="never")
    assert tagging.tick() == "No new tag."


def test_days_since_the_tag_before_are_counted_where_the_rule_says_so(tagging: Tagging) -> None:
    tagging.commit("2013-05-01")
    tagging.tag("rescore-1", tagging.commit("2013-05-02"))
    tagging.tick()
    tagging.commit("2013-05-03")
    tagging.tag("rescore-2", tagging.commit("2013-05-04"))
    tagging.tick()
    [started] = tagging.started().values()
    assert started == {"flight_delay/predictions": ["2013-05-03", "2013-05-04"]}


def test_partitions_that_nobody_knows_are_told(tagging: Tagging) -> None:
    tagging.tick()
    tagging.tag("retrain-future", tagging.commit("2031-01-01"))
    told = tagging.tick()
    assert "retrain-future starts nothing" in told
    assert "marts/fct_flights day=2031-01-01" in told


def test_a_tagged_model_is_judged_again_on_its_own_month_and_origin(tagging: Tagging) -> None:
    tagging.tick()
    tagging.version("flight_delay.JFK", "month=2013-05/origin=JFK", evaluate="again")
    tagging.version("flight_delay.EWR", "month=2013-05/origin=EWR")
    told = tagging.tick()
    assert "flight_delay.JFK@1 evaluate=again starts" in told
    [started] = tagging.started().values()
    assert started == {
        "flight_delay/evaluation_report": ["2013-05|JFK"],
        "flight_delay/champion": ["2013-05|JFK"],
    }
    tagging.tick()
    assert len(tagging.instance.get_backfills()) == 1


def test_a_version_that_does_not_come_from_the_lake_is_told(tagging: Tagging) -> None:
    tagging.tick()
    tagging.version("flight_delay.JFK", None, evaluate="again")
    assert "does not come from the lake" in tagging.tick()
    assert not tagging.started()


def test_a_version_whose_partition_is_no_name_holds_up_no_other(tagging: Tagging) -> None:
    tagging.tick()
    tagging.version("flight_delay.JFK", "../elsewhere", evaluate="again")
    tagging.version("flight_delay.LGA", "month=2013-05/origin=LGA", evaluate="again")
    told = tagging.tick()
    assert "Not known here: '../elsewhere'" in told
    assert "flight_delay.LGA@1 evaluate=again starts" in told


def test_a_registry_that_is_down_is_shown_and_holds_up_no_tag_of_the_lake(
    tagging: Tagging, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_400_000_000.0]
    monkeypatch.setattr(tag_sensor, "time", SimpleNamespace(time=lambda: now[0]))
    tagging.tick()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    settings.cache_clear()
    tagging.tag("rescore-1", tagging.commit("2013-05-02"))
    told = tagging.tick()
    assert "Reading the tags in MLflow failed once" in told
    assert len(tagging.started()) == 1
    for _ in range(RED_AFTER - 1):
        now[0] += 3600
        tagging.tick()
    now[0] += 1
    with pytest.raises(TagSourceError, match="failed 3 times in a row"):
        tagging.tick()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    settings.cache_clear()
    tagging.version("flight_delay.JFK", "month=2013-05/origin=JFK", evaluate="again")
    now[0] += 3600
    assert "flight_delay.JFK@1 evaluate=again starts" in tagging.tick()
    assert json.loads(tagging.cursor or "")["MLflow"]["backoff"] == {}


RULE = """
rules:
  - name: retrain
    source: lakefs
    tag: retrain-*
    table: marts/fct_flights
    starts: [flight_delay/training_set]
"""


@pytest.mark.parametrize(
    ("wrong", "line", "told"),
    [
        (("starts: [flight_delay/training_set]", "starts: []"), 7, "starts"),
        (("tag: retrain-*", "tags: retrain-*"), 3, "tag"),
        (("source: lakefs", "source: svn"), 3, "svn"),
        (("name: retrain", "name: Re train"), 3, "name"),
        (("flight_delay/training_set", "flight_delay/trainingset"), 7, "did you mean"),
        (("marts/fct_flights", "marts/fct_flight"), 6, "did you mean"),
        (("flight_delay/training_set", "flight_delay/champion"), 7, "not made of"),
        (
            (
                "    starts: [flight_delay/training_set]\n",
                "    starts: [flight_delay/training_set]\n" + RULE.split("rules:\n")[1],
            ),
            8,
            "two rules 'retrain'",
        ),
    ],
)
def test_a_mistake_in_a_rule_is_one_sentence_with_file_and_line(
    wrong: tuple[str, str], line: int, told: str, tmp_path: Path, definitions: dg.Definitions
) -> None:
    file = tmp_path / "tag_rules.yaml"
    file.write_text(RULE.replace(*wrong))
    with pytest.raises(dg.DagsterInvalidDefinitionError) as refused:
        TagRules.read(file, tmp_path).check(definitions.resolve_asset_graph())
    assert told in str(refused.value)
    assert f"tag_rules.yaml:{line}: " in str(refused.value)


def test_the_rules_that_come_along_name_what_exists(definitions: dg.Definitions) -> None:
    RULES.check(definitions.resolve_asset_graph())
