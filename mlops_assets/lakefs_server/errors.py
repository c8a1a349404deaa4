"""The errors of the server: what a client sees, and what stops the server from opening a store.

Belongs here: exception types with the status and sentence a client gets. Does not: deciding when
to raise them, which is each module's own business.
"""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal that the client is told about.

    Attributes:
        status: the HTTP status.
        message: one sentence, sent as `{"message": ...}`.
        body: sent instead of the message where the API says so (a merge conflict).
    """

    def __init__(self, status: int, message: str, body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body = {"message": message} if body is None else body


class NotFoundError(ApiError):
    """The named repository, branch, tag, commit or object does not exist (404)."""

    def __init__(self, message: str) -> None:
        super().__init__(404, message)


class InvalidError(ApiError):
    """The request can never succeed as it stands (400)."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class NoAccessKeyError(Exception):
    """The store has no access key, so a server for others would let nobody in."""


class BusyStoreError(ApiError):
    """Somebody holds a lock of the store for longer than any work takes (423)."""

    def __init__(self, message: str) -> None:
        super().__init__(423, message)


class DamagedStoreError(ApiError):
    """Something that the store needs is missing from it, or not what its name says (500)."""

    def __init__(self, message: str) -> None:
        super().__init__(500, message)


class StoreFormatError(Exception):
    """The store directory was written by a newer version and is left untouched."""
