"""MLflow follows what steps publish; one that is down fails nothing and is filled in later."""

from pathlib import Path

import dagster as dg
import pytest
from toy_problem import Toy, made_up

from mlops_assets.tracking.connection import Registry
from mlops_assets.tracking.projection import Tracking

MONTH, KEY = "2013-04", "2013-04|JFK"
DOWN = "http://127.0.0.1:9"


@pytest.fixture
def taught(toy: Toy) -> Toy:
    toy.publish(MONTH, made_up(MONTH, "JFK", rows=2_000))
    return toy


def warnings(toy: Toy, result: dg.ExecuteInProcessResult) -> list[str]:
    return [
        entry.user_message
        for entry in toy.instance.all_logs(result.run_id)
        if entry.level == 30 and entry.dagster_event is None
    ]


def test_a_registry_that_is_down_fails_nothing_and_is_filled_in_when_it_is_back(
    taught: Toy, tmp_path: Path
) -> None:
    down = Tracking(Registry(DOWN, tmp_path / "mlflow"))
    result = taught.run(KEY, tracking=down)
    assert result.success
    told = warnings(taught, result)
    assert len(told) == len(("model", "report", "champion"))
    assert all(DOWN in sentence and "doctor" in sentence for sentence in told)
    in_force = taught.decision(KEY).champion

    back = Tracking(Registry(None, tmp_path / "mlflow"))
    filled = back.fill_in(taught.lake)
    assert [len(found) for found in (filled.models, filled.reports, filled.champions)] == [1, 1, 1]
    assert back.version("toy.JFK", 1).model == in_force
    assert len(back.fill_in(taught.lake)) == 0


def test_each_step_links_to_what_it_wrote(taught: Toy, tmp_path: Path) -> None:
    tracking = Tracking(Registry(None, tmp_path / "mlflow"))
    assert taught.run(KEY, tracking=tracking).success
    for name in ("model", "evaluation_report", "champion"):
        record = taught.instance.get_latest_materialization_event(dg.AssetKey(["toy", name]))
        assert record is not None
        assert record.asset_materialization is not None
        link = record.asset_materialization.metadata["MLflow"]
        assert str(link.value).startswith("http://127.0.0.1:5000/#/")
    assert len(tracking.fill_in(taught.lake)) == 0
