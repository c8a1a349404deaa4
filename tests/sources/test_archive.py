"""Nothing comes out of an archive but the one file that it is for."""

from __future__ import annotations

import io
import random
import stat
import struct
import zipfile

import pytest

from mlops_assets.sources.archive import unpack
from mlops_assets.sources.errors import SourceError

WANTED = "2013-01-01.csv"
LIMIT = 10_000_000


def packed(*members: tuple[str, bytes], mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return stream.getvalue()


def read(content: bytes, **options) -> bytes:
    return unpack("flights.zip", io.BytesIO(content), WANTED, max_bytes=LIMIT, **options)


def test_the_one_file_is_read() -> None:
    assert read(packed((WANTED, b"a,b\n1,2\n"))) == b"a,b\n1,2\n"


def test_what_is_known_to_lie_beside_it_is_left_there() -> None:
    both = packed((WANTED, b"a\n"), ("readme.html", b"<html>"))
    assert read(both, beside=["readme.html"]) == b"a\n"
    with pytest.raises(SourceError, match="must hold one file"):
        read(both)


@pytest.mark.parametrize(
    "name", ["../2013-01-01.csv", "/etc/passwd", "a/../../b.csv", "..\\b.csv", "C:\\b.csv"]
)
def test_a_path_that_leaves_the_archive_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match=r"leaves the archive\. Nothing of it was read"):
        read(packed((WANTED, b"a\n"), (name, b"x")))


def test_a_link_is_refused() -> None:
    with pytest.raises(SourceError, match="holds a link"):
        read(packed((WANTED, b"/etc/passwd"), mode=stat.S_IFLNK | 0o777))


@pytest.mark.parametrize("members", [[], [("other.csv", b"a\n")]])
def test_an_archive_of_something_else_names_what_it_holds(members) -> None:
    with pytest.raises(SourceError, match=r"must hold one file 2013-01-01\.csv; it holds"):
        read(packed(*members))


def test_a_file_that_is_there_twice_is_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = packed((WANTED, b"a\n"), (WANTED, b"b\n"))
    with pytest.raises(SourceError, match="must hold one file"):
        read(twice)


def test_an_encrypted_file_is_refused() -> None:
    content = bytearray(packed((WANTED, b"a\n")))
    place = content.index(b"PK\1\2")
    content[place + 8] |= 1
    with pytest.raises(SourceError, match="is encrypted"):
        read(bytes(content))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_method_than_deflate_is_refused(method: int) -> None:
    with pytest.raises(SourceError, match="is packed by another method than deflate"):
        read(packed((WANTED, b"a\n" * 999), method=method))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_whatever_is_damaged_is_refused_with_a_sentence(method: int) -> None:
    whole = packed((WANTED, b"a\n" * 99), method=method)
    directory, chance = whole.index(b"PK\1\2"), random.Random(method)
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(2):
            damaged[chance.randrange(directory, len(whole))] = chance.randrange(256)
        try:
            assert read(bytes(damaged)) == b"a\n" * 99
        except SourceError:
            continue


def test_a_bomb_is_refused_by_what_it_says_of_itself() -> None:
    with pytest.raises(SourceError, match="20,000,000 bytes unpacked"):
        read(packed((WANTED, bytes(20_000_000))))
    with pytest.raises(SourceError, match="unpacks to more than 200 times its size"):
        read(packed((WANTED, bytes(9_000_000))))


def test_a_bomb_that_lies_about_its_size_unpacks_to_no_more_than_it_says() -> None:
    content = bytearray(packed((WANTED, bytes(50_000_000))))
    place = content.index(b"PK\1\2")
    struct.pack_into("<L", content, place + 24, 1000)
    with pytest.raises(SourceError, match="is cut off or damaged"):
        read(bytes(content))


@pytest.mark.parametrize("content", [b"", b"no archive at all", packed((WANTED, b"a\n" * 99))[:-9]])
def test_what_is_no_whole_archive_is_refused(content: bytes) -> None:
    with pytest.raises(SourceError, match="is cut off or damaged"):
        read(content)
