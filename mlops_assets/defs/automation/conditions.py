"""When partitions are asked for without a hand: each condition with the consequence that it avoids.

A leaf, which imports Dagster alone and is made of Dagster's own conditions alone: the daemon
evaluates those itself, and its UI shows of each partition which of the parts below held. Which
asset has which condition does not belong here.

Dagster's `eager()` is none of them. It starts work on identical content, passes checks that failed
in a run of their own, looks at the latest time window alone, and loses what changes while its
target is running.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

import dagster as dg

Condition = dg.AutomationCondition[Any]

STARTED_BY = "mlops/started_by"
"""The tag by which a run names the schedule or sensor that started it."""


FLOWS = "made when its inputs or code change"


def pending(change: Condition, label: str = "not asked for since") -> Condition:
    """What changed since it was last asked for: being asked for settles a change, nothing else.

    `since_last_handled` takes any materialization for settling. Of a change that comes while the
    target is running, whose step pinned its inputs before, nothing was left then: the day stayed
    wrong until it changed again. The price is that what somebody makes by hand out of changed
    inputs is made once more, with identical content, where the flow ends.

    A change of this very tick outlives the request of the last one, which it came after.

    Args:
        change: True on the tick that sees the change.
        label: What the UI calls it.
    """
    settled = dg.AutomationCondition.newly_requested() & ~change
    return change.since(settled).with_label(label)


def inputs_changed(unmoved_by: dg.AssetSelection | None = None) -> Condition:
    """The content of an input is another than at the last tick.

    By data version, which is content here: with `newly_updated`, a year that was read again and
    found identical would have been built again, with everything downstream.

    Args:
        unmoved_by: Inputs whose changes leave finished partitions as they are.
    """
    changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
    return (changed.ignore(unmoved_by) if unmoved_by else changed).with_label("an input changed")


def step_inputs_changed(step: dg.AssetSelection, sensor: str) -> Condition:
    """An input from outside the step changed, or a table of the step itself is about to be made.

    Tables of one step are built by one run and published by one commit. Waiting for the first
    table's change to be recorded would build a day of marts in two runs of dbt, each in its turn.

    Args:
        step: The assets of the step.
        sensor: The sensor that asks for all of them together. A change within the step that
            one of its runs made has been dealt with by that run.
    """
    by_hand = dg.AutomationCondition.data_version_changed() & (
        ~dg.AutomationCondition.any_new_update_has_run_tags(tag_values={STARTED_BY: sensor})
    )
    inside = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.will_be_requested() | by_hand
    )
    return inputs_changed(step) | inside.allow(step)


def waiting(change: Condition | None = None) -> Condition:
    """What is to be made: its inputs or its code changed, or it is missing.

    The latest time window has no privilege: a late file is of an earlier day, and partition
    mappings say which days it touches, look-backs included. Missing counts from the first tick on,
    so that what lay there when the sensor was switched on is made too; Dagster's sensor asks for
    all of it in one backfill. A partition that failed is still missing and is no news: asking for
    everything that is missing at every tick would run a broken day for ever.

    Args:
        change: What counts as a change of inputs; any change of any input if None.
    """
    inputs = inputs_changed() if change is None else change
    return pending(inputs | dg.AutomationCondition.code_version_changed()) | never_asked_for()


def never_asked_for() -> Condition:
    """What is missing, from when it is first seen to be until it is asked for or made."""
    return dg.AutomationCondition.missing() & pending(dg.AutomationCondition.newly_missing())


def due(cron: str, time_zone: str, what: Condition) -> Condition:
    """What was waiting when a time came, until it is asked for.

    Kept past the moment itself: a partition whose input was being made at three o'clock would have
    waited another day. Of times that passed while the daemon was down the first tick afterwards
    sees one, at which all that came meanwhile is waiting.

    Args:
        cron: The times.
        time_zone: In which they are: in UTC, three o'clock at night moves with the clock's change.
        what: What waits for them.
    """
    came = dg.AutomationCondition.cron_tick_passed(cron, time_zone) & what
    return pending(came, f"was waiting at {cron} {time_zone}") & what


@dataclass(frozen=True)
class LookBack:
    """Inputs of which a day needs its own day, and of the days before what is there.

    Attributes:
        inputs: The inputs.
        by_way_of: A table of the same days that neither they nor what looks back on them depend on
            directly.
    """

    inputs: Sequence[dg.AssetKey]
    by_way_of: dg.AssetKey


def own_day_missing(key: dg.AssetKey, by_way_of: dg.AssetKey) -> Condition:
    """Of an input that is looked back on, the partition of the same day is missing.

    A day before it may be: one broken file would otherwise hold back every day that looks back on
    it, a month of them. Between two assets that Dagster knows no dependency of, it maps days to the
    same days; so this goes by way of a table that neither side depends on directly.

    Args:
        key: The input.
        by_way_of: That table.
    """
    there = dg.AutomationCondition.asset_matches(key, dg.AutomationCondition.missing())
    return dg.AutomationCondition.asset_matches(by_way_of, there).with_label(
        f"its own day of {key.to_user_string()} is missing"
    )


def possible(
    optional: dg.AssetSelection | None = None,
    step: dg.AssetSelection | None = None,
    look_back: LookBack | None = None,
) -> Condition:
    """All that it needs is there, nothing of it is being made, and no audit of it failed.

    A run that is asked for without its inputs fails, and one that is asked for while they are
    being made is asked for again right after.

    Checks hold back by failing, in whichever run: an audit of a re-run of tests alone stops the
    flow until it passes. To ask instead for each to have passed, as
    `all_deps_blocking_checks_passed` does, holds back for ever what has no result: days from
    before a check was added, and days of a run that was killed between its merge and its events,
    which are recorded without.

    Args:
        optional: Inputs that it can be made without.
        step: The assets that one run makes together, whose inputs may come into being with them.
            Asked for together with its input otherwise, a report and its champion, the change of
            that input would have it made again.
        look_back: Inputs of which it needs its own day alone.
    """
    missing = dg.AutomationCondition.missing()
    if step is not None:
        missing &= ~dg.AutomationCondition.will_be_requested()
    absent = dg.AutomationCondition.any_deps_match(missing)
    if optional is not None:
        absent = absent.ignore(optional)
    if look_back is not None:
        absent = absent.ignore(dg.AssetSelection.assets(*look_back.inputs))
    failed = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.any_checks_match(
            dg.AutomationCondition.check_failed(), blocking_only=True
        )
    )
    parts: list[Condition] = [
        ~absent.with_label("an input is missing"),
        ~failed.with_label("an audit of an input failed"),
        ~dg.AutomationCondition.any_deps_in_progress(),
        ~dg.AutomationCondition.in_progress(),
    ]
    if look_back is not None:
        parts += [~own_day_missing(key, look_back.by_way_of) for key in look_back.inputs]
    return reduce(and_, parts)


def flow(
    change: Condition | None = None,
    optional: dg.AssetSelection | None = None,
    look_back: LookBack | None = None,
) -> Condition:
    """As soon as something is to be made and can be.

    Args:
        change: What counts as a change of inputs; any change of any input if None.
        optional: Inputs that it can be made without.
        look_back: Inputs of which it needs its own day alone.
    """
    return (waiting(change) & possible(optional, look_back=look_back)).with_label(FLOWS)


def step_flow(step: dg.AssetSelection, sensor: str) -> Condition:
    """As soon as something of a step is to be made and can be, all that follows in it too.

    Args:
        step: The assets that one run makes together.
        sensor: The sensor that asks for them.
    """
    change = step_inputs_changed(step, sensor)
    return (waiting(change) & possible(step=step)).with_label(FLOWS)


def settled_flow(look_back: LookBack | None = None) -> Condition:
    """As soon as something is to be made and can be, one tick later.

    For what hangs on a table both directly and through another asset of the same sensor: at the
    tick that sees the table's change, that other asset is not yet being made, and its change would
    have everything made twice.

    Args:
        look_back: Inputs of which it needs its own day alone.
    """
    what = waiting()
    return (what & ~what.newly_true() & possible(look_back=look_back)).with_label(
        "made when its inputs or code change, a tick later"
    )


def timed(
    cron: str,
    time_zone: str,
    optional: dg.AssetSelection | None = None,
    look_back: LookBack | None = None,
) -> Condition:
    """At a time, everything that was waiting for it, as soon as it can be made.

    A late file touches the features of 31 later days. As it comes, each file of a bad week would
    have them made anew; at night they are made once.

    Args:
        cron: The times.
        time_zone: In which they are.
        optional: Inputs that it can be made without.
        look_back: Inputs of which it needs its own day alone.
    """
    label = f"made at {cron} {time_zone} where its inputs or code changed"
    can = possible(optional, look_back=look_back)
    return (due(cron, time_zone, waiting()) & can).with_label(label)


def trained(cron: str, time_zone: str) -> Condition:
    """With its inputs as they come, and for changed code at a time.

    The inputs of a model are training sets, which keep to a time themselves. A new version of the
    code touches every model that there ever was, and would take the GPUs in the middle of the day.

    Args:
        cron: The times.
        time_zone: In which they are.
    """
    code = pending(dg.AutomationCondition.code_version_changed())
    wanted = pending(inputs_changed()) | never_asked_for() | due(cron, time_zone, code)
    return (wanted & possible()).with_label(
        f"made when its inputs change, and at {cron} {time_zone} where its code did"
    )
