"""A day's events scored by the models in force, with features as of each prediction time.

The log of what was predicted: keys, features, score, and in every row the model that gave it and
the data that model had learnt from. Outcomes are not in it; they arrive later and elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.components.champion import read_model
from mlops_assets.components.partition_files import FILE, write_table
from mlops_assets.components.sql_lineage import ROWS, Column, Columns
from mlops_assets.components.training_set import TrainingSet
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Manifest, Partition, Snapshot, TablePartition
from mlops_assets.ml.deployment import Deployment
from mlops_assets.ml.model import Model
from mlops_assets.tracking.results import DEPLOYED, DEPLOYED_FILE, MONTH

if TYPE_CHECKING:
    import pyarrow as pa

SCORE = "score"
MODEL_COLUMNS = ("model", "model_sha256", "model_commit", "model_data_commit", "in_force_as")


@dataclass
class Scoring:
    """How a step scores days.

    Attributes:
        problem: The problem's name.
        training_set: What its models' features are and how they are joined.
        models: The models that this step has read, by their digest.
    """

    problem: str
    training_set: TrainingSet
    models: dict[str, Model] = field(default_factory=dict)

    def build(
        self, snapshot: Snapshot, partition: Partition, folder: Path
    ) -> tuple[Manifest, dict[str, Any]]:
        """Score one day.

        Args:
            snapshot: The pin to read from.
            partition: The day.
            folder: Where the file is written.

        Returns:
            Its manifest, and what the UI is to show of it.

        Raises:
            MissingPartitionError: The day's events or features, or the deployed model of a segment
                that has events, do not exist at the pin.
            UnusableRowsError: A feature that a model learnt from is missing or of another kind.
        """
        import pyarrow as pa

        day = date.fromisoformat(dict(partition.values)["day"])
        rows = self.training_set.day(snapshot, day, folder)
        segments = rows[self.training_set.segment]
        deployed = {
            segment: self._deployed(snapshot, day, segment)
            for segment in sorted(set(segments.to_pylist()))
        }
        scored = self._scored(snapshot, rows, deployed)
        named = [deployed[segment] for segment in segments.to_pylist()]
        values = (
            [found.model.partition for found in named],
            [found.model.sha256 for found in named],
            [found.commit for found in named],
            [found.data_commit for found in named],
            [found.in_force_as for found in named],
        )
        for name, column in zip(MODEL_COLUMNS, values, strict=True):
            scored = scored.append_column(name, pa.array(column, pa.string()))
        write_table(scored, folder / FILE)
        return describe_tables([folder])[folder], _shown(scored, deployed)

    def _deployed(self, snapshot: Snapshot, day: date, segment: str) -> Deployment:
        values = {MONTH: f"{day:%Y-%m}", self.training_set.segment: segment}
        key = TablePartition(f"{self.problem}/{DEPLOYED}", Partition.of(values))
        return Deployment.from_json(snapshot.read(key, DEPLOYED_FILE))

    def _scored(
        self, snapshot: Snapshot, rows: pa.Table, deployed: Mapping[str, Deployment]
    ) -> pa.Table:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        scores = np.empty(rows.num_rows)
        for segment, found in deployed.items():
            mask = pc.equal(rows[self.training_set.segment], segment)
            model = self._model(snapshot, found)
            scores[np.asarray(mask)] = model.predict(rows.filter(mask))
        return rows.append_column(SCORE, pa.array(scores, pa.float64()))

    def _model(self, snapshot: Snapshot, deployment: Deployment) -> Model:
        # Read for each day, so that what each day was made from names it; decoded once.
        content = read_model(snapshot, self.problem, deployment.model)
        sha256 = deployment.model.sha256
        if sha256 not in self.models:
            self.models[sha256] = Model.from_ubj(content)
        return self.models[sha256]

    def column_lineage(self, day: date) -> dict[str, Columns]:
        """The upstream columns that its columns depend on, the same on every day."""
        found = self.training_set.day_lineage(day)
        features = frozenset[Column]().union(
            *(found[name.lower()] for name in self.training_set.features)
        )
        deployed = Column(f"{self.problem}/{DEPLOYED}", ROWS)
        return {
            **found,
            SCORE: features | {deployed},
            **{name: frozenset({deployed}) for name in MODEL_COLUMNS},
        }


def _shown(scored: pa.Table, deployed: Mapping[str, Deployment]) -> dict[str, Any]:
    import numpy as np

    scores = np.asarray(scored[SCORE])
    models = "\n".join(
        f"| {segment} | {found.model.partition} | {found.in_force_as} | `{found.commit[:12]}` | "
        f"`{found.data_commit[:12]}` |"
        for segment, found in deployed.items()
    )
    return {
        **({"mean score": float(scores.mean())} if len(scores) else {}),
        "scored by": dg.MetadataValue.md(
            "| segment | model | in force as | its commit | its data |\n"
            f"| --- | --- | --- | --- | --- |\n{models}"
        ),
    }
