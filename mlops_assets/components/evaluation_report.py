"""From a stored model and its rows to a report, and what the UI shows of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.ml.baseline import RateBaseline
from mlops_assets.ml.evaluation import Evaluation, evaluate
from mlops_assets.ml.model import Model
from mlops_assets.ml.report import Report, render

if TYPE_CHECKING:
    import pyarrow as pa

PICTURES = {"roc.png": "ROC curve", "calibration.png": "calibration"}


def evaluate_model(
    stored_model: bytes,
    *,
    train: pa.Table,
    evaluate_on: pa.Table,
    label: str,
    baseline: Sequence[str],
    slices: Sequence[str],
    title: str,
    facts: Mapping[str, str],
) -> tuple[Evaluation, Report]:
    """Judge a model on rows that it never saw, against a rate learnt from those it was trained on.

    Raises:
        NotAModelError: The bytes are no model of ours.
        UnusableRowsError: Rows or columns are missing, or one of the two outcomes.
    """
    rates = RateBaseline.fit(train, columns=baseline, label=label)
    evaluation = evaluate(
        evaluate_on[label].to_numpy(zero_copy_only=False),
        Model.from_ubj(stored_model).predict(evaluate_on),
        rates.predict(evaluate_on),
        baseline_name=rates.name,
        slices={name: evaluate_on[name].to_pylist() for name in slices},
    )
    return evaluation, render(evaluation, title, facts)


def show(evaluation: Evaluation, report: Report) -> dict[str, Any]:
    """The report's numbers and pictures as metadata for the UI."""
    pictures = {
        PICTURES[name]: dg.MetadataValue.md(
            f"![{PICTURES[name]}](data:image/png;base64,{base64.b64encode(picture).decode()})"
        )
        for name, picture in report.pictures.items()
    }
    return {
        "evaluated rows": evaluation.n,
        "ROC AUC": float(evaluation.model.roc_auc),
        "ROC AUC of the baseline": float(evaluation.baseline.roc_auc),
        "Brier score": float(evaluation.model.brier),
        "Brier skill over the baseline": float(evaluation.brier_skill),
        **pictures,
    }
