"""Flipped bits and cut ends, over all that a lake keeps: refused, repaired, or without effect."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from damage import damages
from installation import open_lake
from lake_tables import FIRST, SECOND, content, publish

from mlops_assets.components.partition_files import FILE, write_table
from mlops_assets.engines.duckdb import create_view
from mlops_assets.lake import Credentials, Lake, LakeError, TablePartition
from mlops_assets.lakefs_server import EmbeddedServer, Endpoint
from mlops_assets.ml.model import Model, NotAModelError
from mlops_assets.ml.training import Estimator, train
from mlops_assets.tracking.results import MODEL_FILE

MODEL = TablePartition.from_folder("toy/model/month=2013-02/origin=JFK")

REFUSED, REPAIRED, NO_EFFECT, WRONG = "refused", "repaired", "without effect", "read as other data"


class Store:
    """A store with a table of two days and a model, and what its readers are to see."""

    def __init__(self, folder: Path) -> None:
        rows = pa.table({"tail": [f"N{n % 97}" for n in range(2_000)], "delay": list(range(2_000))})
        write_table(rows, folder / "rows.parquet")
        self.folder = folder
        self.store = folder / "store"
        self.scratch = folder / "scratch"
        self.table = (folder / "rows.parquet").read_bytes()
        late = rows.append_column("late", pa.array([n % 3 == 0 for n in range(2_000)]))
        self.model = train(
            late,
            features=["tail"],
            label="late",
            keys=["delay"],
            parameters=Estimator(rounds=3, threads=1),
        ).to_ubj()
        self.said = {
            FIRST: {FILE: self.table},
            SECOND: {FILE: self.table[:-1]},
            MODEL: {MODEL_FILE: self.model},
        }
        with EmbeddedServer(self.store) as endpoint:
            lake = open_lake(endpoint, self.scratch)
            publish(lake, "tx-a", self.said)
            self.head = lake.head()

    def blob(self, lake: Lake, key: TablePartition) -> Path:
        [part] = lake.snapshot().stored(key.table, [key.partition]).values()
        [path] = lake.snapshot().files([part])
        return path

    def blobs(self, flips: int, cuts: int) -> Iterator[str]:
        """Tables in the store: DuckDB is shown none; written again, every fifth, they are whole."""
        with EmbeddedServer(self.store) as endpoint:
            lake = open_lake(endpoint, self.scratch)
            pinned = lake.snapshot()
            path = self.blob(lake, FIRST)
            for number, _ in enumerate(damages(path, flips, cuts, seed=1)):
                try:
                    with duckdb.connect() as connection:
                        create_view(
                            connection, pinned, FIRST.table, [FIRST.partition], schema="s", name="t"
                        )
                    yield WRONG
                    continue
                except LakeError:
                    pass
                if number % 5:
                    yield REFUSED
                    continue
                publish(lake, f"tx-again-{number}", {FIRST: self.said[FIRST]})
                yield REPAIRED if pinned.read(FIRST, FILE) == self.table else WRONG

    def models(self, flips: int, cuts: int) -> Iterator[str]:
        """Models in the store, and the same bytes opened past it."""
        with EmbeddedServer(self.store) as endpoint:
            lake = open_lake(endpoint, self.scratch)
            pinned = lake.snapshot()
            path = self.blob(lake, MODEL)
            for _ in damages(path, flips, cuts, seed=2):
                with pytest.raises(NotAModelError):
                    Model.from_ubj(path.read_bytes())
                try:
                    pinned.read(MODEL, MODEL_FILE)
                    yield WRONG
                except LakeError:
                    yield REFUSED

    def copies(self, flips: int, cuts: int) -> Iterator[str]:
        """Copies of what a server elsewhere holds: replaced by what it sends."""
        with EmbeddedServer(self.store, pre_sign=True) as endpoint:
            lake = open_lake(endpoint, self.scratch)
            path = self.blob(lake, FIRST)
            assert self.scratch in path.parents
            for _ in damages(path, flips, cuts, seed=3):
                found = self.blob(lake, FIRST)
                yield REPAIRED if found.read_bytes() == self.table else WRONG

    def manifests(self, flips: int, cuts: int) -> Iterator[str]:
        """The file that holds manifests, trees, commits and branches."""
        copy = self.folder / "copy"
        shutil.copytree(self.store, copy)
        database = copy / "metadata.sqlite"
        for _ in damages(database, flips, cuts, seed=4):
            for name in ("metadata.sqlite-wal", "metadata.sqlite-shm"):
                (copy / name).unlink(missing_ok=True)
            try:
                with EmbeddedServer(copy) as endpoint:
                    yield self._seen(endpoint)
            except (LakeError, sqlite3.Error):
                yield REFUSED
        shutil.rmtree(copy)

    def _seen(self, endpoint: Endpoint) -> str:
        lake = Lake(
            Credentials(*endpoint),
            repository="tables",
            base_branch="main",
            scratch=self.scratch,
        )
        if lake.head() != self.head:
            return WRONG
        seen = {table: content(lake.snapshot(), table) for table in (FIRST.table, MODEL.table)}
        told = {
            FIRST.table: {str(key.partition): self.said[key] for key in (FIRST, SECOND)},
            MODEL.table: {str(MODEL.partition): self.said[MODEL]},
        }
        return NO_EFFECT if seen == told else WRONG


def strike(folder: Path, flips: int, cuts: int) -> dict[str, Counter[str]]:
    """So many flips and cuts of each kind of bytes; what came of them."""
    found = {}
    for kind in ("manifests", "blobs", "models", "copies"):
        (folder / kind).mkdir()
        store = Store(folder / kind)
        found[kind] = Counter(getattr(store, kind)(flips, cuts))
    return found


def test_a_few_damaged_bytes_are_refused_repaired_or_without_effect(tmp_path: Path) -> None:
    outcomes = strike(tmp_path, flips=8, cuts=3)
    assert {kind: counts[WRONG] for kind, counts in outcomes.items()} == dict.fromkeys(outcomes, 0)
    assert {kind: counts.total() for kind, counts in outcomes.items()} == dict.fromkeys(
        outcomes, 11
    )


@pytest.mark.soak
def test_a_thousand_flipped_bits_and_two_hundred_cut_ends(tmp_path: Path) -> None:
    outcomes = strike(tmp_path, flips=250, cuts=50)
    for kind, counts in outcomes.items():
        print(kind, dict(counts))
    assert {kind: counts[WRONG] for kind, counts in outcomes.items()} == dict.fromkeys(outcomes, 0)
