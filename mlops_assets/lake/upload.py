"""Bringing the bytes of an object to the server, by the shortest way that it offers.

Through the API in one request; with a link to where the bytes go, where the server signs one; or,
where it is our own and stores on this machine, by putting the file into its folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.lake.errors import LakeError
from mlops_assets.lake.local_store import path_in

if TYPE_CHECKING:
    from lakefs.branch import Branch

    from mlops_assets.lake.connection import Lake

PARQUET_TYPE = "application/vnd.apache.parquet"
JSON_TYPE = "application/json"
CONTENT_TYPES = {".parquet": PARQUET_TYPE, ".json": JSON_TYPE, ".html": "text/html"}
DEFAULT_TYPE = "application/octet-stream"

_BLOCK_BYTES = 1 << 20

BESIDE_BYTES = 1 << 20
"""From this size on a file is put into our own server's folder on this machine. Two requests cost
more than one, but the bytes go through no socket, which took 35 ms for 8 MB instead of 26."""


def upload_file(lake: Lake, branch: Branch, path: str, source: Path) -> None:
    """Stage the content of a file as an object, without metadata.

    Args:
        lake: Where the branch is.
        branch: The branch.
        path: The object's path.
        source: The file. It may become the server's own and be gone then: it is not to be used,
            and least of all written to, afterwards.

    Raises:
        OSError: It cannot be read, or the disk beside the server is full.
    """
    if lake.store is None or source.stat().st_size < BESIDE_BYTES:
        upload(lake, branch, path, source.read_bytes(), {})
    else:
        _put_beside(lake, branch, path, source)


def upload(
    lake: Lake, branch: Branch, path: str, content: bytes, metadata: Mapping[str, str]
) -> None:
    """Stage bytes as an object."""
    writer = branch.object(path).writer(
        mode="wb",
        pre_sign=lake.pre_signed,
        content_type=_content_type(path),
        metadata=dict(metadata),
    )
    with writer:
        writer.write(content)


def _put_beside(lake: Lake, branch: Branch, path: str, source: Path) -> None:
    """Put a file where our own server says, in its folder on this machine, and have it linked.

    What is put there is the server's as soon as it is asked to link it. A refused file it sweeps
    away with all that never became an object; removed here, it could be an object's only bytes.
    """
    from lakefs_sdk.models.staging_metadata import StagingMetadata

    staging = lake.client.sdk_client.staging_api
    place = staging.get_physical_address(lake.repository, branch.id, path)
    target = path_in(lake.store, place.physical_address or "")
    if target is None:
        raise LakeError(
            f"lakeFS at {lake.credentials.endpoint} keeps bytes in {lake.store} and names a place "
            f"outside of it, {place.physical_address}: nothing is written there; update it."
        )
    with source.open("rb") as content:
        checksum = hashlib.file_digest(content, partial(hashlib.md5, usedforsecurity=False))
        size = content.tell()
    _give(source, target)
    said = StagingMetadata(
        staging=place,
        checksum=checksum.hexdigest(),
        size_bytes=size,
        mtime=None,
        content_type=_content_type(path),
    )
    staging.link_physical_address(lake.repository, branch.id, path, said)
    source.unlink()


def _give(source: Path, target: Path) -> None:
    """Put a file at a place where none may be, without a copy where that can be done.

    Writing 8 MB took longer than all else that is done with them. The file then has two names,
    and the server's is the one that lasts. One that had two already is somebody else's too.
    """
    with suppress(OSError):  # another file system, or one without links
        if source.stat().st_nlink == 1:
            os.link(source, target)
            return
    with source.open("rb") as content, target.open("xb") as copy:
        try:
            shutil.copyfileobj(content, copy, _BLOCK_BYTES)
        except BaseException:
            target.unlink()
            raise


def _content_type(path: str) -> str:
    return CONTENT_TYPES.get(Path(path).suffix, DEFAULT_TYPE)
