"""Which commits of the lake somebody keeps by name: those that models and reports in MLflow name.

What a model was made from needs no name of its own: it lies in the history of the model's commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mlops_assets.tracking.connection import Registry
from mlops_assets.tracking.projection import pages
from mlops_assets.tracking.runs import COMMIT, PIN, REPORT_COMMIT

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NAMING = (COMMIT, PIN, REPORT_COMMIT)


def pinned_commits(registries: Iterable[Registry]) -> set[str]:
    """The commits that runs and registered versions name.

    A run in MLflow's bin counts: it can be brought back until MLflow's own `gc` empties the bin.

    Raises:
        TrackingError: A registry does not answer: nobody knows then what may go.
    """
    commits: set[str] = set()
    for registry in registries:
        if registry.exists:
            with registry.opened() as client:
                commits |= _named(client)
    return commits


def _named(client: MlflowClient) -> set[str]:
    from mlflow.entities import ViewType

    every = ViewType.ALL
    experiments = [
        found.experiment_id
        for found in pages(lambda at: client.search_experiments(every, page_token=at))
    ]
    tags: list[Any] = [
        run.data.tags
        for run in pages(
            lambda at: client.search_runs(experiments, run_view_type=every, page_token=at)
        )
    ]
    tags += [
        version.tags for version in pages(lambda at: client.search_model_versions(page_token=at))
    ]
    return {found[name] for found in tags for name in _NAMING if name in found}
