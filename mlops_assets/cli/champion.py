"""`mlops-assets champion`: shows the model that is in force for a segment, and moves it by order.

An order goes through the champion asset, as every decision does: it is recorded with its reason,
and the month after it meets the model that was ordered.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.cli.execution import Runner, console_to_log
from mlops_assets.cli.interrupts import noticed_interrupts
from mlops_assets.cli.names import Names, open_names
from mlops_assets.cli.plan import RequestError
from mlops_assets.cli.progress import progress_on
from mlops_assets.cli.record import open_record
from mlops_assets.settings import open_state, settings

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.ml.decision import Decision, ModelPin

SHORT = 12


@dataclass(frozen=True)
class History:
    """The decisions on one segment's champion, the newest last.

    Attributes:
        name: The registered model's name, as `flight_delay.JFK`.
        problem: The problem's name.
        segment: The segment's.
        decisions: What was decided, by month.
    """

    name: str
    problem: str
    segment: str
    decisions: Mapping[str, Decision]

    @property
    def in_force(self) -> ModelPin | None:
        """The model that the newest month left in force."""
        return list(self.decisions.values())[-1].champion

    @property
    def before(self) -> ModelPin | None:
        """The model that was in force before the one that is."""
        champions = [decision.champion for decision in self.decisions.values()]
        newest = list(self.decisions.values())[-1]
        earlier = [newest.previous, *reversed(champions[:-1])]
        return next((pin for pin in earlier if pin not in (None, self.in_force)), None)

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        pin = self.in_force
        return {
            "name": self.name,
            "champion": None if pin is None else pin.model_dump(),
            "decisions": {
                month: decision.model_dump(mode="json")
                for month, decision in self.decisions.items()
            },
        }

    def to_text(self) -> str:
        """The champion and how it came to be, for people."""
        pin = self.in_force
        lines = [
            f"{self.name}: {_shown(pin)} is in force"
            if pin
            else f"{self.name}: no model has earned it yet",
            "",
        ]
        lines += [
            f"  {month}  {decision.outcome:<9} {decision.reason}"
            for month, decision in self.decisions.items()
        ]
        return "\n".join(lines)


def champion(name: str, *, promote: str | None, rollback: bool, debug: bool) -> History:
    """Show, or move, the champion of a segment.

    Args:
        name: The registered model's name, as `flight_delay.JFK`.
        promote: The model to put in force: a month, or the number of a version in MLflow.
        rollback: Put the model in force that was before.
        debug: Show on standard error what else goes to a file.

    Returns:
        The decisions, the new one included.

    Raises:
        RequestError: There is no such segment, no decision on it yet, or no such model.
        FailedRunError: The order could not be carried out; nothing has changed.
    """
    found = settings()
    home = open_state(found.home)
    open_record(found)
    progress = progress_on(sys.stderr, lines_only=debug)
    reads = promote is None and not rollback
    with (
        noticed_interrupts() as stopped,
        console_to_log(home, shown=debug, reads=reads),
        progress,
    ):
        from dagster import DagsterInstance

        from mlops_assets.definitions import defs

        definitions = defs()
        names = open_names(found, definitions.resolve_asset_graph())
        history = _history(names, name)
        chosen = _chosen(names, history, promote=promote, rollback=rollback)
        if chosen is None:
            return history
        with DagsterInstance.get() as instance:
            runner = Runner(home, names.lake, instance, progress, stopped)
            _order(runner, definitions, history, chosen, _reason(promote))
        return _history(open_names(found, definitions.resolve_asset_graph()), name)


def _history(names: Names, name: str) -> History:
    from mlops_assets.ml.decision import Decision
    from mlops_assets.tracking.results import CHAMPION, CHAMPION_FILE, Place

    problem, segment = names.segment(name)
    snapshot = names.lake.snapshot()
    table = f"{problem}/{CHAMPION}"
    places = [
        place
        for part in snapshot.stored(table).values()
        if (place := Place.of(part.key)).segment == segment
    ]
    if not places:
        raise RequestError(f"{name} has no champion yet: materialize {table}.")
    decisions = {
        place.month: Decision.from_json(snapshot.read(place.table(CHAMPION), CHAMPION_FILE))
        for place in sorted(places, key=lambda place: place.month)
    }
    return History(name, problem, segment, decisions)


def _chosen(
    names: Names, history: History, *, promote: str | None, rollback: bool
) -> ModelPin | None:
    """The model that is ordered; None where the champion is only to be shown."""
    if rollback:
        if history.before is None:
            raise RequestError(f"{history.name} had no other champion before.")
        return history.before
    if promote is None:
        return None
    if promote.isdecimal():
        return names.registered(history.name, int(promote))
    if promote in history.decisions:
        return history.decisions[promote].candidate
    raise RequestError(
        f"{history.name} has no model {promote!r}: use a month of "
        f"{', '.join(history.decisions)}, or the number of a version."
    )


def _reason(promote: str | None) -> str:
    return "rolled back by hand" if promote is None else f"promoted by hand ({promote})"


def _order(
    runner: Runner,
    definitions: dg.Definitions,
    history: History,
    chosen: ModelPin,
    reason: str,
) -> None:
    from dagster import AssetKey

    from mlops_assets.tracking.results import CHAMPION

    key = AssetKey([history.problem, CHAMPION])
    newest = list(history.decisions)[-1]
    order = {"partition": chosen.partition, "sha256": chosen.sha256, "reason": reason}
    runner.run(
        definitions.resolve_implicit_global_asset_job_def(),
        f"champion of {history.name}: {_shown(chosen)}",
        {
            "asset_selection": [key],
            "partition_key": f"{newest}|{history.segment}",
            "run_config": {"ops": {key.to_python_identifier(): {"config": order}}},
        },
    )


def _shown(pin: ModelPin) -> str:
    return f"{pin.partition} (SHA-256 {pin.sha256[:SHORT]})"
