"""Where a server keeps bytes in a folder of this machine that may be used directly.

Only our own server's folder is. A path by itself proves nothing: a lakeFS with local blocks names
paths too, of files that are its objects, and the same path may be another folder in a container or
on another machine. So our server says a secret in its configuration that lies in the folder too.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

SCHEME = "local://"
MARK_FILE = "mark"
_OURS = "mlops-assets"


def store_of(description: str | None) -> Path | None:
    """The folder of our own server on this machine, by what the server says of its storage.

    Args:
        description: `mlops-assets:<mark>:<folder>` from our own server; anything from another.

    Returns:
        The folder; None if the server is another one, or its folder is not of this machine.
    """
    ours, _, rest = (description or "").partition(":")
    mark, _, folder = rest.partition(":")
    if ours != _OURS or not mark:
        return None
    store = Path(folder)
    with suppress(OSError, UnicodeDecodeError):
        if store.is_absolute() and (store / MARK_FILE).read_text() == mark:
            return store
    return None


def path_in(store: Path | None, address: str) -> Path | None:
    """The file that a physical address names, if it lies in that folder."""
    if store is None or not address.startswith(f"{SCHEME}{store}/"):
        return None
    return Path(address.removeprefix(SCHEME))
