"""How MLflow opens a model of ours: our own format or nothing, and never a pickle.

MLflow imports this module by the name that the artefact carries.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.ml.model import Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


class FrameModel:
    """A model that takes pandas frames, as MLflow hands them over."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The probability of the label being 1 for each row; see `Model.predict`."""
        import pyarrow as pa

        return self._model.predict(pa.Table.from_pandas(rows, preserve_index=False))


def _load_pyfunc(data_path: str) -> FrameModel:
    """Open the artefact's data file.

    Raises:
        NotAModelError: It is not the bytes of a model of ours.
    """
    return FrameModel(Model.from_ubj(Path(data_path).read_bytes()))
