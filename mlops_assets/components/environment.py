"""The environment that a result was made in, as every commit records it."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

from mlops_assets.components.provenance import ENVIRONMENT
from mlops_assets.settings import ROOT

WRITERS = {
    "dbt-adapters": "dbt.adapters.base",
    "dbt-core": "dbt.version",
    "dbt-duckdb": "dbt.adapters.duckdb",
    "duckdb": "duckdb",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "pandas": "pandas",
    "pandera": "pandera",
    "pyarrow": "pyarrow",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "xgboost": "xgboost",
}
"""A new version of one of these may write other bytes for the same rows, or judge them otherwise;
each with a module of its own."""


@cache
def environment() -> dict[str, str]:
    """Versions of Python and of what decides results, and the digest of the lock they came from.

    Returns:
        Them by their names in a commit's metadata; the lock is missing where only the package is
        installed and not the repository.
    """
    found = {name: _version(name, module) for name, module in WRITERS.items()}
    found["python"] = platform.python_version()
    found["machine"] = platform.machine()
    found["instructions"] = _instructions()
    lock = ROOT / "requirements.lock"
    if lock.is_file():
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        found["requirements.lock"] = f"sha256:{digest}"
    return {f"{ENVIRONMENT}{name}": value for name, value in found.items()}


def _version(name: str, module: str) -> str:
    """The version of an installed package, and whose code runs in its place if another's does.

    A file of the module's name in the working directory or on PYTHONPATH is imported instead of
    the package, and the package's version would say nothing about it.
    """
    installed, spec = distribution(name), find_spec(module)
    origin = Path(spec.origin) if spec and spec.origin else None
    place = Path(str(installed.locate_file(""))).resolve()
    if origin is not None and origin.resolve().is_relative_to(place):
        return installed.version
    return f"{installed.version}, replaced by {origin}"


def _instructions() -> str:
    """The groups of processor instructions that numbers are computed with.

    The last digits of a sum or a logarithm may depend on them, and NPY_DISABLE_CPU_FEATURES and
    ARROW_USER_SIMD_LEVEL choose among what the machine has.
    """
    import numpy as np
    import pyarrow as pa

    numpys = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return " ".join(
        [*numpys.get("baseline", ()), *numpys.get("found", ()), pa.runtime_info().simd_level]
    )
