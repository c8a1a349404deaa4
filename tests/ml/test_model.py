import json
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.ml.model import Model, NotAModelError
from mlops_assets.ml.training import Estimator, train

ROWS = pa.table({"id": range(40), "x": range(40), "y": [0, 0, 1, 0, 1] * 8})


@pytest.fixture(scope="module")
def ubj():
    parameters = Estimator(rounds=2, min_child_weight=0, threads=1)
    return train(ROWS, features=["x"], label="y", keys=["id"], parameters=parameters).to_ubj()


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_unopened(protocol):
    trap = pickle.dumps(Trap(), protocol)
    pickle.loads(trap)
    assert Trap.sprung
    Trap.sprung = False
    with pytest.raises(NotAModelError, match="not an XGBoost model in UBJ form"):
        Model.from_ubj(trap)
    assert not Trap.sprung


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The file is empty"),
        (pickle.dumps({}), "The file is a pickle, and was not opened"),
        (json.dumps({"learner": {}}).encode(), "The file is JSON"),
        (b"PK\x03\x04", "The file is a zip archive"),
        (b"binf\x00", "The file begins with b'binf'"),
        (b"{L\x00\x00", "carries no seal"),
    ],
)
def test_what_is_no_model_is_refused_by_what_it_is(data, message):
    with pytest.raises(NotAModelError, match=message):
        Model.from_ubj(data)


def test_every_damaged_model_is_refused_before_xgboost_reads_it(ubj):
    for place in range(0, len(ubj), 41):
        flipped = bytes([*ubj[:place], ubj[place] ^ 1, *ubj[place + 1 :]])
        for damaged in (flipped, ubj[:place], ubj + ubj[: place + 1]):
            with pytest.raises(NotAModelError):
                Model.from_ubj(damaged)


def test_reading_a_model_unpickles_nothing(ubj):
    script = (
        "import pickle, sys\n"
        "def refuse(*_, **__): raise SystemExit('unpickled')\n"
        "pickle.loads = pickle.load = refuse\n"
        "from mlops_assets.ml.model import Model\n"
        "print(Model.from_ubj(sys.stdin.buffer.read()).record.rows)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=ubj, capture_output=True, check=True)
    assert done.stdout.strip() == b"40"


def test_importance_is_the_mean_effect_and_the_order_of_the_rows_leaves_no_trace():
    draw = np.random.default_rng(3)
    strong, weak = draw.normal(size=3_000), draw.normal(size=3_000)
    late = draw.random(3_000) < 1 / (1 + np.exp(-2 * strong - 0.2 * weak))
    rows = pa.table({"id": range(3_000), "strong": strong, "weak": weak, "y": late})
    model = train(
        rows,
        features=["strong", "weak"],
        label="y",
        keys=["id"],
        parameters=Estimator(rounds=30, depth=3),
    )
    found = model.importance(rows)
    assert found["strong"] > 3 * found["weak"] > 0
    assert model.importance(rows.take(draw.permutation(3_000))) == found
    odds = np.log(scores := model.predict(rows)) - np.log(1 - scores)
    assert found["strong"] == pytest.approx(np.abs(odds - odds.mean()).mean(), rel=0.2)
