"""A partition with too many bad rows fails by name; the decision is about counts alone."""

from datetime import date

import pytest

from mlops_assets.components.quarantine import PartitionCount, reason_counts, verdict

DAY = date(2013, 6, 14)


@pytest.mark.parametrize(
    ("accepted", "quarantined", "max_share", "passes"),
    [
        (0, 0, 0.0, True),
        (100, 0, 0.0, True),
        (99, 1, 0.01, True),
        (98, 2, 0.01, False),
        (999, 1, 0.0, False),
        (0, 1, 0.5, False),
    ],
)
def test_a_partition_passes_up_to_the_share_of_its_contract(
    accepted, quarantined, max_share, passes
):
    count = PartitionCount(DAY, accepted, quarantined, {"distance is missing": quarantined})
    assert verdict("flights", max_share, [count]).passed is passes


def test_a_good_verdict_says_what_was_quarantined_and_why():
    counts = [PartitionCount(None, 14, 2, {"name is missing": 2, "carrier is missing": 1})]
    assert verdict("airlines", 0.2, counts).sentence == (
        "airlines: 2 of 16 rows are quarantined: name is missing (2 times), "
        "carrier is missing (1 times)."
    )


def test_a_bad_verdict_names_the_days_the_counts_and_the_most_frequent_reasons():
    counts = [
        PartitionCount(date(2013, 6, day), 90, bad, {"dest is origin": bad, "origin is missing": 1})
        for day, bad in ((1, 10), (2, 0), (3, 20), (4, 30), (5, 40))
    ]
    found = verdict("flights", 0.01, counts)
    assert [count.day.day for count in found.exceeded] == [1, 3, 4, 5]
    assert found.sentence == (
        "flights: more than 1.00% of the rows break the contract: 10 of 100 rows of 2013-06-01, "
        "20 of 110 rows of 2013-06-03, 30 of 120 rows of 2013-06-04 and 1 more days. Most "
        "frequent: dest is origin (100 times), origin is missing (4 times). Correct the source, "
        "or the contract if it is the rule that is wrong."
    )


def test_a_row_with_two_reasons_counts_for_both():
    assert reason_counts(["a; b", "b"]) == {"a": 1, "b": 2}
