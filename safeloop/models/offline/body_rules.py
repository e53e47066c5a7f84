"""Rules on the body of a page: headings, links, images, and whether the page could be read to its end.

A rule is a generator over a subject: values in, faults out.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from safeloop.models.offline.findings import Finding, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from safeloop.models.offline.findings import Subject
    from safeloop.models.offline.page import Heading, Link

_VAGUE = frozenset({
    "click", "click here", "click this", "details", "find out more", "go", "here", "learn more", "link",
    "more", "more info", "page", "read more", "see more", "this", "this link", "this page",
})
_IGNORED_IN_SCHEMES = re.compile(r"[\x00-\x20]")  # browsers skip them: "java\tscript:" runs


def heading_faults(subject: Subject) -> Iterator[Finding]:
    """Judge the outline: one h1, no level skipped on the way down, no heading without text."""
    headings = subject.page.headings
    top = [heading for heading in headings if heading.level == 1]
    if not top:
        yield Finding("The page has no h1.", "It tells readers and search engines what the page is about.",
                      "make the main heading an h1" if headings else "add an h1 at the top of the page")
    if len(top) > 1:
        yield Finding(f"The page has {len(top)} h1.", "It blurs what the page is about.",
                      f"keep the one on line {top[0].line}, make the others h2", _heading_places(top))
    skips = [(above, below) for above, below in pairwise(headings) if below.level > above.level + 1]
    if skips:
        steps = "; ".join(f"line {below.line} should be h{above.level + 1}, not h{below.level}"
                          for above, below in skips[:3])
        yield Finding("Heading levels are skipped.", "The outline breaks, also for screen readers.",
                      f"step down one level at a time: {steps}", _heading_places([below for _, below in skips]))
    empty = [heading for heading in headings if not heading.text]
    if empty:
        yield Finding("Headings are empty.", "They announce nothing.", "write a text, or delete them",
                      _heading_places(empty))


def link_faults(subject: Subject) -> Iterator[Finding]:
    """Judge links: each leads somewhere, says where, and gives a page in a new tab no hold on this one."""
    links = subject.page.links
    judged = (
        ("Links have an empty href.", "They lead back to the page itself.",
         "give the address, or use a button", [link for link in links if not link.href]),
        ("Links run javascript:.", "Search engines cannot follow them.",
         "give a real address, or use a button", [link for link in links if _runs_code(link.href)]),
        ("Link texts do not say where they lead.", "The text tells search engines what the target is about.",
         "name the target in the text of the link", [link for link in links if _is_vague(link.text)]),
        ("Links have no text.", "Neither readers nor search engines learn where they lead.",
         "write a text, or an alt text for the image inside", [link for link in links if not link.text]),
        ("Links open a new tab without rel=noopener.", "In older browsers that page can steer this one.",
         'add `rel="noopener"`', [link for link in links if _lets_the_tab_reach_back(link)]),
    )
    for what, why, fix, faulty in judged:
        if faulty:
            places = tuple(
                Place(link.line, f"{link.text or '(no text)'} -> {link.href or '(empty)'}") for link in faulty
            )
            yield Finding(what, why, fix, places)


def image_faults(subject: Subject) -> Iterator[Finding]:
    """Judge images: each has an alt attribute; alt="" says that it is decoration and is no fault."""
    without = [image for image in subject.page.images if image.alt is None]
    if without:
        yield Finding("Images have no alt text.", "Who cannot see them does not learn what they show.",
                      'add `alt="what it shows"` to each, or `alt=""` where it is decoration',
                      tuple(Place(image.line, image.source) for image in without))


def reading_faults(subject: Subject) -> Iterator[Finding]:
    """Say what kept the page from being read whole; all other findings hold for the part that was."""
    page = subject.page
    if not page.elements:
        yield Finding("No HTML element was found: this may not be a page.", "There is nothing to index.",
                      "check that the right file was given")
    if page.control_characters:
        yield Finding(f"The page holds {page.control_characters} control characters.",
                      "No text needs them; browsers drop or replace them.",
                      "delete them, or save the file as UTF-8")
    if page.broken_off_at is not None:
        yield Finding("The markup breaks off inside a tag, a comment or a script.",
                      "A browser ignores everything after it, and so did this audit.", "close it",
                      (Place(page.broken_off_at),))
    if page.characters_left_out:
        yield Finding(f"The last {page.characters_left_out} characters of the page were not read.",
                      "Search engines stop early on huge pages too.", "split the page")


def _heading_places(headings: Sequence[Heading]) -> tuple[Place, ...]:
    return tuple(Place(heading.line, f"h{heading.level} {heading.text}") for heading in headings)


def _runs_code(href: str) -> bool:
    return _IGNORED_IN_SCHEMES.sub("", href).lower().startswith("javascript:")


def _is_vague(text: str) -> bool:
    return text.casefold().strip(" .:!>\u2026\u203a\u00bb\u2192") in _VAGUE


def _lets_the_tab_reach_back(link: Link) -> bool:
    return link.opens_new_tab and not {"noopener", "noreferrer"} & set(link.rel)
