"""What a tool returned, as text that a model can be given and a row can commit to."""

from __future__ import annotations

import json
from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

from safeloop.errors import SafeloopError
from safeloop.ledger.visible import unseen_escaped, visible
from safeloop.spec.labels import labelled
from safeloop.tools.shortening import binary_summary, error_page_summary, shortened

RESULT_LIMIT = 50_000  # characters as shown, inclusive; the marker of a cut comes on top


class ToolError(SafeloopError):
    """A failure that a tool explains to the model in its own words: say nothing in it that is secret."""


class Verbatim(str):
    """A text that a model asked for as it is: a file is never taken for a server's error page."""

    __slots__ = ()


class Cleaned(NamedTuple):
    """What a tool returned, as text.

    Attributes:
        text: It; where its end is missing, a last line says so.
        cut: What is not shown of it; empty where all is.
    """

    text: str
    cut: str = ""


def clean(value: object, *, limit: int = RESULT_LIMIT) -> Cleaned:
    r"""Turn what a handler returned into text.

    Bytes are read as UTF-8 (what is not becomes U+FFFD), anything else but text is written as JSON. Control,
    bidi and invisible characters become `\u{hex}`; line feeds and tabs stay, and so do backslashes, because
    a file must be readable as it is. What is beyond the limit is cut, and a last line says how much; of a JSON value
    long texts and lists are cut, and it stays JSON. A server's error page in HTML, and bytes that are no text, are
    replaced by a JSON object that says what they are.

    Args:
        value: What the handler returned.
        limit: Characters of the text as shown, inclusive, without the marker.

    Raises:
        ToolError: It is neither text nor bytes nor a JSON value.
    """
    text, is_json, cut = _as_text(value)
    # No more than `limit` characters can be shown: escaping the rest of a huge result would be lost work.
    shown = unseen_made_visible(text[:limit])
    if len(text) <= limit and len(shown) <= limit:
        return Cleaned(shown, cut)
    short = shortened(text, limit) if is_json else None
    if short is not None and len(shown := unseen_made_visible(short)) <= limit:
        return _marked(shown, f"of {len(text)} characters of JSON; long texts and lists in it are shown in part")
    kept = _fitting(text[:limit], limit)
    return _marked(unseen_made_visible(text[:kept]), f"{len(text) - kept} of {len(text)} characters are not shown")


def _marked(shown: str, cut: str) -> Cleaned:
    return Cleaned(f"{shown}\n[cut: {cut}]", cut)


def label(tool: str, returned: Cleaned) -> str:
    """Mark a result as data: the first line of everything that a tool returned, which also says what was cut.

    Every tool's result carries it, whatever the permission: a reply to something that was sent is as foreign
    as a page that was fetched. Errors are safeloop's own words and carry none.
    """
    return labelled(tool, returned.text, returned.cut)


def unseen_made_visible(text: str) -> str:
    r"""Replace control, bidi and invisible characters by `\u{hex}`, except line feeds and tabs."""
    return unseen_escaped(text, keep_lines=True)


def _fitting(text: str, limit: int) -> int:
    """Count how many characters of the text can be shown within the limit, never half an escape."""
    return bisect_right(list(accumulate(len(unseen_made_visible(each)) for each in text)), limit)


def _as_text(value: object) -> tuple[str, bool, str]:
    """Give the text of a result, say whether it is JSON of ours, and what a summary of it leaves out."""
    summary = None
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        summary = binary_summary(data)
        value = data.decode("utf-8", "replace") if summary is None else None
    if isinstance(value, str):
        summary = None if isinstance(value, Verbatim) else error_page_summary(value)
        if summary is None:
            return value, False, ""
    cut = "" if summary is None else str(summary["cut"])
    try:
        return json.dumps(value if summary is None else summary, ensure_ascii=False, allow_nan=False), True, cut
    except (TypeError, ValueError, RecursionError):
        kind = visible(type(value).__name__)
        raise ToolError(f"it returned a {kind} that is not text, bytes or JSON") from None
