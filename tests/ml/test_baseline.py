import pyarrow as pa
import pytest

from mlops_assets.ml.baseline import RateBaseline
from mlops_assets.ml.labels import UnusableRowsError

ROWS = pa.table(
    {
        "carrier": ["AA", "AA", "AA", "UA", "UA", None],
        "hour": [6, 6, 7, 6, 6, 6],
        "late": [True, False, True, False, False, True],
    }
)


def test_without_smoothing_it_is_the_rate_of_the_group():
    baseline = RateBaseline.fit(ROWS, columns=["carrier", "hour"], label="late", smoothing=0)
    assert baseline.predict(ROWS).tolist() == [0.5, 0.5, 1, 0, 0, 1]


def test_smoothing_adds_rows_of_the_overall_rate():
    baseline = RateBaseline.fit(ROWS, columns=["carrier", "hour"], label="late", smoothing=2)
    assert baseline.predict(ROWS).tolist() == pytest.approx(
        [2 / 4, 2 / 4, 2 / 3, 1 / 4, 1 / 4, 2 / 3]
    )


def test_a_group_never_seen_has_the_overall_rate():
    baseline = RateBaseline.fit(ROWS, columns=["carrier", "hour"], label="late", smoothing=0)
    assert baseline.predict(pa.table({"carrier": ["B6"], "hour": [6]})).tolist() == [0.5]


def test_it_counts_the_same_in_any_order():
    columns = ["carrier", "hour"]
    fitted = RateBaseline.fit(ROWS, columns=columns, label="late")
    assert fitted == RateBaseline.fit(ROWS.take([5, 3, 1, 0, 2, 4]), columns=columns, label="late")
    assert fitted.groups["AA", 6] == (2, 1)
    assert fitted.name == "carrier \N{MULTIPLICATION SIGN} hour rate"


def test_a_missing_column_is_named():
    with pytest.raises(UnusableRowsError, match="The baseline needs the columns 'dest'"):
        RateBaseline.fit(ROWS, columns=["carrier", "dest"], label="late")
