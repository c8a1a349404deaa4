"""A clock that is set back by a day: the newest stays the newest, for every reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from forked_workers import Workers
from installation import copied
from required import program
from small_source import Row, small_source
from verdict import judge, opened

from mlops_assets.lake import Partition, TablePartition, makers

ASSET, DAY = "raw/flights", "2013-01-01"
KEY = TablePartition(ASSET, Partition.of({"day": DAY}))


@pytest.fixture(scope="module")
def yesterday(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Processes whose clock is a day behind."""
    home = copied(empty_home, tmp_path_factory.mktemp("yesterday") / "home")
    with Workers(
        home, tmp_path_factory.mktemp("workers"), command=(program("faketime"), "-f", "-1d")
    ) as workers:
        yield workers


def test_what_is_published_after_the_clock_was_set_back_is_the_newest_everywhere(
    workers: Workers,
    yesterday: Workers,
    empty_home: Path,
    definitions: dg.Definitions,
    tmp_path: Path,
) -> None:
    home = copied(empty_home, tmp_path / "home")

    def publish(by: Workers, name: str) -> Any:
        def change(row: Row) -> None:
            row["distance"] = str(len(name))

        source = small_source(tmp_path / name, change, days=1, every=4)
        told = by.materialize(home, [ASSET], [DAY], source=source).answer()
        assert told["error"] is None
        return told

    publish(workers, "today")
    told = publish(yesterday, "yesterday")

    [version] = told["versions"].values()
    found = judge(home, (ASSET,), definitions, doctor=False)
    assert found.content[ASSET][KEY.partition].data_version == version
    assert found.unrecorded == 0
    with opened(home, definitions) as after:
        newest = after.materialization(ASSET, DAY)
        assert (newest.tags or {})["dagster/data_version"] == version
        commit = str(newest.metadata["lake/commit"].value)
        head = after.lake.head()
        merge, base = (after.lake.commit_info(at) for at in (head, f"{head}^1"))
        assert merge["creation_date"] >= base["creation_date"]
        with after.lake.errors():
            [newest_first, _] = after.lake.repo().ref(head).log(objects=[KEY.manifest_path])
        assert newest_first.id == commit
        assert makers(after.lake, head, [KEY])[KEY][0] == commit
        assert after.lake.commit_info(commit)["metadata"]["dagster/run_id"] == told["run"]
