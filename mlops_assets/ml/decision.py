"""Whether a candidate becomes champion: the rule, and the record of what it decided.

Models are named by their content. Commits and times are not in these bytes, so that the same
models and rows give the same record; the commit that holds a model is found by its digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Literal, Self

from mlops_assets.ml.comparison import Comparison
from mlops_assets.ml.gates import GateResult
from mlops_assets.ml.stored import Stored


class ModelPin(Stored):
    """A model, named by its place and its content."""

    partition: str
    """The lake's path of its partition, as `month=2013-12/origin=JFK`."""
    sha256: str
    """Of its bytes."""

    @classmethod
    def of(cls, partition: str, model: bytes) -> Self:
        """Name the model with these bytes."""
        return cls(partition=partition, sha256=sha256(model).hexdigest())


class Judgement(Stored):
    """What the gates found about one model."""

    model: ModelPin
    gates: tuple[GateResult, ...]


class Decision(Stored):
    """Which model is in force after a candidate was looked at, and why."""

    outcome: Literal["promoted", "kept"]
    reason: str
    """Why, in a sentence for people."""
    candidate: ModelPin
    champion: ModelPin | None
    """In force from now on; None if no model has earned it yet."""
    previous: ModelPin | None
    """In force before."""
    gates: tuple[GateResult, ...]
    comparison: Comparison | None
    """None where there was no champion to meet, or a gate had spoken already."""
    ordered: bool = False
    """Whether somebody ordered it, whatever the numbers said."""


def decide(
    candidate: ModelPin,
    gates: Sequence[GateResult],
    previous: ModelPin | None,
    comparison: Comparison | None,
) -> Decision:
    """Promote the candidate if it passed every gate and is better than the champion before it.

    Better means that the whole interval of the improvement lies above 0: of two models that differ
    by chance alone, the one in force stays.

    Args:
        candidate: The model that wants to be champion.
        gates: What the gates found about it.
        previous: The champion in force.
        comparison: Both on the same rows; None where the champion cannot be scored on them.
    """
    reason, promoted = _verdict(gates, previous, comparison)
    return Decision(
        outcome="promoted" if promoted else "kept",
        reason=reason,
        candidate=candidate,
        champion=candidate if promoted else previous,
        previous=previous,
        gates=tuple(gates),
        comparison=comparison,
    )


def ordered(
    candidate: ModelPin,
    gates: Sequence[GateResult],
    previous: ModelPin | None,
    chosen: ModelPin,
    reason: str,
) -> Decision:
    """Put `chosen` in force because somebody ordered it."""
    return Decision(
        outcome="promoted" if chosen != previous else "kept",
        reason=f"{chosen.partition} was put in force by order: {reason}",
        candidate=candidate,
        champion=chosen,
        previous=previous,
        gates=tuple(gates),
        comparison=None,
        ordered=True,
    )


def _verdict(
    gates: Sequence[GateResult],
    previous: ModelPin | None,
    comparison: Comparison | None,
) -> tuple[str, bool]:
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        stays = "no model is in force" if previous is None else f"{previous.partition} stays"
        told = " ".join(f"{gate.name}: {gate.sentence}" for gate in failed)
        return f"the candidate was refused ({told}); {stays}.", False
    if previous is None:
        return "it passed every gate, and no earlier champion was there to beat.", True
    if comparison is None:
        return (
            f"it passed every gate, and {previous.partition} cannot be scored on its rows any "
            "more: features that it was trained on are gone.",
            True,
        )
    gain = (
        f"Brier score {comparison.candidate_brier:.5f} against {comparison.champion_brier:.5f} of "
        f"{previous.partition} on the same {comparison.n:,} rows, an improvement of "
        f"{comparison.improvement:+.5f} ({comparison.confidence:.0%} interval "
        f"{comparison.low:+.5f} to {comparison.high:+.5f})"
    )
    if comparison.low > 0:
        return f"it passed every gate and is better: {gain}.", True
    return f"{previous.partition} stays, as the candidate is not surely better: {gain}.", False
