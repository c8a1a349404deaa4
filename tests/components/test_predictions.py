"""Predictions: who scores a day, with what, and what its rows say of it."""

from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_problem import Toy, made_up, problem_definitions

from mlops_assets.components.partition_files import FILE
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Partition, TablePartition
from mlops_assets.ml.deployment import Deployment

MONTHS = ("2013-04", "2013-05")
FLIGHTS, WEATHER = "marts/fct_flights", "features/weather_now"
WITH_WEATHER = {"feature_views": ["weather_now:temperature_f"]}
MODELS = ("toy/model", "toy/evaluation_report", "toy/champion")


def publish(toy: Toy, table: str, *days: date) -> None:
    """Publish made-up rows of a table, all days at once."""
    name = f"{table.replace('/', '-')}-{days[0]}-{toy.lake.head()[:8]}"
    folders = {toy.folder / name / str(day): day for day in days}
    for folder, day in folders.items():
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(ROWS[table](day)), folder / FILE)
    described = describe_tables(folders)
    with toy.lake.transaction(f"tx-{name}", [table]) as transaction:
        transaction.write(
            {
                TablePartition(table, Partition.of({"day": day.isoformat()})): (
                    described[folder],
                    folder,
                )
                for folder, day in folders.items()
            }
        )
        transaction.publish(f"made-up {table}", {})


def flights(day: date, count: int = 12) -> list[dict[str, Any]]:
    departures = [datetime(day.year, day.month, day.day, 9 + n % 14) for n in range(count)]
    return [
        {
            "scheduled_departure_at": departure,
            "origin": ("EWR", "JFK")[n % 2],
            "carrier": ("AA", "DL", "UA")[n % 3],
            "flight_number": n,
            "flight_date": day,
            "scheduled_departure_hour": departure.hour,
            "distance_miles": 100 + 200 * n,
            # Cancelled flights have no label, and are scored like any other.
            "is_late": None if n == 0 else n > 8,
            "outcome_known_at": departure + timedelta(hours=3),
        }
        for n, departure in enumerate(departures)
    ]


def weather(day: date) -> list[dict[str, Any]]:
    return [
        {
            "feature_day": day,
            "feature_at": datetime(day.year, day.month, day.day, hour),
            "origin": origin,
            "temperature_f": day.day + hour / 2,
        }
        for hour in range(24)
        for origin in ("EWR", "JFK")
    ]


ROWS = {FLIGHTS: flights, WEATHER: weather}


def run(toy: Toy, asset: str, *keys: str, **attributes: Any) -> dg.ExecuteInProcessResult:
    definitions = dg.Definitions.merge(
        problem_definitions(**attributes),
        dg.Definitions(
            resources={"lake": toy.lake, "tracking": None}, executor=dg.in_process_executor
        ),
    )
    span = (
        {
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        }
        if len(keys) > 1
        else {}
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=toy.instance,
        partition_key=None if span else keys[0],
        tags=span,
        asset_selection=[dg.AssetKey(asset.split("/"))],
        raise_on_error=False,
    )


def deployed(toy: Toy, month: str, origin: str) -> Deployment:
    key = TablePartition("toy/deployed_model", Partition.of({"month": month, "origin": origin}))
    return Deployment.from_json(toy.lake.snapshot().read(key, "deployed_model.json"))


def predictions(toy: Toy, day: date) -> pa.Table:
    snapshot = toy.lake.snapshot()
    stored = snapshot.require("toy/predictions", [Partition.of({"day": day.isoformat()})])
    [path] = snapshot.files(list(stored.values()))
    return pq.read_table(path, partitioning=None)


@pytest.fixture
def trained(toy: Toy) -> Toy:
    for month in MONTHS:
        rows = [row for origin in ("EWR", "JFK") for row in made_up(month, origin, rows=600)]
        toy.publish(month, rows)
    assert toy.run("2013-04|EWR", "2013-05|JFK", assets=MODELS).success
    return toy


def test_a_month_is_scored_by_the_champion_of_the_months_before(trained: Toy) -> None:
    assert run(trained, "toy/deployed_model", "2013-04|EWR", "2013-06|JFK").success

    first, second, third = (deployed(trained, month, "JFK") for month in (*MONTHS, "2013-06"))
    assert first.in_force_as == "first model"
    assert first.model.partition == "month=2013-04/origin=JFK"
    assert second.in_force_as == third.in_force_as == "champion"
    assert second.model == trained.decision("2013-04|JFK").champion
    assert third.model == trained.decision("2013-05|JFK").champion


def test_a_model_made_again_byte_for_byte_keeps_its_commit(trained: Toy) -> None:
    assert run(trained, "toy/deployed_model", "2013-05|JFK").success
    before = deployed(trained, "2013-05", "JFK")
    model = TablePartition("toy/model", Partition.of({"month": "2013-04", "origin": "JFK"}))
    with trained.lake.transaction("tx-away", ["toy/model"]) as transaction:
        transaction.remove([model])
        transaction.publish("a model goes", {})
    assert trained.run("2013-04|JFK", assets=["toy/model"]).success

    assert run(trained, "toy/deployed_model", "2013-05|JFK").success

    assert deployed(trained, "2013-05", "JFK") == before


def test_a_month_without_champion_and_model_has_nobody_to_score_it(toy: Toy) -> None:
    result = run(toy, "toy/deployed_model", "2013-04|JFK")

    assert not result.success
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert "toy/model month=2013-04/origin=JFK does not exist" in str(event.step_failure_data.error)


def test_every_row_names_its_model_and_the_data_that_it_learnt_from(trained: Toy) -> None:
    day = date(2013, 5, 2)
    publish(trained, FLIGHTS, day)
    assert run(trained, "toy/deployed_model", "2013-05|EWR", "2013-05|JFK").success

    assert run(trained, "toy/predictions", "2013-05-02").success

    rows = predictions(trained, day)
    assert rows.num_rows == 12
    assert "is_late" not in rows.column_names
    for row in rows.to_pylist():
        found = deployed(trained, "2013-05", row["origin"])
        assert 0 < row["score"] < 1
        assert row["predicted_at"] == row["scheduled_departure_at"] - timedelta(hours=2)
        assert (row["model"], row["model_sha256"]) == (found.model.partition, found.model.sha256)
        assert row["in_force_as"] == "champion"
        assert row["model_commit"] == found.commit
        assert row["model_data_commit"] == found.data_commit
        assert trained.lake.commit_info(found.commit)["parents"] == [found.data_commit]


def test_one_days_missing_events_hold_no_other_day_back(trained: Toy) -> None:
    publish(trained, FLIGHTS, date(2013, 5, 2), date(2013, 5, 4))
    assert run(trained, "toy/deployed_model", "2013-05|EWR", "2013-05|JFK").success

    result = run(trained, "toy/predictions", "2013-05-02", "2013-05-04")

    assert not result.success
    stored = trained.lake.snapshot().stored("toy/predictions")
    assert [dict(part.values)["day"] for part in stored] == ["2013-05-02", "2013-05-04"]


def test_a_view_that_is_optional_may_be_missing_and_is_null(trained: Toy) -> None:
    """The day's own readings never came; of the day before they did, and are hours too old."""
    declared = {**WITH_WEATHER, "optional_views": ["weather_now"]}
    days = [date(2013, 5, number) for number in (1, 2, 4)]
    publish(trained, FLIGHTS, *days)
    publish(trained, WEATHER, days[0])
    assert run(trained, "toy/deployed_model", "2013-05|EWR", "2013-05|JFK").success

    for day in days:
        assert run(trained, "toy/predictions", day.isoformat(), **declared).success

    first, second, third = (predictions(trained, day) for day in days)
    assert first["weather_now__temperature_f"].null_count == 0
    known = first.to_pylist()[0]["weather_now__known_at"]
    assert known == first.to_pylist()[0]["predicted_at"]
    assert second["weather_now__temperature_f"].null_count == second.num_rows
    assert third["weather_now__known_at"].null_count == third.num_rows
    assert second.schema == first.schema == third.schema


def test_a_view_that_is_not_optional_must_be_there(trained: Toy) -> None:
    day = date(2013, 5, 2)
    publish(trained, FLIGHTS, day)
    publish(trained, WEATHER, date(2013, 5, 1))
    assert run(trained, "toy/deployed_model", "2013-05|EWR", "2013-05|JFK").success

    result = run(trained, "toy/predictions", day.isoformat(), **WITH_WEATHER)

    [event] = [event for event in result.all_events if event.is_step_failure]
    assert "features/weather_now day=2013-05-02 does not exist" in str(
        event.step_failure_data.error
    )


def test_a_prediction_is_made_of_what_its_row_in_the_training_set_says(toy: Toy) -> None:
    """The same rows by another way: a month at once with labels, a day alone without."""
    days = [date(2013, 4, 1) + timedelta(days=number) for number in range(61)]
    publish(toy, FLIGHTS, *days)
    publish(toy, WEATHER, *days)
    assert run(toy, "toy/training_set", "2013-05", **WITH_WEATHER).success
    assert run(toy, "toy/model", "2013-05|EWR", "2013-05|JFK", **WITH_WEATHER).success
    assert run(toy, "toy/deployed_model", "2013-05|EWR", "2013-05|JFK", **WITH_WEATHER).success

    assert run(toy, "toy/predictions", "2013-05-20", **WITH_WEATHER).success

    snapshot = toy.lake.snapshot()
    [path] = snapshot.files(list(snapshot.require("toy/training_set").values()))
    learnt = pq.read_table(path, partitioning=None, filters=[("flight_date", "=", days[49])])
    names = [name for name in learnt.column_names if name not in ("is_late", "split")]
    scored = predictions(toy, days[49]).select(names)
    assert learnt.num_rows == 11
    by_key = {row["flight_number"]: row for row in scored.to_pylist()}
    assert all(by_key[row["flight_number"]] == row for row in learnt.select(names).to_pylist())
    assert learnt.select(names).schema.types == scored.schema.types


def test_predictions_map_to_the_deployed_models_of_their_month() -> None:
    resources = dg.Definitions(resources={"lake": None, "tracking": None})
    definitions = dg.Definitions.merge(problem_definitions(), resources)
    graph = definitions.resolve_asset_graph()
    mapping = graph.get_partition_mapping(
        dg.AssetKey(["toy", "predictions"]), dg.AssetKey(["toy", "deployed_model"])
    )
    days = graph.get(dg.AssetKey(["toy", "predictions"])).partitions_def
    models = graph.get(dg.AssetKey(["toy", "deployed_model"])).partitions_def
    assert days is not None
    assert models is not None
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        days.subset_with_partition_keys(["2013-05-31"]), days, models
    )
    assert set(found.partitions_subset.get_partition_keys()) == {"2013-05|EWR", "2013-05|JFK"}
