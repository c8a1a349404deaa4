"""Judging scores against outcomes and against the baseline, in numbers that can be stored.

Every number here is one that a person or a gate reads. Deciding whether they suffice (gates,
champions) belongs to the problem's component; showing them is `report`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlops_assets.ml.calibration import (
    Bin,
    Recalibration,
    expected_error,
    quantile_bins,
    recalibrate,
)
from mlops_assets.ml.intervals import Interval, roc_auc_interval
from mlops_assets.ml.labels import UnusableRowsError, checked_labels
from mlops_assets.ml.stored import Number, Stored
from mlops_assets.ml.threshold import Costs, Operation

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CURVE_POINTS = 200
"""The curve of 10,000 rows has some 4,000 corners; a picture shows no more than this."""


class Quality(Stored):
    """How good one set of scores is on one set of rows."""

    roc_auc: Number
    pr_auc: Number
    """Average precision; a useless score has the share of positives."""
    log_loss: Number
    """In nats a row."""
    brier: Number
    """Mean squared difference of score and outcome."""


class Slice(Stored):
    """The rows that share one value of one column, and how the model does on them."""

    column: str
    value: str
    n: int
    positives: int
    roc_auc: Number | None
    """`None` where only one outcome occurs."""
    roc_auc_interval: Interval | None
    """`None` where there are fewer than two of an outcome."""
    brier: Number
    baseline_roc_auc: Number | None
    baseline_brier: Number
    mean_score: Number

    def judgeable(self, rows: int, of_each: int) -> bool:
        """Whether it has at least so many rows, and so many of each outcome."""
        return self.n >= rows and min(self.positives, self.n - self.positives) >= of_each


class RocPoint(Stored):
    """A point of the ROC curve: what share of each outcome a threshold catches."""

    false_positive_rate: Number
    true_positive_rate: Number


class PrPoint(Stored):
    """A point of the precision-recall curve: of those flagged and of the positives, how many."""

    recall: Number
    precision: Number


class Importance(Stored):
    """How much a feature moves the scores."""

    feature: str
    mean_effect: Number
    """Mean absolute contribution to the score, in log-odds."""


class Evaluation(Stored):
    """Everything measured about a model on rows that it was not trained on."""

    n: int
    positives: int
    model: Quality
    baseline: Quality
    baseline_name: str
    brier_skill: Number
    """1 - Brier of the model / Brier of the baseline; above 0 is better than the baseline."""
    recalibration: Recalibration | None
    """`None` where no finite one exists: constant scores, or scores that split the outcomes."""
    calibration_error: Number
    """Mean distance between score and rate over `calibration`, weighted by rows."""
    calibration: tuple[Bin, ...]
    roc: tuple[RocPoint, ...]
    baseline_roc: tuple[RocPoint, ...]
    precision_recall: tuple[PrPoint, ...]
    baseline_precision_recall: tuple[PrPoint, ...]
    operation: Operation
    importance: tuple[Importance, ...]
    """The most important first."""
    slices: tuple[Slice, ...]


def evaluate(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    baseline_scores: npt.ArrayLike,
    *,
    baseline_name: str,
    costs: Costs,
    importance: Mapping[str, float] | None = None,
    slices: Mapping[str, Sequence[object]] | None = None,
) -> Evaluation:
    """Measure `scores` (probabilities of label 1) and `baseline_scores` on the same rows.

    `importance` gives the mean effect of each feature. `slices` gives, for each column to cut by,
    its value on every row. The order of the rows does not matter.

    Raises:
        UnusableRowsError: No rows, one outcome only, lengths that differ, a score outside
            [0, 1], or a baseline that is never wrong.
    """
    import numpy as np

    outcomes = checked_labels(labels, "the labels", "Evaluation")
    model = _checked_scores(scores, len(outcomes), "scores")
    baseline = _checked_scores(baseline_scores, len(outcomes), "baseline scores")
    order = np.lexsort((baseline, outcomes, model))
    columns = {name: list(values) for name, values in (slices or {}).items()}
    for name, values in columns.items():
        _require_length(len(values), len(outcomes), f"values of the slice {name!r}")
    found = _slices(outcomes, model, baseline, order, columns)

    outcomes, model, baseline = outcomes[order], model[order], baseline[order]
    quality, baseline_quality = _quality(outcomes, model), _quality(outcomes, baseline)
    bins = quantile_bins(outcomes, model)
    return Evaluation(
        n=len(outcomes),
        positives=int(outcomes.sum()),
        model=quality,
        baseline=baseline_quality,
        baseline_name=baseline_name,
        brier_skill=_skill(quality.brier, baseline_quality.brier),
        recalibration=recalibrate(outcomes, model),
        calibration_error=expected_error(bins),
        calibration=bins,
        roc=_roc(outcomes, model),
        baseline_roc=_roc(outcomes, baseline),
        precision_recall=_precision_recall(outcomes, model),
        baseline_precision_recall=_precision_recall(outcomes, baseline),
        operation=Operation.at(costs, outcomes, model, baseline),
        importance=tuple(
            Importance(feature=feature, mean_effect=effect)
            for feature, effect in sorted(
                (importance or {}).items(), key=lambda found: (-found[1], found[0])
            )
        ),
        slices=found,
    )


def _checked_scores(values: npt.ArrayLike, rows: int, name: str) -> npt.NDArray[np.float64]:
    import numpy as np

    scores = np.asarray(values, dtype=np.float64)
    _require_length(len(scores), rows, name)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise UnusableRowsError(
            f"Evaluation needs {name} that are probabilities, from 0 to 1, and found others."
        )
    return scores


def _require_length(found: int, rows: int, name: str) -> None:
    if found != rows:
        raise UnusableRowsError(
            f"Evaluation was given {found} {name} for {rows} labels; take both from the same rows."
        )


def _quality(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> Quality:
    from sklearn import metrics

    return Quality(
        roc_auc=metrics.roc_auc_score(labels, scores),
        pr_auc=metrics.average_precision_score(labels, scores),
        log_loss=metrics.log_loss(labels, scores),
        brier=metrics.brier_score_loss(labels, scores),
    )


def _skill(brier: float, baseline_brier: float) -> float:
    if not baseline_brier:
        raise UnusableRowsError(
            "Evaluation has nothing to measure skill by: the baseline is right on every row; "
            "look for the label among the columns it groups by."
        )
    return 1 - brier / baseline_brier


def _roc(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> tuple[RocPoint, ...]:
    from sklearn import metrics

    false_positives, true_positives, _ = metrics.roc_curve(labels, scores)
    kept = _spread(len(false_positives))
    return tuple(
        RocPoint(false_positive_rate=across, true_positive_rate=up)
        for across, up in zip(false_positives[kept], true_positives[kept], strict=True)
    )


def _precision_recall(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]
) -> tuple[PrPoint, ...]:
    from sklearn import metrics

    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    kept = _spread(len(recall))
    return tuple(
        PrPoint(recall=across, precision=up)
        for across, up in zip(recall[kept], precision[kept], strict=True)
    )


def _spread(points: int) -> npt.NDArray[np.int64]:
    """At most `CURVE_POINTS` places of a curve, evenly spread, the ends included."""
    import numpy as np

    places = np.linspace(0, points - 1, min(points, CURVE_POINTS)).round().astype(np.int64)
    return np.unique(places)


def _slices(
    labels: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
    baseline: npt.NDArray[np.float64],
    order: npt.NDArray[np.int64],
    columns: Mapping[str, Sequence[object]],
) -> tuple[Slice, ...]:
    found = []
    for column, values in columns.items():
        members: dict[object, list[int]] = {}
        for row in order.tolist():
            members.setdefault(values[row], []).append(row)
        for value in sorted(members, key=_by_value):
            rows = members[value]
            found.append(_slice(column, value, labels[rows], scores[rows], baseline[rows]))
    return tuple(found)


def _by_value(value: object) -> tuple[int, float, str]:
    """Numbers by size, then words by letter, the missing value last."""
    if value is None:
        return 2, 0.0, ""
    if isinstance(value, int | float):
        return 0, float(value), ""
    return 1, 0.0, str(value)


def _slice(
    column: str,
    value: object,
    labels: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
    baseline: npt.NDArray[np.float64],
) -> Slice:
    from sklearn import metrics

    positives = int(labels.sum())
    both = 0 < positives < len(labels)
    return Slice(
        column=column,
        value="(missing)" if value is None else str(value),
        n=len(labels),
        positives=positives,
        roc_auc=metrics.roc_auc_score(labels, scores) if both else None,
        roc_auc_interval=roc_auc_interval(labels, scores) if both else None,
        brier=((scores - labels) ** 2).mean(),
        baseline_roc_auc=metrics.roc_auc_score(labels, baseline) if both else None,
        baseline_brier=((baseline - labels) ** 2).mean(),
        mean_score=scores.mean(),
    )
