"""A disk of its own, so small that it can be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BALLAST = "ballast"


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """Mount a file system of so many bytes; skips where that is not allowed."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root and the right to mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def read_only(folder: Path, place: Path) -> Iterator[Path]:
    """Mount a folder where nothing can be written; skips where that is not allowed."""
    place.mkdir()
    for options in (("--bind", folder), ("-o", "remount,ro,bind")):
        mounted = subprocess.run(["mount", *options, place], check=False, capture_output=True)
        if mounted.returncode != 0:
            pytest.skip("mounting a folder read-only needs root and the right to mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path, free: int) -> None:
    """Leave so many bytes free."""
    with (place / BALLAST).open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, shutil.disk_usage(place).free - free)


def make_room(place: Path) -> None:
    """Take away what `fill` put there."""
    (place / BALLAST).unlink()
