"""The secret of one store directory: access key, secret key and the key that signs URLs.

Belongs here: creating the secret exactly once however many processes start together, and
comparing what a client presents with it. Does not: users, groups or policies; a store has one
owner, the operating-system user who can read the file.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

_FILE = "credentials.json"


@dataclass(frozen=True)
class Credentials:
    """The key pair every request must present, and the key that signs pre-signed URLs."""

    access_key_id: str
    secret_access_key: str
    signing_key: str

    def authorization(self) -> bytes:
        """The one `Authorization` header value that is let in."""
        pair = f"{self.access_key_id}:{self.secret_access_key}".encode()
        return b"Basic " + base64.b64encode(pair)

    def sign(self, *parts: str) -> str:
        """HMAC-SHA-256 over `parts`, as hex; parts are length-prefixed so none can run over."""
        message = "".join(f"{len(part)}:{part}" for part in parts).encode()
        return hmac.new(self.signing_key.encode(), message, hashlib.sha256).hexdigest()

    def verify(self, signature: str, *parts: str) -> bool:
        """Whether `signature` was made by `sign` over the same parts, in constant time."""
        return hmac.compare_digest(signature.encode(), self.sign(*parts).encode())


def load_or_create(state_dir: Path) -> Credentials:
    """Read the credentials of `state_dir`, creating them at the first call.

    The file appears complete or not at all: it is written under another name and linked into
    place, and a link fails if another process was first, whose credentials then hold.

    Raises:
        OSError: the directory cannot be written or the file not read.
    """
    path = state_dir / _FILE
    if not path.exists():
        _create(path)
    return Credentials(**json.loads(path.read_text()))


def _create(path: Path) -> None:
    fresh = {
        "access_key_id": "AKIA" + secrets.token_hex(8).upper(),
        "secret_access_key": secrets.token_urlsafe(30),
        "signing_key": secrets.token_hex(32),
    }
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(fresh, file)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
