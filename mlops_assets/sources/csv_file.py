"""Reading the bytes of one CSV file, plain or in a ZIP archive, into a table of declared types.

Here belong the faults of a file as a whole: empty, cut off, no CSV at all, a column missing or of
another type, lines that a quote runs together. Each stops the read with one sentence, because no
row of such a file can be trusted. Faults of single rows are the contract's.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.sources.archive import unpack
from mlops_assets.sources.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

MAX_BYTES = 1 << 30
"""The largest file that is read, unpacked; a year of flights has 31 MB."""

MAX_HEADER = 1 << 16
"""Bytes of the first line that are looked at for names."""

PACKED = ".zip"

_EMPTY_LINE = re.compile(rb"\n(?=\r?\n)")
"""What ends the line before an empty one; the first line is never empty, since it holds names."""

Name = Path | str
"""What errors call a file."""


def read_csv(path: Path, schema: pa.Schema, *, max_bytes: int = MAX_BYTES) -> pa.Table:
    """Read a local file as `parse` does.

    Raises:
        SourceError: The file is missing, or `parse` refuses it.
    """
    return parse(path, local_content(path, max_bytes), schema, max_bytes=max_bytes)


def local_content(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a local file.

    Raises:
        SourceError: It is missing, no plain file, or larger than `max_bytes`.
    """
    if not path.is_file():
        raise SourceError(
            f"There is no file {path}. Put it there, or name the directory that holds it."
        )
    _check_size(path, path.stat().st_size, max_bytes)
    return path.read_bytes()


def parse(
    name: Name,
    content: bytes,
    schema: pa.Schema,
    *,
    max_bytes: int = MAX_BYTES,
    may_be_empty: Callable[[], bool] = lambda: False,
    may_lack: Collection[str] = (),
) -> pa.Table:
    """Read the columns of `schema` from the content of a `.csv` file or of a `.zip` of one.

    "NA" and an empty field are null in any column; columns beyond the schema's are left out. A line
    is a row, unless it is empty: no value goes over more than one.

    Args:
        name: The file's name, which tells a ZIP archive and the file in it.
        content: Its bytes.
        schema: The columns and their types.
        max_bytes: The most bytes that it may have, unpacked.
        may_be_empty: Asked of a file with a header and no rows: whether that is meant.
        may_lack: Columns that are null where the header does not name them.

    Raises:
        SourceError: The file is empty, cut off, no CSV or larger than `max_bytes` unpacked; a
            column is missing, named twice, or holds a value that is not of its type; a quote is
            not closed.
    """
    if not content:
        raise SourceError(f"{name} is empty. Fetch the file again.")
    if str(name).endswith(PACKED):
        refuse_other_kinds(name, content, packed=True)
        wanted = Path(name).name.removesuffix(PACKED)
        content = unpack(str(name), io.BytesIO(content), wanted, max_bytes=max_bytes)
        if not content:
            raise SourceError(f"{name}: {wanted} is empty. Fetch the file again.")
    return parse_plain(name, content, schema, may_be_empty=may_be_empty, may_lack=may_lack)


def parse_plain(
    name: Name,
    content: bytes,
    schema: pa.Schema,
    *,
    may_be_empty: Callable[[], bool] = lambda: False,
    may_lack: Collection[str] = (),
) -> pa.Table:
    """Read as `parse` does what is not, or no longer, in an archive.

    Raises:
        SourceError: As `parse`.
    """
    import pyarrow as pa

    refuse_other_kinds(name, content, packed=False)
    if content.count(b"\r") != content.count(b"\r\n"):
        raise SourceError(
            f"{name} has lines that end with a carriage return alone. Save it with the line ends "
            "of Unix or Windows."
        )
    _check_header(name, content, schema, may_lack)
    if not content.endswith(b"\n"):
        raise SourceError(
            f"{name} is cut off: its last line does not end. Copy the file again from its source."
        )
    try:
        table = _parse(content, schema)
    except pa.ArrowInvalid as fault:
        raise _located(name, content, schema, fault) from fault
    _refuse_joined_lines(name, content, table)
    if table.num_rows == 0 and not may_be_empty():
        raise SourceError(f"{name} holds a header and no rows. Fetch the file again.")
    _refuse_nan(name, table)
    return table


def refuse_other_kinds(name: Name, content: bytes, *, packed: bool) -> None:
    """Tell by its beginning what a missing column would be a poor name for.

    Args:
        name: The file's name.
        content: Its bytes, or the first of them.
        packed: Whether it is to be an archive.

    Raises:
        SourceError: It is a page, an answer or an archive where CSV should be.
    """
    start = content[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--", b"<body")):
        raise SourceError(
            f"{name} looks like an HTML page: a login or error page was saved instead of the "
            "file. Fetch the file again, signed in if its server asks for it."
        )
    if start.startswith((b"{", b"[")):
        raise SourceError(
            f"{name} looks like JSON, the answer of a server instead of the file. Fetch the file "
            "again."
        )
    if not packed and b"\0" in content[:65536]:
        hint = " It is a ZIP archive: name it .csv.zip." if start.startswith(b"pk\3\4") else ""
        raise SourceError(f"{name} is binary and no CSV.{hint} Fetch the file again.")


def _check_size(path: Name, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise SourceError(
            f"{path} has {size:,} bytes unpacked, more than the {max_bytes:,} that are read. "
            "Split the file."
        )


def _check_header(name: Name, content: bytes, schema: pa.Schema, may_lack: Collection[str]) -> None:
    line = content[:MAX_HEADER].partition(b"\n")[0]
    try:
        names = next(csv.reader([line.decode("utf-8-sig", errors="replace")], strict=True), [])
    except csv.Error as error:
        raise SourceError(
            f"{name}, line 1: the names are quoted in a way that is no CSV ({error}). Correct them."
        ) from error
    missing = [column for column in schema.names if column not in {*names, *may_lack}]
    if missing:
        raise SourceError(
            f"{name} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
            f"Its header must name: {', '.join(schema.names)}."
        )
    twice = [column for column in schema.names if names.count(column) > 1]
    if twice:
        raise SourceError(f"{name} names the column {twice[0]} twice. Keep one of them.")


def _parse(content: bytes, schema: pa.Schema, *, threads: bool = True) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    return pa_csv.read_csv(
        pa.BufferReader(content),
        read_options=pa_csv.ReadOptions(use_threads=threads),
        convert_options=_conversion(schema),
    )


def _conversion(schema: pa.Schema) -> pa_csv.ConvertOptions:
    import pyarrow.csv as pa_csv

    return pa_csv.ConvertOptions(
        column_types=schema,
        include_columns=schema.names,
        include_missing_columns=True,  # those that the header has to name were asked for before
        null_values=["NA", ""],
        strings_can_be_null=True,
    )


def _located(name: Name, content: bytes, schema: pa.Schema, fault: pa.ArrowInvalid) -> SourceError:
    """The same fault with its column and line, which only a read on one thread can tell."""
    import pyarrow as pa

    for field in schema:
        try:
            _parse(content, pa.schema([field]), threads=False)
        except pa.ArrowInvalid as single:
            text = str(single)
            line = re.search(r"Row #(\d+)", text)
            at = f", line {line[1]}" if line else ""
            value = re.search(r"invalid value '(.*)'", text, re.DOTALL)
            if value:
                return SourceError(
                    f"{name}{at}: the column {field.name} holds {value[1]!r}, which is not of "
                    f"type {field.type}. Correct the value, or write NA if it is missing."
                )
            if "conversion error" in text:
                return SourceError(
                    f"{name}{at}: the column {field.name} is not of type {field.type}: "
                    f"{text.rpartition(': ')[2]}. Correct the value."
                )
            return SourceError(
                f"{name}{at}: the line has another number of columns than the header "
                f"({text.partition(': ')[2]}). The file may be cut off: copy it again."
            )
    return SourceError(f"{name} cannot be read as CSV: {fault}. Copy the file again.")


def _refuse_joined_lines(name: Name, content: bytes, table: pa.Table) -> None:
    """Refuse a file of which a quote that is not closed has hidden rows in a value.

    The parser takes all that follows such a quote, up to the end of its block, for one value. In a
    column that is not read nobody would see that these rows are missing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    lines = content.count(b"\n") - 1
    if table.num_rows != lines:
        lines -= sum(1 for _ in _EMPTY_LINE.finditer(content))
    # A block's last line has no row after it to lose: its quote shows in its own value.
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    if table.num_rows != lines or any(
        pc.any(pc.match_substring(text, "\n")).as_py() for text in texts
    ):
        raise SourceError(
            f"{name}: a quote is not closed near line {_open_quote(content)}, which makes one "
            "value of several lines. Close it; no value may go over more than one line."
        )


def _open_quote(content: bytes) -> int:
    """The first line whose last value does not end on it."""
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", errors="replace", newline="")
    lines, line = csv.reader(text), 1
    with suppress(csv.Error):  # a value that is longer than that module takes
        while next(lines, None) is not None and lines.line_num == line:
            line += 1
    return min(line, lines.line_num)


def _refuse_nan(name: Name, table: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    for column in table.column_names:
        if not pa.types.is_floating(table.schema.field(column).type):
            continue
        unreal = pc.fill_null(pc.invert(pc.is_finite(table[column])), fill_value=False)
        row = pc.index(unreal, value=True).as_py()
        if row >= 0:
            raise SourceError(
                f"{name}, line {row + 2}: the column {column} holds "
                f"{table[column][row].as_py()!r}, which is no number. Correct the value, or "
                "write NA if it is missing."
            )
