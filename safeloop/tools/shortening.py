"""Results that a model could not use as they are, put shortly: values too large, error pages in HTML, binary data.

Each summary says what was cut. Pure, and in time that grows with the size alone: what is summarised is hostile.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

# Characters of a text and items of a list or object that are left, from the mildest.
_STEPS = ((10_000, 1_000), (2_000, 200), (500, 50), (100, 20), (50, 5))
_BINARY_FROM = 1_000  # bytes: fewer are shown as they are, whatever they are
_SAMPLE = 8_192
_MOST_UNREADABLE = 0.1  # of the sample
_PRINTABLE_CONTROLS = b"\t\n\r\f\x1b"  # with ESC, which colours the output of programs

_PAGE_LOOKED_AT = 20_000
_LONGEST_ERROR_PAGE_TEXT = 3_000
_SAID = 500
_IS_PAGE = re.compile(
    r"\s*(?:<\?xml[^<>]{0,200}>\s*)?(?:<!--[^<>]{0,200}-->\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE
)
_TITLE = re.compile(r"<title\b[^<>]{0,200}>([^<]{0,300})", re.IGNORECASE)
_HEADING = re.compile(r"<h1\b[^<>]{0,500}>([^<]{0,300})", re.IGNORECASE)
_UNSEEN = ("script", "style", "svg", "template")
_ERROR = re.compile(
    r"^\W*(?:error\W*|http\W*)?[45]\d\d\b|\b(?:bad (?:request|gateway)|unauthori[sz]ed|forbidden|access denied"
    r"|(?:not|n't be) found|method not allowed|time(?:d |-)?out|too many requests|(?:internal )?server error"
    r"|(?:service|temporarily) unavailable|under maintenance|attention required|just a moment"
    r"|are you (?:a )?(?:human|robot)|request (?:rejected|blocked)|application error|an error (?:has )?occurred)\b",
    re.IGNORECASE,
)


def shortened(text: str, limit: int) -> str | None:
    """Shorten a JSON text to so many characters, and leave it JSON: long texts and lists in it are shown in part.

    Returns:
        None where it cannot be done: too deep, or too large even so.
    """
    try:
        value = json.loads(text)
        for characters, items in _STEPS:
            short = json.dumps(_part(value, characters, items), ensure_ascii=False)
            if len(short) <= limit:
                return short
    except RecursionError:
        pass
    return None


def binary_summary(data: bytes) -> dict[str, Any] | None:
    """Say of bytes that are no text what they are; None if they are text, or few."""
    if len(data) < _BINARY_FROM:
        return None
    sample = data[:_SAMPLE]
    text = sample.decode("utf-8", "replace")
    unreadable = sum(each == "\ufffd" or (each < " " and ord(each) not in _PRINTABLE_CONTROLS) for each in text)
    if unreadable <= _MOST_UNREADABLE * len(text):
        return None
    digest = hashlib.sha256(data).hexdigest()
    return {
        "binary": {"bytes": len(data), "sha256": digest, "begins": data[:32].hex(" ")},
        "cut": f"{len(data)} bytes that are no text are not shown",
    }


def error_page_summary(text: str) -> dict[str, Any] | None:
    """Say what an HTML page says that a server sent instead of what was asked for; None if it is none.

    A page is one if its title or first heading names an error and there is little else to read on it.
    """
    if not _IS_PAGE.match(text):
        return None
    head = text[:_PAGE_LOOKED_AT]
    named = [" ".join(found[1].split()) for found in (_TITLE.search(head), _HEADING.search(head)) if found]
    seen = _seen(head)
    if not any(map(_ERROR.search, named)) or len(seen) > _LONGEST_ERROR_PAGE_TEXT:
        return None
    return {
        "html_error_page": {"title": next(filter(None, named), ""), "text": seen[:_SAID]},
        "cut": f"a page of {len(text)} characters; at most {_SAID} of what it says are shown",
    }


def _part(value: Any, characters: int, items: int) -> Any:
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]} [cut: {len(value) - characters} of {len(value)} characters are not shown]"
    if isinstance(value, list):
        kept = [_part(each, characters, items) for each in value[:items]]
        more = len(value) - len(kept)
        return [*kept, f"[cut: {more} of {len(value)} items are not shown]"] if more else kept
    if isinstance(value, dict):
        part = {key: _part(value[key], characters, items) for key in list(value)[:items]}
        more = len(value) - len(part)
        return part | {"[cut]": f"{more} of {len(value)} keys are not shown"} if more else part
    return value


def _seen(html: str) -> str:
    """Give what a reader sees of a page, roughly."""
    for name in _UNSEEN:
        html = _without(html, f"<{name}", f"</{name}")
    return " ".join(re.sub(r"<[^<>]*>", " ", _without(html, "<!--", "-->")).split())


def _without(html: str, begin: str, end: str) -> str:
    kept, at, lower = [], 0, html.lower()
    while (found := lower.find(begin, at)) >= 0:
        kept.append(html[at:found])
        closed = lower.find(end, found)
        if closed < 0:
            return "".join(kept)
        at = closed + len(end)
    return "".join(kept) + html[at:]
