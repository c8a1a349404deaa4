"""Data versions are content, by partition: only what really changed makes anything stale."""

from collections.abc import Callable
from pathlib import Path

from installation import DAILY, FEATURES, MARTS, WHOLE, Installation, reading
from small_source import Row, small_source

OUTCOME = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")

Stale = Callable[[Installation], set[tuple[str, str | None]]]


def test_a_range_and_then_one_identical_day_make_nothing_stale(
    built: Installation, stale: Stale
) -> None:
    assert stale(built) == set()
    before = built.lake.head()

    assert built.materialize(["raw/flights"], "2013-01-02").success
    assert stale(built) == set()
    assert built.materialize(WHOLE).success
    assert stale(built) == set()
    assert built.materialize(DAILY, "2013-01-03").success
    assert stale(built) == set()
    assert built.lake.head() == before


def test_one_changed_day_makes_exactly_its_downstream_stale(
    built: Installation, stale: Stale, tmp_path: Path
) -> None:
    with reading(small_source(tmp_path / "source", _cancelled_on_the_third)):
        assert built.materialize(["raw/flights"], ("2013-01-02", "2013-01-04")).success
    assert stale(built) == {("staging/stg_flights", "2013-01-03")}

    assert built.materialize(MARTS, "2013-01-03").success
    assert stale(built) == {
        (view, day)
        for view in FEATURES
        for day in ("2013-01-03", "2013-01-04")
        if view not in ("features/weather_now", "features/calendar")
    }


def _cancelled_on_the_third(row: Row) -> None:
    if row["day"] == "3" and row["arr_delay"] == "20":
        row.update(dict.fromkeys(OUTCOME, "NA"))
