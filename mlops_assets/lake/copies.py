"""Bytes on this machine, and whether they are those that a manifest names.

A file is hashed before it is read for the first time by a process, and again once its file system
says that it was written to. What a disk changes without saying so while a process reads is the
file system's to notice.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from mlops_assets.lake.manifest import File

FOLDER = "downloads"
"""The folder in the scratch folder that keeps copies of remote files, by digest."""

_KNOWN = 1 << 16

_NOTED_SECONDS = 3600.0
"""A use this soon after the last changes no time: with new times the copy would be hashed again."""

_SETTLED_SECONDS = 3.0
"""A file that was written to this recently can be again without its times telling: they are as
coarse as some milliseconds, and two seconds on FAT."""


def digest(content: bytes) -> str:
    """The SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; hashed once while it stays as it is.

    Raises:
        OSError: It cannot be read.
    """
    found = path.stat()
    seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if time.time() - max(found.st_mtime, found.st_ctime) < _SETTLED_SECONDS:
        return _hashed(path)
    return _known(path, seen)


@lru_cache(_KNOWN)
def _known(path: Path, seen: tuple[int, ...]) -> str:  # noqa: ARG001 - part of the key
    return _hashed(path)


def _hashed(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, hashlib.sha256).hexdigest()


def kept(scratch: Path, file: File, fetch: Callable[[], bytes]) -> Path:
    """A copy of a remote file on this machine, fetched where it is missing or damaged.

    Args:
        scratch: The lake's scratch folder.
        file: The file.
        fetch: Brings its bytes, which have its digest.
    """
    folder = scratch / FOLDER / file.sha256[:2]
    target = folder / file.sha256
    with suppress(OSError):  # none is kept, or the disk cannot read it any more
        if digest_of(target) == file.sha256:
            # Copies that nobody has used for weeks are removed, by their times.
            if time.time() - target.stat().st_mtime > _NOTED_SECONDS:
                os.utime(target)
            return target
    content = fetch()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            # A name must not outlive a power cut that its bytes did not.
            os.fsync(stream.fileno())
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return target
