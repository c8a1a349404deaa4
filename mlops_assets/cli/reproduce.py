"""`mlops-assets reproduce`: makes a result again from what it was made from, and compares bytes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.cli.ancestry import Ancestry
from mlops_assets.cli.asset_partitions import asset_keys, mapped, step_name
from mlops_assets.cli.execution import Runner, console_to_log
from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.interrupts import noticed_interrupts
from mlops_assets.cli.names import open_names
from mlops_assets.cli.progress import progress_on
from mlops_assets.cli.rebuild import Rebuild, Step, rebuilding
from mlops_assets.lake import File, Partition, TablePartition, changes, makers
from mlops_assets.settings import open_state, settings

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.cli.names import Result
    from mlops_assets.components.provenance import Provenance
    from mlops_assets.lake import Lake, Snapshot
    from mlops_assets.settings import Settings

SHORT = 12
ONE_BY_ONE = 6
"""Of so many partitions the digests are shown."""


@dataclass(frozen=True)
class Compared:
    """One partition as it was recorded, and as it is made now.

    Attributes:
        key: The partition.
        recorded: Its files.
        rebuilt: Its files as they were made again; none where it was not.
    """

    key: TablePartition
    recorded: Sequence[File]
    rebuilt: Sequence[File]

    @property
    def identical(self) -> bool:
        """Whether every file has the same bytes."""
        return tuple(self.recorded) == tuple(self.rebuilt)

    def to_json(self) -> dict[str, Any]:
        """The digest of each file, before and now."""
        return {
            "table": self.key.table,
            "partition": self.key.partition.path,
            "recorded": {file.name: file.sha256 for file in self.recorded},
            "rebuilt": {file.name: file.sha256 for file in self.rebuilt},
        }


@dataclass(frozen=True)
class Reproduction:
    """What came of making a result again.

    Attributes:
        result: What was asked for.
        deep: Whether everything was made again from the raw files.
        compared: The partitions that were, inputs before what was made of them.
        reasons: What differs between the first partition that is not identical and the record of
            it; empty where nothing that was recorded does.
    """

    result: Result
    deep: bool
    compared: Sequence[Compared]
    reasons: Sequence[str]

    @property
    def identical(self) -> bool:
        """Whether every partition is."""
        return all(part.identical for part in self.compared)

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {
            "name": self.result.name,
            "commit": self.result.commit,
            "deep": self.deep,
            "identical": self.identical,
            "compared": len(self.compared),
            "results": [part.to_json() for part in self.compared if part.key in self.result.keys],
            "differing": [part.to_json() for part in self.compared if not part.identical],
            "reasons": list(self.reasons),
        }

    def to_text(self) -> str:
        """One sentence, and the digests."""
        if self.identical:
            return "\n".join([self._same(), *self._digests()])
        first, *others = [part for part in self.compared if not part.identical]
        more = f" and {len(others)} more" if others else ""
        because = (
            "; ".join(self.reasons)
            or "no input, parameter, code or package that its commit records does"
        )
        return "\n".join(
            [
                f"{self.result.name} differs from commit {self.result.commit[:SHORT]}, "
                f"{'first ' if self.deep else ''}in {first.key}{more}: {because}.",
                *_changed_files(first),
            ]
        )

    def _same(self) -> str:
        whence = "the raw files" if self.deep else f"its pin {self.result.pin[:SHORT]}"
        count = len(self.compared)
        return (
            f"{self.result.name} is identical: {count} partition{'s' if count > 1 else ''} made "
            f"again from {whence} with the SHA-256 of commit {self.result.commit[:SHORT]}."
        )

    def _digests(self) -> Iterator[str]:
        for part in self.compared:
            if part.key in self.result.keys[:ONE_BY_ONE]:
                for file in part.recorded:
                    yield f"  {part.key.folder}{file.name}  sha256 {file.sha256}"


def _changed_files(part: Compared) -> Iterator[str]:
    recorded, rebuilt = (
        {file.name: file.sha256 for file in files} for files in (part.recorded, part.rebuilt)
    )
    for name in sorted(recorded.keys() | rebuilt.keys()):
        was, now = recorded.get(name, "absent"), rebuilt.get(name, "absent")
        if was != now:
            yield f"  {name}  sha256 was {was}"
            yield f"  {'':<{len(name)}}          is {now}"


def reproduce(name: str, *, deep: bool, debug: bool) -> Reproduction:
    """Make what a name stands for again, on a branch of its own that is deleted at the end.

    Args:
        name: The name.
        deep: Make everything again from the raw files, not only the step from its pin.
        debug: Show on standard error what else goes to a file.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        LakeError: The lake does not answer or refuses.
        RequestError: Nothing has that name.
        CommandError: A step failed, or makes something else by now.
        KeyboardInterrupt: Somebody stopped it.
    """
    found = settings()
    with private_runs(found, debug=debug) as (definitions, runner):
        names = open_names(found, definitions.resolve_asset_graph())
        result = names.find(name)
        with again(definitions, runner, result, deep=deep) as (rebuild, wanted):
            return compare(rebuild, result, wanted, deep=deep)


@contextlib.contextmanager
def private_runs(found: Settings, *, debug: bool) -> Iterator[tuple[dg.Definitions, Runner]]:
    """What carries out runs that are nobody's results: Dagster's record stays as it is.

    Args:
        found: The settings.
        debug: Show on standard error what else goes to a file.
    """
    import dagster as dg

    from mlops_assets.defs.resources import find_lake

    home = open_state(found.home)
    progress = progress_on(sys.stderr, lines_only=debug)
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(noticed_interrupts())
        stack.enter_context(console_to_log(home, shown=debug))
        from mlops_assets.definitions import defs

        definitions = defs()
        stack.enter_context(progress)
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())
        yield definitions, Runner(home, find_lake(found), instance, progress, stopped)


@contextlib.contextmanager
def again(
    definitions: dg.Definitions, runner: Runner, result: Result, *, deep: bool
) -> Iterator[tuple[Rebuild, list[TablePartition]]]:
    """Make a result again, on a branch that is gone afterwards.

    Args:
        definitions: What exists.
        runner: Carries out the runs.
        result: The result.
        deep: Make everything upstream again, from a state that holds nothing; else the step's
            partitions, from the step's pin, where other steps' results lie.

    Yields:
        The branch, and the partitions that were made again: inputs before what was made of them.
    """
    graph = definitions.resolve_asset_graph()
    if deep:
        state = runner.lake.snapshot(result.commit)
        steps = Ancestry(graph, state).steps(result.keys)
        with rebuilding(definitions, runner, runner.lake.first_commit()) as rebuild:
            for step in steps:
                rebuild.make(step)
            yield rebuild, [key for step in steps for key in rebuild.places(step)]
        return
    of_commit = changes(runner.lake, result.commit)
    step = _step(graph, runner.lake, result, of_commit)
    partitions = {key.partition for key in result.keys}
    wanted = [key for key in of_commit if key.partition in partitions]
    with rebuilding(definitions, runner, result.pin) as rebuild:
        rebuild.clear(rebuild.places(step))
        rebuild.make(step)
        yield rebuild, sorted(wanted, key=lambda key: key not in result.keys)


def _step(
    graph: dg.AssetGraph, lake: Lake, result: Result, of_commit: Sequence[TablePartition]
) -> Step:
    """The step that made a result, for the partitions that are made again.

    An asset that reads its own earlier partitions was given those of its own commit by the step
    itself, so they are made again before it.
    """
    from dagster import AssetKey

    provenance = _provenance(lake, result.commit)
    assets = [AssetKey(table.split("/")) for table in provenance.code]
    gone = [key.to_user_string() for key in assets if not graph.has(key)]
    if gone or not assets:
        raise CommandError(
            f"commit {result.commit[:SHORT]} was made by "
            f"{f'{gone[0]}, which is not declared any more' if gone else 'no step'}: check out the "
            "code that made it, or reproduce another result."
        )
    made = {key for asset, key in asset_keys(graph, of_commit) if asset == assets[0]}
    keys = {key for _, key in asset_keys(graph, result.keys)}
    if assets[0] in graph.get(assets[0]).parent_keys:
        while earlier := (mapped(graph, assets[0], assets[0], keys) & made) - keys:
            keys |= earlier
    name = step_name(graph, assets[0])
    ordered = [key for key in graph.toposorted_asset_keys if key in assets]
    config = provenance.config.get(name)
    return Step(name, ordered, sorted(keys, key=str), dict.fromkeys(keys, config))


def compare(
    rebuild: Rebuild, result: Result, wanted: Iterable[TablePartition], *, deep: bool = False
) -> Reproduction:
    """Hold what was made again against what the result's commit holds."""
    lake = rebuild.lake
    recorded, rebuilt = lake.snapshot(result.commit), lake.snapshot()
    tables: dict[str, list[Partition]] = {}
    for key in wanted:
        tables.setdefault(key.table, []).append(key.partition)
    compared = []
    for table, partitions in tables.items():
        found = rebuilt.stored(table, partitions)
        for partition, part in recorded.stored(table, partitions).items():
            now = found[partition].manifest.files if partition in found else ()
            compared.append(Compared(part.key, part.manifest.files, now))
    first = next((part.key for part in compared if not part.identical), None)
    reasons = [] if first is None else _reasons(recorded, rebuilt, first)
    return Reproduction(result, deep, compared, reasons)


def _reasons(recorded: Snapshot, rebuilt: Snapshot, key: TablePartition) -> list[str]:
    """What the commits that made a partition, then and now, disagree in."""
    from mlops_assets.components.provenance import differences

    [(was, _)] = makers(recorded.lake, recorded.commit, [key]).values()
    made = makers(rebuilt.lake, rebuilt.commit, [key])
    if not rebuilt.stored(key.table, [key.partition]):
        return ["it was not made again"]
    now, _ = made[key]
    return differences(
        _provenance(recorded.lake, was), _provenance(rebuilt.lake, now), key.partition
    )


def _provenance(lake: Lake, commit: str) -> Provenance:
    from mlops_assets.components.provenance import Provenance

    return Provenance.of(lake.commit_info(commit)["metadata"])
