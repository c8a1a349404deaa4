"""How many small objects a second the official client puts on the embedded server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.figures import Benchmark, Figure

OBJECTS = 300
BYTES = 4096


def _measure(rounds: int) -> Iterator[Figure]:
    from mlops_assets.lake import Credentials, Lake
    from mlops_assets.lakefs_server import EmbeddedServer

    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "lakefs") as found:
        lake = Lake(
            Credentials(found.url, found.access_key_id, found.secret_access_key),
            repository="bench",
            base_branch="main",
            scratch=Path(folder) / "scratch",
        )
        lake.create()
        branch = lake.repo().branch("uploads").create("main")
        rates = []
        for turn in range(rounds):
            started = time.perf_counter()
            for number in range(OBJECTS):
                # Each of its own content: equal blobs are stored once.
                content = f"{turn}/{number}".encode().ljust(BYTES)
                branch.object(f"{turn}/{number}").upload(content, mode="wb", pre_sign=False)
            rates.append(OBJECTS / (time.perf_counter() - started))
    yield Figure(UPLOAD.name, f"objects of {BYTES // 1024} KiB, one client", median(rates), "1/s")


UPLOAD = Benchmark(
    name="upload",
    question="How many small objects a second does the embedded server take?",
    rounds=3,
    measure=_measure,
)
