import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.ml.labels import UnusableRowsError
from mlops_assets.ml.model import Model
from mlops_assets.ml.training import Estimator, train

KEYS = ["month", "day", "carrier", "flight", "origin"]
FEATURES = ["carrier", "dest", "hour", "distance", "origin"]
SMALL = Estimator(rounds=12, depth=4, threads=1)


def trained(rows, parameters=SMALL, features=FEATURES):
    return train(rows, features=features, label="late", keys=KEYS, parameters=parameters)


@pytest.fixture(scope="module")
def model(first_week):
    return trained(first_week)


def test_the_order_of_the_rows_leaves_no_trace_in_the_bytes(first_week, model):
    shuffled = first_week.take(np.random.default_rng(3).permutation(first_week.num_rows))
    assert trained(shuffled).to_ubj() == model.to_ubj()


@pytest.mark.parametrize("threads", [2, 4])
def test_the_number_of_threads_leaves_no_trace_in_the_bytes(first_week, model, threads):
    parameters = SMALL.model_copy(update={"threads": threads})
    assert trained(first_week, parameters).to_ubj() == model.to_ubj()


def test_dictionary_encoded_text_trains_the_same_model(first_week, model):
    encoded = first_week
    for name in ("carrier", "dest"):
        place = encoded.schema.get_field_index(name)
        encoded = encoded.set_column(place, name, encoded[name].dictionary_encode())
    assert trained(encoded).to_ubj() == model.to_ubj()


def test_another_seed_trains_another_model(first_week, model):
    assert trained(first_week, SMALL.model_copy(update={"seed": 1})).to_ubj() != model.to_ubj()


def test_the_model_learns_which_flights_are_late(second_week, model):
    late = second_week["late"].to_numpy()
    scores = model.predict(second_week)
    assert scores[late].mean() > scores[~late].mean()


def test_the_bytes_alone_suffice_to_predict(second_week, model):
    again = Model.from_ubj(model.to_ubj())
    assert again.record == model.record
    assert again.to_ubj() == model.to_ubj()
    np.testing.assert_array_equal(again.predict(second_week), model.predict(second_week))


def test_the_record_says_what_was_trained_on_and_how(first_week, model):
    record = model.record
    assert [feature.name for feature in record.features] == FEATURES
    assert record.features[0].vocabulary == tuple(sorted(set(first_week["carrier"].to_pylist())))
    assert (record.label, record.keys) == ("late", tuple(KEYS))
    assert record.rows == first_week.num_rows
    assert record.positives == sum(first_week["late"].to_pylist())
    assert Estimator(**record.parameters) == SMALL.model_copy(update={"threads": 0})


def with_column(rows, name, values):
    return rows.set_column(rows.schema.get_field_index(name), name, values)


def test_an_unseen_category_is_a_missing_value(second_week, model):
    rows = second_week.slice(0, 50)
    unseen = with_column(rows, "carrier", pa.array(["never flown"] * 50))
    missing = with_column(rows, "carrier", pa.array([None] * 50, pa.string()))
    untyped = with_column(rows, "carrier", pa.nulls(50))
    scores = model.predict(unseen)
    np.testing.assert_array_equal(scores, model.predict(missing))
    np.testing.assert_array_equal(scores, model.predict(untyped))
    assert not np.array_equal(scores, model.predict(rows))


def test_columns_are_found_by_name_whatever_their_order(second_week, model):
    backwards = second_week.select(second_week.column_names[::-1])
    np.testing.assert_array_equal(model.predict(backwards), model.predict(second_week))


def test_no_rows_give_no_scores(second_week, model):
    assert model.predict(second_week.slice(0, 0)).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop_columns(["hour", "dest"]), "needs the columns 'dest', 'hour'"),
        (
            lambda rows: with_column(rows, "hour", rows["hour"].cast(pa.string())),
            "'hour' was a number when the model was trained and has the type string now",
        ),
        (
            lambda rows: with_column(rows, "carrier", rows["hour"]),
            "'carrier' was text when the model was trained and has the type int64 now",
        ),
        (
            lambda rows: with_column(rows, "hour", pa.array([1e39] * rows.num_rows)),
            "'hour' holds a value beyond what a 32-bit float can carry",
        ),
    ],
)
def test_rows_that_do_not_fit_the_model_are_refused(second_week, model, change, message):
    with pytest.raises(UnusableRowsError, match=message):
        model.predict(change(second_week))


@pytest.mark.parametrize(
    ("change", "features", "message"),
    [
        (lambda rows: rows.slice(0, 0), FEATURES, "was given no rows"),
        (lambda rows: rows.filter(rows["late"]), FEATURES, "needs both outcomes in 'late'"),
        (
            lambda rows: with_column(rows, "late", rows["arr_delay"]),
            FEATURES,
            "needs 0 or 1",
        ),
        (
            lambda rows: with_column(rows, "late", pa.nulls(rows.num_rows, pa.bool_())),
            FEATURES,
            "rows without a 'late'",
        ),
        (lambda rows: pa.concat_tables([rows, rows]), FEATURES, "add a key or remove the dup"),
        (lambda rows: rows.drop_columns(["flight"]), FEATURES, "needs the columns 'flight'"),
        (lambda rows: rows, ["carrier", "misspelt"], "needs the columns 'misspelt'"),
        (lambda rows: rows, ["carrier", "late"], "the label 'late' not among them"),
        (lambda rows: rows, [], "it was given none"),
        (lambda rows: rows, ["time_hour"], "derive one from it in its feature view"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_refused(first_week, change, features, message):
    with pytest.raises(UnusableRowsError, match=message):
        trained(change(first_week), features=features)


def test_truth_values_decimals_and_nulls_are_numbers(first_week):
    rows = (
        first_week.append_column("early", pa.compute.less(first_week["hour"], 12))
        .append_column("miles", first_week["distance"].cast(pa.decimal128(21, 2)))
        .append_column("empty", pa.nulls(first_week.num_rows))
    )
    model = trained(rows, features=["early", "miles", "empty"])
    assert [feature.vocabulary for feature in model.record.features] == [None, None, None]
    assert np.isfinite(model.predict(rows)).all()
