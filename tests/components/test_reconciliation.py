"""What the lake holds and Dagster's record does not name is recorded, once, and as it is."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest
from toy_problem import Toy, made_up, problem_definitions

from mlops_assets.components import publishing, reconciliation, writer
from mlops_assets.components.reconciliation import Unrecorded, report, unrecorded
from mlops_assets.defs.automation.reconciliation import reconcile_record

MODEL = dg.AssetKey(["toy", "model"])
KEYS = ("2013-04|EWR", "2013-04|JFK")


@functools.cache
def graph() -> dg.AssetGraph:
    nothing = {"lake": dg.ResourceDefinition.none_resource(), "tracking": None}
    return dg.Definitions.merge(
        problem_definitions(), dg.Definitions(resources=nothing)
    ).resolve_asset_graph()


def stale_causes(toy: Toy) -> list[str]:
    resolver = CachingStaleStatusResolver(
        toy.instance, graph(), LoadingContextForTest(toy.instance)
    )
    return [cause.reason for cause in resolver.get_stale_causes(MODEL, KEYS[0])]


@pytest.fixture
def killed_before_its_events(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A problem whose models are on the base branch, and whose process died before its events."""
    toy.publish(
        "2013-04", [row for at in ("EWR", "JFK") for row in made_up("2013-04", at, rows=800)]
    )
    with monkeypatch.context() as patch:

        def die(*_: object, **__: object) -> None:
            raise RuntimeError("the process died here")

        patch.setattr(publishing, "materializations", die)
        patch.setattr(writer, "_process", lambda _: "1@0.00")
        assert not toy.run(*KEYS).success
    return toy


def look(toy: Toy, since: str | None = None) -> Unrecorded:
    return unrecorded(toy.lake, toy.instance, graph(), since=since)


def mend(toy: Toy) -> list[dg.AssetMaterialization]:
    return report(toy.lake, toy.instance, graph(), look(toy).partitions)


def test_what_a_killed_run_published_is_recorded_as_what_it_is(
    killed_before_its_events: Toy,
) -> None:
    toy = killed_before_its_events
    assert not toy.instance.get_materialized_partitions(MODEL)
    reported = mend(toy)
    assert set(toy.instance.get_materialized_partitions(MODEL)) == set(KEYS)
    stored = toy.lake.snapshot().stored("toy/model").values()
    versions = {part.manifest.data_version for part in stored}
    models = [event for event in reported if event.asset_key == MODEL]
    assert {event.tags[publishing.DATA_VERSION_TAG] for event in models if event.tags} == versions
    commits = {event.metadata["lake/commit"].value for event in models}
    [commit] = commits
    assert toy.lake.commit_info(str(commit))["metadata"]["dagster/run_id"]


def test_what_is_recorded_is_not_reported_again(killed_before_its_events: Toy) -> None:
    mend(killed_before_its_events)
    assert not look(killed_before_its_events).partitions


def test_what_runs_record_themselves_is_never_reported(toy: Toy) -> None:
    toy.publish("2013-04", made_up("2013-04", "EWR", rows=800))
    mend(toy)
    toy.run("2013-04|EWR")
    assert not look(toy).partitions


def test_what_its_writer_may_yet_record_is_left_to_it(
    killed_before_its_events: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "is_alive", lambda metadata: "dagster/run_id" in metadata)
    found = look(killed_before_its_events)
    assert found.recording == len(KEYS)
    assert {part.key.table for part in found.partitions} == {"toy/training_set"}


def test_a_writer_on_another_machine_is_given_its_time(
    killed_before_its_events: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer.socket, "gethostname", lambda: "elsewhere")
    assert look(killed_before_its_events).recording == len(KEYS)
    monkeypatch.setattr(reconciliation, "UNKNOWN_WRITER_SECONDS", -1.0)
    assert not look(killed_before_its_events).recording


def test_a_reconciled_model_is_as_fresh_as_a_recorded_one(killed_before_its_events: Toy) -> None:
    toy = killed_before_its_events
    mend(toy)
    assert stale_causes(toy) == []
    toy.publish("2013-04", made_up("2013-04", "EWR", rows=900))
    mend(toy)
    assert stale_causes(toy) == ["has a new dependency data version"]


def test_only_tables_that_moved_since_a_head_are_looked_at(killed_before_its_events: Toy) -> None:
    toy = killed_before_its_events
    head = toy.lake.head()
    assert not look(toy, since=head).partitions
    toy.publish("2013-05", made_up("2013-05", "EWR", rows=800))
    tables = {part.key.table for part in look(toy, since=head).partitions}
    assert tables == {"toy/training_set"}


def test_a_batch_records_what_dagsters_own_report_does(toy: Toy) -> None:
    """Dagster's public method takes one event; a batch of them is its internal."""
    event = dg.AssetMaterialization("a", partition="p", metadata={"rows": 1}, tags={"t": "v"})
    reconciliation._record(toy.instance, [event, event])
    toy.instance.report_runless_asset_event(event)
    ours, _, theirs = (
        entry.event_log_entry._replace(timestamp=0.0)
        for entry in toy.instance.fetch_materializations(dg.AssetKey("a"), limit=3).records
    )
    assert ours == theirs


def test_the_sensor_reports_once_and_then_waits_for_the_branch_to_move(
    killed_before_its_events: Toy,
) -> None:
    toy = killed_before_its_events
    definitions = dg.Definitions.merge(
        problem_definitions(),
        dg.Definitions(sensors=[reconcile_record], resources={"lake": toy.lake, "tracking": None}),
    )

    def tick(cursor: str | None) -> dg.SensorResult | dg.SkipReason:
        with dg.build_sensor_context(
            instance=toy.instance,
            cursor=cursor,
            repository_def=definitions.get_repository_def(),
            resources={"lake": toy.lake},
        ) as context:
            found = reconcile_record(context)
            assert isinstance(found, dg.SensorResult | dg.SkipReason)
            return found

    first = tick(None)
    assert isinstance(first, dg.SensorResult)
    assert {event.partition for event in first.asset_events} >= set(KEYS)
    assert first.cursor == toy.lake.head()
    assert isinstance(tick(first.cursor), dg.SkipReason)


def test_a_process_is_alive_until_it_is_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        named = {
            writer.HOST: writer.this_writer()[writer.HOST],
            writer.PROCESS: writer._process(child.pid),
        }
        assert writer.is_alive(named)
        child.kill()
    assert not writer.is_alive(named)
    assert not writer.is_alive({})
    assert writer.is_alive(writer.this_writer())


@pytest.mark.parametrize(
    ("machine", "boot", "namespace", "alive"),
    [
        ("its id", "another boot", "1", False),  # this machine, restarted
        ("its id", "boot", "2", None),  # another container of this kernel
        ("another id", "another boot", "1", None),  # another machine of this name
        ("", "another boot", "1", None),  # nobody can tell
    ],
)
def test_a_writer_from_before_a_restart_is_dead_and_one_elsewhere_may_live(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    boot: str,
    namespace: str,
    alive: bool | None,
) -> None:
    def somewhere(machine: str, boot: str, namespace: str) -> None:
        (tmp_path / "machine-id").write_text(machine)
        monkeypatch.setattr(writer, "place", lambda: f"{boot}:{namespace}")

    monkeypatch.setattr(writer, "MACHINE_ID", tmp_path / "machine-id")
    somewhere(machine, boot, namespace)
    named = writer.this_writer()
    somewhere("" if machine == "" else "its id", "boot", "1")
    assert writer.is_alive(named) is alive
