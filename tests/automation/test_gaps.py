"""A day that never came holds back itself, and not the days that look back on it."""

import warnings

import dagster as dg
from simulated_history import DAYS, History, asset

from mlops_assets.defs.automation import conditions

RAW, FACTS = dg.AssetKey("raw"), dg.AssetKey("facts")
NEEDS = conditions.Needs(looked_back_on=[FACTS], calendar=RAW)


def history() -> History:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        mapping = dg.TimeWindowPartitionMapping(
            start_offset=-3, allow_nonexistent_upstream_partitions=True
        )
    return History(
        [
            asset("raw"),
            asset("staged", deps=["raw"]),
            asset("facts", deps=["staged"]),
            asset(
                "features",
                conditions.flow(needs=NEEDS),
                deps=[dg.AssetDep(FACTS, partition_mapping=mapping)],
            ),
        ]
    )


def arrives(found: History, day: str, content: str = "a") -> None:
    for table in ("raw", "staged", "facts"):
        found.arrives(table, content, day)


def test_a_day_after_a_gap_is_made_and_the_gap_is_not() -> None:
    found = history()
    found.tick()
    arrives(found, "2013-06-01")
    assert found.tick() == {("features", "2013-06-01")}

    arrives(found, "2013-06-03")

    assert found.tick() == {("features", "2013-06-03")}


def test_the_gap_when_it_is_filled_moves_the_days_that_look_back_on_it() -> None:
    found = history()
    found.tick()
    for day in ("2013-06-01", "2013-06-03", "2013-06-06"):
        arrives(found, day)
    asked = found.tick()
    assert asked == {("features", day) for day in ("2013-06-01", "2013-06-03", "2013-06-06")}
    for _, day in asked:
        found.arrives("features", "a", day)
    assert found.tick() == set()

    arrives(found, "2013-06-02")

    assert found.tick() == {("features", "2013-06-02"), ("features", "2013-06-03")}


def test_days_are_mapped_to_the_same_days_where_dagster_knows_of_no_dependency() -> None:
    """What the condition relies on: no part of it is written down in Dagster's documentation."""
    graph = dg.Definitions(list(history().assets)).resolve_asset_graph()
    for parent, child in ((RAW, FACTS), (FACTS, RAW), (dg.AssetKey("features"), RAW)):
        mapping = graph.get_partition_mapping(child, parent)
        mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(
            DAYS.subset_with_partition_keys(["2013-06-05"]), DAYS, DAYS
        )
        assert list(mapped.partitions_subset.get_partition_keys()) == ["2013-06-05"]


def deployments() -> History:
    """By days in place of months: who is in force on a day was decided the day before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        before = dg.TimeWindowPartitionMapping(
            start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True
        )
    champion, model = dg.AssetKey("champion"), dg.AssetKey("model")
    return History(
        [
            asset("model"),
            asset("champion"),
            asset(
                "deployed",
                conditions.deploying(conditions.Needs(optional=[model])),
                deps=[dg.AssetDep(champion, partition_mapping=before), model],
            ),
        ]
    )


def asked(found: History) -> set[tuple[str, str | None]]:
    return found.tick() | found.tick()


def test_a_deployment_waits_for_the_champion_before_it_and_not_for_its_own_model() -> None:
    found = deployments()
    assert asked(found) == set()

    found.arrives("champion", "a", "2013-06-01")

    assert asked(found) == {("deployed", "2013-06-02")}
    found.arrives("deployed", "a", "2013-06-02")
    found.arrives("champion", "a", "2013-06-02")
    assert asked(found) == {("deployed", "2013-06-03")}


def test_the_first_deployment_waits_for_its_own_model() -> None:
    found = deployments()
    assert asked(found) == set()

    found.arrives("model", "a", "2013-06-01")

    assert asked(found) == {("deployed", "2013-06-01")}
