"""The evaluation report: one HTML file that a person who decides can read anywhere.

It loads nothing and runs nothing: style and pictures lie inside, scripts are forbidden by its own
policy, and every word that came from data is escaped. What it says was measured in `evaluation`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import groupby

from mlops_assets.ml.evaluation import Evaluation, Slice
from mlops_assets.ml.pictures import calibration_picture, roc_picture

FEWEST_ROWS = 200
FEWEST_OF_EACH = 20
"""A slice with less is shown in grey: its figures say more about chance than about the model."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_MINUS = "\N{MINUS SIGN}"
_NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Report:
    """A rendered report: the page, and its pictures (PNG) by file name."""

    html: bytes
    pictures: Mapping[str, bytes]


@dataclass(frozen=True)
class Verdict:
    """The first thing a reader wants to know, in a few words and in one sentence."""

    better: bool
    headline: str
    sentence: str


def verdict(evaluation: Evaluation) -> Verdict:
    """Say whether the model is worth more than its baseline; the Brier skill decides.

    Skill rather than ranking: a model that ranks well and is off by a constant misleads everyone
    who reads its probabilities.
    """
    skill, name = evaluation.brier_skill, evaluation.baseline_name
    better = skill > 0
    size = f"{abs(skill):.2%} {'smaller' if better else 'larger'}" if skill else "no different"
    return Verdict(
        better=better,
        headline=f"{'Better' if better else 'No better'} than the {name}",
        sentence=(
            f"Its squared error is {size} than the baseline's. Of a positive and a "
            f"negative row, it ranks them rightly in {evaluation.model.roc_auc:.1%} of "
            f"pairs; the baseline does so in {evaluation.baseline.roc_auc:.1%}."
        ),
    )


def render(evaluation: Evaluation, title: str, facts: Mapping[str, str]) -> Report:
    """Render the report; `facts` (what, from which commit, with which parameters) close it.

    The same arguments give the same bytes: `facts` appear in the order given, and the page holds no
    date that is not among them.
    """
    pictures = {
        "roc.png": roc_picture(evaluation),
        "calibration.png": calibration_picture(evaluation),
    }
    style = files("mlops_assets.ml").joinpath("report.css").read_text(encoding="utf-8")
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{style}</style></head>",
        f"<body><main><h1>{escape(title)}</h1>",
        _verdict_banner(verdict(evaluation)),
        _key_figures(evaluation),
        _picture_section(evaluation, pictures),
        _quality_section(evaluation),
        _slices_section(evaluation.slices),
        _facts_section(facts),
        "</main></body></html>",
    ]
    return Report(html="\n".join(filter(None, parts)).encode() + b"\n", pictures=pictures)


def _verdict_banner(found: Verdict) -> str:
    mark = "\N{CHECK MARK}" if found.better else "\N{MULTIPLICATION X}"
    return (
        f'<section class="verdict {"better" if found.better else "worse"}" aria-label="Verdict">'
        f'<strong><span aria-hidden="true">{mark}</span> {escape(found.headline)}</strong>'
        f"<p>{escape(found.sentence)}</p></section>"
    )


def _key_figures(evaluation: Evaluation) -> str:
    line = evaluation.recalibration
    return _description_list(
        "figures",
        {
            "Rows evaluated": f"{evaluation.n:,}",
            "Positives": f"{evaluation.positives / evaluation.n:.1%}",
            "Brier skill": _signed(evaluation.brier_skill),
            "ROC AUC": f"{evaluation.model.roc_auc:.3f}",
            "Calibration slope": f"{line.slope:.2f}" if line else "undetermined",
            "Calibration error": f"{evaluation.calibration_error:.3f}",
        },
        boxed=True,
    )


def _picture_section(evaluation: Evaluation, pictures: Mapping[str, bytes]) -> str:
    model, baseline = evaluation.model, evaluation.baseline
    line = evaluation.recalibration
    roc = _figure(
        pictures["roc.png"],
        f"ROC curves: area {model.roc_auc:.3f} for the model, {baseline.roc_auc:.3f} for the "
        f"{evaluation.baseline_name}.",
        "Ranking",
        "The further a curve bends to the upper left, the better positives are told from "
        "negatives. The diagonal is a coin.",
    )
    calibration = _figure(
        pictures["calibration.png"],
        f"Calibration in {len(evaluation.calibration)} bins of similar score; mean distance from "
        f"the diagonal {evaluation.calibration_error:.3f}.",
        "Calibration",
        "Points above the diagonal: it happens more often than the model says; below: less often."
        + (
            f" Recalibration line: intercept {_signed(line.intercept, 2)}, slope {line.slope:.2f} "
            "(ideal: 0 and 1)."
            if line
            else ""
        ),
    )
    return f'<h2>Ranking and calibration</h2>\n<div class="pictures">{roc}{calibration}</div>'


def _figure(png: bytes, alternative: str, name: str, explanation: str) -> str:
    data = b64encode(png).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(alternative)}">'
        f"<figcaption><b>{name}.</b> {explanation}</figcaption></figure>"
    )


def _quality_section(evaluation: Evaluation) -> str:
    explained = {
        "roc_auc": ("ROC AUC", "pairs ranked rightly; a coin has 0.5", 1),
        "pr_auc": ("PR AUC", "average precision; a coin has the share of positives", 1),
        "log_loss": ("Log loss", "nats a row; smaller is better", -1),
        "brier": ("Brier score", "mean squared error of the probability; smaller is better", -1),
    }
    rows = []
    for field, (name, meaning, direction) in explained.items():
        model = float(getattr(evaluation.model, field))
        baseline = float(getattr(evaluation.baseline, field))
        difference = _signed(model - baseline, 4)
        if direction * (model - baseline) < 0:
            difference = f'<span class="behind">{difference} worse</span>'
        rows.append(
            f'<tr><th scope="row">{name}<small>{meaning}</small></th><td>{model:.4f}</td>'
            f"<td>{baseline:.4f}</td><td>{difference}</td></tr>"
        )
    heads = ["Measure", "Model", f"Baseline: {evaluation.baseline_name}", "Difference"]
    return "<h2>Against the baseline</h2>\n" + _table("", heads, rows)


def _slices_section(slices: Iterable[Slice]) -> str:
    heads = [
        "",
        "Rows",
        "Positives",
        "Mean score",
        "ROC AUC",
        "Baseline ROC AUC",
        "Brier skill",
    ]
    tables = [
        _table(f"By {column}", [column, *heads[1:]], map(_slice_row, rows))
        for column, rows in groupby(slices, key=lambda found: found.column)
    ]
    if not tables:
        return ""
    return (
        "<h2>Slices</h2>\n"
        f'<p class="note">Grey: fewer than {FEWEST_ROWS} rows or {FEWEST_OF_EACH} of each outcome, '
        "too few to judge by. Red: the baseline does better there.</p>\n" + "\n".join(tables)
    )


def _slice_row(found: Slice) -> str:
    scarcer = min(found.positives, found.n - found.positives)
    few = found.n < FEWEST_ROWS or scarcer < FEWEST_OF_EACH
    skill = 1 - found.brier / found.baseline_brier if found.baseline_brier else None
    behind = ' class="behind"' if skill is not None and skill < 0 and not few else ""
    grey = ' class="few"' if few else ""
    return (
        f'<tr{grey}><th scope="row">{escape(found.value)}</th>'
        f"<td>{found.n:,}</td><td>{found.positives / found.n:.1%}</td>"
        f"<td>{found.mean_score:.1%}</td><td>{_optional(found.roc_auc)}</td>"
        f"<td>{_optional(found.baseline_roc_auc)}</td>"
        f"<td{behind}>{_NONE if skill is None else _signed(skill)}</td></tr>"
    )


def _facts_section(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    return "<h2>Where it comes from</h2>\n" + _description_list("provenance", facts, boxed=False)


def _description_list(kind: str, entries: Mapping[str, str], *, boxed: bool) -> str:
    before, after = ("<div>", "</div>") if boxed else ("", "")
    terms = "".join(
        f"{before}<dt>{escape(term)}</dt><dd>{escape(value)}</dd>{after}"
        for term, value in entries.items()
    )
    return f'<dl class="{kind}">{terms}</dl>'


def _table(caption: str, heads: Iterable[str], rows: Iterable[str]) -> str:
    columns = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    titled = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "\n".join(rows)
    return (
        f'<div class="table"><table>{titled}<thead><tr>{columns}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _signed(value: float, digits: int = 3) -> str:
    shown = f"{value:+.{digits}f}"
    return shown.replace("-", _MINUS)


def _optional(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"
