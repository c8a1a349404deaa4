"""From a stored model and its rows to a report, and what the UI shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.ml.baseline import RateBaseline
from mlops_assets.ml.evaluation import Evaluation, evaluate
from mlops_assets.ml.gates import GateResult, Gates
from mlops_assets.ml.model import Model
from mlops_assets.ml.report import Report, render
from mlops_assets.ml.threshold import Costs

if TYPE_CHECKING:
    import pyarrow as pa


def evaluate_model(
    stored_model: bytes,
    *,
    train: pa.Table,
    evaluate_on: pa.Table,
    baseline: Sequence[str],
    slices: Sequence[str],
    costs: Costs,
    gates: Gates,
    title: str,
) -> tuple[Evaluation, tuple[GateResult, ...], Report]:
    """Judge a model on rows that it never saw, against a rate learnt from those it was trained on.

    Raises:
        NotAModelError: The bytes are no model of ours.
        UnusableRowsError: Rows or columns are missing, or one of the two outcomes.
    """
    model = Model.from_ubj(stored_model)
    label = model.record.label
    rates = RateBaseline.fit(train, columns=baseline, label=label)
    evaluation = evaluate(
        evaluate_on[label].to_numpy(zero_copy_only=False),
        model.predict(evaluate_on),
        rates.predict(evaluate_on),
        baseline_name=rates.name,
        costs=costs,
        importance=model.importance(evaluate_on),
        slices={name: evaluate_on[name].to_pylist() for name in slices},
    )
    results = gates.judge(evaluation)
    return evaluation, results, render(evaluation, results, title, _facts(model, stored_model))


def _facts(model: Model, stored_model: bytes) -> Mapping[str, str]:
    from hashlib import sha256

    record = model.record
    return {
        "Model's SHA-256": sha256(stored_model).hexdigest(),
        "Trained on": f"{record.rows:,} rows, {record.positives / record.rows:.1%} positive",
        "Features": f"{len(record.features)}",
        "Parameters": ", ".join(f"{name} {value}" for name, value in record.parameters.items()),
    }


def show(evaluation: Evaluation, report: Report) -> dict[str, Any]:
    """The report and the numbers to plot over the months, as metadata for the UI."""
    return {
        "evaluated rows": evaluation.n,
        "ROC AUC": float(evaluation.model.roc_auc),
        "ROC AUC of the baseline": float(evaluation.baseline.roc_auc),
        "Brier score": float(evaluation.model.brier),
        "Brier skill over the baseline": float(evaluation.brier_skill),
        "report": dg.MetadataValue.md(report.markdown),
    }
