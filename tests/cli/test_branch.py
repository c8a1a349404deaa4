"""Data branches: their work shows nowhere else until it is merged; dropped, it leaves no trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import DAYS, Ended, configured
from small_source import Row, small_source

from mlops_assets.cli.record import opened_record
from mlops_assets.components.partition_files import FILE
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Lake, Partition, TablePartition
from mlops_assets.settings import settings

SECOND_DAY = TablePartition("raw/flights", Partition.of({"day": DAYS[1]}))
FLIGHTS = dg.AssetKey(["raw", "flights"])
Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def loaded_once(definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops_assets.definitions.defs", lambda: definitions)


@pytest.fixture
def on(own_state: Path, source: Path, command: Command) -> Command:
    """Runs a command over that state directory, on a branch and from a source of choice."""

    def run(*arguments: str, branch: str = "main", reads: Path = source) -> Ended:
        return command(*arguments, MLOPS_HOME=own_state, MLOPS_SOURCE=reads, LAKEFS_BRANCH=branch)

    return run


def protected(lake: Lake) -> set[str]:
    """What the rules of the repository protect; a server lists them in any order."""
    rules = lake.client.sdk_client.repositories_api.get_branch_protection_rules(lake.repository)
    return {rule.pattern for rule in rules}


@pytest.fixture
def longer(tmp_path: Path) -> Path:
    """The same source with other flights on the second day, each in the air a minute longer."""

    def change(row: Row) -> None:
        if row["day"] == "2" and row["air_time"] != "NA":
            row["air_time"] = str(int(row["air_time"]) - 1)

    return small_source(tmp_path / "longer", change)


@contextmanager
def recorded(home: Path, branch: str = "main") -> Iterator[dg.DagsterInstance]:
    with (
        configured(MLOPS_HOME=home, LAKEFS_BRANCH=branch),
        opened_record(settings()) as instance,
    ):
        yield instance


def versions(home: Path, branch: str = "main") -> dict[str, str | None]:
    """The data version that a record names last for each day of raw flights."""
    found = {}
    with recorded(home, branch) as instance:
        for day in DAYS:
            [record] = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=FLIGHTS, asset_partitions=[day]), limit=1
            ).records
            tags = record.asset_materialization and record.asset_materialization.tags
            found[day] = (tags or {}).get("dagster/data_version")
    return found


def shown(home: Path, branch: str) -> set[str]:
    """What a record shows of the second day of raw flights."""
    with recorded(home, branch) as instance:
        [record] = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=FLIGHTS, asset_partitions=[DAYS[1]]), limit=1
        ).records
    assert record.asset_materialization is not None
    return set(record.asset_materialization.metadata)


def stored(lake: Lake, ref: str) -> dict[str, str]:
    days = lake.snapshot(ref).stored("raw/flights", [Partition.of({"day": day}) for day in DAYS])
    return {dict(day.values)["day"]: part.manifest.data_version for day, part in days.items()}


def files(home: Path) -> set[str]:
    """The state directory's files but for the store's own and what is written anew each time."""
    ours = {path.relative_to(home) for path in home.rglob("*") if path.is_file()}
    return {str(path) for path in ours if path.parts[0] not in ("lakefs", "logs", "dagster")}


def test_a_branch_begins_with_everything_and_a_record_that_knows_it(
    own_state: Path, on: Command, lake_of: Callable[[Path], Lake]
) -> None:
    head = lake_of(own_state).head()
    ended = on("branch", "create", "exp")
    assert ended.code == 0, ended.err
    assert "mlops-assets ui --branch exp" in ended.out
    assert lake_of(own_state).head("exp") == head
    assert versions(own_state, "exp") == versions(own_state) == stored(lake_of(own_state), "exp")
    [listed] = json.loads(on("branch", "list", "--json").out)
    assert listed == {
        "name": "exp", "head": head, "changed": 0, "behind": False, "recorded": True
    }  # fmt: skip
    assert on("branch", "diff", "exp").out == "exp holds nothing that differs from main.\n"


def test_work_on_a_branch_shows_on_the_base_branch_once_it_is_merged(
    own_state: Path, on: Command, longer: Path, lake_of: Callable[[Path], Lake]
) -> None:
    lake = lake_of(own_state)
    on("branch", "create", "exp")
    head, before = lake.head(), versions(own_state)
    assert on("run", "--days", f"{DAYS[1]}..{DAYS[1]}", branch="exp", reads=longer).code == 0
    assert (lake.head(), versions(own_state)) == (head, before)
    assert versions(own_state, "exp")[DAYS[1]] != before[DAYS[1]]
    found = json.loads(on("branch", "diff", "exp", "--json").out)
    flights = [change for change in found["changes"] if change["table"] == "raw/flights"]
    assert [(change["partition"], change["kind"]) for change in flights] == [
        (f"day={DAYS[1]}", "changed")
    ]
    assert flights[0]["rows"] == flights[0]["rows_before"] > 0
    assert found["conflicts"] == []
    merged = on("branch", "merge", "exp", "--json")
    assert merged.code == 0, merged.err
    told = json.loads(merged.out)
    assert told["commit"] == lake.head()
    assert told["partitions"] == len(found["changes"])
    assert told["checks"] > 40
    assert versions(own_state) == stored(lake, "main") == stored(lake, "exp")
    assert shown(own_state, "main") >= shown(own_state, "exp") > {"dagster/partition_row_count"}
    events = {c["name"]: c for c in json.loads(on("doctor", "--json").out)["checks"]}["events"]
    assert events["sentence"].startswith("every partition on main is recorded")
    again = on("branch", "merge", "exp")
    assert again.out == "exp has nothing that main lacks.\n"


def rows_of(lake: Lake, key: TablePartition) -> pa.Table:
    stored = lake.snapshot().require(key.table, [key.partition])
    return pq.read_table(lake.snapshot().files(list(stored.values())))


def rewrite(lake: Lake, key: TablePartition, folder: Path, rows: pa.Table) -> None:
    """Publish other rows for a partition on the lake's base branch, past every check."""
    folder.mkdir()
    pq.write_table(rows, folder / FILE)
    with lake.transaction(f"tx-{folder.name}", [key.table]) as transaction:
        transaction.write({key: (describe_tables([folder])[folder], folder)})
        transaction.publish(f"{key} rewritten", {})


def test_a_dropped_branch_leaves_no_trace(
    own_state: Path, on: Command, tmp_path: Path, lake_of: Callable[[Path], Lake]
) -> None:
    lake = lake_of(own_state)
    before = (lake.head(), versions(own_state), files(own_state), protected(lake))
    on("branch", "create", "exp")
    rewrite(lake.on_branch("exp"), SECOND_DAY, tmp_path / "a", rows_of(lake, SECOND_DAY)[:9])
    broken = small_source(tmp_path / "broken", lambda row: row.update(origin="SFO"))
    assert on("run", "--days", "..".join(DAYS), branch="exp", reads=broken).code == 1
    assert lake.work_branches()
    refused = on("branch", "drop", "exp")
    assert refused.code == 1
    assert "exp has commits that main lacks, and is not deleted" in refused.err
    assert "(unexpected" not in refused.err
    assert "exp" in on("branch", "list").out
    ended = on("branch", "drop", "exp", "--force")
    assert ended.code == 0, ended.err
    assert (lake.head(), versions(own_state), files(own_state), protected(lake)) == before
    assert not lake.work_branches()
    assert on("branch", "list").out.startswith("there is no data branch")


def test_a_partition_that_both_have_changed_is_named_and_nothing_is_merged(
    own_state: Path, on: Command, tmp_path: Path, lake_of: Callable[[Path], Lake]
) -> None:
    lake = lake_of(own_state)
    on("branch", "create", "exp")
    rewrite(lake.on_branch("exp"), SECOND_DAY, tmp_path / "a", rows_of(lake, SECOND_DAY)[:9])
    rewrite(lake, SECOND_DAY, tmp_path / "b", rows_of(lake, SECOND_DAY)[:8])
    before = (lake.head(), versions(own_state))
    ended = on("branch", "merge", "exp")
    assert ended.code == 1
    assert f"{SECOND_DAY} was changed on exp and on the base branch since they" in ended.err
    assert (lake.head(), versions(own_state)) == before
    assert "they would not merge" in on("branch", "diff", "exp").out
    assert not lake.work_branches()


def test_what_breaks_a_check_is_not_merged(
    own_state: Path, on: Command, tmp_path: Path, lake_of: Callable[[Path], Lake]
) -> None:
    """Each day by itself is whole; a flight that lies in both breaks the key of the table."""
    lake = lake_of(own_state)
    on("branch", "create", "exp")
    first, second = (
        TablePartition("marts/fct_flights", Partition.of({"day": day})) for day in DAYS
    )
    both = pa.concat_tables([rows_of(lake, second), rows_of(lake, first)[:1]])
    rewrite(lake.on_branch("exp"), second, tmp_path / "a", both)
    before = (lake.head(), versions(own_state))
    ended = on("branch", "merge", "exp")
    assert ended.code == 1
    assert "exp is not merged, since a check fails on what the merge would publish" in ended.err
    assert "fct_flights_key_is_unique" in ended.err
    assert (lake.head(), versions(own_state)) == before
    assert not lake.work_branches()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create", "main"), "there is a branch main already"),
        (("create", "../out"), "cannot name a branch"),
        (("create", "tx-mine"), "the work branches of steps begin with"),
        (("create", "exp", "--from", "nowhere"), "nowhere"),
        (("diff", "nowhere"), "there is no data branch nowhere; there are: none."),
        (("merge", "nowhere"), "there is no data branch nowhere; there are: none."),
        (("drop", "nowhere"), "there is no data branch nowhere; there are: none."),
        (("drop", "main"), "main is the base branch"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(
    own_state: Path,
    on: Command,
    lake_of: Callable[[Path], Lake],
    arguments: tuple[str, ...],
    told: str,
) -> None:
    before = (lake_of(own_state).head(), files(own_state))
    ended = on("branch", *arguments)
    assert ended.code == 1
    assert told in ended.err
    assert ended.err.count("\n") == 1
    assert (lake_of(own_state).head(), files(own_state)) == before


def test_main_is_not_dropped_while_another_branch_is_the_base(
    own_state: Path, on: Command, lake_of: Callable[[Path], Lake]
) -> None:
    """What is recorded of `main` is the state directory itself, the lake of all branches in it."""
    on("branch", "create", "exp")
    lake = lake_of(own_state)
    before = (lake.head(), versions(own_state), protected(lake))
    for forced in ([], ["--force"]):
        ended = on("branch", "drop", "main", *forced, branch="exp")
        assert ended.code == 1
        assert "main is the base branch" in ended.err
    assert (lake.head(), versions(own_state), protected(lake)) == before


def test_a_branch_that_a_run_works_on_is_neither_merged_nor_dropped(
    own_state: Path, on: Command, lake_of: Callable[[Path], Lake], definitions: dg.Definitions
) -> None:
    on("branch", "create", "exp")
    with recorded(own_state, "exp") as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    for verb in ("merge", "drop"):
        ended = on("branch", verb, "exp")
        assert ended.code == 1
        assert f"run {run.run_id} works on exp" in ended.err
    assert on("branch", "drop", "exp", "--force").code == 0
    assert on("branch", "list").out.startswith("there is no data branch")


def test_a_branch_is_never_recorded_where_another_is(
    own_state: Path, on: Command, command: Command
) -> None:
    on("branch", "create", "exp")
    ended = command(
        *("run", "--days", "..".join(DAYS)),
        MLOPS_HOME=own_state,
        LAKEFS_BRANCH="exp",
        DAGSTER_HOME=own_state / "dagster",
    )
    assert ended.code == 1
    assert "records the branch main, and LAKEFS_BRANCH is exp: unset DAGSTER_HOME" in ended.err


def test_the_instance_of_a_branch_is_configured_as_the_base_branchs_is(
    own_state: Path, on: Command
) -> None:
    ours = own_state / "dagster" / "dagster.yaml"
    ours.write_text(ours.read_text().replace("max_concurrent_runs: 4", "max_concurrent_runs: 7"))
    on("branch", "create", "exp")
    assert (
        own_state / "branches" / "exp" / "dagster" / "dagster.yaml"
    ).read_text() == ours.read_text()
