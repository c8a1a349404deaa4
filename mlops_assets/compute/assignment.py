"""Which profile a step asks for, and for which of its partitions another one.

Written as op tags, which Dagster stores in the plan of every run, whichever way it was started:
tags of a job or of a schedule never reach an ad hoc materialization or a backfill of assets
(dagster#33430, #22865).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Literal, TypedDict

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from mlops_assets.compute.profiles import ProfileError, configured_profiles

PROFILE_TAG = "compute/profile"
RULES_TAG = "compute/rules"
GROUP_TAG = "compute/group"
PROBLEM_TAG = "compute/problem"

POOL = "gpu"
"""The pool of steps whose profile has a GPU: its limit is changed in the UI while runs wait."""

ONE_DIMENSION = "partition"
"""What rules call the dimension of partitions that have only one."""

Order = Sequence[str] | Literal["time", "unknown"]
"""How values are ordered: as listed, as they are written, or nobody knows until the run."""


class Rule(BaseModel):
    """Partitions that ask for another profile than the rest.

    Attributes:
        when: By dimension a value, or a range as `2013-06..2013-08`; `partition` is the dimension
            of partitions that have only one.
        profile: Their profile's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    when: Annotated[Mapping[str, str], Field(min_length=1)]
    """The partitions: by dimension a value, or a range as `2013-06..2013-08`."""
    profile: str
    """The profile that they get."""


class _Rules(BaseModel):
    """Rules as a tag carries them.

    Attributes:
        dimensions: By name how its values are ordered, in the order of the partition's key.
        rules: The first that matches holds.
    """

    dimensions: dict[str, Order]
    rules: Sequence[Rule]


class StepArguments(TypedDict):
    """Arguments of an asset's decorator: the tags of its step, and the pool that it counts in."""

    op_tags: Mapping[str, str]
    pool: str | None


def profiled(
    profile: str | None = None,
    *,
    group: str,
    problem: str | None = None,
    rules: Sequence[Rule] = (),
    partitions: dg.PartitionsDefinition[str] | None = None,
) -> StepArguments:
    """The arguments by which an asset's decorator names its profile.

    Args:
        profile: The name of its profile; the deployment's default if None.
        group: Its group, by which costs are attributed.
        problem: The machine-learning problem that it belongs to.
        rules: Partitions that get another profile.
        partitions: The asset's partitions; needed by rules.

    Raises:
        dagster.DagsterInvalidDefinitionError: A profile, or a dimension that a rule names, does
            not exist; or the file of profiles is not usable.
    """
    try:
        profiles = configured_profiles()
        names = [profile or profiles.default, *(rule.profile for rule in rules)]
        gpus = [profiles.get(name, f"an asset of the group {group}").gpus for name in names]
    except ProfileError as error:
        raise dg.DagsterInvalidDefinitionError(str(error)) from error
    tags = {GROUP_TAG: group}
    if profile is not None:
        tags[PROFILE_TAG] = profile
    if problem is not None:
        tags[PROBLEM_TAG] = problem
    if rules:
        dimensions = _dimensions(partitions)
        for rule in rules:
            _check(rule, dimensions)
        orders = {name: _order(values) for name, values in dimensions.items()}
        tags[RULES_TAG] = _Rules(dimensions=orders, rules=rules).model_dump_json()
    return {"op_tags": tags, "pool": POOL if any(gpus) else None}


def _dimensions(
    partitions: dg.PartitionsDefinition[str] | None,
) -> dict[str, dg.PartitionsDefinition[str]]:
    if partitions is None:
        raise dg.DagsterInvalidDefinitionError(
            "rules by partition are given for an asset that has none: leave them out."
        )
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        # A key is its values in the order of the dimensions' names.
        parts = sorted(partitions.partitions_defs, key=lambda part: part.name)
        return {part.name: part.partitions_def for part in parts}
    return {ONE_DIMENSION: partitions}


def _order(values: dg.PartitionsDefinition[str]) -> Order:
    if isinstance(values, dg.StaticPartitionsDefinition):
        return list(values.get_partition_keys())
    # `15/06/2013` sorts before `20/01/2013`.
    by_time = isinstance(values, dg.TimeWindowPartitionsDefinition) and _sorts(values.fmt)
    return "time" if by_time else "unknown"


def _sorts(fmt: str) -> bool:
    """Whether times are in order as they are written, each field tried against the next."""
    times = [
        datetime(year, month, day, hour, minute, tzinfo=UTC)
        for year in (1999, 2010)
        for month in (2, 11)
        for day in (3, 20)
        for hour in (4, 15)
        for minute in (5, 30)
    ]
    written = [time.strftime(fmt) for time in times]
    return written == sorted(written)


def _check(rule: Rule, dimensions: Mapping[str, dg.PartitionsDefinition[str]]) -> None:
    """Refuse a rule that would match nothing: its partitions would go without their profile."""
    for name, value in rule.when.items():
        if name not in dimensions:
            raise dg.DagsterInvalidDefinitionError(
                f"a rule for the profile {rule.profile} names the dimension {name!r}: the "
                f"partitions have {', '.join(dimensions)}."
            )
        why = mistake_in(value, name, dimensions[name])
        if why:
            raise dg.DagsterInvalidDefinitionError(f"a rule for the profile {rule.profile} {why}")


def mistake_in(value: str, name: str, values: dg.PartitionsDefinition[str]) -> str | None:
    """Why a rule's value or range holds nothing of a dimension; None if it is well.

    Args:
        value: As a rule writes it.
        name: The dimension's.
        values: What the dimension has.
    """
    order = _order(values)
    first, last = rule_ends(value)
    for end in (first, last):
        if not isinstance(order, str) and end not in order:
            return f"names {end!r}: the values of {name} are {', '.join(order)}."
        if isinstance(values, dg.TimeWindowPartitionsDefinition) and not _is_a(values.fmt, end):
            return f"names {end!r}: the values of {name} are written {values.fmt}."
    if first != last and order == "unknown":
        return f"names {value!r}: the order of {name} is not known, so that it has no ranges."
    if _rank(order, first) > _rank(order, last):
        return f"names {value!r}, which ends before it begins."
    return None


def _is_a(fmt: str, value: str) -> bool:
    try:
        # `strptime` takes 2013-6 for a month, which sorts behind 2013-12.
        return datetime.strptime(value, fmt).strftime(fmt) == value
    except ValueError:
        return False


def rule_ends(value: str) -> tuple[str, str]:
    """The first and the last of a rule's values."""
    first, parted, last = value.partition("..")
    return first, last if parted else first


def profiles_of(tags: Mapping[str, str], default: str, span: tuple[str, str] | None) -> list[str]:
    """The profiles that a step asks for.

    Args:
        tags: Its op tags.
        default: The profile of what names none.
        span: The first and the last partition that it makes; None without partitions.

    Returns:
        One name, or more where the span holds partitions of several profiles. A range whose
        values lie in no known order counts as holding all of them: too large a pod is better
        than one without its GPU.

    Raises:
        ProfileError: The span is none of the partitions that the step's rules go by.
    """
    own = tags.get(PROFILE_TAG, default)
    if RULES_TAG not in tags or span is None:
        return [own]
    written = _Rules.model_validate_json(tags[RULES_TAG])
    return list(dict.fromkeys(_matching(written, own, *_values(written, span))))


def _values(written: _Rules, span: tuple[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """By dimension, the first and the last value of a span."""
    orders = written.dimensions
    first, last = (key.split("|") if len(orders) > 1 else [key] for key in span)
    for values in (first, last):
        known = [
            isinstance(order, str) or value in order
            for value, order in zip(values, orders.values(), strict=False)
        ]
        if len(values) != len(orders) or not all(known):
            raise ProfileError(
                f"{'|'.join(values)} is no partition of an asset of this run, whose profile goes "
                f"by {', '.join(orders)}: start the run for one that there is."
            )
    return dict(zip(orders, first, strict=True)), dict(zip(orders, last, strict=True))


def _matching(
    written: _Rules, own: str, first: Mapping[str, str], last: Mapping[str, str]
) -> Iterator[str]:
    """The profiles of the rules that match any of a span; `own` too unless one matches all."""
    for rule in written.rules:
        overlaps = [
            _overlap(written.dimensions[name], rule_ends(value), (first[name], last[name]))
            for name, value in rule.when.items()
        ]
        if None not in overlaps:
            yield rule.profile
        if set(overlaps) == {_Overlap.WHOLE}:
            return
    yield own


class _Overlap(Enum):
    """How much of a span lies within a rule's values."""

    PART = 1
    WHOLE = 2


def _overlap(order: Order, rule: tuple[str, str], span: tuple[str, str]) -> _Overlap | None:
    if order == "unknown" and rule != span:
        return None if span[0] == span[1] else _Overlap.PART
    (begin, finish), (low, high) = (
        [_rank(order, value) for value in pair] for pair in (rule, span)
    )
    if finish < low or high < begin:
        return None
    return _Overlap.WHOLE if begin <= low and high <= finish else _Overlap.PART


def _rank(order: Order, value: str) -> tuple[int, str]:
    """What values are compared by: times by how they are written, others by where they stand."""
    return (0, value) if isinstance(order, str) else (order.index(value), value)


def labels_of(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What the steps of a run say of the work they belong to, for labels of its pod."""
    found = {
        name: [step[tag] for step in tags if tag in step]
        for name, tag in (("problem", PROBLEM_TAG), ("group", GROUP_TAG))
    }
    return {name: _joined(values) for name, values in found.items() if values}


def _joined(values: Sequence[str]) -> str:
    return "_".join(dict.fromkeys(values))
