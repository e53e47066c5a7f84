"""What a text says about pages: the HTML inside a task, its address, the names in a listing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*html?[ \t]*$", re.IGNORECASE | re.MULTILINE)
_BARE_HTML = re.compile(r"<!doctype html|<html[\s>]|<head[\s>]|<body[\s>]", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)
_STATUS = re.compile(r"\bHTTP status\s*[:=]?\s*([1-5][0-9]{2})\b", re.IGNORECASE)
_BETWEEN_NAMES = re.compile(r"[\s\"'`<>|,;:()\[\]{}]+")
_PAGE = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class Task:
    """The first message taken apart: the HTML that it holds (None if none) and the words around it."""

    words: str
    html: str | None

    @property
    def url(self) -> str | None:
        """The first address among the words, or None."""
        found = _URL.search(self.words)
        return found.group().rstrip(".,;:!?)") if found else None

    @property
    def status(self) -> int | None:
        """The number after `HTTP status` among the words, or None."""
        found = _STATUS.search(self.words)
        return int(found.group(1)) if found else None


def read_task(text: str) -> Task:
    """Take a task apart: HTML is what is fenced as `html`, else what begins like a page."""
    fence = _FENCE.search(text)
    if fence:
        # A fence is closed by a longer or equal run of its own kind, so a page may hold shorter ones.
        closing = re.compile(rf"^ {{0,3}}{fence[1][0]}{{{len(fence[1])},}}[ \t]*$", re.MULTILINE)
        end = closing.search(text, fence.end())
        html = text[fence.end() + 1 : end.start() if end else len(text)]
        return Task(text[: fence.start()] + (text[end.end() :] if end else ""), html)
    bare = _BARE_HTML.search(text)
    if bare and "</" in text[bare.end() :]:  # else a sentence that speaks of a tag
        last = text.lower().rfind("</html>")
        end_of_page = last + len("</html>") if last > bare.start() else len(text)
        return Task(text[: bare.start()] + text[end_of_page:], text[bare.start() : end_of_page])
    return Task(text, None)


def pages_named(listing: str) -> tuple[str, ...]:
    """The names of HTML files in what `list_files` answered: JSON, or one a line, or with more beside them.

    Names that lead out of the workspace (`..`, absolute) are left out: they are text of strangers.
    """
    found: dict[str, None] = {}
    for line in _listed(listing):
        name = line.strip(" \t\r-*\"',")
        names = [name] if name.lower().endswith(_PAGE) else _BETWEEN_NAMES.split(name)
        found.update((each, None) for each in names if each.lower().endswith(_PAGE))
    return tuple(name for name in found if not name.startswith(("/", "~")) and ".." not in name.split("/"))


def strings(value: object) -> Iterable[str]:
    """Every string among the values of a JSON value, in order; names of fields are left out."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting.extend(reversed(list(item.values())))
        elif isinstance(item, Sequence):
            waiting.extend(reversed(item))


def _listed(listing: str) -> Iterable[str]:
    try:
        value = json.loads(listing)
    except (ValueError, RecursionError):
        return listing.split("\n")
    entries = value.get("entries") if isinstance(value, Mapping) else None
    if isinstance(entries, list):  # as our own list_files answers: a folder may be called like a page
        value = [entry for entry in entries if not isinstance(entry, Mapping) or entry.get("kind") == "file"]
    return list(strings(value))
