"""`mlops-assets lineage`: everything that made a result, and what has changed since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from mlops_assets.cli.execution import console_to_log
from mlops_assets.cli.names import open_names
from mlops_assets.lake import Input, TablePartition, Version, find_version, makers
from mlops_assets.settings import open_state, settings

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.cli.names import Result
    from mlops_assets.components.provenance import Provenance
    from mlops_assets.lake import Lake, Snapshot
    from mlops_assets.lake.snapshot import StoredPartition

SHORT = 12
ONE_BY_ONE = 6
"""Up to this many partitions of a result are shown to people with their files."""

WIDTH = 110

MOST_COMMITS = 50
"""So many commits are followed up; a lake that was made day by day has thousands."""


@dataclass(frozen=True)
class Source:
    """One table that was read.

    Attributes:
        read: What was read of it.
        commits: Its partitions by the work commit that first held them; empty where the pin does
            not tell which partitions they were.
    """

    read: Input
    commits: Mapping[str, Sequence[TablePartition]]

    def to_json(self) -> dict[str, Any]:
        """What was read, and how many partitions came from which commit."""
        return {
            "table": self.read.table,
            "partitions": self.read.partitions,
            "first": self.read.first,
            "last": self.read.last,
            "digest": self.read.digest,
            "data_versions": {key.partition.path: version for key, version in self.read.versions},
            "commits": {commit: len(keys) for commit, keys in self.commits.items()},
        }

    def to_text(self) -> str:
        """The same in a line."""
        read = self.read
        version = read.versions[0].data_version if read.partitions == 1 else read.digest
        shown = [
            f"{commit[:SHORT]}{f' ({len(keys)})' if len(self.commits) > 1 else ''}"
            for commit, keys in self.commits.items()
        ]
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        return (
            f"  {read.table:<30} {_span(read.partitions, read.first, read.last):<44} "
            f"{version[:SHORT]:<13} {', '.join(shown[:3]) or 'not known'}{more}"
        )


@dataclass(frozen=True)
class Origin:
    """What a work commit made its results from.

    Attributes:
        commit: The commit.
        message: Its step and partitions.
        sources: What it read of the lake.
        files: The digests of the files that it read from elsewhere, by name.
    """

    commit: str
    message: str
    sources: Sequence[Source]
    files: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The commit and what it read."""
        return {
            "commit": self.commit,
            "message": self.message,
            "inputs": [source.to_json() for source in self.sources],
            "sources": dict(self.files),
        }

    def to_lines(self) -> Iterator[str]:
        """A line for each table and file."""
        for source in self.sources:
            yield source.to_text()
        for name, digest in self.files.items():
            yield f"  {name:<30} {digest}"


@dataclass(frozen=True)
class Now:
    """What this installation would make a result with.

    Attributes:
        code: The code version of each asset, by its table.
        environment: Versions and the digest of the lock, by name.
    """

    code: Mapping[str, str | None]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Lineage:
    """Everything that made a result.

    Attributes:
        result: What was asked for.
        commit: Its work commit, as the lake tells it.
        made: The partitions as that commit holds them.
        provenance: What the commit says of how they were made.
        origins: What it read, then what the commits that it read from had read, and so on.
        complete: Whether that goes all the way up; a lake that was made day by day is cut off.
        now: What they would be made with now.
    """

    result: Result
    commit: Mapping[str, Any]
    made: Sequence[StoredPartition]
    provenance: Provenance
    origins: Sequence[Origin]
    complete: bool
    now: Now

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        recorded = self.provenance
        return {
            "name": self.result.name,
            "commit": self.result.commit,
            "pin": self.result.pin,
            "message": self.commit["message"],
            "time": self._time.isoformat(),
            "run_id": recorded.run_id,
            "job": recorded.job,
            "results": [
                {
                    "table": part.key.table,
                    "partition": part.key.partition.path,
                    "data_version": part.manifest.data_version,
                    "rows": part.manifest.rows,
                    "files": [vars(file) for file in part.manifest.files],
                }
                for part in self.made
            ],
            "inputs": [source.to_json() for source in self.origins[0].sources],
            "sources": dict(self.origins[0].files),
            "upstream": [origin.to_json() for origin in self.origins[1:]],
            "upstream_complete": self.complete,
            "parameters": dict(recorded.parameters),
            "config": dict(recorded.config),
            "code": _beside(recorded.code, self.now.code),
            "environment": _beside(recorded.environment, self.now.environment),
        }

    def to_text(self) -> str:
        """The same for people."""
        return "\n".join(
            [
                *self._result_lines(),
                *self._input_lines(),
                *self._parameter_lines(),
                *_lines("code version", _beside(self.provenance.code, self.now.code)),
                *_lines("environment", _beside(self.provenance.environment, self.now.environment)),
            ]
        )

    @property
    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.commit["creation_date"], UTC)

    def _result_lines(self) -> Iterator[str]:
        yield self.result.name
        yield f"  commit   {self.result.commit}"
        yield f"  pin      {self.result.pin}"
        yield f"  message  {self.commit['message']}"
        yield f"  made     {self._time:%Y-%m-%d %H:%M:%S} UTC"
        yield f"  run      {self.provenance.run_id or 'none'} of {self.provenance.job or 'no job'}"
        yield from ("", "files at that commit")
        if len(self.made) > ONE_BY_ONE:
            tables = Counter(part.key.table for part in self.made)
            for table, count in tables.items():
                paths = [part.key.partition.path for part in self.made if part.key.table == table]
                yield f"  {table:<30} {_span(count, paths[0], paths[-1])}"
            return
        for part in self.made:
            rows = "" if part.manifest.rows is None else f", {part.manifest.rows:,} rows"
            yield f"  {part.key}, data version {part.manifest.data_version[:SHORT]}{rows}"
            for file in part.manifest.files:
                yield f"    {file.name:<18} {file.size:>12,} bytes  sha256 {file.sha256}"

    def _input_lines(self) -> Iterator[str]:
        direct, *further = self.origins
        if lines := list(direct.to_lines()):
            yield from ("", "inputs, as they were at the pin")
            yield f"  {'table':<30} {'partitions':<44} {'data version':<13} first held by"
            yield from lines
        for origin in further:
            if lines := list(origin.to_lines()):
                yield from ("", f"which {origin.commit[:SHORT]} ({origin.message}) made from")
                yield from lines
        if not self.complete:
            yield from ("", "further up there are more: ask for the lineage of these commits")

    def _parameter_lines(self) -> Iterator[str]:
        from mlops_assets.components.provenance import flat

        named = {"parameters": self.provenance.parameters, "config": self.provenance.config}
        for title, by_name in named.items():
            for name, values in by_name.items():
                yield from ("", f"{title} of {name}")
                for path, value in flat(values):
                    yield from wrap(
                        value.replace('","', '", "'),
                        WIDTH,
                        initial_indent=f"  {path:<30} ",
                        subsequent_indent=" " * 33,
                    )


def lineage(name: str) -> Lineage:
    """Everything that made what a name stands for.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        LakeError: The lake does not answer or refuses.
        RequestError: Nothing has that name.
    """
    found = settings()
    with console_to_log(open_state(found.home), shown=False, reads=True):
        from mlops_assets.definitions import defs

        graph = defs().resolve_asset_graph()
        names = open_names(found, graph)
        return lineage_of(names.lake, names.find(name), now(graph))


def now(graph: dg.AssetGraph) -> Now:
    """What this installation would make results with."""
    from mlops_assets.components.environment import environment
    from mlops_assets.components.provenance import Provenance
    from mlops_assets.components.publishing import table_name

    return Now(
        code={table_name(key): graph.get(key).code_version for key in graph.get_all_asset_keys()},
        environment=Provenance.of(environment()).environment,
    )


def lineage_of(lake: Lake, result: Result, now: Now) -> Lineage:
    """Read what made a result from the lake."""
    from mlops_assets.components.provenance import Provenance
    from mlops_assets.lake.partition import by_table

    commit = lake.commit_info(result.commit)
    snapshot = lake.snapshot(result.commit)
    origins, complete = _origins(lake, result)
    return Lineage(
        result=result,
        commit=commit,
        made=[
            part
            for table, keys in by_table(result.keys)
            for part in snapshot.require(table, [key.partition for key in keys]).values()
        ],
        provenance=Provenance.of(commit["metadata"]),
        origins=origins,
        complete=complete,
        now=now,
    )


def _origins(lake: Lake, result: Result) -> tuple[list[Origin], bool]:
    """What a result was made from, the nearest first, and whether that is all."""
    waiting: dict[str, set[TablePartition]] = {result.commit: set(result.keys)}
    found: dict[str, Origin] = {}
    while waiting and len(found) < MOST_COMMITS:
        commit = next(iter(waiting))
        found[commit] = _origin(lake, commit, waiting.pop(commit))
        for source in found[commit].sources:
            for maker, keys in source.commits.items():
                if maker not in found:
                    waiting.setdefault(maker, set()).update(keys)
    return list(found.values()), not waiting


def _origin(lake: Lake, commit: str, keys: Iterable[TablePartition]) -> Origin:
    """What a commit read to make some of its partitions."""
    from mlops_assets.components.provenance import Provenance

    info = lake.commit_info(commit)
    provenance = Provenance.of(info["metadata"])
    pin = lake.snapshot(info["parents"][0])
    reads = {
        read: None
        for partition in sorted({key.partition for key in keys})
        for read in provenance.inputs_of(partition)
    }
    return Origin(
        commit=commit,
        message=info["message"],
        sources=[Source(read, _first_held(pin, read)) for read in reads],
        files=provenance.sources,
    )


def _first_held(pin: Snapshot, read: Input) -> dict[str, list[TablePartition]]:
    """The partitions that were read, by the work commit that was the first to hold each."""
    versions = read.found_at(pin) or []
    held = set(versions)
    # Partitions that are too many to be recorded one by one were found at the pin itself.
    if read.versions:
        stored = pin.stored(read.table, [version.key.partition for version in versions])
        held = {Version(part.key, part.manifest.data_version) for part in stored.values()}
    states: dict[str, list[TablePartition]] = {}
    for version in versions:
        state = pin if version in held else find_version(pin, version)
        if state is not None:
            states.setdefault(state.commit, []).append(version.key)
    found: dict[str, list[TablePartition]] = {}
    for at, keys in states.items():
        for key, (commit, _) in sorted(makers(pin.lake, at, keys).items()):
            found.setdefault(commit, []).append(key)
    return found


def _span(count: int, first: str, last: str) -> str:
    if count == 1:
        return first or "(whole table)"
    return f"{count}: {first} to {last.rpartition('=')[2]}"


def _beside(
    recorded: Mapping[str, str], now: Mapping[str, str | None]
) -> dict[str, dict[str, Any]]:
    """What was recorded, with what it would be now."""
    return {
        name: {"recorded": value, "now": now.get(name), "same": value == now.get(name)}
        for name, value in recorded.items()
    }


def _lines(title: str, compared: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if compared:
        yield from ("", title)
    for name, found in compared.items():
        note = "" if found["same"] else f"   now {found['now'] or 'absent'}"
        yield f"  {name:<30} {found['recorded']}{note}"
