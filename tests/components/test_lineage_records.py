"""What materializations say of columns, and how it is read back."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from toy_problem import FEATURES, ORIGINS, Toy, made_up

from mlops_assets.components.column_lineage import SHOWN, STANDARD, metadata, recorded
from mlops_assets.components.sql_lineage import ROWS, Column, Columns, origins
from mlops_assets.lake import Lake
from mlops_assets.settings import settings

MODEL = dg.AssetKey(["toy", "model"])
SOURCE = "toy/training_set"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def report(instance: dg.DagsterInstance, table: str, **columns: set[Column]) -> None:
    """Have the record say what a table's columns come from."""
    lineage = {table: {name: frozenset(deps) for name, deps in columns.items()}}
    for key, said in metadata(instance, lineage).items():
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=said))


def goes_back_to(instance: dg.DagsterInstance, table: str, column: str) -> Columns:
    """The columns that a column goes back to, of tables that no query made."""
    return origins(recorded(instance, [table]), Column(table, column))


def test_a_column_is_followed_from_record_to_record(instance: dg.DagsterInstance) -> None:
    kept = {Column("raw/a", "x"), Column("raw/a", ROWS)}
    report(instance, "s/kept", x=kept, y={*kept, Column("raw/b", "y"), Column("raw/b", ROWS)})
    report(instance, "s/counted", n={Column("s/kept", ROWS)})
    report(instance, "s/read", y={Column("s/kept", "y"), Column("s/kept", ROWS)})
    assert goes_back_to(instance, "s/counted", "n") == {Column("raw/a", "x")}
    assert goes_back_to(instance, "s/read", "y") == {
        Column("raw/a", "x"),
        Column("raw/b", "y"),
    }


def test_a_column_of_which_only_the_rows_are_read_is_named_as_rows(
    instance: dg.DagsterInstance,
) -> None:
    report(instance, "s/counted", n={Column("s/kept", ROWS)})
    event = instance.get_latest_materialization_event(dg.AssetKey(["s", "counted"]))
    said = event.asset_materialization.metadata
    [dep] = said[STANDARD].column_lineage.deps_by_column["n"]
    assert (dep.asset_key, dep.column_name) == (dg.AssetKey(["s", "kept"]), ROWS)
    assert "[s/kept](/assets/s/kept): its rows" in said[SHOWN].value


def test_the_columns_of_a_model_are_its_features(
    lake: Lake, tmp_path: Path, parsed_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_HOME", str(parsed_home))
    settings.cache_clear()
    with dg.DagsterInstance.ephemeral() as instance:
        toy = Toy(lake, tmp_path / "made-up", instance)
        rows = [row for origin in ORIGINS for row in made_up("2013-04", origin, rows=600)]
        toy.publish("2013-04", rows)
        assert toy.run("2013-04|EWR", "2013-04|JFK").success
        newest, *others = instance.fetch_materializations(MODEL, limit=10).records
        found = newest.asset_materialization.metadata[STANDARD].column_lineage.deps_by_column
        assert found.keys() == set(FEATURES)
        assert not any(STANDARD in other.asset_materialization.metadata for other in others)
        assert goes_back_to(instance, "/".join(MODEL.path), "carrier") == {
            Column(SOURCE, "carrier")
        }
    settings.cache_clear()
