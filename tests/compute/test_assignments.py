"""Which profile a step asks for, by the partitions that it makes."""

from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.compute.assignment import Rule, profiled, profiles_of
from mlops_assets.compute.profiles import ProfileError, Profiles

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2013-01", end_date="2014-01", fmt="%Y-%m")
ORIGINS = dg.StaticPartitionsDefinition(["LGA", "EWR", "JFK"])
BOTH = dg.MultiPartitionsDefinition({"month": MONTHS, "origin": ORIGINS})
DYNAMIC = dg.DynamicPartitionsDefinition(name="customers")
DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01")
BRITISH_DAYS = dg.DailyPartitionsDefinition(start_date="01/01/2013", fmt="%d/%m/%Y")


def asked(
    rules: list[tuple[dict[str, str], str]],
    partitions: dg.PartitionsDefinition[str],
    span: tuple[str, str],
) -> list[str]:
    arguments = profiled(
        "gpu-small",
        group="g",
        rules=[Rule(when=when, profile=profile) for when, profile in rules],
        partitions=partitions,
    )
    return profiles_of(arguments["op_tags"], "cpu-small", span)


@pytest.mark.parametrize(
    ("span", "wanted"),
    [
        (("2013-04|EWR", "2013-04|EWR"), ["gpu-large"]),
        (("2013-04|JFK", "2013-04|JFK"), ["gpu-small"]),
        (("2013-04|EWR", "2013-12|EWR"), ["gpu-large"]),
        (("2013-04|EWR", "2013-12|JFK"), ["gpu-large", "gpu-small"]),
        (("2013-04|LGA", "2013-12|LGA"), ["gpu-small"]),
    ],
)
def test_a_rule_holds_for_a_segment(span: tuple[str, str], wanted: list[str]) -> None:
    assert asked([({"origin": "EWR"}, "gpu-large")], BOTH, span) == wanted


@pytest.mark.parametrize(
    ("span", "wanted"),
    [
        (("2013-05", "2013-05"), ["gpu-small"]),
        (("2013-06", "2013-06"), ["gpu-large"]),
        (("2013-05", "2013-06"), ["gpu-large", "gpu-small"]),
        (("2013-06", "2013-08"), ["gpu-large"]),
        (("2013-09", "2013-12"), ["gpu-small"]),
    ],
)
def test_a_rule_holds_for_a_range_of_time(span: tuple[str, str], wanted: list[str]) -> None:
    assert asked([({"partition": "2013-06..2013-08"}, "gpu-large")], MONTHS, span) == wanted


def test_the_first_rule_that_matches_holds() -> None:
    rules = [({"origin": "EWR", "month": "2013-07"}, "gpu-large"), ({"origin": "EWR"}, "gpu-mig")]
    assert asked(rules, BOTH, ("2013-07|EWR", "2013-07|EWR")) == ["gpu-large"]
    assert asked(rules, BOTH, ("2013-08|EWR", "2013-08|EWR")) == ["gpu-mig"]


def test_a_range_in_no_known_order_counts_as_holding_all() -> None:
    rules = [({"partition": "b"}, "gpu-large")]
    assert asked(rules, DYNAMIC, ("b", "b")) == ["gpu-large"]
    assert asked(rules, DYNAMIC, ("a", "a")) == ["gpu-small"]
    assert asked(rules, DYNAMIC, ("a", "z")) == ["gpu-large", "gpu-small"]


def test_a_step_that_names_none_gets_the_default() -> None:
    assert profiles_of(profiled(group="g")["op_tags"], "cpu-small", None) == ["cpu-small"]
    assert profiles_of({}, "cpu-small", ("2013-01", "2013-02")) == ["cpu-small"]


def test_steps_with_a_gpu_count_in_its_pool() -> None:
    assert profiled("gpu-small", group="g")["pool"] == "gpu"
    assert profiled("cpu-large", group="g")["pool"] is None
    rules = [Rule(when={"partition": "LGA"}, profile="gpu-small")]
    mixed = profiled("cpu-small", group="g", rules=rules, partitions=ORIGINS)
    assert mixed["pool"] == "gpu"


def test_steps_that_name_none_count_in_the_pool_if_the_default_has_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text(
        "cluster: gke\ndefault: gpu\nprofiles:\n  gpu: {cpu: 1, memory: 1Gi, gpus: 1}\n"
    )
    profiles = Profiles.load(path)
    monkeypatch.setattr("mlops_assets.compute.assignment.configured_profiles", lambda: profiles)
    assert profiled(group="g")["pool"] == "gpu"


def test_days_whose_keys_do_not_sort_are_in_no_known_order() -> None:
    rules = [({"partition": "15/06/2013"}, "gpu-large")]
    assert asked(rules, BRITISH_DAYS, ("15/06/2013", "15/06/2013")) == ["gpu-large"]
    assert asked(rules, BRITISH_DAYS, ("20/01/2013", "20/01/2013")) == ["gpu-small"]
    assert asked(rules, BRITISH_DAYS, ("20/05/2013", "01/07/2013")) == ["gpu-large", "gpu-small"]


@pytest.mark.parametrize(
    ("partitions", "key"), [(ORIGINS, "SFO"), (BOTH, "2013-04"), (BOTH, "2013-04|SFO")]
)
def test_a_partition_that_the_rules_do_not_know_is_told(
    partitions: dg.PartitionsDefinition[str], key: str
) -> None:
    dimension = "partition" if partitions is ORIGINS else "origin"
    with pytest.raises(ProfileError, match="is no partition of an asset of this run"):
        asked([({dimension: "EWR"}, "gpu-large")], partitions, (key, key))


@pytest.mark.parametrize(
    ("profile", "when", "partitions", "said"),
    [
        ("gpu-smal", {"partition": "LGA"}, ORIGINS, "did you mean 'gpu-small'"),
        ("gpu-small", {"airport": "LGA"}, BOTH, "the partitions have month, origin"),
        ("gpu-small", {"origin": "SFO"}, BOTH, "names 'SFO': the values of origin are"),
        ("gpu-small", {"partition": "LGA"}, None, "for an asset that has none"),
        ("gpu-small", {"partition": "JFK..LGA"}, ORIGINS, "ends before it begins"),
        ("gpu-small", {"month": "2013-08..2013-06"}, BOTH, "ends before it begins"),
        ("gpu-small", {"month": "2013-06.."}, BOTH, "names '': the values of month are written"),
        ("gpu-small", {"month": "2013-6"}, BOTH, "names '2013-6': the values of month are"),
        ("gpu-small", {"partition": "2013-06..2013-08"}, DAYS, "are written %Y-%m-%d"),
        ("gpu-small", {"partition": "a..c"}, DYNAMIC, "the order of partition is not known"),
        ("gpu-small", {"partition": "01/06/2013..02/06/2013"}, BRITISH_DAYS, "is not known"),
    ],
)
def test_a_mistaken_rule_is_an_error_as_it_is_declared(
    profile: str, when: dict[str, str], partitions: dg.PartitionsDefinition[str], said: str
) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=said):
        profiled(
            "gpu-small", group="g", rules=[Rule(when=when, profile=profile)], partitions=partitions
        )
