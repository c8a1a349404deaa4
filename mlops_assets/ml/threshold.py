"""From a probability to a warning: the threshold that costs decide, and what it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from mlops_assets.ml.stored import Number, Stored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Costs(BaseModel):
    """What a mistake of each kind costs, in any unit."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    false_alarm: Annotated[float, Field(gt=0)]
    """Of a row that was flagged and turns out negative."""
    miss: Annotated[float, Field(gt=0)]
    """Of a row that was not flagged and turns out positive."""

    @property
    def threshold(self) -> float:
        """The probability from which flagging is the cheaper mistake to risk.

        Holds for probabilities that mean what they say (Elkan, The Foundations of Cost-Sensitive
        Learning, 2001); chosen on the evaluated rows it would flatter the model.
        """
        return self.false_alarm / (self.false_alarm + self.miss)


class Confusion(Stored):
    """How often scores above the threshold were right, and what the mistakes cost."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    cost: Number
    """The mean cost of a row."""

    @classmethod
    def of(
        cls, labels: npt.NDArray[np.int64], flagged: npt.NDArray[np.bool_], costs: Costs
    ) -> Self:
        """Count what was flagged against what happened."""
        late = labels == 1
        missed, alarmed = int((late & ~flagged).sum()), int((~late & flagged).sum())
        return cls(
            true_positives=int((late & flagged).sum()),
            false_positives=alarmed,
            true_negatives=int((~late & ~flagged).sum()),
            false_negatives=missed,
            cost=(missed * costs.miss + alarmed * costs.false_alarm) / len(labels),
        )


class Operation(Stored):
    """What acting on the scores would have led to, beside what else one could do."""

    threshold: Number
    false_alarm_cost: Number
    miss_cost: Number
    model: Confusion
    baseline: Confusion
    cost_of_flagging_none: Number
    cost_of_flagging_all: Number

    @classmethod
    def at(
        cls,
        costs: Costs,
        labels: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float64],
        baseline_scores: npt.NDArray[np.float64],
    ) -> Self:
        """Flag every row whose score reaches the threshold that the costs decide."""
        positives = int(labels.sum())
        return cls(
            threshold=costs.threshold,
            false_alarm_cost=costs.false_alarm,
            miss_cost=costs.miss,
            model=Confusion.of(labels, scores >= costs.threshold, costs),
            baseline=Confusion.of(labels, baseline_scores >= costs.threshold, costs),
            cost_of_flagging_none=positives * costs.miss / len(labels),
            cost_of_flagging_all=(len(labels) - positives) * costs.false_alarm / len(labels),
        )
