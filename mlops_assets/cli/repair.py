"""`mlops-assets doctor --repair`: what doctor finds is mended, and looked at again.

A damaged file comes back from a whole copy on this machine, or its partition is rebuilt from its
pin, failing that from the raw files; in any case with the digest that the manifest names.
"""

from __future__ import annotations

import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.cli import lake_checks
from mlops_assets.cli.check import Check, passed, problem
from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.installation_checks import SECRET
from mlops_assets.cli.lake_checks import Fault
from mlops_assets.cli.names import Result
from mlops_assets.cli.reproduce import again, compare, private_runs
from mlops_assets.lake import (
    Lake,
    LakeError,
    StoredPartition,
    Unreadable,
    changes,
    copies,
    makers,
)
from mlops_assets.lake.connection import WORK_PREFIX
from mlops_assets.lake.history import states_of

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.cli.execution import Runner
    from mlops_assets.lake import Snapshot
    from mlops_assets.settings import Settings

SHORT = 12
NAME = "repair"

WAY_OUT = "restore the store from a backup, or materialize it again as a new version."

Sources = Mapping[str, Path]
"""Whole files by name."""


def repair(found: Settings, lake: Lake, *, debug: bool) -> Iterator[Check]:
    """Mend what doctor finds and a command can mend; one check for each thing.

    Args:
        found: The settings.
        lake: The lake, which exists.
        debug: Show on standard error what runs print.

    Raises:
        LakeError: The server does not answer or refuses.
        KeyboardInterrupt: Somebody stopped it.
    """
    secret = found.home / SECRET
    if secret.exists() and stat.S_IMODE(secret.stat().st_mode) & 0o077:
        secret.chmod(0o600)
        yield passed(NAME, f"{secret} can be read by its owner alone now.")
    if not lake_checks.protection(lake).ok:
        lake.create()
        yield passed(NAME, f"{lake.base_branch} of {lake.repository} is protected again.")
    rest: list[Fault] = []
    for fault in lake_checks.survey(lake, deep=True).faults:
        if isinstance(fault.part, Unreadable):
            yield _restored(lake, fault)
            continue
        if sources := _copies(lake, fault.part, fault):
            _put_again(lake, [(fault.part, sources)])
            mended = _looked_at(lake, fault, "put again from the copy on this machine")
            if mended.ok:
                yield mended
                continue
        rest.append(fault)
    if rest:
        with private_runs(found, debug=debug) as (definitions, runner):
            for result, faults in _results(lake, rest):
                yield from _rebuilt(definitions, runner, result, faults)


def _copies(lake: Lake, part: StoredPartition, fault: Fault) -> Sources:
    """Whole copies of damaged files on this machine; none if one is missing."""
    found: dict[str, Path] = {}
    for file in part.manifest.files:
        if file.name in fault.files:
            copy = copies.held(lake.scratch, file)
            if copy is None:
                return {}
            found[file.name] = copy
    return found


def _restored(lake: Lake, fault: Fault) -> Check:
    """Restore a partition whose manifest cannot be read, as the newest commit held it that can."""
    key = fault.part.key
    for state in states_of(fault.state, key):
        for part in state.listed(key.table, [key.partition]):
            if isinstance(part, StoredPartition) and not state.faults(part):
                _write(lake, [(part, _files(state, part))], f"{key} restored")
                return _looked_at(lake, fault, f"restored from commit {state.commit[:SHORT]}")
    return problem(
        NAME, f"{key} cannot be repaired: no commit holds it whole with a manifest.", WAY_OUT
    )


def _results(lake: Lake, faults: Iterable[Fault]) -> list[tuple[Result, list[Fault]]]:
    """What is to be rebuilt: by work commit, oldest first, since a result's inputs are older."""
    by_commit: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        made = makers(lake, fault.state.commit, [fault.part.key])[fault.part.key]
        by_commit.setdefault(made, []).append(fault)
    with lake.errors():
        newest_first = [commit.id for commit in lake.repo().ref(lake.base_branch).log()]
    found = []
    for commit, pin in sorted(by_commit, key=lambda one: -newest_first.index(one[0])):
        group = by_commit[commit, pin]
        partitions = {fault.part.key.partition for fault in group}
        keys = tuple(key for key in changes(lake, commit) if key.partition in partitions)
        found.append((Result(str(group[0].part.key), commit, pin, keys), group))
    return found


def _rebuilt(
    definitions: dg.Definitions, runner: Runner, result: Result, faults: Iterable[Fault]
) -> Iterator[Check]:
    """Rebuild what one work commit made, as far as it is damaged."""
    left = {fault.part.key: fault for fault in faults}
    reasons = []
    for deep, whence in ((False, f"its pin {result.pin[:SHORT]}"), (True, "the raw files")):
        try:
            with again(definitions, runner, result, deep=deep) as (rebuild, wanted):
                found = compare(rebuild, result, wanted, deep=deep)
                made = rebuild.lake.snapshot()
                same = [part.key for part in found.compared if part.identical and part.key in left]
                parts = [made.require(key.table, [key.partition])[key.partition] for key in same]
                _put_again(runner.lake, [(part, _files(made, part)) for part in parts])
        except (CommandError, LakeError) as error:
            reasons.append(str(error))
            continue
        for key in same:
            yield _looked_at(runner.lake, left.pop(key), f"rebuilt from {whence}")
        if not left:
            return
        because = "; ".join(found.reasons) or "nothing that its commit records differs"
        reasons.append(f"rebuilt from {whence} it has other bytes ({because}).")
    for key in left:
        yield problem(NAME, f"{key} cannot be repaired: {' '.join(reasons)}", WAY_OUT)


def _files(state: Snapshot, part: StoredPartition) -> Sources:
    """The files of a partition, whole, by name."""
    names = [file.name for file in part.manifest.files]
    return dict(zip(names, state.files([part]), strict=True))


def _put_again(lake: Lake, found: Iterable[tuple[StoredPartition, Sources]]) -> None:
    """Put whole files again where the base branch holds the partition with these bytes."""
    head = lake.snapshot()
    wanted = [
        (now, sources)
        for part, sources in found
        for now in head.listed(part.key.table, [part.key.partition])
        if isinstance(now, StoredPartition) and now.manifest == part.manifest
    ]
    if wanted:
        _write(lake, wanted, "damaged bytes put again")


def _write(lake: Lake, wanted: Iterable[tuple[StoredPartition, Sources]], message: str) -> None:
    """Publish partitions as their manifests have them, of which what is whole is not put again."""
    parts = list(wanted)
    branch = f"{WORK_PREFIX}repair-{uuid.uuid4().hex}"
    with lake.transaction(branch, sorted({part.key.table for part, _ in parts})) as transaction:
        manifests = {}
        for part, sources in parts:
            folder = transaction.scratch / part.key.folder
            folder.mkdir(parents=True)
            for name, path in sources.items():
                shutil.copyfile(path, folder / name)
            manifests[part.key] = (part.manifest, folder)
        transaction.write(manifests)
        transaction.publish(message, {})


def _looked_at(lake: Lake, fault: Fault, how: str) -> Check:
    """Whether a partition is whole now that it was mended."""
    key, state = fault.part.key, lake.snapshot()
    now = next(iter(state.listed(key.table, [key.partition])), None)
    if isinstance(fault.part, StoredPartition) and (
        not isinstance(now, StoredPartition) or now.manifest != fault.part.manifest
    ):
        state, now = fault.state, fault.part  # only an older commit holds it
    if isinstance(now, StoredPartition):
        told = " ".join(state.faults(now).values())
    else:
        told = now.sentence if now else "somebody removed it."
    if told:
        return problem(NAME, f"{key} was {how}, and still is not whole: {told}", WAY_OUT)
    return passed(NAME, f"{key} is whole again: {how}.")
