"""Bytes that a client put down itself, until it links them to an object.

Belongs here: noting and finding them by the token of their place. Does not: tokens and URLs
(`signing`), staging the object (`objects`).
"""

from __future__ import annotations

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
    """What was put down under a token: by a signed URL, or as the file itself.

    Raises:
        InvalidError: nothing was.
    """
    row = (
        store.database.connection()
        .execute("SELECT digest, size, etag FROM placements WHERE token = ?", (token,))
        .fetchone()
    )
    if row is not None:
        return Blob(*row)
    if not file.is_file() or file.is_symlink():
        raise InvalidError("link address invalid: nothing was put down there")
    try:
        blob = store.blobs.take(file)
    except FileNotFoundError:
        raise InvalidError("link address invalid: somebody is linking it already") from None
    remember(store, token, blob)
    return blob


def forget(store: Store, token: str) -> None:
    """The bytes have been linked; a token is good for one object, once."""
    store.database.connection().execute("DELETE FROM placements WHERE token = ?", (token,))
