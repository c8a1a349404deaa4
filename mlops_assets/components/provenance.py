"""What a work commit says of how its results were made, and what tells two such records apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_assets.lake import Input, Partition, inputs

RUN_ID = "dagster/run_id"
ROOT_RUN_ID = "dagster/root_run_id"
JOB = "dagster/job"
ENVIRONMENT = "environment/"
CODE_VERSION = "code_version/"
PARAMETERS = "parameters/"
CONFIG = "config/"
SOURCE = "source/"


def stable_json(value: object) -> str:
    """The same value, the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Provenance:
    """How the results of one work commit were made.

    Attributes:
        run_id: The run that made them; None if no run did.
        job: Its job.
        code: The code version of each table that the step made, by table.
        parameters: What was declared for a table's results, by table.
        config: What the run was configured with, by step.
        sources: The digest of each file that raw data was read from, by the file's name.
        environment: Versions of what writes bytes and the digest of the lock, by name.
        inputs: What was read of the lake, by the path of the partition that it was read for; by
            `''` what was read for all of the step's partitions.
    """

    run_id: str | None
    job: str | None
    code: Mapping[str, str]
    parameters: Mapping[str, Any]
    config: Mapping[str, Any]
    sources: Mapping[str, str]
    environment: Mapping[str, str]
    inputs: Mapping[str, Sequence[Input]]

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Provenance:
        """Read a commit's metadata; what an older version did not record is missing."""
        return cls(
            run_id=metadata.get(RUN_ID),
            job=metadata.get(JOB),
            code=_named(metadata, CODE_VERSION),
            parameters=_parsed(metadata, PARAMETERS),
            config=_parsed(metadata, CONFIG),
            sources=_named(metadata, SOURCE),
            environment=_named(metadata, ENVIRONMENT),
            inputs={
                path: inputs.from_json(text)
                for path, text in _named(metadata, inputs.PREFIX).items()
            },
        )

    def inputs_of(self, partition: Partition) -> list[Input]:
        """What was read of the lake for one partition, by itself or with the whole step."""
        return [
            read
            for path in dict.fromkeys(["", partition.path])
            for read in self.inputs.get(path, ())
        ]


def differences(recorded: Provenance, other: Provenance, partition: Partition) -> list[str]:
    """What two records of making one partition disagree in, each a clause for people.

    Args:
        recorded: How it was made.
        other: How it was made again.
        partition: The partition; inputs and files that were read for others are left out.
    """
    return [
        *_changes("the source", _also_in(other.sources, recorded.sources), other.sources),
        *_other_inputs(recorded.inputs_of(partition), other.inputs_of(partition)),
        *_changes("parameter", _flat(recorded.parameters), _flat(other.parameters)),
        *_changes("the config", _flat(recorded.config), _flat(other.config)),
        *_changes("the code of", recorded.code, other.code),
        *_changes("", recorded.environment, other.environment),
    ]


def _also_in(now: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Of the files that were read before, those that are read now.

    A step that read the files of many days, and is made again for one: the others tell nothing.
    """
    return {name: digest for name, digest in before.items() if name in now}


def _named(metadata: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in sorted(metadata.items())
        if name.startswith(prefix)
    }


def _parsed(metadata: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in _named(metadata, prefix).items()}


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested mappings, each by its dotted path; lists are leaves."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, stable_json(value)


def _flat(by_name: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"{name} {path}".rstrip(): text
        for name, value in by_name.items()
        for path, text in flat(value)
    }


def _changes(kind: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        was, found = before.get(name, "absent"), now.get(name, "absent")
        if was != found:
            yield f"{kind} {name} was {was} and is {found}".lstrip()


def _other_inputs(before: Sequence[Input], now: Sequence[Input]) -> Iterator[str]:
    """Tables of which the same partitions were read in other versions.

    A step that made a year read a year, and is made again for one day: that tells nothing.
    """
    found = {(read.table, read.partitions, read.first, read.last): read.digest for read in now}
    for read in before:
        other = found.get((read.table, read.partitions, read.first, read.last), read.digest)
        if other != read.digest:
            yield f"the input {read.table} was {read.digest} and is {other}"
