"""The report's pictures as PNG, byte for byte the same in every process.

Only drawing belongs here: what is drawn was measured in `evaluation`. Figures are built without
pyplot, which keeps each one alive in a global list until it is closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from math import sqrt
from typing import TYPE_CHECKING, Any

from mlops_assets.ml.calibration import Bin
from mlops_assets.ml.evaluation import Evaluation, RocPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MODEL, _BASELINE, _GUIDE, _INK = "#1d5fbf", "#b4560b", "#9aa4b2", "#1b2430"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": _GUIDE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ee",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "legend.frameon": False,
}
_NORMAL_95 = 1.959964


def roc_picture(evaluation: Evaluation) -> bytes:
    """Draw what share of each outcome every threshold catches, model and baseline, as PNG."""
    with _axes("Share of negatives flagged", "Share of positives caught") as (axes, png):
        axes.plot([0, 1], [0, 1], color=_GUIDE, linestyle=":", label="a coin: 0.500")
        _curve(
            axes,
            evaluation.baseline_roc,
            _BASELINE,
            "--",
            f"{_plain(evaluation.baseline_name)}: {evaluation.baseline.roc_auc:.3f}",
        )
        _curve(axes, evaluation.roc, _MODEL, "-", f"model: {evaluation.model.roc_auc:.3f}")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        # Inside, a baseline of two columns has a name so wide that it lies over the curves.
        axes.figure.legend(
            loc="outside lower center", title="area under the curve", alignment="left"
        )
    return png.getvalue()


def calibration_picture(evaluation: Evaluation) -> bytes:
    """Draw the rate of positives against the score, in bins of equal size with 95% intervals."""
    bins = evaluation.calibration
    intervals = [wilson_interval(found) for found in bins]
    rates = [found.positives / found.n for found in bins]
    scores = [found.mean_score for found in bins]
    reach = min(1.0, 1.05 * max(*scores, *(high for _, high in intervals)))
    with _axes("Mean score of the bin", "Share of positives in the bin") as (axes, png):
        axes.plot([0, 1], [0, 1], color=_GUIDE, linestyle=":", label="says what happens")
        below = [rate - low for rate, (low, _) in zip(rates, intervals, strict=True)]
        above = [high - rate for rate, (_, high) in zip(rates, intervals, strict=True)]
        axes.errorbar(
            scores,
            rates,
            yerr=[below, above],
            color=_MODEL,
            marker="o",
            markersize=5,
            linewidth=1.8,
            elinewidth=1.2,
            capsize=3,
            label="model, 95% interval",
        )
        axes.set(xlim=(0, reach), ylim=(0, reach), aspect="equal")
        axes.legend(loc="upper left")
    return png.getvalue()


def wilson_interval(found: Bin) -> tuple[float, float]:
    """Return the 95% interval of a bin's rate; unlike the textbook one it stays within [0, 1]."""
    rate, square = found.positives / found.n, _NORMAL_95**2
    centre = (rate + square / (2 * found.n)) / (1 + square / found.n)
    spread = sqrt(rate * (1 - rate) / found.n + square / (4 * found.n**2))
    half = _NORMAL_95 * spread / (1 + square / found.n)
    return min(rate, centre - half), max(rate, centre + half)


def _curve(axes: Axes, points: tuple[RocPoint, ...], color: str, line: str, label: str) -> None:
    across = [point.false_positive_rate for point in points]
    up = [point.true_positive_rate for point in points]
    axes.plot(across, up, color=color, linestyle=line, linewidth=1.8, label=label)


def _plain(text: str) -> str:
    """A dollar sign begins a formula in matplotlib, and half a formula is an error."""
    return text.replace("$", r"\$")


@contextmanager
def _axes(across: str, up: str) -> Iterator[tuple[Axes, BytesIO]]:
    """Give axes to draw on, and the file that holds the picture afterwards.

    The reader's own matplotlibrc must not change published bytes, hence the defaults; the version
    that matplotlib writes into each PNG is left out for the same reason.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    png = BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(5, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(xlabel=across, ylabel=up)
        yield axes, png
        figure.savefig(png, format="png", dpi=144, metadata={"Software": None})
