"""Numbers at places where the days before had none are a shift, however few values a column has."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from made_up_days import Columns, made_up_day

from mlops_assets.monitors.charts import compared
from mlops_assets.monitors.distribution import bin_names
from mlops_assets.monitors.drift import Drift
from mlops_assets.monitors.history import History

FEATURE = "weather__knots"
DRIFT = Drift((FEATURE,), 1e-6)
ROWS, DAYS = 400, 28

Numbers = npt.NDArray[np.float64]
Moved = Callable[[Numbers], Numbers]


def drawn(shares: dict[float, float]) -> Callable[[int], Numbers]:
    """Days that have each number in about this share of the rows."""

    def day(place: int) -> Numbers:
        draw = np.random.default_rng(place)
        return draw.choice([float(value) for value in shares], ROWS, p=list(shares.values()))

    return day


def once(day: Callable[[int], Numbers], *rare: float) -> Callable[[int], Numbers]:
    """Such days, of which the fifth has these numbers too, each in one row."""

    def with_rare(place: int) -> Numbers:
        numbers = day(place)
        if place == 5:
            numbers[: len(rare)] = rare
        return numbers

    return with_rare


def gaps(day: Callable[[int], Numbers]) -> Callable[[int], Numbers]:
    """Such days, of whose rows a third has no number."""

    def with_gaps(place: int) -> Numbers:
        numbers = day(place)
        numbers[::3] = np.nan
        return numbers

    return with_gaps


def zeros_and_more(place: int) -> Numbers:
    draw = np.random.default_rng(place)
    return np.where(draw.random(ROWS) < 0.6, 0.0, draw.exponential(50, ROWS))


def moved(value: float, to: float) -> Moved:
    return lambda numbers: np.where(numbers == value, to, numbers)


def after(day: Callable[[int], Numbers], change: Moved) -> History:
    def column(place: int) -> Callable[[Columns], None]:
        numbers = day(place)
        return lambda columns: columns.update(
            {FEATURE: change(numbers) if place == DAYS else numbers}
        )

    *before, today = [
        made_up_day(place, rows=ROWS, change=column(place)) for place in range(DAYS + 1)
    ]
    return History(today, before, DAYS, 14)


HALVES = drawn({0: 0.5, 1: 0.5})
FEW_ONES = drawn({0: 0.92, 1: 0.08})
THREE = drawn({1: 0.3, 2: 0.4, 3: 0.3})
TEN = drawn(dict.fromkeys(range(10), 0.1))
CONSTANT = drawn({7: 1.0})


def most(to: float) -> Moved:
    """Six rows of ten have this number."""
    return lambda numbers: np.where(np.arange(ROWS) % 10 < 6, to, numbers)


@pytest.mark.parametrize(
    ("day", "change"),
    [
        (HALVES, moved(1, 0.5)),
        (HALVES, moved(0, 0.5)),
        (HALVES, moved(0, -0.05)),
        (HALVES, moved(1, 1.05)),
        (HALVES, moved(1, 7)),
        (HALVES, lambda numbers: numbers / 2 + 0.25),
        (HALVES, lambda numbers: np.nextafter(numbers, -np.inf)),
        (HALVES, lambda numbers: np.nextafter(numbers, np.inf)),
        (gaps(HALVES), moved(1, 0.5)),
        (FEW_ONES, most(-0.05)),
        (FEW_ONES, most(-1)),
        (FEW_ONES, most(0.5)),
        (FEW_ONES, most(1.05)),
        (drawn({-3e38: 0.5, 3e38: 0.5}), moved(3e38, 0)),
        (drawn({4: 0.5, 5: 0.5}), moved(4, 3)),
        (THREE, moved(2, 1.5)),
        (THREE, moved(3, 2.5)),
        (THREE, moved(1, 0.5)),
        (THREE, moved(3, 4)),
        (TEN, lambda numbers: numbers - 0.5),
        (TEN, lambda numbers: numbers - np.where(np.arange(ROWS) % 2, 0.5, 0)),
        (TEN, lambda numbers: np.where(numbers > 6, 20, numbers)),
        (CONSTANT, most(6.5)),
        (once(CONSTANT, 6), most(6.5)),
        (once(CONSTANT, 6), most(5)),
        (once(CONSTANT, 8), most(7.5)),
        (once(CONSTANT, 6, 8), most(6.5)),
        (once(CONSTANT, 6, 8), most(7.5)),
        (once(CONSTANT, 6, 8), most(9)),
        (zeros_and_more, moved(0, -1)),
        (once(zeros_and_more, -5), moved(0, -1)),
    ],
)
def test_numbers_between_or_beyond_those_of_the_days_before_are_a_shift(
    day: Callable[[int], Numbers], change: Moved
) -> None:
    assert DRIFT.look(after(day, change)).findings.subjects == ["weather"]


@pytest.mark.parametrize(
    "day",
    [
        HALVES,
        gaps(HALVES),
        FEW_ONES,
        THREE,
        TEN,
        once(CONSTANT, 6),
        once(CONSTANT, 6, 8),
        zeros_and_more,
    ],
)
def test_a_further_day_of_the_same_numbers_is_none(day: Callable[[int], Numbers]) -> None:
    unchanged = after(day, lambda numbers: numbers)
    a_record = after(day, lambda numbers: np.append(numbers[:-1], 1e6))
    assert DRIFT.look(unchanged).findings.alarms == []
    assert DRIFT.look(a_record).findings.alarms == []


def test_each_of_two_numbers_has_a_bin_and_what_lies_between_and_beyond_has_others() -> None:
    made = after(HALVES, lambda _: np.repeat([-2.0, 0.0, 0.5, 1.0, 3.0], ROWS // 5))
    days = made.comparable(FEATURE)
    assert bin_names(days) == ["below 0", "0", "below 1", "1", "above 1"]
    [chart] = compared(FEATURE, days, made.today.values(FEATURE))
    assert chart.today == [0.2] * 5
    assert [share > 0 for share in chart.before] == [False, True, False, True, False]


def test_a_day_within_the_range_is_measured_by_the_tenths_alone() -> None:
    def day(place: int) -> Numbers:
        return np.random.default_rng(place).permutation(np.arange(ROWS, dtype=float))

    [chart] = compared(
        FEATURE, (made := after(day, lambda n: n)).comparable(FEATURE), made.today.values(FEATURE)
    )
    assert chart.today == chart.before == [0.1] * 10
