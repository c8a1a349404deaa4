"""A changed unit shows in values that never were; a record, or a free-running column, not."""

import numpy as np
import numpy.typing as npt
import pytest

from mlops_assets.monitors.history import Values
from mlops_assets.monitors.novelty import far_outside_share, novelty

KNOTS = np.arange(3, 25) * 1.15078
FAHRENHEIT = np.arange(50, 85).astype(float)


def values(entries: npt.ArrayLike) -> Values:
    distinct, counts = np.unique(np.asarray(entries), return_counts=True)
    return Values(distinct, counts, 0)


def days(of: npt.NDArray[np.float64], rows: int = 300) -> list[Values]:
    draw = np.random.default_rng(0)
    return [values(draw.choice(of, rows)) for _ in range(28)]


def rainy(days: int) -> list[Values]:
    draw = np.random.default_rng(1)
    rain = np.round(np.arange(1, 20) * 0.01, 2)
    return [values(np.concatenate([np.zeros(250), draw.choice(rain, 50)])) for _ in range(days)]


@pytest.mark.parametrize(
    ("reference", "today"),
    [
        (days(FAHRENHEIT), ((FAHRENHEIT - 32) / 1.8).round(1)),
        (days(KNOTS), KNOTS * 1.609344),
        (days(KNOTS), KNOTS * 0.44704),
        ([values([10.0] * 300)] * 28, [16.09] * 300),
        (rainy(28), [0.0] * 250 + [25.4 * 0.01, 25.4 * 0.02, 25.4 * 0.05, 25.4 * 0.11]),
        ([values(["EWR", "JFK"] * 100)] * 28, ["KEWR", "KJFK"] * 100),
    ],
    ids=[
        "degrees in Celsius",
        "miles in kilometres",
        "miles an hour in metres a second",
        "one value in another unit",
        "rain in millimetres",
        "names in another code",
    ],
)
def test_a_changed_unit_is_an_alarm(reference: list[Values], today: npt.ArrayLike) -> None:
    assert novelty(reference, values(today)).alarm


@pytest.mark.parametrize(
    ("reference", "today"),
    [
        (days(FAHRENHEIT), FAHRENHEIT + 3),
        (days(FAHRENHEIT), [85.0, 86.0, 87.0] * 100),
        (rainy(28), [0.0] * 300),
        (rainy(28), [0.0] * 290 + [0.21] * 10),
        ([values(np.random.default_rng(day).normal(0, 1, 300)) for day in range(28)], [5.0] * 300),
    ],
    ids=["some new", "a heat record", "no rain", "one heavy rain", "never the same twice"],
)
def test_what_is_new_by_nature_is_none(reference: list[Values], today: npt.ArrayLike) -> None:
    assert not novelty(reference, values(today)).alarm


def test_values_beyond_the_range_by_more_than_its_width_lie_far_outside() -> None:
    reference = [values(FAHRENHEIT)] * 3
    assert far_outside_share(reference, values([60.0, 100.0, 288.0, 290.0])) == 0.5
    assert far_outside_share(reference, values(["a"])) == 0.0
