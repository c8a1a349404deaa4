"""Bytes that a client put down itself to link them to an object; a day later they are forgotten.

Belongs here: noting and finding them by the token of their place. Does not: tokens and URLs
(`signing`), staging the object (`objects`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from mlops_assets.lakefs_server.blobs import Blob
from mlops_assets.lakefs_server.errors import InvalidError
from mlops_assets.lakefs_server.store import Store


def remember(store: Store, token: str, blob: Blob) -> None:
    """Note what has been put down under a token; raises ApiError 410 if it was freed since."""
    with store.blobs.claimed(blob):
        store.database.connection().execute(
            "INSERT OR REPLACE INTO placements (token, digest, size, etag) VALUES (?, ?, ?, ?)",
            (token, *blob),
        )


def find(store: Store, token: str, file: Path) -> Blob:
    """What was put down under a token: as the file itself, or by a signed URL.

    The file moves into the store, which owns it from then on: what a client does to the place
    afterwards changes no object. Linking what was put down a second time does the same again.

    Raises:
        InvalidError: nothing was.
    """
    if file.is_file() and not file.is_symlink():
        with contextlib.suppress(FileNotFoundError):  # another request is linking it too
            blob = store.blobs.take(file)
            remember(store, token, blob)
            return blob
    row = (
        store.database.connection()
        .execute("SELECT digest, size, etag FROM placements WHERE token = ?", (token,))
        .fetchone()
    )
    if row is None:
        raise InvalidError("link address invalid: nothing was put down there")
    return Blob(*row)
