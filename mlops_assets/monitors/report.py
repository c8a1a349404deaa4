"""A monitor's report: the alarms first, then its figures, its pictures and all that it judged."""

from __future__ import annotations

from collections.abc import Mapping

from mlops_assets.ml.page import (
    Banner,
    Cell,
    Facts,
    Figures,
    Note,
    Pictures,
    Row,
    Section,
    Table,
)
from mlops_assets.ml.report import Report
from mlops_assets.monitors.finding import Finding, Look
from mlops_assets.monitors.pictures import picture

MOST_ROWS = 40
"""Rows of the table of findings; the file of findings has all of them."""


def render(look: Look, title: str, facts: Mapping[str, str]) -> Report:
    """Compose the report of a day; the same arguments give the same bytes."""
    found = look.findings
    alarms = found.alarms
    headline = "No alarm"
    if alarms:
        subjects = ", ".join(found.subjects)
        headline = f"{len(found.subjects)} alarm{'s' * (len(found.subjects) > 1)}: {subjects}"
    opening = Banner(good=not alarms, headline=headline, sentence=found.sentence)
    figures = Figures({name: f"{value:,.3f}" for name, value in look.figures.items()})
    sections = [Section("", [opening, figures])]
    if alarms:
        sections.append(Section("Alarms", [_table(alarms)]))
    if look.charts:
        drawn = [picture(chart) for chart in look.charts]
        sections.append(Section("Pictures", [Pictures(drawn)]))
    ranked = sorted(found.findings, key=lambda one: (-one.share_of_limit, one.caption))
    if ranked:
        shown = ranked[:MOST_ROWS]
        note = Note(
            f"The {len(shown)} of {len(ranked)} that lie nearest to their limit. A limit is what "
            f"the {found.reference_days} days before the window lead to expect, with what days "
            "differ by and what chance adds."
        )
        sections.append(Section("What was judged", [note, _table(shown)]))
    if found.unjudged:
        rows = [
            Row([Cell(" ".join(filter(None, (one.subject, one.name, one.of)))), Cell(one.reason)])
            for one in found.unjudged
        ]
        sections.append(Section("Not judged", [Table("", ("What", "Why"), rows)]))
    sections.append(Section("Where it comes from", [Facts(facts)]))
    return Report(title, sections)


def _table(findings: list[Finding]) -> Table:
    heads = ("What", "Value", "Lowest", "Highest", "Share of the limit")
    rows = [
        Row(
            [
                Cell(found.caption, small=found.sentence if found.alarm else ""),
                Cell(f"{found.value:,.3f}", behind=found.alarm),
                Cell("" if found.low is None else f"{found.low:,.3f}"),
                Cell("" if found.high is None else f"{found.high:,.3f}"),
                Cell(f"{found.share_of_limit:.2f}"),
            ]
        )
        for found in findings
    ]
    return Table("", heads, rows)
