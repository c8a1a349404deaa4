"""Which model scores a month: the champion that was in force when the month began.

The champion of a month is decided on that month's outcomes. Scored by it, the same month would look
better than anybody could have predicted then.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from mlops_assets.components.champion import in_force_before
from mlops_assets.lake import Snapshot, first_maker
from mlops_assets.ml.decision import ModelPin
from mlops_assets.ml.deployment import Deployment, InForceAs
from mlops_assets.tracking.results import MODEL, MODEL_FILE, Place, model_key


def deploy(snapshot: Snapshot, place: Place) -> Deployment:
    """Name the model that scores a month of a segment.

    The newest champion of an earlier month. Before any was decided, the month's own model, which
    was trained on the months before: chosen over nothing, it saw nothing of what it scores.

    Args:
        snapshot: The pin.
        place: Month and segment of a problem.

    Raises:
        MissingPartitionError: No champion was decided before, and the month has no model.
    """
    champion = in_force_before(snapshot, place)
    if champion is None:
        own = place.table(MODEL)
        [file] = snapshot.require(own.table, [own.partition])[own.partition].manifest.files
        model = ModelPin(partition=own.partition.path, sha256=file.sha256)
        return _deployment(
            snapshot, place, model, "first model", "no champion was decided before this month"
        )
    return _deployment(
        snapshot, place, champion, "champion", "the newest decision before this month named it"
    )


def _deployment(
    snapshot: Snapshot, place: Place, model: ModelPin, in_force_as: InForceAs, reason: str
) -> Deployment:
    key = model_key(place.problem, model)
    commit, pin = first_maker(snapshot, key, MODEL_FILE, model.sha256)
    return Deployment(
        model=model, commit=commit, data_commit=pin, in_force_as=in_force_as, reason=reason
    )


def show(deployment: Deployment) -> dict[str, Any]:
    """A deployment as metadata for the UI."""
    return {
        "model": deployment.model.partition,
        "in force as": deployment.in_force_as,
        "why": dg.MetadataValue.md(f"**{deployment.in_force_as}**: {deployment.reason}"),
        "model's SHA-256": deployment.model.sha256,
        "model's commit": deployment.commit,
        "commit of its training data": deployment.data_commit,
    }
