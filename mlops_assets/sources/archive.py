"""Taking the one expected file out of a ZIP archive that nobody vouches for.

Nothing is unpacked to the disk, so that no name in an archive can choose a place there.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import IO

from mlops_assets.sources.errors import SourceError

MAX_RATIO = 200
"""Text of numbers packs to a tenth or so. ZIP itself ends at 1,032: only zeros get near that."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How a file may be packed: as every archiver does unless it is told otherwise."""

SMALL = 1 << 20
"""Bytes below which no ratio is looked at: a few repeated lines of a small file pack to nothing."""


def unpack(
    name: str,
    content: IO[bytes],
    wanted: str,
    *,
    max_bytes: int,
    beside: Collection[str] = (),
) -> bytes:
    """The content of the one file of an archive.

    Args:
        name: What errors call the archive.
        content: It.
        wanted: The name that the file must have.
        max_bytes: The most bytes that it may have, unpacked.
        beside: Names that may lie beside it, which are never read.

    Raises:
        SourceError: The archive is damaged, encrypted, packed in an unusual way, holds something
            else or more, or unpacks to too much.
    """
    try:
        with zipfile.ZipFile(content) as archive:
            member = _only_member(name, archive, wanted, beside)
            _check_size(name, member, max_bytes)
            # Reading stops at the declared size and compares the checksum, so that a member
            # that lies about its size is an error and never a flood.
            return archive.read(member)
    except SourceError:
        raise
    # A damaged directory shows in places and sizes that are none, wherever they are used first.
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
    ) as fault:
        raise SourceError(
            f"{name} is cut off or damaged ({fault}). Copy the file again from its source."
        ) from fault


def _only_member(
    name: str, archive: zipfile.ZipFile, wanted: str, beside: Collection[str]
) -> zipfile.ZipInfo:
    members = archive.infolist()
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.filename:
            raise SourceError(
                f"{name} holds {member.filename!r}, a path that leaves the archive. Nothing of it "
                f"was read; pack {wanted} alone."
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise SourceError(
                f"{name} holds a link, {member.filename!r}. Pack the file itself, as {wanted}."
            )
    others = [member for member in members if member.filename not in {wanted, *beside}]
    found = [member for member in members if member.filename == wanted]
    if others or len(found) != 1:
        held = ", ".join(repr(member.filename) for member in members[:3]) or "nothing"
        more = f" and {len(members) - 3} more" if len(members) > 3 else ""
        raise SourceError(f"{name} must hold one file {wanted}; it holds {held}{more}.")
    if found[0].flag_bits & 0x1:
        raise SourceError(f"{name} is encrypted. Store it without a password.")
    if found[0].compress_type not in METHODS:
        raise SourceError(
            f"{name} is packed by another method than deflate (number {found[0].compress_type}). "
            "Pack it as ZIP archives usually are."
        )
    return found[0]


def _check_size(name: str, member: zipfile.ZipInfo, max_bytes: int) -> None:
    if member.file_size > max_bytes:
        raise SourceError(
            f"{name} has {member.file_size:,} bytes unpacked, more than the {max_bytes:,} that "
            "are read. Split the file."
        )
    if member.file_size > SMALL and member.file_size > MAX_RATIO * member.compress_size:
        raise SourceError(
            f"{name} unpacks to more than {MAX_RATIO} times its size, as no table does. If it is "
            "one, store it unpacked."
        )
