"""The record of which model scores a month, and since when it is known by which name.

Commits stand in these bytes, because every prediction carries them: the ones that first held the
model, so that a model made again byte for byte changes nothing.
"""

from __future__ import annotations

from typing import Literal

from mlops_assets.ml.decision import ModelPin
from mlops_assets.ml.stored import Stored

InForceAs = Literal["champion", "first model"]


class Deployment(Stored):
    """Which model scores a month's events of one segment."""

    model: ModelPin
    commit: str
    """The work commit that names the model."""
    data_commit: str
    """The commit that the model's training data was read from."""
    in_force_as: InForceAs
    """`champion` of an earlier month; `first model`: before any decision, the month's own."""
    reason: str
    """Why, in a sentence for people."""
