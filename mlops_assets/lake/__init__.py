"""Versioned data: pins, tables of partitions, transactions.

Belongs here: everything that turns lakeFS branches, commits and objects into tables whose
partitions are published whole or not at all. Reaches any lakeFS server, the embedded one
included, through the official client over HTTP. The one thing that it asks of a server is whether
the server's folder is its own and on this machine: such files need not travel.

Does not belong here: Dagster, dbt, models, or what a column means.
"""

from mlops_assets.lake.connection import Credentials, Lake
from mlops_assets.lake.errors import (
    ConflictError,
    LakeError,
    MissingPartitionError,
    UnmergedError,
    UnreachableLakeError,
)
from mlops_assets.lake.history import (
    changed_between,
    changes,
    find_file,
    find_version,
    first_maker,
    makers,
    newest_change,
)
from mlops_assets.lake.inputs import Input, Version
from mlops_assets.lake.manifest import File, Manifest
from mlops_assets.lake.partition import Partition, TablePartition
from mlops_assets.lake.snapshot import Snapshot, StoredPartition, Unreadable
from mlops_assets.lake.transaction import Publication, PublishedPartition, Transaction

__all__ = [
    "ConflictError",
    "Credentials",
    "File",
    "Input",
    "Lake",
    "LakeError",
    "Manifest",
    "MissingPartitionError",
    "Partition",
    "Publication",
    "PublishedPartition",
    "Snapshot",
    "StoredPartition",
    "TablePartition",
    "Transaction",
    "UnmergedError",
    "UnreachableLakeError",
    "Unreadable",
    "Version",
    "changed_between",
    "changes",
    "find_file",
    "find_version",
    "first_maker",
    "makers",
    "newest_change",
]
