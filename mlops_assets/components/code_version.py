"""Code versions of assets that are written in Python: digests of the source that makes them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def code_version(*modules: str) -> str:
    """A digest of the source of modules and packages, by their dotted names.

    Read from the files, so that no heavy library is imported for it.

    Raises:
        ModuleNotFoundError: There is no such module.
    """
    digest = hashlib.sha256()
    for module in modules:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module {module!r} to take a code version of.")
        origin = Path(spec.origin)
        sources = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
        for source in sources:
            digest.update(f"\0{source.name}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:32]
