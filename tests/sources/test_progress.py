"""Looks at a growing collection tell everything once, whatever the order in which it turns up."""

from __future__ import annotations

import json
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.sources.known_names import pack, unpack_names
from mlops_assets.sources.progress import OVERLAP, Item, Progress

SECOND = 10**9


def item(second: int, name: str, fingerprint: str = "1") -> Item:
    return Item(second * SECOND, name, fingerprint)


def looks(
    states: list[tuple[int, list[Item]]], *, limit: int = 100
) -> tuple[list[list[str]], Progress]:
    """What each of some looks takes: at a second, with what is there then."""
    progress, told = Progress(), []
    for second, there in states:
        taken, _, progress = progress.take(there, now=second * SECOND, limit=limit)
        progress = Progress.from_text(progress.text)
        told.append([found.name for found in taken])
    return told, progress


def test_what_is_new_is_taken_once_and_oldest_first() -> None:
    a, b, c = item(10, "a"), item(20, "b"), item(30, "c")
    told, _ = looks([(40, [b, a]), (50, [a, b]), (60, [c, a, b])])
    assert told == [["a", "b"], [], ["c"]]


def test_a_replaced_thing_is_taken_again() -> None:
    told, _ = looks([(40, [item(10, "a")]), (60, [item(50, "a", "2")])])
    assert told == [["a"], ["a"]]


def test_what_turns_up_behind_what_was_seen_is_taken() -> None:
    a, late, same = item(30, "a"), item(25, "late"), item(30, "Z")
    told, _ = looks([(40, [a]), (50, [a, late, same]), (60, [a, late, same])])
    assert told == [["a"], ["late", "Z"], []]


def test_no_more_than_the_limit_is_taken_and_the_rest_at_the_next_looks() -> None:
    there = [item(10, f"{number:02}") for number in range(5)]
    told, _ = looks([(second, there) for second in (11, 12, 13, 14)], limit=2)
    assert told == [["00", "01"], ["02", "03"], ["04"], []]


def test_a_name_that_was_never_taken_is_new_whatever_time_it_bears() -> None:
    a, b, old = item(9000, "a"), item(9001, "b"), item(5, "old")
    told, _ = looks([(9010, [a]), (9020, [a, b]), (99_000, [a, b, old]), (99_030, [a, b, old])])
    assert told == [["a"], ["b"], ["old"], []]


def test_what_is_kept_stays_small_however_much_there_is() -> None:
    days = [f"flights/{date(1990, 1, 1) + timedelta(offset)}" for offset in range(10_000)]
    year = 365 * 24 * 3600
    there = [item(second * 60, day) for second, day in enumerate(days)]
    _, progress = looks([(year, there)], limit=10_000)
    assert len(progress.text) < 200
    fresh = [item(year, day) for day in days]
    told, progress = looks([(year + tick, fresh) for tick in range(0, 600, 30)], limit=50)
    assert len({name for names in told for name in names}) == 1000
    assert len(progress.text) < 20_000


@given(st.sets(st.sampled_from(["planes", *(f"t/2013-02-{day:02}" for day in range(20, 29))])))
def test_names_are_packed_and_come_out_as_they_were(names: set[str]) -> None:
    assert unpack_names(json.loads(json.dumps(pack(names)))) == names


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, OVERLAP // SECOND - 1), st.integers(0, 30)),
        max_size=25,
        unique=True,
    ),
    st.integers(1, 4),
)
def test_nothing_is_missed_and_nothing_taken_twice(
    arrivals: list[tuple[int, int]], limit: int
) -> None:
    """Each thing turns up up to ten minutes after the time that it bears."""
    progress, told = Progress(), []
    things = [
        (item(1000 + 60 * look, f"{n}"), look * 60 + late + 1000)
        for n, (late, look) in enumerate(arrivals)
    ]
    for second in range(1000, 1000 + 60 * 31 + 600 + 60 * 30, 60):
        there = [thing for thing, visible in things if visible <= second]
        taken, _, progress = progress.take(there, now=second * SECOND, limit=limit)
        told += [found.name for found in taken]
    assert sorted(told) == sorted(thing.name for thing, _ in things)


def test_progress_is_kept_as_json() -> None:
    progress = Progress(1, "a", 2, frozenset({"x"}), frozenset({"a", "t/2013-01-01"}))
    assert json.loads(progress.text)[:4] == [1, "a", 2, ["x"]]
    assert Progress.from_text(progress.text) == progress


def test_what_a_store_gives_no_time_is_taken_once_for_each_of_its_states() -> None:
    progress, told = Progress(), []
    for look, state in enumerate(["old", "old", "new", "new", "old"]):
        there = [Item(0, "planes", state), Item(10**15, "t/2013-02-20", "")]
        taken, _, progress = progress.take(there, now=10**18 + look * 10**15, limit=9)
        told.append([one.fingerprint for one in taken if one.name == "planes"])
    assert told == [["old"], [], ["new"], [], ["old"]]
