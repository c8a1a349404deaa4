"""The parts that a report consists of, and how they are written: as HTML and as Markdown.

What a report says is decided in `report`, once for both. The HTML loads nothing and runs nothing:
style and pictures lie inside, scripts are forbidden by its own policy, and every word that came
from data is escaped.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Banner:
    """What a reader has to see first: whether it is good, in a few words and in a sentence."""

    good: bool
    headline: str
    sentence: str


@dataclass(frozen=True)
class Figures:
    """A few numbers by name."""

    values: Mapping[str, str]


@dataclass(frozen=True)
class Note:
    """A paragraph that explains what follows."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A PNG with its words: for those who cannot see it, and for those who wonder what it shows."""

    png: bytes
    alternative: str
    name: str
    explanation: str

    @property
    def address(self) -> str:
        """The picture as a data URI."""
        return f"data:image/png;base64,{b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side."""

    shown: Sequence[Picture]


@dataclass(frozen=True)
class Cell:
    """A cell of a table: `small` stands below the text, `behind` is red, `prose` is a sentence."""

    text: str
    small: str = ""
    behind: bool = False
    prose: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table; a `grey` one says little."""

    cells: Sequence[Cell]
    grey: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first cell of a row names it."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Facts:
    """Where something comes from, line by line."""

    values: Mapping[str, str]


Part = Banner | Figures | Note | Pictures | Table | Facts


@dataclass(frozen=True)
class Section:
    """Parts under a title; the opening has none."""

    title: str
    parts: Sequence[Part]


def to_html(title: str, sections: Sequence[Section]) -> bytes:
    """Write a page that can be read anywhere; the same parts give the same bytes."""
    style = files("mlops_assets.ml").joinpath("report.css").read_text(encoding="utf-8")
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{style}</style></head>",
        f"<body><main><h1>{escape(title)}</h1>",
    ]
    for section in sections:
        if section.title:
            lines.append(f"<h2>{escape(section.title)}</h2>")
        lines += [_html(part) for part in section.parts]
    return "\n".join([*lines, "</main></body></html>", ""]).encode()


def _html(part: Part) -> str:
    match part:
        case Banner():
            mark, kind = (
                ("\N{CHECK MARK}", "better") if part.good else ("\N{MULTIPLICATION X}", "worse")
            )
            return (
                f'<section class="verdict {kind}" aria-label="Verdict">'
                f'<strong><span aria-hidden="true">{mark}</span> {escape(part.headline)}</strong>'
                f"<p>{escape(part.sentence)}</p></section>"
            )
        case Figures():
            boxes = "".join(
                f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
                for name, value in part.values.items()
            )
            return f'<dl class="figures">{boxes}</dl>'
        case Note():
            return f'<p class="note">{escape(part.text)}</p>'
        case Pictures():
            figures = "".join(
                f'<figure><img src="{shown.address}" alt="{escape(shown.alternative)}">'
                f"<figcaption><b>{escape(shown.name)}.</b> {escape(shown.explanation)}"
                "</figcaption></figure>"
                for shown in part.shown
            )
            return f'<div class="pictures">{figures}</div>'
        case Table():
            return _html_table(part)
        case Facts():
            terms = "".join(
                f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
                for name, value in part.values.items()
            )
            return f'<dl class="provenance">{terms}</dl>'


def _html_table(table: Table) -> str:
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    body = "\n".join(map(_html_row, table.rows))
    return (
        f'<div class="table"><table>{caption}<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _html_row(row: Row) -> str:
    kind = ' class="few"' if row.grey else ""
    return f"<tr{kind}>{''.join(_html_cell(*cell) for cell in enumerate(row.cells))}</tr>"


def _html_cell(place: int, cell: Cell) -> str:
    tag, scope = ("td", "") if place else ("th", ' scope="row"')
    kinds = [name for name in ("behind", "prose") if getattr(cell, name)]
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    small = f"<small>{escape(cell.small)}</small>" if cell.small else ""
    return f"<{tag}{scope}{kind}>{escape(cell.text)}{small}</{tag}>"


def to_markdown(sections: Sequence[Section]) -> str:
    """Write the parts as GitHub's Markdown, as Dagster's UI shows it."""
    lines = []
    for section in sections:
        if section.title:
            lines.append(f"### {_plain(section.title)}")
        lines += [_markdown(part) for part in section.parts]
    return "\n\n".join(lines) + "\n"


def _markdown(part: Part) -> str:
    match part:
        case Banner():
            mark = "\N{WHITE HEAVY CHECK MARK}" if part.good else "\N{CROSS MARK}"
            return f"{mark} **{_plain(part.headline)}**\n\n{_plain(part.sentence)}"
        case Figures() | Facts():
            rows = [Row([Cell(name), Cell(value)]) for name, value in part.values.items()]
            return _markdown_table(Table("", ("", ""), rows))
        case Note():
            return _plain(part.text)
        case Pictures():
            return "\n\n".join(
                f"![{_plain(shown.alternative)}]({shown.address})\n\n"
                f"**{_plain(shown.name)}.** {_plain(shown.explanation)}"
                for shown in part.shown
            )
        case Table():
            return _markdown_table(part)


def _markdown_table(table: Table) -> str:
    caption = [f"**{_plain(table.caption)}**", ""] if table.caption else []
    lines = [table.heads, ["---", *("---:" for _ in table.heads[1:])]]
    lines += [[_markdown_cell(cell, row) for cell in row.cells] for row in table.rows]
    written = [f"| {' | '.join(line)} |" for line in [list(map(_plain, lines[0])), *lines[1:]]]
    return "\n".join([*caption, *written])


def _markdown_cell(cell: Cell, row: Row) -> str:
    text = " ".join(_plain(word) for word in (cell.text, cell.small) if word)
    if cell.behind and text:
        return f"**{text}**"
    return f"*{text}*" if row.grey and text else text


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in ("\\", "|", "*", "_", "<", ">", "[", "]", "`", "#"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
