"""Files that several processes make at once, on any file system.

Belongs here: how a file comes to be there whole. Does not: what it holds. Imports nothing of the
package, so that whatever stands alone may use it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path


def create_whole(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Make a file that is there with all of its content or not at all; an existing one stays.

    Written in place, a full disk or a kill left an empty file behind that was refused, or obeyed,
    for ever after.

    Args:
        path: The file.
        content: All of it.
        mode: Who may do what with it, as far as the process's mask lets them.

    Raises:
        OSError: The file cannot be made.
    """
    draft = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _give_name(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _give_name(draft: Path, path: Path) -> None:
    """Name a file unless the name is taken: one step with a link, which FAT does not have."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError:
        turn = path.with_name(f".{path.name}.lock")
        with turn.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                draft.rename(path)
            # Whoever waits for this turn, or takes another now, finds the file.
            turn.unlink(missing_ok=True)
