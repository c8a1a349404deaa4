"""The environment that a result was made in, as every commit records it."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version

from mlops_assets.components.provenance import ENVIRONMENT
from mlops_assets.settings import ROOT

# A new version of one of these may write other bytes for the same rows.
WRITERS = (
    "dbt-adapters",
    "dbt-core",
    "dbt-duckdb",
    "duckdb",
    "matplotlib",
    "numpy",
    "pyarrow",
    "xgboost",
)


@cache
def environment() -> dict[str, str]:
    """Versions of Python and of what writes bytes, and the digest of the lock they came from.

    Returns:
        Them by their names in a commit's metadata; the lock is missing where only the package is
        installed and not the repository.
    """
    found = {name: version(name) for name in WRITERS}
    found["python"] = platform.python_version()
    found["machine"] = platform.machine()
    lock = ROOT / "requirements.lock"
    if lock.is_file():
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        found["requirements.lock"] = f"sha256:{digest}"
    return {f"{ENVIRONMENT}{name}": value for name, value in found.items()}
