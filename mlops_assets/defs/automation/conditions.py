"""When partitions are asked for without a hand: each condition with the consequence that it avoids.

A leaf, made of Dagster's own conditions alone: the daemon evaluates those itself, and its UI shows
of each partition which of the parts below held. Which asset has which condition does not belong
here.

Dagster's `eager()` is none of them. It starts work on identical content, passes checks that failed
in a run of their own, looks at the latest time window alone, and loses what changes while its
target is running.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from mlops_assets.defs.automation.run_tags import STARTED_BY

Condition = dg.AutomationCondition[Any]


@dataclass(frozen=True)
class Needs:
    """Which inputs a partition cannot be made without, where that is not all of them.

    Attributes:
        optional: Inputs that may be missing.
        looked_back_on: Inputs of which the partition's own must be there, and earlier ones may be
            missing: one broken file would hold back every day of the month after it.
        calendar: An asset with the same partitions that the target does not depend on. Dagster
            knows an input's partitions only by the whole window that the target looks back on, and
            the one of the same day by way of an asset that it maps to day by day.
        step: The assets that one run makes together, whose inputs may come into being with them.
    """

    optional: Sequence[dg.AssetKey] = ()
    looked_back_on: Sequence[dg.AssetKey] = ()
    calendar: dg.AssetKey | None = None
    step: dg.AssetSelection | None = None


ALL = Needs()

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


def waiting(needs: Needs = ALL, change: Condition | None = None) -> Condition:
    """What is to be made: its inputs or its code changed, or it is missing.

    The latest time window has no privilege: a late file is of an earlier day, and partition
    mappings say which days it touches, look-backs included.

    Args:
        needs: What it cannot be made without.
        change: What counts as a change of inputs; any change of any input if None.
    """
    inputs = inputs_changed() if change is None else change
    return pending(inputs | dg.AutomationCondition.code_version_changed()) | never_asked_for(needs)


def never_asked_for(needs: Needs = ALL) -> Condition:
    """What was first seen missing when its inputs were there, until it is asked for or made.

    That is what lay there when the sensor was switched on, or when the asset was added; the sensor
    asks for all of it in one backfill. A partition that failed is still missing and is no news:
    asking for everything that is missing at every tick would run a broken day for ever. One whose
    inputs come later is asked for because they change.

    Args:
        needs: What it cannot be made without.
    """
    seen = dg.AutomationCondition.newly_missing() & ~lacking(needs)
    return dg.AutomationCondition.missing() & pending(seen)


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
    # Negated twice for its name alone: see `following_flow`.
    came = ~~(dg.AutomationCondition.cron_tick_passed(cron, time_zone) & what)
    return pending(came, f"was waiting at {cron} {time_zone}") & what


def possible(needs: Needs = ALL) -> Condition:
    """All that it needs is there, nothing of it is being made, and no audit of it failed.

    A run that is asked for without its inputs fails, and one that is asked for while they are
    being made is asked for again right after. Being asked for is not being there, but within a
    step: a champion that is asked for together with its report would be made once more for the
    report's change.

    Checks hold back by failing, in whichever run: an audit of a re-run of tests alone stops the
    flow until it passes. To ask instead for each to have passed, as
    `all_deps_blocking_checks_passed` does, holds back for ever what has no result: days from
    before a check was added, and days of a run that was killed between its merge and its events,
    which are recorded without.

    Args:
        needs: What it cannot be made without; all of its inputs if left out.
    """
    failed = dg.AutomationCondition.any_checks_match(
        dg.AutomationCondition.check_failed(), blocking_only=True
    )
    unsettled = dg.AutomationCondition.in_progress() | failed
    held: Condition
    if needs.optional or needs.looked_back_on:
        held = dg.AutomationCondition.any_deps_match(unsettled) | lacking(needs)
    else:
        # One condition on each input: three would look up its partitions three times, which for
        # 30 years of months and segments takes seconds.
        held = dg.AutomationCondition.any_deps_match(_absent(needs) | unsettled)
    return (~(held | dg.AutomationCondition.in_progress())).with_label("possible now")


def lacking(needs: Needs = ALL) -> Condition:
    """An input that it cannot be made without is missing.

    Args:
        needs: Which inputs those are.
    """
    found: Condition = dg.AutomationCondition.any_deps_match(_absent(needs)).ignore(
        dg.AssetSelection.assets(*needs.optional, *needs.looked_back_on)
    )
    for key in needs.looked_back_on:
        if needs.calendar is not None and key not in needs.optional:
            own = dg.AutomationCondition.asset_matches(key, dg.AutomationCondition.missing())
            found |= dg.AutomationCondition.asset_matches(needs.calendar, own)
    return found


def _absent(needs: Needs) -> Condition:
    """Of an input: it is missing, and is not about to be made by the same run."""
    missing = dg.AutomationCondition.missing()
    return missing if needs.step is None else missing & ~dg.AutomationCondition.will_be_requested()


def settled(ready: Condition, label: str, together: Condition | None = None) -> Condition:
    """What was ready at the tick before too.

    What is there is read after the moment up to which a tick counts changes. An input that came in
    between could be used, and counted as a change by the next tick: everything behind it was made
    twice, for one change in thirty with ticks of half a second.

    Args:
        ready: What is to be asked for.
        label: What the UI calls it.
        together: What is asked for at once all the same.
    """
    before = ~ready.newly_true()
    return (ready & (before if together is None else before | together)).with_label(label)


def flow(needs: Needs = ALL) -> Condition:
    """As soon as something is to be made and can be.

    Args:
        needs: What it cannot be made without.
    """
    return settled(waiting(needs) & possible(needs), FLOWS)


def deploying(needs: Needs) -> Condition:
    """As soon as something is to be made and can be, of any one input at least.

    A month's deployment needs the champion before it, or else, in the first month, the month's own
    model. Waiting for both, a month would be scored when it is over.

    Args:
        needs: What it cannot be made without.
    """
    there = dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing())
    return (flow(needs) & there.with_label("an input is there")).with_label(FLOWS)


def scoring(unmoved_by: dg.AssetSelection, needs: Needs = ALL) -> Condition:
    """As soon as a day can be scored, and again where its inputs change; not for a new model.

    What was predicted at the time is what monitors compare with the labels. Scored anew by every
    new champion, a month would look as if the model that it led to had been in force all along.
    Changed code leaves scored days as they are for the same reason; whoever corrects a mistake in
    it asks for a backfill.

    Args:
        unmoved_by: What says which model scores; it is needed, and its changes move nothing.
        needs: What a day cannot be scored without.
    """
    changed = pending(inputs_changed(unmoved_by))
    label = "made when its inputs change, by the model that is deployed then"
    return settled((changed | never_asked_for(needs)) & possible(needs), label)


def step_flow(step: dg.AssetSelection, sensor: str) -> Condition:
    """As soon as something of a step is to be made and can be, all that follows in it too.

    Args:
        step: The assets that one run makes together.
        sensor: The sensor that asks for them.
    """
    needs = Needs(step=step)
    ready = waiting(needs, step_inputs_changed(step, sensor)) & possible(needs)
    inside = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.will_be_requested())
    return settled(ready, FLOWS, inside.allow(step))


def following_flow(needs: Needs = ALL) -> Condition:
    """As soon as something is to be made and can be, a tick after all others.

    For what hangs on a table both directly and through another asset of the same sensor: at the
    tick that asks for that other asset, it is not yet being made, and its change would have
    everything made twice.

    Args:
        needs: What it cannot be made without.
    """
    first = settled(waiting(needs) & possible(needs), "settled")
    # Of two parts that remember, and differ in what is within them alone, Dagster would mix up the
    # memories: it names them by the kind of what they are about, which is a negation here.
    again = ~~first
    return (first & ~again.newly_true()).with_label(f"{FLOWS}, a tick later")


def timed(cron: str, time_zone: str, needs: Needs = ALL) -> Condition:
    """At a time, everything that was waiting for it, as soon as it can be made.

    A late file touches the features of 31 later days. As it comes, each file of a bad week would
    have them made anew; at night they are made once.

    Args:
        cron: The times.
        time_zone: In which they are.
        needs: What it cannot be made without.
    """
    label = f"made at {cron} {time_zone} where its inputs or code changed"
    return settled(due(cron, time_zone, waiting(needs)) & possible(needs), label)


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
    label = f"made when its inputs change, and at {cron} {time_zone} where its code did"
    return settled(wanted & possible(), label)
