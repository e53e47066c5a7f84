"""What a fetch gives to a model: a head of fixed lines, an empty line, and the text.

    url: https://example.com/
    status: 200
    content-type: text/html
    title: Example Domain
    cut: nothing

    # Example Domain
    ...

Every value of the head is on one line, so nothing that a server writes can pass for another line of the head.
"""

from __future__ import annotations

from typing import Final

from safeloop.tools.fetching.charset import Decoded, decoded
from safeloop.tools.fetching.exchange import Answer
from safeloop.tools.fetching.failure import NotReadable
from safeloop.tools.fetching.reading import HTML_CHARACTERS, Page, read_page

_HTML: Final = ("text/html", "application/xhtml+xml")
_TEXTS: Final = ("application/json", "application/xml", "application/javascript", "application/x-ndjson")
_LINE: Final = 500  # characters of a value of the head


def document(answer: Answer, limit: int) -> str:
    """Write down what was fetched.

    Args:
        answer: It.
        limit: Characters of the text, inclusive.

    Raises:
        NotReadable: It is not text, or a page that cannot be read.
    """
    is_html = answer.content_type in _HTML
    if not (is_html or _is_text(answer.content_type)):
        raise NotReadable("what the server sends is not of a type that is read: HTML, text, JSON, XML")
    body = decoded(answer.body, answer.charset, is_html=is_html)
    page = read_page(body.text[:HTML_CHARACTERS]) if is_html else Page("", "", "", body.text)
    head = {
        "url": answer.url,
        "status": str(answer.status),
        "content-type": answer.content_type,
        "charset": f"{body.charset}{' (a guess)' if body.is_guess else ''}",
        "title": page.title,
        "description": page.description,
        "canonical": page.canonical,
        "cut": _cut(page.text, body, limit, is_html=is_html),
    }
    lines = [f"{name}: {_one_line(value)}" for name, value in head.items() if value]
    return "\n".join([*lines, "", page.text[:limit]])


def _is_text(content_type: str) -> bool:
    return content_type.startswith("text/") or content_type in _TEXTS or content_type.endswith(("+json", "+xml"))


def _cut(text: str, body: Decoded, limit: int, *, is_html: bool) -> str:
    """Say what of the document is not there."""
    cuts = []
    if is_html and len(body.text) > HTML_CHARACTERS:
        cuts.append(f"of {len(body.text)} characters of HTML, those after {HTML_CHARACTERS} were not read")
    if len(text) > limit:
        cuts.append(f"of {len(text)} characters of text, those after {limit} are not shown")
    return "; ".join(cuts) or "nothing"


def _one_line(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= _LINE else f"{line[:_LINE]} [cut]"
