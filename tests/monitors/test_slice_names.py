"""How the values of a column name slices."""

import numpy as np
from made_up_days import FIRST

from mlops_assets.monitors.history import DayRows, codes_of


def test_two_numbers_are_two_slices() -> None:
    numbers = np.array([1234567.0, 1234568.0, 12.0, -0.0, 0.1, 0.1 + 0.2, 1e22, np.nan])
    named = codes_of(DayRows(FIRST, len(numbers), {"number": numbers}), "number")
    assert named.tolist() == [
        *("1234567", "1234568", "12", "0", "0.1", "0.30000000000000004"),
        *("10000000000000000000000", ""),
    ]
