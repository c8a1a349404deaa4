"""A monitor's charts as PNG, byte for byte the same in every process."""

from __future__ import annotations

from mlops_assets.ml.page import Picture
from mlops_assets.ml.pictures import BASELINE, GUIDE, MODEL, axes_on, plain
from mlops_assets.monitors.charts import Bars, Chart, Comparison, Series

WIDTH, HEIGHT, DPI = 6.0, 3.2, 80
"""Small: Dagster keeps the pictures of every partition in its record."""

_COLOURS = (MODEL, BASELINE, "#2f7d4f", "#7a4fa3")
_TICKS = 7


def picture(chart: Chart) -> Picture:
    """Draw a chart."""
    match chart:
        case Series():
            png, alternative = _series(chart), f"{chart.unit} over {len(chart.days)} days."
        case Bars():
            first, share = chart.entries[0]
            png, alternative = _bars(chart), f"{first} at {share:.2f} of its limit, and others."
        case Comparison():
            png = _comparison(chart)
            alternative = f"{chart.title} on the day and before, in {len(chart.bins)} bins."
    return Picture(png, alternative, chart.title, chart.explanation)


def _series(chart: Series) -> bytes:
    with axes_on("", plain(chart.unit), width=WIDTH, height=HEIGHT, dpi=DPI) as (axes, png):
        places = range(len(chart.days))
        for (name, line), colour in zip(chart.lines.items(), _COLOURS, strict=False):
            drawn = [float("nan") if value is None else value for value in line]
            axes.plot(places, drawn, color=colour, marker=".", linewidth=1.5, label=plain(name))
        for limit in chart.limits:
            axes.axhline(limit, color=GUIDE, linestyle=":", label="limit of the day")
        shown = list(places)[:: max(1, len(places) // _TICKS)]
        axes.set_xticks(shown, [f"{chart.days[place]:%m-%d}" for place in shown])
        axes.legend(loc="best", fontsize=8)
    return png.getvalue()


def _bars(chart: Bars) -> bytes:
    entries = chart.entries[::-1]
    with axes_on("Share of the limit", "", width=WIDTH, height=HEIGHT, dpi=DPI, left=0.48) as (
        axes,
        png,
    ):
        colours = [BASELINE if share > 1 else MODEL for _, share in entries]
        axes.barh([plain(name) for name, _ in entries], [share for _, share in entries])
        for bar, colour in zip(axes.patches, colours, strict=True):
            bar.set_color(colour)
        axes.axvline(1, color=GUIDE, linestyle=":")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", labelsize=6, length=0)
    return png.getvalue()


def _comparison(chart: Comparison) -> bytes:
    with axes_on("", "Share of rows", width=WIDTH, height=HEIGHT, dpi=DPI) as (axes, png):
        places = list(range(len(chart.bins)))
        axes.bar([p - 0.2 for p in places], chart.before, 0.4, color=GUIDE, label="before")
        axes.bar([p + 0.2 for p in places], chart.today, 0.4, color=MODEL, label="the day")
        axes.set_xticks(places, [plain(name) for name in chart.bins], rotation=45, fontsize=7)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="best", fontsize=8)
    return png.getvalue()
