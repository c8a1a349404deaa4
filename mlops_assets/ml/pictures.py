"""The report's pictures as PNG, byte for byte the same in every process.

Only drawing belongs here: what is drawn was measured in `evaluation`. Figures are built without
pyplot, which keeps each one alive in a global list until it is closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.ml.evaluation import Evaluation
from mlops_assets.ml.intervals import rate_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODEL, BASELINE, GUIDE, INK = "#1d5fbf", "#b4560b", "#9aa4b2", "#1b2430"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": GUIDE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ee",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
}


class PictureError(Exception):
    """No picture can be drawn; the message says why."""


class _Look(NamedTuple):
    name: str
    color: str
    line: str


_MODEL_LOOK = _Look("model", MODEL, "-")
_BASELINE_LOOK = _Look("baseline", BASELINE, "--")

MOST_IMPORTANT = 20
"""Features beyond these move the scores too little to be worth a bar."""


def roc_picture(evaluation: Evaluation) -> bytes:
    """Draw what share of each outcome every threshold catches, model and baseline, as PNG."""
    with axes_on("Share of negatives flagged", "Share of positives caught") as (axes, png):
        axes.plot([0, 1], [0, 1], color=GUIDE, linestyle=":", label="a coin: 0.500")
        for points, quality, look in (
            (evaluation.baseline_roc, evaluation.baseline, _BASELINE_LOOK),
            (evaluation.roc, evaluation.model, _MODEL_LOOK),
        ):
            across = [point.false_positive_rate for point in points]
            up = [point.true_positive_rate for point in points]
            _curve(axes, across, up, quality.roc_auc, look)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.legend(loc="lower right", title="area under the curve", alignment="left")
    return png.getvalue()


def calibration_picture(evaluation: Evaluation) -> bytes:
    """Draw the rate of positives against the score, in bins of equal size with 95% intervals."""
    bins = evaluation.calibration
    intervals = [rate_interval(found.positives, found.n) for found in bins]
    rates = [found.positives / found.n for found in bins]
    scores = [found.mean_score for found in bins]
    reach = min(1.0, 1.05 * max(*scores, *(interval.high for interval in intervals)))
    with axes_on("Mean score of the bin", "Share of positives in the bin") as (axes, png):
        axes.plot([0, 1], [0, 1], color=GUIDE, linestyle=":", label="says what happens")
        below = [rate - found.low for rate, found in zip(rates, intervals, strict=True)]
        above = [found.high - rate for rate, found in zip(rates, intervals, strict=True)]
        axes.errorbar(
            scores,
            rates,
            yerr=[below, above],
            color=MODEL,
            marker="o",
            markersize=5,
            linewidth=1.8,
            elinewidth=1.2,
            capsize=3,
            label="model, 95% interval",
        )
        axes.set(xlim=(0, reach), ylim=(0, reach))
        axes.legend(loc="upper left")
    return png.getvalue()


def precision_recall_picture(evaluation: Evaluation) -> bytes:
    """Draw how many of the flagged are positives, for each share of them that is caught, as PNG."""
    share = evaluation.positives / evaluation.n
    with axes_on("Share of positives caught", "Share of the flagged that are positive") as drawing:
        axes, png = drawing
        axes.axhline(share, color=GUIDE, linestyle=":", label=f"a coin: {share:.3f}")
        for points, quality, look in (
            (evaluation.baseline_precision_recall, evaluation.baseline, _BASELINE_LOOK),
            (evaluation.precision_recall, evaluation.model, _MODEL_LOOK),
        ):
            across = [point.recall for point in points]
            up = [point.precision for point in points]
            _curve(axes, across, up, quality.pr_auc, look)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.legend(loc="upper right", title="average precision", alignment="left")
    return png.getvalue()


def importance_picture(evaluation: Evaluation) -> bytes:
    """Draw the features that move the scores most, as PNG."""
    shown = evaluation.importance[:MOST_IMPORTANT][::-1]
    with axes_on("Mean effect on the score, in log-odds", "", width=8, left=0.4) as (axes, png):
        axes.barh(
            [plain(found.feature.rpartition("__")[2]) for found in shown],
            [found.mean_effect for found in shown],
            color=MODEL,
            height=0.7,
        )
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", labelsize=8, length=0)
    return png.getvalue()


def _curve(
    axes: Axes, across: Sequence[float], up: Sequence[float], area: float, look: _Look
) -> None:
    axes.plot(
        across,
        up,
        color=look.color,
        linestyle=look.line,
        linewidth=1.8,
        label=f"{look.name}: {area:.3f}",
    )


def plain(text: str) -> str:
    """A dollar sign begins a formula in matplotlib, and half a formula is an error."""
    return text.replace("$", r"\$")


@contextmanager
def axes_on(
    across: str,
    up: str,
    *,
    width: float = 5,
    height: float = 4.4,
    left: float = 0.13,
    dpi: int = 120,
) -> Iterator[tuple[Axes, BytesIO]]:
    """Give axes to draw on, and the file that holds the picture afterwards.

    The reader's own matplotlibrc must not change published bytes, hence the defaults; the version
    that matplotlib writes into each PNG is left out for the same reason. The margins are fixed:
    finding them by layout took half of the drawing's time.

    Args:
        across: What the horizontal axis says.
        up: What the vertical axis says.
        width: In inches.
        height: In inches.
        left: The margin for what stands at the vertical axis, as a share of the width.
        dpi: Dots an inch.
    """
    mpl = _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    png = BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        figure.subplots_adjust(left=left, right=0.97, bottom=0.528 / height, top=0.97)
        axes = figure.add_subplot(xlabel=across, ylabel=up)
        yield axes, png
        figure.savefig(png, format="png", dpi=dpi, metadata={"Software": None})


def _matplotlib() -> ModuleType:
    """Matplotlib, which reads a user's files when it is imported, and dies of some.

    Raises:
        PictureError: Of one of them; none decides anything else of a picture.
    """
    try:
        import matplotlib as mpl
    except ValueError as error:
        raise PictureError(
            f"matplotlib does not load ({error}): unset MPLBACKEND, or correct or remove the first "
            "matplotlibrc of these: in the working directory, in MATPLOTLIBRC, in MPLCONFIGDIR, in "
            "~/.config/matplotlib."
        ) from error
    return mpl
