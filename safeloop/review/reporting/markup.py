"""HTML by hand: every word of others is escaped here, and here only.

What is not seen (control, bidi, zero-width characters) becomes a visible escape first, as in the frame; then the three
characters that HTML knows, and both quotes, become references. No attribute holds words of others but `title` texts
that went through the same function.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from safeloop.ledger.visible import escaped

UNSIGNED = "Not covered by the verdict: these are the words of whoever made the page."
_NARROW = 3  # columns that fit on a small screen


def words(text: object) -> str:
    """Return anything as text that is safe in an element and in a quoted attribute, on one line."""
    return escape(escaped(str(text)))


def exact(text: str) -> str:
    """Return a text whose characters must stay as they are, safe within an element; lines stay lines."""
    return escape(text, quote=False)


def section(identity: str, title: str, *parts: str) -> str:
    """Return a landmark with its heading of the second level; `identity` is ours."""
    body = "\n".join(part for part in parts if part)
    return f'<section aria-labelledby="{identity}"><h2 id="{identity}">{words(title)}</h2>\n{body}\n</section>\n'


def unsigned(identity: str, title: str, *parts: str) -> str:
    """Return a section that no verdict covers: it says so itself, and the verifier refuses a page where it does not."""
    return section(identity, title, paragraph(UNSIGNED, "unsigned"), *parts)


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of text; `kind` is a class of ours."""
    return f'<p class="{kind}">{words(text)}</p>' if kind else f"<p>{words(text)}</p>"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a caption, column headings, and each row's first cell as its heading."""
    lines = tuple(rows)
    numeric = {at for line in lines for at, cell in enumerate(line) if at and type(cell) is int}
    head = "".join(
        f'<th scope="col" class="number">{words(column)}</th>' if at in numeric
        else f'<th scope="col">{words(column)}</th>'
        for at, column in enumerate(columns)
    )
    body = "\n".join(map(_row, lines))
    kind = "broad" if len(columns) > _NARROW else "narrow"
    return (
        f'<div class="wide" role="region" aria-label="{words(caption)}" tabindex="0"><table class="{kind}"><caption>'
        f"{words(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and what each is, as a description list; the second of a pair is markup."""
    return "<dl>" + "".join(f"<div><dt>{words(name)}</dt><dd>{value}</dd></div>" for name, value in pairs) + "</dl>"


def folded(summary: str, content: str) -> str:
    """Return content behind a summary that a reader can open."""
    return f'<details class="data"><summary>{words(summary)}</summary>\n{content}\n</details>'


def script_json(value: object) -> str:
    """Return a value as JSON in ASCII, which can end no script element and no line of a program."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _row(cells: Sequence[object]) -> str:
    first, *others = cells
    rest = "".join(_cell(cell) for cell in others)
    return f'<tr><th scope="row">{words(first)}</th>{rest}</tr>'


def _cell(cell: object) -> str:
    if cell is None:
        return "<td>-</td>"
    return f'<td class="number">{cell:,}</td>' if type(cell) is int else f"<td>{words(cell)}</td>"

