"""The lakeFS server that the environment names for tests: `make conformance LAKE=address`.

`LAKE` is its address, and its key comes in the variables of lakeFS's own clients. Every test works
in a repository of its own, which is deleted at the end.
"""

from __future__ import annotations

import os
import uuid
from hashlib import sha256
from pathlib import Path

import pytest

from mlops_assets.lakefs_server import Endpoint

ADDRESS = "LAKE"
KEY = ("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY")

_session = uuid.uuid4().hex[:8]


def named_server() -> Endpoint | None:
    """The server; None where the tests start one of their own."""
    address = os.environ.get(ADDRESS)
    if not address:
        return None
    missing = [name for name in KEY if not os.environ.get(name)]
    if missing:
        pytest.exit(f"{ADDRESS} names a lakeFS server: set {missing[0]} to a key for it.", 2)
    return Endpoint(address, *(os.environ[name] for name in KEY))


def repository_of(name: object) -> str:
    """The name of a repository for a test, or for a state directory, on the named server."""
    return f"tests-{_session}-{sha256(str(name).encode()).hexdigest()[:12]}"


def variables(home: str | Path | None) -> dict[str, str]:
    """What a command needs to keep the lake of a state directory on the named server."""
    endpoint = named_server()
    if endpoint is None or home is None:
        return {}
    names = ("LAKECTL_SERVER_ENDPOINT_URL", *KEY)
    return {**dict(zip(names, endpoint, strict=True)), "LAKEFS_REPOSITORY": repository_of(home)}


def delete_repositories() -> None:
    """Delete what the tests made on the named server."""
    endpoint = named_server()
    if endpoint is None:
        return
    import lakefs

    host, username, password = endpoint
    client = lakefs.Client(host=host, username=username, password=password)
    for repository in lakefs.repositories(client, prefix=f"tests-{_session}-"):
        repository.delete(force=True)


def only_embedded(why: str) -> pytest.MarkDecorator:
    """Skips a test on a named server, with the reason."""
    return pytest.mark.skipif(
        named_server() is not None, reason=f"the embedded server's own: {why}"
    )
