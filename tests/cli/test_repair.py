"""`mlops-assets doctor --repair`: what doctor finds is whole again, or it says why not."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from command_line import Ended
from damage import cut, flip, overwrite
from installation import WHOLE, installed, reading
from small_source import Row, small_source
from traced_lake import EVERY, with_problem

from mlops_assets.cli.names import open_names
from mlops_assets.lake import File, Lake, LakeError, TablePartition
from mlops_assets.lake.copies import kept
from mlops_assets.lake.snapshot import METADATA_KEY
from mlops_assets.settings import settings


@pytest.fixture
def home(traced: Path, tmp_path: Path) -> Path:
    """A copy of the state directory with every kind of result, to be damaged."""
    return Path(shutil.copytree(traced / "home", tmp_path / "home"))


@pytest.fixture
def doctor(
    home: Path,
    traced: Path,
    command: Callable[..., Ended],
    definitions: dg.Definitions,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., dict[str, list[dict[str, Any]]]]:
    """Runs `doctor` over that copy; what it says, by the name of the check."""
    found = with_problem(definitions)
    monkeypatch.setattr("mlops_assets.definitions.defs", lambda: found)

    def run(option: str, source: Path | None = None) -> dict[str, list[dict[str, Any]]]:
        places = {"MLOPS_HOME": home, "MLOPS_SOURCE": source or traced / "source"}
        checks: dict[str, list[dict[str, Any]]] = {}
        for check in json.loads(command("doctor", "--json", option, **places).out)["checks"]:
            checks.setdefault(check["name"], []).append(check)
        return checks

    return run


@pytest.fixture
def lake(home: Path, lake_of: Callable[[Path], Lake]) -> Iterator[Lake]:
    lake = lake_of(home)
    yield lake
    assert [branch.id for branch in lake.repo().branches()] == [lake.base_branch]


def blobs(lake: Lake, table: str, partition: str) -> list[Path]:
    """The files of a partition that its lake keeps."""
    key = TablePartition.from_folder(f"{table}/{partition}".rstrip("/"))
    snapshot = lake.snapshot()
    return snapshot.files(list(snapshot.require(key.table, [key.partition]).values()))


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


DAMAGES = {
    "raw/airlines": ("", cut),
    "raw/flights": ("day=2013-01-05", flip),
    "staging/stg_flights": ("day=2013-01-05", remove),
    "marts/fct_flights": ("day=2013-01-05", flip),
    "toy/model": ("month=2013-02/origin=JFK", flip),
    "toy/evaluation_report": ("month=2013-04/origin=EWR", cut),
    "toy/champion": ("month=2013-04/origin=JFK", flip),
}


def test_every_kind_of_damaged_result_is_rebuilt_with_its_own_bytes(
    doctor: Callable[..., Any], lake: Lake
) -> None:
    chance = random.Random(0)
    whole = {}
    for table, (partition, damage) in DAMAGES.items():
        path = chance.choice(blobs(lake, table, partition))
        whole[path] = path.read_bytes()
        damage(path, chance)
    found = doctor("--deep")["tables"][0]
    assert not found["ok"]
    assert found["sentence"].endswith(f"({len(DAMAGES) - 1} more like it)")
    assert "doctor --repair" in found["remedy"]

    repaired = doctor("--repair")

    assert [check["sentence"] for check in repaired["repair"] if not check["ok"]] == []
    assert len(repaired["repair"]) == len(DAMAGES)
    assert repaired["tables"][0]["ok"]
    assert {path: path.read_bytes() for path in whole} == whole
    assert doctor("--deep")["tables"][0]["ok"]


def test_what_comes_out_otherwise_by_now_is_left_and_said(
    doctor: Callable[..., Any], lake: Lake, tmp_path: Path
) -> None:
    def change(row: Row) -> None:
        if (row["month"], row["day"]) == ("1", "5"):
            row["distance"] = "999"

    source = small_source(tmp_path / "tampered", change, days=59, every=EVERY)
    for day in ("2013-01-05", "2013-01-06"):
        [path] = blobs(lake, "raw/flights", f"day={day}")
        flip(path, random.Random(0))
    repaired = doctor("--repair", source)
    sentences = {check["ok"]: check["sentence"] for check in repaired["repair"]}
    assert "day=2013-01-06 is whole again: rebuilt from its pin" in sentences[True]
    assert "day=2013-01-05 cannot be repaired: rebuilt from" in sentences[False]
    assert "it has other bytes" in sentences[False]
    assert "materialize it again as a new version" in repaired["repair"][-1]["remedy"]
    assert not repaired["tables"][0]["ok"]


@pytest.mark.parametrize("copied", [False, True])
def test_a_model_that_only_an_older_commit_holds_is_repaired_where_a_champion_names_it(
    doctor: Callable[..., Any], lake: Lake, copied: bool
) -> None:
    key = TablePartition.from_folder("toy/model/month=2013-02/origin=JFK")
    [path] = blobs(lake, key.table, key.partition.path)
    whole = path.read_bytes()
    with lake.transaction("tx-newer", [key.table]) as transaction:
        transaction.remove([key])
        transaction.publish("the model of that month is gone", {})
    if copied:  # no commit puts an old one's bytes again from it
        kept(lake.scratch, File.of("model", path), lambda: whole)
    flip(path, random.Random(0))
    assert not doctor("--deep")["tables"][0]["ok"]
    [done] = doctor("--repair")["repair"]
    assert done["ok"], done
    assert path.read_bytes() == whole
    assert doctor("--deep")["tables"][0]["ok"]


def test_a_manifest_that_something_else_wrote_over_is_restored(
    doctor: Callable[..., Any], lake: Lake
) -> None:
    from lake_tables import put

    key = TablePartition.from_folder("toy/champion/month=2013-04/origin=JFK")
    before = lake.snapshot().read(key, "champion.json")
    put(lake, key.manifest_path, b"", {METADATA_KEY: "{"})
    with pytest.raises(LakeError, match="doctor --repair"):
        lake.snapshot().read(key, "champion.json")
    [done] = doctor("--repair")["repair"]
    assert "restored from commit" in done["sentence"]
    assert lake.snapshot().read(key, "champion.json") == before
    assert doctor("--deep")["tables"][0]["ok"]


def test_protection_and_a_key_that_others_read_are_put_right(
    doctor: Callable[..., Any], lake: Lake, home: Path
) -> None:
    lake.client.sdk_client.repositories_api.set_branch_protection_rules(lake.repository, [])
    secret = home / "lakefs" / "signing.key"
    secret.touch()
    secret.chmod(0o644)
    repaired = doctor("--repair")
    assert all(check["ok"] for name in ("repair", "state", "branch") for check in repaired[name])
    assert len(repaired["repair"]) == 2


def test_materializing_a_damaged_partition_again_repairs_it(
    home: Path, traced: Path, definitions: dg.Definitions
) -> None:
    with reading(traced / "source"), installed(home, with_problem(definitions)) as made:
        [path] = blobs(made.lake, "raw/airlines", "")
        whole, head = path.read_bytes(), made.lake.head()
        for damage in (cut, flip, remove):
            damage(path, random.Random(0))
            assert made.materialize(WHOLE).success
            assert path.read_bytes() == whole
        recorded = made.materialization("raw/airlines")
        assert recorded.metadata["lake/changed"].value is False
        assert open_names(settings(), definitions.resolve_asset_graph()).find("raw/airlines")
        assert (
            made.lake.snapshot(head).faults(
                next(iter(made.lake.snapshot(head).stored("raw/airlines").values()))
            )
            == {}
        )
        overwrite(path, whole)


def test_a_record_of_what_the_lake_lost_fits_again_once_that_is_materialized(
    doctor: Callable[..., Any], home: Path, traced: Path, definitions: dg.Definitions
) -> None:
    shutil.rmtree(home / "lakefs")
    with reading(traced / "source"), installed(home, with_problem(definitions)) as made:
        made.lake.create()
        [lost] = doctor("--deep")["record"]
        assert "not of the same history" in lost["sentence"]
        assert "`mlops-assets backfill raw/airlines`" in lost["remedy"]

        assert made.materialize(WHOLE).success

    [left] = doctor("--deep")["record"]
    assert not left["ok"]
    assert "raw/airlines" not in left["sentence"]
