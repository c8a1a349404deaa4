"""Which model of a segment is in force, and whether a month's own model takes its place.

A month's candidate meets the newest earlier champion of its segment, never a later one, so that
months may be made in any order and an older one moves no newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.lake import MissingPartitionError, Snapshot, find_file
from mlops_assets.ml.decision import Decision, Judgement, ModelPin, decide, ordered
from mlops_assets.ml.labels import UnusableRowsError
from mlops_assets.ml.model import Model
from mlops_assets.tracking.results import (
    CHAMPION,
    CHAMPION_FILE,
    GATES_FILE,
    MODEL,
    MODEL_FILE,
    REPORT,
    Place,
    model_key,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from mlops_assets.ml.comparison import Comparison
    from mlops_assets.ml.gates import GateResult


@dataclass
class Contest:
    """The decisions of one step, month after month.

    Attributes:
        label: The column that is predicted.
        seed: Of the resampling.
        decided: The decisions that this step has made itself, by their place.
    """

    label: str
    seed: int
    decided: dict[Place, Decision] = field(default_factory=dict)

    def hold(
        self,
        snapshot: Snapshot,
        place: Place,
        rows: Callable[[], pa.Table],
        order: Order | None = None,
    ) -> Decision:
        """Decide a month and segment, from the pin and from what this step has decided.

        Args:
            snapshot: The pin.
            place: Month and segment of a problem.
            rows: Reads the rows of that month, which neither model was trained on.
            order: Which model somebody wants in force, whatever the numbers say.

        Raises:
            MissingPartitionError: The month's model does not exist at the pin, or no report of it.
            LakeError: The lake never held the model that is ordered.
        """
        candidate = _candidate(snapshot, place)
        gates = _gates(snapshot, place, candidate)
        previous = in_force_before(snapshot, place, self.decided)
        if order is not None:
            Model.from_ubj(read_model(snapshot, place.problem, order.model))
            decision = ordered(candidate, gates, previous, order.model, order.reason)
        else:
            comparison = None
            if previous is not None and all(gate.passed for gate in gates):
                comparison = self._compare(snapshot, place.problem, candidate, previous, rows())
            decision = decide(candidate, gates, previous, comparison)
        self.decided[place] = decision
        return decision

    def _compare(
        self,
        snapshot: Snapshot,
        problem: str,
        candidate: ModelPin,
        champion: ModelPin,
        rows: pa.Table,
    ) -> Comparison | None:
        """Both models on the same rows; None where the champion's features are not there."""
        from mlops_assets.ml.comparison import compare

        def scores(pin: ModelPin) -> npt.NDArray[np.float64]:
            return Model.from_ubj(read_model(snapshot, problem, pin)).predict(rows)

        try:
            champion_scores = scores(champion)
        except UnusableRowsError:
            return None
        labels = rows[self.label].to_numpy(zero_copy_only=False)
        return compare(labels, scores(candidate), champion_scores, seed=self.seed)


@dataclass(frozen=True)
class Order:
    """Somebody's order to put a model in force.

    Attributes:
        model: The model.
        reason: Why, in the words that the record keeps.
    """

    model: ModelPin
    reason: str


class ChampionOrder(dg.Config):
    """Which model shall be champion, whatever the numbers say; none decides by the numbers."""

    partition: str | None = None
    """The lake's path of the model's partition, as `month=2013-11/origin=JFK`."""
    sha256: str | None = None
    """The SHA-256 of its bytes."""
    reason: str = "ordered by hand"
    """Why."""

    def order(self) -> Order | None:
        """The order, if there is one.

        Raises:
            ValueError: Half of the model's name is missing.
        """
        if self.partition is None and self.sha256 is None:
            return None
        if self.partition is None or self.sha256 is None:
            raise ValueError("an order names a model by partition and sha256: give both, or none.")
        return Order(ModelPin(partition=self.partition, sha256=self.sha256), self.reason)


def show(decision: Decision) -> dict[str, Any]:
    """A decision as metadata for the UI."""
    numbers = {}
    if decision.comparison is not None:
        numbers = {
            "Brier score of the candidate": float(decision.comparison.candidate_brier),
            "Brier score of the champion before": float(decision.comparison.champion_brier),
            "improvement, at least": float(decision.comparison.low),
            "improvement, at most": float(decision.comparison.high),
        }
    in_force = decision.champion
    return {
        "decision": decision.outcome,
        "why": dg.MetadataValue.md(f"**{decision.outcome}**: {decision.reason}"),
        "champion": "none" if in_force is None else in_force.partition,
        "champion's SHA-256": "none" if in_force is None else in_force.sha256,
        **numbers,
    }


def _candidate(snapshot: Snapshot, place: Place) -> ModelPin:
    models, partition = place.table(MODEL).table, place.partition
    [file] = snapshot.require(models, [partition])[partition].manifest.files
    return ModelPin(partition=partition.path, sha256=file.sha256)


def _gates(snapshot: Snapshot, place: Place, candidate: ModelPin) -> tuple[GateResult, ...]:
    report = place.table(REPORT)
    judgement = Judgement.from_json(snapshot.read(report, GATES_FILE))
    if judgement.model != candidate:
        raise MissingPartitionError(
            f"{report} judged another model than the one at commit {snapshot.commit[:12]}: "
            f"materialize {report.table} again."
        )
    return judgement.gates


def in_force_before(
    snapshot: Snapshot, place: Place, decided: Mapping[Place, Decision] = MappingProxyType({})
) -> ModelPin | None:
    """The champion of the newest earlier month of a segment; None if there is none.

    Args:
        snapshot: The pin.
        place: Month and segment of a problem.
        decided: What has been decided and is not at the pin yet.
    """
    stored = snapshot.stored(place.table(CHAMPION).table).values()
    earlier = [
        found
        for found in {*(Place.of(part.key) for part in stored), *decided}
        if found.segment == place.segment and found.month < place.month
    ]
    if not earlier:
        return None
    newest = max(earlier)
    if newest in decided:
        return decided[newest].champion
    return Decision.from_json(snapshot.read(newest.table(CHAMPION), CHAMPION_FILE)).champion


def read_model(snapshot: Snapshot, problem: str, pin: ModelPin) -> bytes:
    """The bytes of the model of that content, as the lake holds it or has held it.

    Raises:
        LakeError: The lake has never held it.
    """
    key = model_key(problem, pin)
    held = find_file(snapshot, key, MODEL_FILE, pin.sha256)
    return held.read(key, MODEL_FILE)
