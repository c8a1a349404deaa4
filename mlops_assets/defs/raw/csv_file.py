"""Reading one CSV file, plain or in a ZIP archive, into a table of declared types.

Here belong the faults of a file as a whole: missing, empty, cut off, a column missing or of
another type. Each stops the read with one sentence, because no row of such a file can be
trusted. Faults of single rows are the contract's.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.components.contract import SourceError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

MAX_BYTES = 1 << 30
"""The largest file that is read, unpacked; a year of flights has 31 MB."""


def read_csv(path: Path, schema: pa.Schema, *, max_bytes: int = MAX_BYTES) -> pa.Table:
    """Read the columns of `schema` from `path`, a `.csv` file or a `.zip` that holds one.

    "NA" and an empty field are null in any column; columns beyond the schema's are left out.

    Raises:
        SourceError: the file is missing, empty, cut off or larger than `max_bytes` unpacked; a
            column is missing, named twice, or holds a value that is not of its type.
    """
    import pyarrow as pa

    content = _content(path, max_bytes)
    _check_header(path, content, schema)
    if not content.endswith(b"\n"):
        raise SourceError(
            f"{path} is cut off: its last line does not end. Copy the file again from its source."
        )
    try:
        table = _parse(content, schema)
    except pa.ArrowInvalid as fault:
        raise _located(path, content, schema, fault) from fault
    if table.num_rows == 0:
        raise SourceError(f"{path} holds a header and no rows. Fetch the file again.")
    _refuse_nan(path, table)
    return table


def _content(path: Path, max_bytes: int) -> bytes:
    if not path.is_file():
        raise SourceError(
            f"There is no file {path}. Put it there, or name the directory that holds it."
        )
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty. Fetch the file again.")
    if path.suffix != ".zip":
        _check_size(path, path.stat().st_size, max_bytes)
        return path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            member = _only_member(path, archive)
            _check_size(path, member.file_size, max_bytes)
            # Reading stops at the declared size and compares the checksum, so a member that
            # lies about its size is an error and never a flood.
            content = archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as fault:
        raise SourceError(
            f"{path} is cut off or damaged ({fault}). Copy the file again from its source."
        ) from fault
    if not content:
        raise SourceError(f"{path}: {member.filename} is empty. Fetch the file again.")
    return content


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    wanted = path.name.removesuffix(".zip")
    members = [member for member in archive.infolist() if member.filename == wanted]
    if len(members) != 1:
        raise SourceError(f"{path} must hold one file {wanted}; it holds {len(members)}.")
    if members[0].flag_bits & 0x1:
        raise SourceError(f"{path} is encrypted. Store it without a password.")
    return members[0]


def _check_size(path: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise SourceError(
            f"{path} has {size:,} bytes unpacked, more than the {max_bytes:,} that are read. "
            "Split the file."
        )


def _check_header(path: Path, content: bytes, schema: pa.Schema) -> None:
    line = content.partition(b"\n")[0]
    names = next(csv.reader(io.StringIO(line.decode("utf-8-sig", errors="replace"))), [])
    missing = [name for name in schema.names if name not in names]
    if missing:
        raise SourceError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
            f"Its header must name: {', '.join(schema.names)}."
        )
    twice = [name for name in schema.names if names.count(name) > 1]
    if twice:
        raise SourceError(f"{path} names the column {twice[0]} twice. Keep one of them.")


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
        null_values=["NA", ""],
        strings_can_be_null=True,
    )


def _located(path: Path, content: bytes, schema: pa.Schema, fault: pa.ArrowInvalid) -> SourceError:
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
                    f"{path}{at}: the column {field.name} holds {value[1]!r}, which is not of "
                    f"type {field.type}. Correct the value, or write NA if it is missing."
                )
            if "conversion error" in text:
                return SourceError(
                    f"{path}{at}: the column {field.name} is not of type {field.type}: "
                    f"{text.rpartition(': ')[2]}. Correct the value."
                )
            return SourceError(
                f"{path}{at}: the line has another number of columns than the header "
                f"({text.partition(': ')[2]}). The file may be cut off: copy it again."
            )
    return SourceError(f"{path} cannot be read as CSV: {fault}. Copy the file again.")


def _refuse_nan(path: Path, table: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in table.column_names:
        if not pa.types.is_floating(table.schema.field(name).type):
            continue
        unreal = pc.fill_null(pc.invert(pc.is_finite(table[name])), fill_value=False)
        row = pc.index(unreal, value=True).as_py()
        if row >= 0:
            raise SourceError(
                f"{path}, line {row + 2}: the column {name} holds {table[name][row].as_py()!r}, "
                "which is no number. Correct the value, or write NA if it is missing."
            )
