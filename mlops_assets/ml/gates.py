"""Gates: what a model has to show on its report before it may become a champion.

Each is a pure function of an evaluation. A gate never stops a report from being published.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mlops_assets.ml.evaluation import Evaluation
from mlops_assets.ml.stored import Number, Stored


class GateResult(Stored):
    """What one gate found."""

    name: str
    passed: bool
    sentence: str
    """What was found and what was asked for, for people."""
    value: Number | None
    """The number that decided; None where there is none."""
    limit: str
    """What was asked for."""


class _Gate(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )


class BrierSkillGate(_Gate):
    """The model's probabilities are better than the baseline's."""

    above: float
    """What 1 - Brier score / baseline's Brier score has to exceed."""

    @property
    def asks(self) -> str:
        """What it asks for."""
        return f"Brier skill over the baseline above {self.above:g}"

    def judge(self, name: str, evaluation: Evaluation) -> GateResult:
        """Compare the skill with the limit."""
        skill = evaluation.brier_skill
        passed = skill > self.above
        return GateResult(
            name=name,
            passed=passed,
            sentence=(
                f"The Brier skill over the {evaluation.baseline_name} is {skill:.3f}, "
                f"{'above' if passed else 'not above'} {self.above:g}."
            ),
            value=skill,
            limit=self.asks,
        )


class CalibrationSlopeGate(_Gate):
    """The model's probabilities are neither too extreme nor too timid."""

    lowest: Annotated[float, Field(alias="from")]
    """The flattest slope that is allowed; below 1 the scores are too extreme."""
    highest: Annotated[float, Field(alias="to")]
    """The steepest slope that is allowed; above 1 the scores are too timid."""

    @property
    def asks(self) -> str:
        """What it asks for."""
        return f"calibration slope from {self.lowest:g} to {self.highest:g}"

    def judge(self, name: str, evaluation: Evaluation) -> GateResult:
        """Compare the slope with the limits; scores without a slope do not pass."""
        line = evaluation.recalibration
        passed = line is not None and self.lowest <= line.slope <= self.highest
        found = "cannot be determined" if line is None else f"is {line.slope:.2f}"
        return GateResult(
            name=name,
            passed=passed,
            sentence=(
                f"The calibration slope {found}, {'inside' if passed else 'and not inside'} "
                f"{self.lowest:g} to {self.highest:g}."
            ),
            value=None if line is None else line.slope,
            limit=self.asks,
        )


class SliceRocAucGate(_Gate):
    """No slice that is large enough to judge by is ranked badly."""

    column: str
    """The column whose values are the slices."""
    at_least: float
    """The area under the ROC curve that each has to reach."""
    fewest_rows: Annotated[int, Field(ge=2)]
    """Slices with fewer rows are left out."""
    fewest_of_each: Annotated[int, Field(ge=1)]
    """Slices with fewer rows of one of the two outcomes are left out."""

    @property
    def asks(self) -> str:
        """What it asks for."""
        return (
            f"ROC AUC of every {self.column} with at least {self.fewest_rows} rows and "
            f"{self.fewest_of_each} of each outcome at least {self.at_least:g}"
        )

    def judge(self, name: str, evaluation: Evaluation) -> GateResult:
        """Compare the worst large slice with the limit; without a large one it passes."""
        areas = [
            (found.roc_auc, found.value)
            for found in evaluation.slices
            if found.column == self.column
            and found.roc_auc is not None
            and found.judgeable(self.fewest_rows, self.fewest_of_each)
        ]
        if not areas:
            return GateResult(
                name=name,
                passed=True,
                sentence=f"No {self.column} has enough rows to be judged by.",
                value=None,
                limit=self.asks,
            )
        worst, value = min(areas)
        passed = worst >= self.at_least
        return GateResult(
            name=name,
            passed=passed,
            sentence=(
                f"Of {len(areas)} {self.column} slices large enough to judge, {value} is ranked "
                f"worst: ROC AUC {worst:.3f}, {'not below' if passed else 'below'} "
                f"{self.at_least:g}."
            ),
            value=worst,
            limit=self.asks,
        )


class Gates(_Gate):
    """The gates of a problem; one that is left out is not asked."""

    brier_skill: BrierSkillGate | None = None
    """Better probabilities than the baseline's."""
    calibration_slope: CalibrationSlopeGate | None = None
    """Probabilities that are neither too extreme nor too timid."""
    slice_roc_auc: SliceRocAucGate | None = None
    """No large slice that is ranked badly."""

    @property
    def declared(self) -> dict[str, BrierSkillGate | CalibrationSlopeGate | SliceRocAucGate]:
        """The gates that are asked, by name, in order."""
        return {
            name: gate
            for name in type(self).model_fields
            if (gate := getattr(self, name)) is not None
        }

    def asked(self) -> dict[str, str]:
        """What each gate asks for, by its name."""
        return {name: gate.asks for name, gate in self.declared.items()}

    def judge(self, evaluation: Evaluation) -> tuple[GateResult, ...]:
        """The result of each gate, in order."""
        return tuple(gate.judge(name, evaluation) for name, gate in self.declared.items())
