"""How well the scores did, now that the labels are known: by day, week and month, and by slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.ml.intervals import roc_auc_variance
from mlops_assets.ml.samples import Sample
from mlops_assets.monitors.between_days import Estimate, departure
from mlops_assets.monitors.charts import Chart, Series
from mlops_assets.monitors.concept import LABEL, SCORE
from mlops_assets.monitors.finding import Finding, Findings, Look, Unjudged, parted
from mlops_assets.monitors.history import DayRows, History, codes_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NAME = "performance"
WINDOWS = (1, 7, 28)
JUDGED_WINDOWS = (1, 7)
FEWEST_OF_EACH = 5
"""A day with fewer labels of either kind has no ROC AUC worth a comparison."""
CLIP = 1e-6
LEAST_OF_USUAL = 0.5
"""A variance below this share of that by the usual ROC AUC is taken for that share.

Five positives that luck ranks without a fault have a variance of 0, and would outweigh all other
days: the limit fell below 0, where nothing is an alarm. From April to December 2013, with 29
positives or more a day, DeLong's lay between 0.59 and 1.2 of it, and none was raised.
"""


@dataclass(frozen=True)
class Ranking:
    """How well some rows are ranked.

    Attributes:
        area: The ROC AUC.
        variance: Its variance by chance, estimated by these rows alone (DeLong).
        positives: How many rows are positive.
        negatives: How many are negative.
    """

    area: float
    variance: float
    positives: int
    negatives: int

    @property
    def pairs(self) -> int:
        """How many pairs of a positive and a negative row there are to be ranked."""
        return self.positives * self.negatives

    def estimate(self, usual: float) -> Estimate:
        """The ROC AUC with its variance by chance, `usual` being that of the days before."""
        least = LEAST_OF_USUAL * area_variance(usual, self.positives, self.negatives)
        return Estimate(self.area, max(self.variance, least))


@dataclass(frozen=True)
class Scored:
    """How good scores are on some rows whose labels are known."""

    n: int
    positives: int
    brier: float
    log_loss: float
    mean_score: float
    ranking: Ranking | None
    """None with too few rows of an outcome."""

    @property
    def calibration_error(self) -> float:
        """Mean score less the share of positives: above 0, scores are too high."""
        return self.mean_score - self.positives / self.n


@dataclass(frozen=True)
class Performance:
    """What is looked at.

    Attributes:
        slices: The columns by whose values rows are told apart.
        probability: How likely a figure beyond its limit shall be without a change.
    """

    slices: tuple[str, ...]
    probability: float

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return list(dict.fromkeys([LABEL, SCORE, *self.slices]))

    def look(self, history: History) -> Look:
        """Judge a day."""
        measured: list[Sample] = []
        for window in WINDOWS:
            days = history.window(window)
            measured += _samples(measure(days), {"days": str(window)})
        for column in self.slices:
            days = history.window(max(WINDOWS))
            for value, found in by_value(days, column).items():
                measured += _samples(found, {"days": str(max(WINDOWS)), column: value})
        findings, unjudged = parted(self._ranking(history, window) for window in JUDGED_WINDOWS)
        judged = Findings(
            monitor=NAME,
            day=history.today.day.isoformat(),
            reference_days=len(history.reference()),
            findings=findings,
            unjudged=unjudged,
        )
        return Look(judged, _figures(history), list(self._charts(history, judged)), measured)

    def _charts(self, history: History, found: Findings) -> Iterator[Chart]:
        days = history.window(max(WINDOWS))
        scored = [_of_day(day) for day in days]
        yield Series(
            "Ranking by day",
            "The ROC AUC of each day; the line is what the day itself is held to.",
            "ROC AUC",
            [day.day for day in days],
            {"ROC AUC": [day.ranking.area if day and day.ranking else None for day in scored]},
            [finding.low for finding in found.findings if finding.low is not None][:1],
        )
        yield Series(
            "Scores and outcomes by day",
            "The mean score of each day, and the share of its rows that turned out positive.",
            "share",
            [day.day for day in days],
            {
                "mean score": [day.mean_score if day else None for day in scored],
                "positive": [day.positives / day.n if day else None for day in scored],
            },
        )

    def _ranking(self, history: History, window: int) -> Finding | Unjudged:
        found = measure(history.window(window))
        days = [_of_day(day) for day in history.reference(window)]
        usual = [day.ranking for day in days if day is not None and day.ranking is not None]
        if found is None or found.ranking is None:
            few = min(found.positives, found.n - found.positives) if found else 0
            reason = f"{few} scored rows have the rarer label, and it takes {FEWEST_OF_EACH}"
            return Unjudged(subject="ranking", name="roc_auc", of=f"{window} days", reason=reason)
        area = usual_area(usual)
        judged = departure(
            [ranking.estimate(area) for ranking in usual],
            found.ranking.estimate(area),
            fewest_days=history.fewest_days,
        )
        if judged is None:
            reason = history.few(len(usual), f"have {FEWEST_OF_EACH} rows of each label")
            return Unjudged(subject="ranking", name="roc_auc", of=f"{window} days", reason=reason)
        low, _ = judged.limits(self.probability, "below")
        return Finding(
            subject="ranking",
            name="roc_auc",
            labels=(),
            value=judged.value,
            low=low,
            days=window,
            alarm=judged.beyond(self.probability, "below"),
            sentence=(
                f"ranking: over {window} {'days' if window > 1 else 'day'} to {history.today.day} "
                f"the ROC AUC is {judged.value:.3f}, before it was {judged.expected:.3f}, and its "
                f"limit is {low:.3f}; look at the slices, and at drift and quality of that time."
            ),
        )


def measure(days: Sequence[DayRows]) -> Scored | None:
    """How good the scores of some days are; None without a known label."""
    import numpy as np

    if not days:
        return None
    labels = np.concatenate([day.columns[LABEL] for day in days])
    scores = np.concatenate([day.columns[SCORE] for day in days])
    return _scored(labels, scores)


def usual_area(days: Sequence[Ranking]) -> float:
    """The ROC AUC of all pairs of one day, over some days.

    Half a pair of each kind is added: where all were ranked rightly one may not be tomorrow.
    """
    right = sum(day.area * day.pairs for day in days)
    return (right + 0.5) / (sum(day.pairs for day in days) + 1)


def area_variance(area: float, positives: int, negatives: int) -> float:
    """The variance by chance of a ROC AUC of so many rows whose true one is `area`.

    Hanley and McNeil (The meaning and use of the area under a receiver operating characteristic
    (ROC) curve, 1982), who take it from the area alone, as of exponentially distributed scores.
    """
    square = area**2
    one_negative, one_positive = area / (2 - area), 2 * square / (1 + area)
    spread = (
        area * (1 - area)
        + (positives - 1) * (one_negative - square)
        + (negatives - 1) * (one_positive - square)
    )
    return spread / (positives * negatives)


def by_value(days: Sequence[DayRows], column: str) -> dict[str, Scored]:
    """How good the scores of some days are for each value of a column, in the values' order."""
    import numpy as np

    names = np.concatenate([codes_of(day, column) for day in days])
    labels = np.concatenate([day.columns[LABEL] for day in days])
    scores = np.concatenate([day.columns[SCORE] for day in days])
    found = {}
    for name in np.unique(names).tolist():
        scored = _scored(labels[names == name], scores[names == name])
        if scored is not None:
            found[name] = scored
    return found


def _figures(history: History) -> dict[str, float]:
    figures = {}
    for window, ending in ((1, ""), (7, ", 7 days")):
        found = measure(history.window(window))
        if found is not None:
            figures[f"Brier score{ending}"] = found.brier
            figures[f"log loss{ending}"] = found.log_loss
            figures[f"calibration error{ending}"] = found.calibration_error
            if found.ranking is not None:
                figures[f"ROC AUC{ending}"] = found.ranking.area
    return figures


def _of_day(day: DayRows) -> Scored | None:
    return day.remember("performance", lambda: measure([day]))


def _scored(labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> Scored | None:
    import numpy as np

    known = ~np.isnan(labels) & ~np.isnan(scores)
    if not known.any():
        return None
    outcomes, chances = labels[known].astype(np.int64), scores[known]
    positives = int(outcomes.sum())
    kept = np.clip(chances, CLIP, 1 - CLIP)
    negatives = len(outcomes) - positives
    few = min(positives, negatives) < FEWEST_OF_EACH
    ranking = None if few else roc_auc_variance(outcomes, chances)
    return Scored(
        n=len(outcomes),
        positives=positives,
        brier=float(((chances - outcomes) ** 2).mean()),
        log_loss=float(-np.log(np.where(outcomes == 1, kept, 1 - kept)).mean()),
        mean_score=float(chances.mean()),
        ranking=None if ranking is None else Ranking(*ranking, positives, negatives),
    )


def _samples(found: Scored | None, labels: Mapping[str, str]) -> Iterator[Sample]:
    if found is None:
        return
    values = {
        "labelled_rows": float(found.n),
        "positive_share": found.positives / found.n,
        "brier": found.brier,
        "log_loss": found.log_loss,
        "calibration_error": found.calibration_error,
        **({} if found.ranking is None else {"roc_auc": found.ranking.area}),
    }
    for name, value in values.items():
        yield Sample(name=name, labels=tuple(sorted(labels.items())), value=value)
