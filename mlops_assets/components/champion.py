"""Which model of a segment is in force, and whether a month's own model takes its place.

A month's candidate meets the newest earlier champion of its segment, never a later one, so that
months may be made in any order and an older one moves no newer one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_assets.lake import LakeError, Partition, Snapshot, TablePartition, find_file
from mlops_assets.ml.decision import Decision, Judgement, ModelPin, decide, ordered
from mlops_assets.ml.labels import UnusableRowsError
from mlops_assets.ml.model import Model
from mlops_assets.tracking.results import CHAMPION_FILE, GATES_FILE, MODEL_FILE, MONTH

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.ml.comparison import Comparison
    from mlops_assets.ml.gates import GateResult


@dataclass
class Contest:
    """The decisions of one step, month after month.

    Attributes:
        models: The table of the models.
        reports: The table of their reports.
        champions: The table of the decisions.
        segment: The dimension whose values have champions of their own.
        label: The column that is predicted.
        seed: Of the resampling.
        decided: The decisions that this step has made itself, by partition.
    """

    models: str
    reports: str
    champions: str
    segment: str
    label: str
    seed: int
    decided: dict[Partition, Decision] = field(default_factory=dict)

    def hold(
        self,
        snapshot: Snapshot,
        partition: Partition,
        rows: Callable[[], pa.Table],
        order: Order | None = None,
    ) -> Decision:
        """Decide a month and segment, from the pin and from what this step has decided.

        Args:
            snapshot: The pin.
            partition: Month and segment.
            rows: Reads the rows of that month, which neither model was trained on.
            order: Which model somebody wants in force, whatever the numbers say.

        Raises:
            MissingPartitionError: The month's model or report does not exist at the pin.
            LakeError: The report judged another model than the one at the pin, or the lake never
                held the model that is ordered.
        """
        candidate = self._candidate(snapshot, partition)
        gates = self._gates(snapshot, partition, candidate)
        previous = self._in_force_before(snapshot, partition)
        if order is not None:
            self._model(snapshot, order.model)
            decision = ordered(candidate, gates, previous, order.model, order.reason)
        else:
            comparison = None
            if previous is not None and all(gate.passed for gate in gates):
                comparison = self._compare(snapshot, candidate, previous, rows())
            decision = decide(candidate, gates, previous, comparison)
        self.decided[partition] = decision
        return decision

    def _candidate(self, snapshot: Snapshot, partition: Partition) -> ModelPin:
        stored = snapshot.require(self.models, [partition])[partition]
        [file] = stored.manifest.files
        return ModelPin(partition=partition.path, sha256=file.sha256)

    def _gates(
        self, snapshot: Snapshot, partition: Partition, candidate: ModelPin
    ) -> tuple[GateResult, ...]:
        report = TablePartition(self.reports, partition)
        judgement = Judgement.from_json(snapshot.read(report, GATES_FILE))
        if judgement.model != candidate:
            raise LakeError(
                f"{report} judged another model than the one at commit "
                f"{snapshot.commit[:12]}: materialize {self.reports} again."
            )
        return judgement.gates

    def _in_force_before(self, snapshot: Snapshot, partition: Partition) -> ModelPin | None:
        """The champion of the newest earlier month, this step's own decisions included."""
        month, segment = _month_and_segment(partition, self.segment)
        stored = snapshot.stored(self.champions)
        earlier = [
            found
            for found in {*stored, *self.decided}
            if _month_and_segment(found, self.segment)[1] == segment
            and _month_and_segment(found, self.segment)[0] < month
        ]
        if not earlier:
            return None
        newest = max(earlier, key=lambda found: _month_and_segment(found, self.segment))
        if newest not in self.decided:
            key = TablePartition(self.champions, newest)
            return Decision.from_json(snapshot.read(key, CHAMPION_FILE)).champion
        return self.decided[newest].champion

    def _compare(
        self, snapshot: Snapshot, candidate: ModelPin, champion: ModelPin, rows: pa.Table
    ) -> Comparison | None:
        """Both models on the same rows; None where the champion's features are not there."""
        from mlops_assets.ml.comparison import compare

        try:
            champion_scores = self._model(snapshot, champion).predict(rows)
        except UnusableRowsError:
            return None
        return compare(
            rows[self.label].to_numpy(zero_copy_only=False),
            self._model(snapshot, candidate).predict(rows),
            champion_scores,
            seed=self.seed,
        )

    def _model(self, snapshot: Snapshot, pin: ModelPin) -> Model:
        key = TablePartition(self.models, Partition.from_path(pin.partition))
        held = find_file(snapshot, key, MODEL_FILE, pin.sha256)
        return Model.from_ubj(held.read(key, MODEL_FILE))


@dataclass(frozen=True)
class Order:
    """Somebody's order to put a model in force.

    Attributes:
        model: The model.
        reason: Why, in the words that the record keeps.
    """

    model: ModelPin
    reason: str


def _month_and_segment(partition: Partition, segment: str) -> tuple[str, str]:
    values = dict(partition.values)
    return values[MONTH], values[segment]
