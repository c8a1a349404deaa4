"""A mistake in a problem's declaration is one sentence with its file and line."""

import json
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox
from jsonschema import Draft202012Validator
from toy_problem import ATTRIBUTES

from mlops_assets.components.faults import links, sentence
from mlops_assets.components.ml_problem import SCHEMA_FILE, MlProblem, json_schema
from mlops_assets.settings import ROOT, settings

DECLARATION = ROOT / "mlops_assets/defs/flight_delay/defs.yaml"


@pytest.fixture
def told(
    parsed_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, Any]], tuple[str, str]]:
    """Loads a declaration; returns what is said of it, and the line that is named."""
    monkeypatch.setenv("MLOPS_HOME", str(parsed_home))
    settings.cache_clear()

    def load(attributes: dict[str, Any]) -> tuple[str, str]:
        attributes = {**attributes, "project": str(ROOT / "dbt_project")}
        with create_defs_folder_sandbox() as sandbox:
            folder = sandbox.scaffold_component(
                component_cls=MlProblem,
                defs_yaml_contents={"type": "unused", "attributes": attributes},
            )
            file = folder / "defs.yaml"
            file.write_text(
                yaml.safe_dump(
                    {
                        "type": f"{MlProblem.__module__}.MlProblem",
                        "attributes": attributes,
                    },
                    sort_keys=False,
                )
            )
            try:
                with sandbox.load_component_and_build_defs(defs_path=folder):
                    return "", ""
            except Exception as error:  # noqa: BLE001 - whatever is said of it is looked at
                text = sentence(links(error), place="")
                lines = file.read_text().splitlines()
                number = int(text.partition("defs.yaml:")[2].partition(":")[0])
                return text, lines[number - 1]

    yield load
    settings.cache_clear()


def changed(path: str, value: Any) -> dict[str, Any]:
    attributes = deepcopy(ATTRIBUTES)
    *parents, name = path.split(".")
    place = attributes
    for parent in parents:
        place = place[parent]
    place[name] = value
    return attributes


def training(when: dict[str, str], profile: str = "gpu-large") -> dict[str, Any]:
    return {"profile": "gpu-small", "partitions": [{"when": when, "profile": profile}]}


def test_the_toy_problem_is_declared_without_a_mistake(told) -> None:
    assert told(ATTRIBUTES) == ("", "")


@pytest.mark.parametrize(
    ("path", "value", "says", "line"),
    [
        ("spine.features", ["carier"], "did you mean 'carrier'?", "- carier"),
        ("spine.features", ["carrier", "carrier"], "named a second time", "- carrier"),
        ("spine.keys", ["origin", "origin"], "named a second time", "- origin"),
        ("spine.features", ["carrier", "is_late"], "known only with the label", "- is_late"),
        ("spine.table", "marts/flights", "no dbt model 'marts/flights'", "table: marts/flights"),
        ("spine.label", "late", "did you mean 'is_late'?", "label: late"),
        ("spine.lead_minutes", 0, "greater than 0", "lead_minutes: 0"),
        (
            "spine.label_known_at",
            "scheduled_departure_at",
            "before its event has ended",
            "label_known_at: scheduled_departure_at",
        ),
        ("feature_views", ["wether_now"], "did you mean 'weather_now'?", "- wether_now"),
        (
            "feature_views",
            ["weather_now:temprature_f"],
            "did you mean 'temperature_f'?",
            "- weather_now:temprature_f",
        ),
        (
            "feature_views",
            ["weather_now", "weather_now:temperature_f"],
            "named a second time",
            "- weather_now:temperature_f",
        ),
        ("gates.brier_skil", {"above": 0}, "no such field", "brier_skil:"),
        ("gates.slice_roc_auc.column", "dest", "no slice 'dest'", "column: dest"),
        ("gates.brier_skill", {}, "Field required", "brier_skill: {}"),
        ("slices", ["carrier", "month"], "no column of the training set 'month'", "- month"),
        ("baseline", [], "at least 1 item", "baseline: []"),
        ("segment", "airport", "no column of marts/fct_flights 'airport'", "segment: airport"),
        ("end_month", "2013-04", "is not after first_month", "end_month: 2013-04"),
        ("first_month", "2013-4", "should match pattern", "first_month: 2013-4"),
        ("time_zone", "New York", "no time zone 'New York'", "time_zone: New York"),
        ("training_months", 0, "greater than 0", "training_months: 0"),
        ("estimator.trees", 5, "no such field", "trees: 5"),
        ("costs.miss", -1, "greater than 0", "miss: -1"),
        ("window", 3, "no such field", "window: 3"),
        ("training", {"profile": "gpu-smal"}, "mean 'gpu-small'?", "profile: gpu-smal"),
        ("training", training({"origin": "SFO"}), "no origin 'SFO'", "origin: SFO"),
        ("training", training({"month": "2013-04"}, "big"), "no profile 'big'", "profile: big"),
        ("training", training({"airport": "JFK"}), "no dimension 'airport'", "airport: JFK"),
        ("training", training({"month": "2013-4"}), "are written %Y-%m", "month: 2013-4"),
    ],
)
def test_a_mistake_is_told_with_its_line(told, path: str, value, says: str, line: str) -> None:
    text, found = told(changed(path, value))
    assert says in text
    assert line in found.replace("'", "")
    assert "\n" not in text
    assert len(text) < 600


def test_the_editors_schema_is_the_one_that_is_committed() -> None:
    written = json.dumps(json_schema(), indent=1) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SCHEMA_FILE.write_text(written)
    assert SCHEMA_FILE.read_text() == written, "UPDATE_SNAPSHOTS=1 writes it anew"


def test_the_schema_takes_the_example_and_refuses_a_misspelt_gate() -> None:
    declared = yaml.safe_load(DECLARATION.read_text())
    validator = Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
    assert list(validator.iter_errors(declared)) == []
    declared["attributes"]["gates"]["brier_skil"] = {"above": 0}
    assert [error.path[-1] for error in validator.iter_errors(declared)] == ["gates"]


def test_the_example_names_its_schema_for_editors() -> None:
    first = DECLARATION.read_text().splitlines()[0]
    named = first.partition("$schema=")[2]
    assert (DECLARATION.parent / named).resolve() == SCHEMA_FILE
