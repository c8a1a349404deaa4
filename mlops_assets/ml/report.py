"""The evaluation report: what it says to a person who decides, in the order they ask.

What it says was measured in `evaluation` and judged in `gates`; how it is written is `page`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from mlops_assets.ml.evaluation import Evaluation, Slice
from mlops_assets.ml.gates import GateResult
from mlops_assets.ml.intervals import Interval, rate_interval
from mlops_assets.ml.page import (
    Banner,
    Cell,
    Facts,
    Figures,
    Note,
    Picture,
    Pictures,
    Row,
    Section,
    Table,
    to_html,
    to_markdown,
)
from mlops_assets.ml.pictures import (
    MOST_IMPORTANT,
    calibration_picture,
    importance_picture,
    precision_recall_picture,
    roc_picture,
)

FEWEST_ROWS = 200
FEWEST_OF_EACH = 20
"""A slice with less is shown in grey: its figures say more about chance than about the model."""

_MINUS = "\N{MINUS SIGN}"
_NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Report:
    """A report, as a page for anywhere and as Markdown for Dagster's UI."""

    title: str
    sections: Sequence[Section]

    @cached_property
    def html(self) -> bytes:
        """The page; the same report has the same bytes."""
        return to_html(self.title, self.sections)

    @cached_property
    def markdown(self) -> str:
        """The same without its title."""
        return to_markdown(self.sections)


def verdict(evaluation: Evaluation) -> Banner:
    """Say whether the model is worth more than its baseline; the Brier skill decides.

    Skill rather than ranking: a model that ranks well and is off by a constant misleads everyone
    who reads its probabilities.
    """
    skill, name = evaluation.brier_skill, evaluation.baseline_name
    better = skill > 0
    size = f"{abs(skill):.2%} {'smaller' if better else 'larger'}" if skill else "no different"
    return Banner(
        good=better,
        headline=f"{'Better' if better else 'No better'} than the {name}",
        sentence=(
            f"Its squared error is {size} than the baseline's. Of a positive and a "
            f"negative row, it ranks them rightly in {evaluation.model.roc_auc:.1%} of "
            f"pairs; the baseline does so in {evaluation.baseline.roc_auc:.1%}."
        ),
    )


def render(
    evaluation: Evaluation, gates: Sequence[GateResult], title: str, facts: Mapping[str, str]
) -> Report:
    """Compose the report; `facts` (what, from which commit, with which parameters) close it.

    The same arguments give the same report: `facts` appear in the order given, and it holds no
    date that is not among them.
    """
    sections = [
        Section("", [verdict(evaluation), _key_figures(evaluation)]),
        *_gates_sections(gates),
        Section("Ranking and calibration", [_pictures(evaluation)]),
        Section("Against the baseline", [_quality_table(evaluation)]),
        _operation_section(evaluation),
        *_importance_sections(evaluation),
        *_slices_sections(evaluation.slices),
    ]
    if facts:
        sections.append(Section("Where it comes from", [Facts(facts)]))
    return Report(title, sections)


def _key_figures(evaluation: Evaluation) -> Figures:
    line = evaluation.recalibration
    return Figures(
        {
            "Rows evaluated": f"{evaluation.n:,}",
            "Positives": f"{evaluation.positives / evaluation.n:.1%}",
            "Brier skill": _signed(evaluation.brier_skill),
            "ROC AUC": f"{evaluation.model.roc_auc:.3f}",
            "Calibration slope": f"{line.slope:.2f}" if line else "undetermined",
            "Calibration error": f"{evaluation.calibration_error:.3f}",
        }
    )


def _gates_sections(gates: Sequence[GateResult]) -> list[Section]:
    if not gates:
        return []
    failed = [gate for gate in gates if not gate.passed]
    rows = [
        Row(
            [
                Cell(gate.name, small=gate.limit),
                Cell("passed" if gate.passed else "refused", behind=not gate.passed),
                Cell(gate.sentence, prose=True),
            ]
        )
        for gate in gates
    ]
    note = (
        f"Refused by {', '.join(gate.name for gate in failed)}: it cannot become champion."
        if failed
        else "It passed every gate and may challenge the champion in force."
    )
    return [Section("Gates", [Note(note), Table("", ("Gate", "Result", "Why"), rows)])]


def _pictures(evaluation: Evaluation) -> Pictures:
    model, baseline, line = evaluation.model, evaluation.baseline, evaluation.recalibration
    name = evaluation.baseline_name
    recalibration = (
        f" Recalibration line: intercept {_signed(line.intercept, 2)}, slope {line.slope:.2f} "
        "(ideal: 0 and 1)."
        if line
        else ""
    )
    return Pictures(
        [
            Picture(
                roc_picture(evaluation),
                f"ROC curves: area {model.roc_auc:.3f} for the model, {baseline.roc_auc:.3f} for "
                f"the {name}.",
                "Ranking",
                "The further a curve bends to the upper left, the better positives are told from "
                "negatives. The diagonal is a coin.",
            ),
            Picture(
                precision_recall_picture(evaluation),
                f"Precision-recall curves: average precision {model.pr_auc:.3f} for the model, "
                f"{baseline.pr_auc:.3f} for the {name}.",
                "Precision and recall",
                "The more positives are to be caught, the more false alarms come along. The dotted "
                "line is the share of positives, which a coin reaches.",
            ),
            Picture(
                calibration_picture(evaluation),
                f"Calibration in {len(evaluation.calibration)} bins of similar score; mean "
                f"distance from the diagonal {evaluation.calibration_error:.3f}.",
                "Calibration",
                "Points above the diagonal: it happens more often than the model says; below: "
                f"less often.{recalibration}",
            ),
        ]
    )


def _quality_table(evaluation: Evaluation) -> Table:
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
        behind = direction * (model - baseline) < 0
        difference = _signed(model - baseline, 4) + (" worse" if behind else "")
        rows.append(
            Row(
                [
                    Cell(name, small=meaning),
                    Cell(f"{model:.4f}"),
                    Cell(f"{baseline:.4f}"),
                    Cell(difference, behind=behind),
                ]
            )
        )
    heads = ("Measure", "Model", f"Baseline: {evaluation.baseline_name}", "Difference")
    return Table("", heads, rows)


def _operation_section(evaluation: Evaluation) -> Section:
    found, rows = evaluation.operation, evaluation.n
    model, baseline = found.model, found.baseline
    flagged = model.true_positives + model.false_positives
    cheapest = min(found.cost_of_flagging_none, found.cost_of_flagging_all)
    saved = 1 - model.cost / cheapest
    note = (
        f"A missed positive costs {found.miss_cost:g} and a false alarm "
        f"{found.false_alarm_cost:g}, so every row scored {found.threshold:.2f} or more is "
        f"flagged: {flagged:,} of {rows:,}, of which {model.true_positives:,} are positive; "
        f"{model.false_negatives:,} positives are missed. That costs {model.cost:.3f} a row, "
        f"{abs(saved):.1%} {'less' if saved >= 0 else 'more'} than the cheaper of flagging all or "
        "none."
    )
    counts = [
        Row([Cell(name), *(Cell(f"{getattr(which, field):,}") for which in (model, baseline))])
        for name, field in (
            ("Flagged and positive", "true_positives"),
            ("Flagged and negative: false alarms", "false_positives"),
            ("Not flagged and positive: missed", "false_negatives"),
            ("Not flagged and negative", "true_negatives"),
        )
    ]
    costs = [
        Row([Cell("Cost a row"), Cell(f"{model.cost:.4f}"), Cell(f"{baseline.cost:.4f}")]),
        Row(
            [
                Cell("Cost a row of flagging none, or all"),
                Cell(f"{found.cost_of_flagging_none:.4f}"),
                Cell(f"{found.cost_of_flagging_all:.4f}"),
            ],
            grey=True,
        ),
    ]
    heads = ("Outcome", "Model", f"Baseline: {evaluation.baseline_name}")
    return Section("If it is acted on", [Note(note), Table("", heads, [*counts, *costs])])


def _importance_sections(evaluation: Evaluation) -> list[Section]:
    if not evaluation.importance:
        return []
    first = evaluation.importance[0]
    count = len(evaluation.importance)
    return [
        Section(
            "What moves the scores",
            [
                Pictures(
                    [
                        Picture(
                            importance_picture(evaluation),
                            f"The features that move the scores most, {first.feature} first with "
                            f"{first.mean_effect:.3f} in log-odds.",
                            "Importance",
                            f"The mean absolute SHAP value of the {min(count, MOST_IMPORTANT)} "
                            f"most important of {count} features: by how much each moves a score "
                            "up or down. It says what the model uses, not what causes the outcome.",
                        )
                    ]
                )
            ],
        )
    ]


def _slices_sections(slices: Iterable[Slice]) -> list[Section]:
    heads = (
        "Rows",
        "Positives",
        "Mean score",
        "ROC AUC",
        "Baseline ROC AUC",
        "Brier skill",
    )
    tables = [
        Table(f"By {column}", (column, *heads), [_slice_row(found) for found in rows])
        for column, rows in groupby(slices, key=lambda found: found.column)
    ]
    if not tables:
        return []
    note = Note(
        "Below a figure its 95% interval. Grey: fewer than "
        f"{FEWEST_ROWS} rows or {FEWEST_OF_EACH} of each outcome, too few to judge by. Red: the "
        "baseline does better there."
    )
    return [Section("Slices", [note, *tables])]


def _slice_row(found: Slice) -> Row:
    few = not found.judgeable(FEWEST_ROWS, FEWEST_OF_EACH)
    skill = 1 - found.brier / found.baseline_brier if found.baseline_brier else None
    rate = rate_interval(found.positives, found.n)
    return Row(
        [
            Cell(found.value),
            Cell(f"{found.n:,}"),
            Cell(f"{found.positives / found.n:.1%}", small=f"{rate.low:.1%} to {rate.high:.1%}"),
            Cell(f"{found.mean_score:.1%}"),
            Cell(_optional(found.roc_auc), small=_interval(found.roc_auc_interval)),
            Cell(_optional(found.baseline_roc_auc)),
            Cell(
                _NONE if skill is None else _signed(skill),
                behind=skill is not None and skill < 0 and not few,
            ),
        ],
        grey=few,
    )


def _signed(value: float, digits: int = 3) -> str:
    shown = f"{value:+.{digits}f}"
    return shown.replace("-", _MINUS)


def _optional(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _interval(found: Interval | None) -> str:
    return "" if found is None else f"{found.low:.3f} to {found.high:.3f}"
