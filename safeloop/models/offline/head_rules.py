"""Rules on the head of a page: title, description, canonical address and the rest that visitors do not see.

A rule is a generator over a subject: values in, faults out. Lengths are in characters, bounds inclusive.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from safeloop.models.offline.findings import Finding, Place, attribute, split
from safeloop.models.offline.page import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from safeloop.models.offline.findings import Subject
    from safeloop.models.offline.page import Meta, Page

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s\"';]+)", re.IGNORECASE)
_NO_INDEX = frozenset({"noindex", "none"})
_CUT = "Search results cut it off."
_ANY_SENTENCE = "Search results then show any sentence of the page."


def title_faults(subject: Subject) -> Iterator[Finding]:
    """Judge `title`: there is exactly one, of 15 to 60 characters."""
    page, titles = subject.page, subject.page.titles
    top = next((heading.text for heading in page.headings if heading.level == 1 and heading.text), "")
    proposed = f"`<title>{attribute(top or 'What this page offers, and whose it is', 60)}</title>`"
    if not titles:
        yield Finding("The page has no title.", "It is the line that people click in a search result.",
                      f"add to the head: {proposed}")
        return
    if len(titles) > 1:
        yield _several("titles", "Only the first counts; the others are lost.", titles, keep=titles[0])
    title, place = titles[0].value, _places(titles[:1])
    if not title:
        yield Finding("The title is empty.", "A search engine then makes one up.", f"write {proposed}", place)
    elif len(title) > 60:
        yield Finding(f"The title has {len(title)} characters, more than 60.", _CUT,
                      f"shorten it, e.g. `<title>{attribute(title, 60)}</title>`", place)
    elif len(title) < 15:
        yield Finding(f"The title has {len(title)} characters, fewer than 15.",
                      "It does not say what the page offers.",
                      "add what the page offers and whose it is", place)


def description_faults(subject: Subject) -> Iterator[Finding]:
    """Judge the meta description: there is exactly one, of 50 to 160 characters; of several, the best is judged."""
    found = _texts(subject.page.meta("description"))
    lead = subject.page.lead or "One or two sentences that say what the page offers"
    proposed = f'`<meta name="description" content="{attribute(lead, 160)}">`'
    if not found:
        yield Finding("The page has no meta description.", _ANY_SENTENCE,
                      f"add to the head: {proposed}")
        return
    best = next((each for each in found if 50 <= len(each.value) <= 160), found[0])
    if len(found) > 1:
        yield _several("meta descriptions", "Which one is shown is left to chance.", found, keep=best)
    text, place = best.value, _places([best])
    if not text:
        yield Finding("The meta description is empty.", _ANY_SENTENCE, f"write {proposed}", place)
    elif len(text) > 160:
        yield Finding(f"The meta description has {len(text)} characters, more than 160.", _CUT,
                      f'shorten it, e.g. `content="{attribute(text, 160)}"`', place)
    elif len(text) < 50:
        yield Finding(f"The meta description has {len(text)} characters, fewer than 50.",
                      "It gives nobody a reason to click.",
                      "say in a sentence what a visitor finds here", place)


def canonical_faults(subject: Subject) -> Iterator[Finding]:
    """Judge the canonical link: one, absolute, http or https, on the page's own host if that is known."""
    found = subject.page.canonicals
    own = attribute(subject.url or "https://your-host/this-page", 200)
    if not found:
        yield Finding("The page has no canonical link.", "Its copies under other addresses compete with it.",
                      f'add to the head: `<link rel="canonical" href="{own}">`')
        return
    if len(found) > 1:
        yield _several("canonical links", "Search engines then ignore all of them.", found, keep=found[0])
    href, place = found[0].value, _places(found[:1])
    parts, page_parts = split(href), split(subject.url or "")
    if not href:
        yield Finding("The canonical link is empty.", "It names no address.", f'write `href="{own}"`', place)
    elif not parts or parts.scheme not in ("http", "https") or not parts.hostname:
        whole = urljoin(subject.url or "https://your-host/", href) if parts and not parts.scheme else own
        yield Finding("The canonical link is not an absolute http address.",
                      "Under another address it names another page.",
                      f'write `href="{attribute(whole, 200)}"`', place)
    elif page_parts and page_parts.hostname and parts.hostname != page_parts.hostname:
        yield Finding("The canonical link is on another host.", "It hands this page's ranking to that host.",
                      f'unless that is meant, write `href="{own}"`', place)


def index_faults(subject: Subject) -> Iterator[Finding]:
    """Judge whether the page can be indexed at all: its HTTP status, where known, and meta robots."""
    if subject.status is not None and not 200 <= subject.status <= 299:
        yield Finding(f"The page was answered with HTTP status {subject.status}.",
                      "Only 2xx pages are indexed.", "answer with 200")
    hidden = [meta for name in ("robots", "googlebot") for meta in subject.page.meta(name)
              if not _NO_INDEX.isdisjoint(re.split(r"[\s,]+", meta.content.lower()))]
    if hidden:
        yield Finding("Meta robots says noindex.", "The page will not be found at all.",
                      "delete it, unless that is meant", _places(_texts(hidden)))


def head_faults(subject: Subject) -> Iterator[Finding]:
    """Judge what browsers and other sites read: language, charset, viewport, Open Graph, structured data."""
    page = subject.page
    if not page.language:
        yield Finding("The html element has no lang.", "Search engines and screen readers have to guess.",
                      'write `<html lang="en">`, or the language it is in')
    yield from _charset_faults(page)
    if not page.meta("viewport"):
        yield Finding("The page has no viewport.", "Phones show it as a shrunken desktop page.",
                      'add `<meta name="viewport" content="width=device-width, initial-scale=1">`')
    missing = [name for name in ("og:title", "og:description")
               if not any(meta.content for meta in page.meta(name))]
    if missing:
        yield Finding(f"Open Graph is missing: {', '.join(missing)}.",
                      "What a shared link shows is left to others.",
                      "add " + " ".join(f'`<meta property="{name}" content="...">`' for name in missing))
    yield from _structured_data_faults(page)


def _charset_faults(page: Page) -> Iterator[Finding]:
    declared = [(meta.content, meta) for meta in page.meta("charset")]
    for meta in page.meta("content-type"):
        declared.extend((name, meta) for name in _CHARSET.findall(meta.content))
    if not declared:
        yield Finding("The page declares no charset.", "Letters beyond ASCII may show as others.",
                      'add `<meta charset="utf-8">` as the first element of the head')
    elif declared[0][0].lower().replace("-", "") != "utf8":
        yield Finding("The declared charset is not UTF-8.", "HTML allows no other.",
                      'write `<meta charset="utf-8">`', _places(_texts([declared[0][1]])))


def _structured_data_faults(page: Page) -> Iterator[Finding]:
    if not page.structured_data:
        yield Finding("The page has no structured data.", "Results cannot show prices, hours or ratings.",
                      'add `<script type="application/ld+json">` with a schema.org description of it')
    broken = [script for script in page.structured_data if not _is_json(script.value)]
    if broken:
        yield Finding("Structured data is not valid JSON.", "Search engines skip it whole.",
                      "mend it until a JSON parser reads it", _places(broken))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):  # nested a thousand deep is unreadable for others too
        return False
    return True


def _several(what: str, why: str, found: Sequence[Text], *, keep: Text) -> Finding:
    return Finding(f"The page has {len(found)} {what}.", why,
                   f"keep the one on line {keep.line}, delete the others", _places(found))


def _places(found: Sequence[Text]) -> tuple[Place, ...]:
    return tuple(Place(text.line, text.value) for text in found)


def _texts(metas: Sequence[Meta]) -> tuple[Text, ...]:
    return tuple(Text(meta.content, meta.line) for meta in metas)
