"""`mlops-assets automation`: what runs by itself, switched on and off through Dagster's instance.

Dagster keeps the state of a schedule or sensor by the names of code location and repository. Its
own commands start a code server to learn them, which costs ten seconds; here they are made of the
definitions that this process loads. A test holds that to what the daemon and the UI find.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dagster._core.remote_representation.external import RemoteSchedule, RemoteSensor
from dagster._core.remote_representation.external_data import ScheduleSnap, SensorSnap
from dagster._core.remote_representation.handle import RepositoryHandle
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.workspace.load_target import WorkspaceFileTarget

from mlops_assets.cli.plan import RequestError
from mlops_assets.cli.record import opened_record
from mlops_assets.defs.automation.recommended import RECOMMENDED
from mlops_assets.settings import ROOT, open_state, settings

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorTick

Remote = RemoteSchedule | RemoteSensor


@dataclass(frozen=True)
class Automation:
    """A schedule or sensor as it stands.

    Attributes:
        name: Its name.
        kind: `schedule` or `sensor`.
        on: Whether it runs by itself.
        recommended: Whether `on` without names switches it on.
        when: How often it looks, or its calendar with the time zone.
        does: What it does.
        next_tick: When it runs next, ISO 8601 in UTC; None if it is off or has yet to begin.
        last_tick: When it last ran, likewise; None if never.
        outcome: How that ended: `SUCCESS`, `SKIPPED`, `FAILURE` or `STARTED`.
        told: What it said then: why it was skipped, or failed.
    """

    name: str
    kind: str
    on: bool
    recommended: bool
    when: str
    does: str
    next_tick: str | None
    last_tick: str | None
    outcome: str | None
    told: str | None


@dataclass(frozen=True)
class Switched:
    """What a command changed.

    Attributes:
        on: Whether it switched on, or off.
        changed: What it switched.
        already: What was so before.
    """

    on: bool
    changed: tuple[str, ...]
    already: tuple[str, ...]

    def to_text(self) -> str:
        """It, for people."""
        state = "on" if self.on else "off"
        told = [f"switched {state}: {', '.join(self.changed)}"] if self.changed else []
        if self.already:
            told.append(f"{state} already: {', '.join(self.already)}")
        return "\n".join(told) or f"nothing to switch {state}."


def switch(names: Sequence[str], *, on: bool) -> Switched:
    """Switch schedules and sensors.

    Args:
        names: Which. Without any: on, the recommended ones; off, all that are on.
        on: On, or off.

    Raises:
        RequestError: There is none of a name.
        SettingsError: The settings or the state directory are not usable.
    """
    with _opened() as (instance, known, graph):
        for name in names:
            if name not in known:
                raise RequestError(
                    f"there is no schedule or sensor {name}: there are {', '.join(sorted(known))}."
                )
        wanted = names or (RECOMMENDED if on else sorted(known))
        changed, already = [], []
        for name in dict.fromkeys(wanted):
            remote = known[name]
            if _is_on(instance, remote) == on:
                already.append(name)
                continue
            _switch(instance, remote, on=on)
            changed.append(name)
        if on and changed:
            look_through(instance, graph)
    # Of all that exists, what was off before is no news.
    return Switched(on, tuple(changed), tuple(already if names or on else ()))


def look_through(instance: dg.DagsterInstance, graph: dg.AssetGraph) -> None:
    """Have Dagster note which partitions of each asset are there, as the first who asks has to.

    Out of ten thousand days of every asset that takes seconds, which the first tick of a sensor
    would take, while others wait for it. How it is noted is Dagster's internal; a test holds this
    to what is left for the tick to do.

    Args:
        instance: Dagster's record.
        graph: The assets.
    """
    for key in sorted(graph.get_all_asset_keys()):
        get_and_update_asset_status_cache_value(instance, key, graph.get(key).partitions_def)


def automations() -> list[Automation]:
    """Every schedule and sensor, by name.

    Raises:
        SettingsError: The settings or the state directory are not usable.
    """
    with _opened() as (instance, known, _):
        return [_standing(instance, known[name]) for name in sorted(known)]


def to_json(listed: Sequence[Automation]) -> list[dict[str, object]]:
    """Them as one document."""
    return [asdict(one) for one in listed]


def to_text(listed: Sequence[Automation]) -> str:
    """Them, for people."""
    lines = []
    for one in listed:
        marked = "*" if one.recommended else " "
        lines.append(f"{'on ' if one.on else 'off'} {marked} {one.name} ({one.kind}, {one.when})")
        lines.append(f"        {one.does}")
        if one.last_tick:
            told = f": {one.told}" if one.told else ""
            lines.append(f"        last {one.last_tick} {one.outcome}{told}")
        if one.next_tick:
            lines.append(f"        next {one.next_tick}")
    return "\n".join([*lines, "", "* recommended: `mlops-assets automation on` switches these on."])


@contextmanager
def _opened() -> Iterator[tuple[dg.DagsterInstance, dict[str, Remote], dg.AssetGraph]]:
    from mlops_assets.definitions import defs

    found = settings()
    open_state(found.home)
    repository = defs().get_repository_def()
    [origin] = WorkspaceFileTarget([str(ROOT / "workspace.yaml")]).create_origins()
    handle = RepositoryHandle(
        repository_name=repository.name,
        code_location_origin=origin,
        repository_python_origin=None,
        display_metadata={},
    )
    schedules: list[Remote] = [
        RemoteSchedule(ScheduleSnap.from_def(schedule, repository), handle)
        for schedule in repository.schedule_defs
    ]
    sensors: list[Remote] = [
        RemoteSensor(SensorSnap.from_def(sensor, repository), handle)
        for sensor in repository.sensor_defs
    ]
    with opened_record(found) as instance:
        known = {remote.name: remote for remote in (*schedules, *sensors)}
        yield instance, known, repository.asset_graph


def _is_on(instance: dg.DagsterInstance, remote: Remote) -> bool:
    stored = instance.get_instigator_state(remote.get_remote_origin_id(), remote.selector_id)
    return remote.get_current_instigator_state(stored).is_running


def _switch(instance: dg.DagsterInstance, remote: Remote, *, on: bool) -> None:
    origin, selector = remote.get_remote_origin_id(), remote.selector_id
    if isinstance(remote, RemoteSchedule):
        if on:
            instance.start_schedule(remote)
        else:
            instance.stop_schedule(origin, selector, remote)
    elif on:
        instance.start_sensor(remote)
    else:
        instance.stop_sensor(origin, selector, remote)


def _standing(instance: dg.DagsterInstance, remote: Remote) -> Automation:
    on, now = _is_on(instance, remote), time.time()
    ticks = instance.get_ticks(remote.get_remote_origin_id(), remote.selector_id, limit=1)
    last = ticks[0] if ticks else None
    if isinstance(remote, RemoteSchedule):
        kind = "schedule"
        when = f"{remote.cron_schedule} {remote.execution_timezone or 'UTC'}"
        coming: float | None = next(remote.execution_time_iterator(now)).timestamp()
    else:
        kind, when = "sensor", f"every {remote.min_interval_seconds} s"
        coming = max(now, last.timestamp + remote.min_interval_seconds) if last else None
    return Automation(
        name=remote.name,
        kind=kind,
        on=on,
        recommended=remote.name in RECOMMENDED,
        when=when,
        does=" ".join((remote.description or "").split()),
        next_tick=_moment(coming) if on and coming else None,
        last_tick=_moment(last.timestamp) if last else None,
        outcome=last.status.value if last else None,
        told=_told(last),
    )


def _told(tick: InstigatorTick | None) -> str | None:
    if tick is None:
        return None
    if tick.error is not None:
        return " ".join(tick.error.message.split())
    return tick.skip_reason


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
