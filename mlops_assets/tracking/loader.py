"""How MLflow opens a model of ours: our own format or nothing, and never a pickle.

MLflow imports this module by the name that the artefact carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.ml.model import Model, NotAModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


DIGEST = "sha256"
"""What the artefact's configuration calls the digest of the model's bytes in the lake."""


class FrameModel:
    """A model that takes pandas frames, as MLflow hands them over."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The probability of the label being 1 for each row; see `Model.predict`."""
        import pyarrow as pa

        return self._model.predict(pa.Table.from_pandas(rows, preserve_index=False))


def _load_pyfunc(data_path: str, model_config: Mapping[str, str] | None = None) -> FrameModel:
    """Open the artefact's data file.

    Args:
        data_path: The file.
        model_config: What the artefact says of it: the digest that the lake names. Artefacts of
            earlier versions say nothing.

    Raises:
        NotAModelError: It is no model of ours, or not the one that was published.
    """
    content = Path(data_path).read_bytes()
    named = (model_config or {}).get(DIGEST)
    if named is not None and sha256(content).hexdigest() != named:
        raise NotAModelError(
            f"The model is not the one that the lake published with SHA-256 {named[:12]}…: delete "
            "its run in MLflow, then run `mlops-assets doctor`, which writes it again."
        )
    return FrameModel(Model.from_ubj(content))
