"""What it costs to write bytes through the lake and to read them, against plain files.

Writing is what a transaction does: partitions through the official client to an embedded server in
the same process, each a Parquet file and its manifest. The plain side reads each of these, writes
it beside its place, syncs it and renames it. Reading is what a step does: DuckDB over the view of a
pinned table, against DuckDB over the same bytes in a folder. The sides take turns.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from bench.figures import Benchmark, Figure

if TYPE_CHECKING:
    from mlops_assets.lake import Lake, Manifest, TablePartition

SIZES = {"50 kB": (50_000, 20), "8 MB": (8_000_000, 4)}
"""Bytes of a file, and how many partitions a round writes."""

TABLES = {"365 files of 50 kB": (365, 2_500), "40 files of 8 MB": (40, 420_000)}
"""How many partitions a table has, and how many rows each."""

FILE = "data.parquet"
WRITE = 1 / 0.5
SCAN = 1 / 0.9
"""What was promised: so much of the plain side's speed, as seconds over its seconds."""

QUERY = "select count(*), sum(number), max(value), sum(length(name)) from {}"

Written = dict["TablePartition", tuple["Manifest", Path]]


@contextmanager
def _opened(folder: Path, *, pre_sign: bool = False) -> Iterator[Lake]:
    from mlops_assets.lake import Credentials, Lake
    from mlops_assets.lakefs_server import EmbeddedServer

    with EmbeddedServer(folder / "lakefs", pre_sign=pre_sign) as found:
        lake = Lake(
            Credentials(found.url, found.access_key_id, found.secret_access_key),
            repository="bench",
            base_branch="main",
            scratch=folder / "scratch",
        )
        lake.create()
        yield lake


def _key(number: int) -> TablePartition:
    from mlops_assets.lake import Partition, TablePartition

    return TablePartition("bench/table", Partition.of({"day": f"{number:06d}"}))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _writes(folder: Path, size: int, partitions: int, rounds: int) -> tuple[float, float]:
    """Median seconds of a round through a transaction, and of plain copies."""
    from mlops_assets.lake import Manifest

    ours, plain = [], []
    with _opened(folder) as lake, lake.transaction("tx-bench", ["bench/table"]) as transaction:
        for turn in range(rounds):
            draw = random.Random(turn)
            written: Written = {}
            for number in range(partitions):
                source = folder / "source" / str(number)
                source.mkdir(parents=True)
                (source / FILE).write_bytes(draw.randbytes(size))
                key = _key(turn * partitions + number)
                written[key] = (Manifest.of_folder(source), source)
            plain.append(_seconds(lambda: _copy(written, folder / "plain")))  # noqa: B023
            ours.append(_seconds(lambda: transaction.write(written)))  # noqa: B023
            for used in ("source", "plain"):
                shutil.rmtree(folder / used)
        transaction.publish("bench", {})
    return median(ours), median(plain)


def _copy(written: Written, target: Path) -> None:
    target.mkdir()
    for number, (manifest, folder) in enumerate(written.values()):
        contents = {FILE: (folder / FILE).read_bytes(), "manifest": manifest.to_json().encode()}
        for name, content in contents.items():
            draft = target / f"{number}-{name}.draft"
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(target / f"{number}-{name}")


class _Scans(NamedTuple):
    """Median seconds: a scan through a view, the same on plain files, and to make the view.

    `first` is the first time that the view was made, with copies of what the server holds
    elsewhere.
    """

    ours: float
    plain: float
    view: float
    first: float


def _scans(folder: Path, files: int, rows: int, rounds: int, *, pre_sign: bool) -> _Scans:
    import duckdb

    from mlops_assets.engines.duckdb import create_view, describe_tables, literal

    plain = folder / "plain"
    with duckdb.connect() as connection, _opened(folder, pre_sign=pre_sign) as lake:
        with lake.transaction("tx-bench", ["bench/table"]) as transaction:
            keys = {transaction.scratch / str(number): _key(number) for number in range(files)}
            for number, made in enumerate(keys):
                made.mkdir()
                connection.execute(
                    "copy (select hash(i) as number, hash(i + 1) / 1e9 as value, "
                    "'flight ' || hash(i) % 5000 as name "
                    f"from range({number * rows}, {number * rows + rows}) numbers(i)) "
                    f"to {literal(made / FILE)} (format parquet)"
                )
            shutil.copytree(transaction.scratch, plain)
            described = describe_tables(keys)
            transaction.write({keys[made]: (found, made) for made, found in described.items()})
            transaction.publish("bench", {})
        snapshot = lake.snapshot()

        def show() -> None:
            create_view(connection, snapshot, "bench/table", schema="lake", name="bench")

        first = _seconds(show)
        paths = ", ".join(literal(path) for path in sorted(plain.glob(f"*/{FILE}")))
        connection.execute(f"create view plain as from read_parquet([{paths}])")
        views, ours, theirs = [], [], []
        for _ in range(rounds + 1):
            views.append(_seconds(show))
            ours.append(_seconds(lambda: connection.execute(QUERY.format("lake.bench")).fetchall()))
            theirs.append(_seconds(lambda: connection.execute(QUERY.format("plain")).fetchall()))
    return _Scans(median(ours[1:]), median(theirs[1:]), median(views[1:]), first)


def _measure(rounds: int) -> Iterator[Figure]:
    for name, (size, partitions) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            ours, plain = _writes(Path(folder), size, partitions, rounds)
        per = 1000 / partitions
        figure = f"write a partition of {name}"
        yield Figure(BYTES.name, figure, ours * per, "ms", baseline=plain * per, target=WRITE)
    for name, (files, rows) in TABLES.items():
        for pre_sign, where in ((False, "on this machine"), (True, "elsewhere")):
            with tempfile.TemporaryDirectory() as folder:
                found = _scans(Path(folder), files, rows, rounds, pre_sign=pre_sign)
            figure = f"scan {name}, server {where}"
            ours, plain = found.ours * 1000, found.plain * 1000
            yield Figure(BYTES.name, figure, ours, "ms", baseline=plain, target=SCAN)
            yield Figure(BYTES.name, f"show {name}, server {where}", found.view * 1000, "ms")
            if pre_sign:
                yield Figure(BYTES.name, f"copy {name} and show them", found.first * 1000, "ms")


BYTES = Benchmark(
    name="bytes",
    question="How fast are bytes written through the lake, and scanned, against plain files?",
    rounds=15,
    measure=_measure,
)
