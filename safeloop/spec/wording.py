"""How names and values from outside are put into the sentences of an error or a warning."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from safeloop.ledger import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

_ARTICLES: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number with a fraction"),
    (str, "a text"),
    (list, "a list"),
    (tuple, "a list"),
    (dict, "a table"),
)


def quoted(text: object, limit: int = 80) -> str:
    """The text in quotes, control characters visible, cut at `limit` UTF-8 bytes."""
    return f'"{visible(str(text), limit)}"'


def article(value: object) -> str:
    """What a value is, in the words of someone who writes a spec file: `a text`, `a list`, ..."""
    for known, words in _ARTICLES:
        if isinstance(value, known):
            return words
    return "null" if value is None else f"a {type(value).__name__}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, or all of them."""
    names = tuple(known)
    near = get_close_matches(str(name)[:200].casefold(), names, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(names)}"


def has_unseen(text: str) -> bool:
    """Whether the text holds control, bidi or invisible characters; line ends are among them."""
    return visible(text, 12 * len(text) + 32) != text.replace("\\", "\\\\")
