"""Where clients are told that bytes lie, and the URLs that let them read and write there.

Belongs here: physical addresses, tokens of places to write to, signed URLs. Does not: the bytes.

A store that pre-signs behaves like one on S3: addresses tell no local path, and a URL carries an
expiry and an HMAC of what it allows, with a key that outlives the process. One that does not
behaves like a lakeFS with local block storage: the address is the blob's own path, which an engine
on this machine reads without a copy.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlencode

from mlops_assets.lakefs_server.blobs import BlobStore
from mlops_assets.lakefs_server.credentials import SigningKey
from mlops_assets.lakefs_server.errors import ApiError, InvalidError

INCOMING = "incoming"
"""The folder of a store directory where clients without signed URLs put bytes down."""

MARK_FILE = "mark"
"""The file of a store directory by which clients on this machine know it."""

_LIFE_SECONDS = 15 * 60
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Addresses:
    """Addresses and signed URLs of one store directory.

    Attributes:
        description: What the server says of its storage; empty where it hides local paths.
    """

    def __init__(
        self, state_dir: Path, blobs: BlobStore, key: SigningKey, *, pre_sign: bool
    ) -> None:
        self.pre_sign = pre_sign
        self._blobs = blobs
        self._key = key
        self._incoming = state_dir / INCOMING
        self._incoming.mkdir(exist_ok=True)
        self.description = "" if pre_sign else self._marked(state_dir)

    def _marked(self, state_dir: Path) -> str:
        """What to say of the store, so that a client on this machine can tell it for ours.

        The mark lies in the store's folder too: who can read both is on this machine, and may put
        bytes down there.
        """
        mark = self._key.sign("mark")
        file = state_dir / MARK_FILE
        with suppress(OSError):
            if not file.exists() or file.read_text() != mark:
                draft = file.with_name(f"{MARK_FILE}.{secrets.token_hex(8)}")
                draft.write_text(mark)
                draft.replace(file)
        return f"mlops-assets:{mark}:{state_dir}"

    def of_blob(self, digest: str) -> str:
        """The physical address of a blob."""
        if self.pre_sign:
            return f"s3://lake/{digest}"
        return f"local://{self._blobs.path(digest)}"

    def new_place(self, repository: str, branch: str, path: str) -> str:
        """A token for bytes that will become this object and no other."""
        serial = secrets.token_hex(16)
        return serial + self._key.sign("place", serial, repository, branch, path)

    def of_place(self, token: str) -> str:
        """The physical address of a place to write to."""
        if self.pre_sign:
            return f"s3://lake/incoming/{token}"
        return f"local://{self.place_file(token)}"

    def place_file(self, token: str) -> Path:
        """Where a client without signed URLs writes the bytes."""
        return self._incoming / token

    def check_place(self, address: str, repository: str, branch: str, path: str) -> str:
        """The token in an address that `new_place` made for this object.

        Raises:
            InvalidError: it was not made here, or for another object.
        """
        token = address.rpartition("/")[2]
        serial, signature = token[:32], token[32:]
        known = self._key.verify(signature, "place", serial, repository, branch, path)
        if not known or self.of_place(token) != address:
            raise InvalidError("link address invalid: ask for one for this very object")
        return token

    def signed_url(
        self, base_url: str, verb: str, name: str, told: Mapping[str, str] = _NOTHING
    ) -> tuple[str, int]:
        """A URL that allows one verb on one blob or place, and when it expires (s).

        It carries what is `told`, signed with the rest.

        Raises:
            InvalidError: the store hands out paths on this machine instead.
        """
        if not self.pre_sign:
            raise InvalidError("local adapter presigned URL: operation not supported")
        expiry = int(time.time()) + _LIFE_SECONDS
        signature = self._key.sign("url", verb, name, str(expiry), *told.values())
        query = urlencode({"expires": expiry, **told, "signature": signature})
        return f"{base_url}signed/{quote(name)}?{query}", expiry

    def check_signature(
        self, verb: str, name: str, expiry: str, signature: str, told: Iterable[str] = ()
    ) -> None:
        """Raise ApiError 403 unless the URL was signed here for this and has not expired."""
        signed = self._key.verify(signature, "url", verb, name, expiry, *told)
        if not signed or int(expiry) < time.time():
            raise ApiError(403, "the signed URL is not valid or has expired: ask for a new one")
