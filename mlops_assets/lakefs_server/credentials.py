"""Who is let in: access keys, and the key that signs URLs.

Belongs here: making keys, keeping of an access key no more than a salted hash, and comparing what a
client presents. Does not: users, groups or policies; every key of a store may do everything.

A server that a process embeds for itself has one key, made in its memory when it starts and never
written down. A server that others reach takes the access keys of its store. The one secret that
lies on the disk in clear is the key that signs URLs, so that links outlive a restart.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from mlops_assets.files import create_whole
from mlops_assets.lakefs_server.database import Database
from mlops_assets.lakefs_server.errors import ApiError, NotFoundError

EMBEDDED_USER = "embedded"
"""Who commits through a server that a process embeds: one name, whatever process it is."""

SIGNING_KEY_FILE = "signing.key"
_FORMER_FILE = "credentials.json"  # held an access key in clear beside the signing key
_SALT_BYTES = 16


class AccessKey(NamedTuple):
    """A key as a client needs it; the secret is nowhere else."""

    access_key_id: str
    secret_access_key: str


class KnownKey(NamedTuple):
    """A key as the store knows it; `created` in seconds since 1970."""

    access_key_id: str
    created: int


class Guard(Protocol):
    """Decides who is let in."""

    def user(self, authorization: bytes) -> str | None:
        """The id of the key that an `Authorization` header presents; None if it is not let in."""


class OwnKey:
    """The key of a server that only its own process speaks to, kept in memory alone."""

    def __init__(self) -> None:
        self.key = AccessKey(EMBEDDED_USER, secrets.token_urlsafe(30))
        self._authorization = b"Basic " + base64.b64encode(":".join(self.key).encode())

    def user(self, authorization: bytes) -> str | None:
        """See `Guard`."""
        known = hmac.compare_digest(authorization, self._authorization)
        return self.key.access_key_id if known else None


class AccessKeys:
    """The access keys of a store, for whoever reaches it from outside.

    Secrets are 240 random bits, which nobody guesses however fast the hash is: one HMAC with a
    salt, paid at every request, is enough. A key that is removed is refused at the next request.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # Compared with for an unknown id, so that it takes as long as a known one.
        self._nobody = (secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(32))

    def create(self) -> AccessKey:
        """Make a key; its secret is told here and never again."""
        key = AccessKey("AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))
        self.add(key)
        return key

    def add(self, key: AccessKey) -> None:
        """Let a key in that was made elsewhere; raises ApiError 409 if its id is known already."""
        salt = secrets.token_bytes(_SALT_BYTES)
        with self._database.writing() as connection:
            added = connection.execute(
                "INSERT OR IGNORE INTO access_keys (id, salt, hash, created) VALUES (?, ?, ?, ?)",
                (key.access_key_id, salt, _hash(salt, key.secret_access_key), int(time.time())),
            )
            if added.rowcount != 1:
                raise ApiError(409, f"access key {key.access_key_id} exists already")

    def known(self) -> list[KnownKey]:
        """The keys that are let in, oldest first."""
        rows = self._database.connection().execute(
            "SELECT id, created FROM access_keys ORDER BY created, id"
        )
        return [KnownKey(*row) for row in rows]

    def delete(self, access_key_id: str) -> None:
        """Let a key in no more; raises NotFoundError."""
        with self._database.writing() as connection:
            gone = connection.execute("DELETE FROM access_keys WHERE id = ?", (access_key_id,))
            if gone.rowcount != 1:
                raise NotFoundError(f"access key {access_key_id} not found")

    def user(self, authorization: bytes) -> str | None:
        """See `Guard`."""
        access_key_id, secret = _presented(authorization)
        row = (
            self._database.connection()
            .execute("SELECT salt, hash FROM access_keys WHERE id = ?", (access_key_id,))
            .fetchone()
        )
        salt, expected = row or self._nobody
        matches = hmac.compare_digest(_hash(salt, secret), expected)
        return access_key_id if matches and row is not None else None


@contextlib.contextmanager
def access_keys(state_dir: Path) -> Iterator[AccessKeys]:
    """The keys of a store directory, made if missing; servers may run over it meanwhile."""
    state_dir.mkdir(parents=True, exist_ok=True)
    database = Database(state_dir)
    try:
        yield AccessKeys(database)
    finally:
        database.close()


def _hash(salt: bytes, secret: str) -> bytes:
    return hmac.new(salt, secret.encode(), hashlib.sha256).digest()


def _presented(authorization: bytes) -> tuple[str, str]:
    """The id and secret of a header of basic authentication; empty where it is none."""
    scheme, _, told = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return "", ""
    try:
        access_key_id, _, secret = base64.b64decode(told, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return access_key_id, secret


@dataclass(frozen=True)
class SigningKey:
    """The key that signs URLs and addresses."""

    secret: str

    def sign(self, *parts: str) -> str:
        """HMAC-SHA-256 over `parts`, as hex; parts are length-prefixed so none can run over."""
        message = "".join(f"{len(part)}:{part}" for part in parts).encode()
        return hmac.new(self.secret.encode(), message, hashlib.sha256).hexdigest()

    def verify(self, signature: str, *parts: str) -> bool:
        """Whether `signature` was made by `sign` over the same parts, in constant time."""
        return hmac.compare_digest(signature.encode(), self.sign(*parts).encode())


def signing_key(state_dir: Path) -> SigningKey:
    """The key of a store directory, made at the first call.

    If another process was first, its key holds. The file of an earlier version gives its signing
    key, so that links stay good, and goes with its access key.

    Raises:
        OSError: The directory cannot be written or the file not read.
    """
    if not os.access(state_dir, os.W_OK):
        # Nothing can be put down there, and so no link of another process is worth anything.
        return SigningKey(secrets.token_hex(32))
    path, former = state_dir / SIGNING_KEY_FILE, state_dir / _FORMER_FILE
    with contextlib.suppress(FileNotFoundError):
        create_whole(path, json.loads(former.read_text())["signing_key"].encode(), mode=0o600)
        former.unlink()
    if not path.exists():
        create_whole(path, secrets.token_hex(32).encode(), mode=0o600)
    return SigningKey(path.read_text())
