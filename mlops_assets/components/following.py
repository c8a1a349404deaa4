"""MLflow follows what steps publish, and fails none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg

from mlops_assets.lake import Lake, PublishedPartition
from mlops_assets.tracking.connection import TrackingError
from mlops_assets.tracking.projection import Tracking

FOLLOWED = "MLflow"
"""Under what name the UI links to the page; of a branch's own registry it ends with the branch."""


def followed(
    context: dg.AssetExecutionContext,
    tracking: Tracking | None,
    lake: Lake,
    record: Callable[[Tracking, Lake, PublishedPartition], str | None],
) -> Callable[[PublishedPartition], dict[str, Any]]:
    """Have MLflow follow what was published, and the UI link to it.

    An MLflow that is down fails nothing: the lake holds everything, and `doctor` fills it in. The
    step's log says so once.

    Args:
        context: The step's.
        tracking: The MLflow; None where nothing is to follow.
        lake: The lake that was published to.
        record: Writes one partition, and returns its page in MLflow's UI.

    Returns:
        What `publishing.publish_each` calls with each partition after the merge.
    """
    following = tracking

    def follow(part: PublishedPartition) -> dict[str, Any]:
        nonlocal following
        if following is None:
            return {}
        try:
            page = record(following, lake, part)
        except TrackingError as error:
            following = None
            context.log.warning(str(error))
            return {}
        return {FOLLOWED: dg.MetadataValue.url(page)} if page else {}

    return follow
