"""What a rule says about a page: faults, where they are, and how the page's own text is shown in them."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from safeloop.models.offline.page import Page

# Controls, marks that steer or hide, lone surrogates, private letters, and every space but the plain one.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault is: the line, and the page's own text there ("" where there is none to show)."""

    line: int
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: what is wrong, why it matters, what to write instead, and every place where it is.

    Only `fix` may hold text of the page, and only as `attribute` writes it; it is Markdown.
    """

    what: str
    why: str
    fix: str
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """A page and what is known about it from outside; None is not known, and then not judged."""

    page: Page
    url: str | None = None
    status: int | None = None


def shown(text: str, limit: int) -> str:
    r"""Text of the page on one line, every character seen: controls, bidi marks and the like as `\u{hex}`.

    Args:
        text: Anything, lone surrogates included.
        limit: Characters, inclusive, before escaping; a cut is announced with the number of those left out.
    """
    flat = " ".join(text.split())
    left_out = len(flat) - limit
    visible = "".join(map(_seen, flat[:limit]))
    return f"{visible}\u2026[{left_out} more]" if left_out > 0 else visible


def quoted(text: str, limit: int) -> str:
    """Text of the page as a Markdown code span that it cannot end."""
    return f"`{shown(text, limit).replace('`', _escape('`'))}`"


def attribute(text: str, limit: int) -> str:
    """Text of the page as it may be written into HTML, shortened to `limit` characters between two words.

    It holds no backtick either, so that a Markdown code span around the HTML cannot be ended by it.
    """
    flat = " ".join(text.split())
    if len(flat) > limit:
        head, space, _ = flat[: limit + 1].rpartition(" ")
        flat = (head if space else flat[:limit]).rstrip(" ,;:.|-\u2013\u2014\u00b7")
    return html.escape("".join(map(_seen, flat))).replace("`", "&#96;")


def split(address: str) -> SplitResult | None:
    """Take an address apart, or None where it is none."""
    try:
        parts = urlsplit(re.sub(r"[\x00-\x20]", "", address))
        _ = parts.hostname, parts.port  # both are parsed on access, and may raise
    except ValueError:
        return None
    return parts


def _seen(character: str) -> str:
    unseen = character != " " and unicodedata.category(character) in _UNSEEN
    return _escape(character) if unseen or character == "\\" else character


def _escape(character: str) -> str:
    return "\\\\" if character == "\\" else f"\\u{{{ord(character):x}}}"
