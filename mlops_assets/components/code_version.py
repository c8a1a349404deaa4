"""Code versions of assets: digests of the source and of the declarations that make them."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def code_version(*modules: str, declared: object = None) -> str:
    """A digest of modules and packages, by their dotted names, and of a declaration.

    Args:
        modules: Whose source makes the asset; of a package every file, since a style sheet makes
            bytes as code does. Read from the files: no heavy library is imported for it.
        declared: What else decides what the asset holds, told apart by its `repr`. A set has
            another one in every process: it would have the asset made anew at each start.

    Raises:
        ModuleNotFoundError: There is no such module.
    """
    parts = [*map(_source, modules), repr(declared)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def edited_since() -> list[Path]:
    """Files that code versions of this process count, edited since and yet to be imported.

    Heavy modules are imported where they are used. One that was edited meanwhile would run under
    the code version of its old text; one that is in memory already is as it was.
    """
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return sorted(
        path
        for path, digest in _counted.items()
        if str(path) not in loaded and _digest(path) != digest
    )


_counted: dict[Path, str | None] = {}
"""The digest of each file that a code version of this process counts."""


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


@cache
def _source(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {module!r} to take a code version of.")
    origin = Path(spec.origin)
    sources = [origin]
    if origin.name == "__init__.py":
        sources = sorted(path for path in origin.parent.rglob("*") if _is_source(path))
    digest = hashlib.sha256()
    for source in sources:
        name = source.relative_to(origin.parent)
        _counted[source] = _digest(source)
        digest.update(f"\0{name}\0".encode() + source.read_bytes())
    return digest.hexdigest()


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
