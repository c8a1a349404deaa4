"""What disks do to files: a bit that flips, an end that goes missing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path


def flip(path: Path, chance: random.Random) -> None:
    """Flip one bit of a file in place, whatever it holds."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    overwrite(path, bytes(content))


def cut(path: Path, chance: random.Random) -> None:
    """Cut the end of a file off."""
    overwrite(path, path.read_bytes()[: chance.randrange(path.stat().st_size)])


def overwrite(path: Path, content: bytes) -> None:
    """Write over a file in place, as a disk would change it."""
    path.chmod(0o600)
    with path.open("r+b") as stream:
        stream.write(content)
        stream.truncate()


def damages(path: Path, flips: int, cuts: int, seed: int = 0) -> Iterator[str]:
    """Damage a file again and again, each time from its whole bytes, which come back at the end."""
    chance, whole = random.Random(seed), path.read_bytes()
    for number in range(flips + cuts):
        overwrite(path, whole)
        (flip if number < flips else cut)(path, chance)
        yield f"damage {number} of {path.name}"
    overwrite(path, whole)
