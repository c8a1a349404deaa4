"""MLflow opens our own format and nothing else."""

import pickle
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from mlops_assets.ml.model import NotAModelError
from mlops_assets.tracking import loader


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_in_a_models_place_is_refused_unopened(tmp_path: Path) -> None:
    data = tmp_path / "model.ubj"
    data.write_bytes(pickle.dumps(Bomb(tmp_path / "opened")))
    with pytest.raises(NotAModelError, match="a pickle, and was not opened"):
        loader._load_pyfunc(str(data))
    assert not (tmp_path / "opened").exists()


def test_a_frame_is_predicted_as_its_rows_are(tmp_path: Path) -> None:
    from lake_results import model, rows

    data = tmp_path / "model.ubj"
    data.write_bytes(model(1).to_ubj())
    frame = rows(1).to_pandas().set_index(pd.Index(range(1, 401)))
    assert (loader._load_pyfunc(str(data)).predict(frame) == model(1).predict(rows(1))).all()


def test_another_whole_model_in_its_place_is_refused(tmp_path: Path) -> None:
    from lake_results import model

    data = tmp_path / "model.ubj"
    data.write_bytes(model(2).to_ubj())
    named = {loader.DIGEST: sha256(model(1).to_ubj()).hexdigest()}
    with pytest.raises(NotAModelError, match="is not the one that the lake published"):
        loader._load_pyfunc(str(data), named)
