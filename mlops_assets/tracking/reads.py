"""What a notebook read of the lake, noted in the MLflow run that is active there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from mlops_assets.lake import Input, StoredPartition, Version
from mlops_assets.lake.snapshot import Snapshot
from mlops_assets.tracking.runs import PIN

SOURCE_TYPE = "lakefs"
DIGEST_LENGTH = 36
"""The longest digest of a dataset that MLflow takes."""


def note_read(snapshot: Snapshot, read: Iterable[StoredPartition]) -> None:
    """Note the pin of a read, and what it read of a table, in the active run; else nothing.

    MLflow is looked at only where the notebook has imported it: without, no run can be active.

    Args:
        snapshot: The pin.
        read: The partitions of one table.
    """
    mlflow = sys.modules.get("mlflow")
    run = mlflow and mlflow.active_run()
    if not run:
        return
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, DatasetInput

    found = Input.of(Version(part.key, part.manifest.data_version) for part in read)
    source = {
        "uri": f"lakefs://{snapshot.lake.repository}/{snapshot.commit}/{found.table}",
        "partitions": found.partitions,
        "first": found.first,
        "last": found.last,
        "digest": found.digest,
    }
    client = MlflowClient()
    dataset = Dataset(
        name=found.table,
        digest=found.digest[:DIGEST_LENGTH],
        source_type=SOURCE_TYPE,
        source=json.dumps(source),
    )
    client.log_inputs(run.info.run_id, datasets=[DatasetInput(dataset)])
    client.set_tag(run.info.run_id, PIN, snapshot.commit)
