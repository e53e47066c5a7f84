"""Reads an HTML page into its parts; hostile pages are read, never obeyed.

Linear in the size of the page and without recursion: the parser is fed once and never closed, so that a
construct that does not end swallows the rest of the page, as it does in a browser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

from safeloop.models.offline.page import Heading, Image, Link, Meta, Page, Text

CHARACTERS_READ = 1_000_000  # more is cut off, and `Page.characters_left_out` says so

# `html.unescape` hands the digits to `int`, which refuses thousands of them with ValueError.
_ENDLESS_REFERENCE = re.compile(r"&#[0-9]{8,}")
_CONTROLS = re.compile("[\\x00-\\x08\\x0b\\x0e-\\x1f\\x7f]")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LEAD_AT_LEAST = 40  # characters; a shorter paragraph is a label, not the lead


def read_page(html: str, *, left_out: int = 0) -> Page:
    """Read a page; any text whatsoever gives a page, if an empty one.

    Args:
        html: The page. Only its first `CHARACTERS_READ` characters are looked at.
        left_out: Characters of the page that were cut off before it came here.
    """
    text = html[:CHARACTERS_READ]
    reader = _Reader()
    reader.feed(_ENDLESS_REFERENCE.sub("&#9999999", text))
    return reader.page(len(_CONTROLS.findall(text)), left_out + len(html) - len(text))


@dataclass(slots=True)
class _Open:
    """An element whose text is still being collected."""

    tag: str
    line: int
    attributes: dict[str, str]
    parts: list[str]

    def text(self) -> str:
        return " ".join("".join(self.parts).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._elements = 0
        self._language = ""
        self._svg_depth = 0
        self._lead = ""
        self._titles: list[Text] = []
        self._metas: list[Meta] = []
        self._canonicals: list[Text] = []
        self._headings: list[Heading] = []
        self._links: list[Link] = []
        self._images: list[Image] = []
        self._structured: list[Text] = []
        self._open: dict[str, _Open] = {}  # kind of element -> the one that is open

    def page(self, control_characters: int, characters_left_out: int) -> Page:
        broken_off_at = self.getpos()[0] if self.rawdata.strip() else None
        for kind in tuple(self._open):
            self._close(kind)
        return Page(
            elements=self._elements,
            language=self._language,
            titles=tuple(self._titles),
            metas=tuple(self._metas),
            canonicals=tuple(self._canonicals),
            headings=tuple(self._headings),
            links=tuple(self._links),
            images=tuple(self._images),
            structured_data=tuple(self._structured),
            lead=self._lead,
            broken_off_at=broken_off_at,
            control_characters=control_characters,
            characters_left_out=characters_left_out,
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._elements += 1
        attributes = {name: value or "" for name, value in reversed(attrs)}  # the first of a name counts
        if tag == "html":
            self._language = self._language or attributes.get("lang", "").strip()
        elif tag == "svg":
            self._svg_depth += 1
        elif tag == "meta":
            self._add_meta(attributes)
        elif tag == "link" and "canonical" in attributes.get("rel", "").lower().split():
            self._canonicals.append(Text(attributes.get("href", "").strip(), self._line))
        elif tag == "img":
            self._add_image(attributes)
        elif (kind := _kind(tag, attributes)) and not (kind == "title" and self._svg_depth):
            self._close(kind)
            self._open[kind] = _Open(tag, self._line, attributes, [])

    def handle_endtag(self, tag: str) -> None:
        if tag == "svg":
            self._svg_depth = max(0, self._svg_depth - 1)
        elif not (tag == "title" and self._svg_depth):
            self._close("heading" if tag in _HEADINGS else tag)

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in ("script", "style"):
            if "script" in self._open:
                self._open["script"].parts.append(data)
            return
        for element in self._open.values():
            element.parts.append(data)

    def parse_marked_section(self, i: int, report: bool = True) -> int:  # noqa: ARG002 (as in the base)
        """Skip `<![...>`, which the base class answers with AssertionError where the word is new to it."""
        end = self.rawdata.find(">", i + 3)
        return -1 if end < 0 else end + 1

    @property
    def _line(self) -> int:
        return self.getpos()[0]

    def _add_meta(self, attributes: dict[str, str]) -> None:
        if "charset" in attributes:
            self._metas.append(Meta("charset", attributes["charset"].strip(), self._line))
            return
        name = attributes.get("name") or attributes.get("property") or attributes.get("http-equiv") or ""
        content = " ".join(attributes.get("content", "").split())
        self._metas.append(Meta(name.strip().lower(), content, self._line))

    def _add_image(self, attributes: dict[str, str]) -> None:
        self._images.append(Image(attributes.get("src", "").strip(), attributes.get("alt"), self._line))
        for kind in ("heading", "a"):
            if kind in self._open:
                self._open[kind].parts.append(f" {attributes.get('alt', '')} ")

    def _close(self, kind: str) -> None:
        element = self._open.pop(kind, None)
        if element is None:
            return
        text = element.text()
        if kind == "title":
            self._titles.append(Text(text, element.line))
        elif kind == "heading":
            self._headings.append(Heading(int(element.tag[1]), text, element.line))
        elif kind == "script":
            self._structured.append(Text("".join(element.parts), element.line))
        elif kind == "p" and not self._lead and len(text) >= _LEAD_AT_LEAST:
            self._lead = text
        elif kind == "a":
            self._links.append(_link(element, text))


def _kind(tag: str, attributes: dict[str, str]) -> str | None:
    """Under which name an element's text is collected, if it is."""
    if tag in _HEADINGS:
        return "heading"
    if tag == "script":
        return "script" if attributes.get("type", "").strip().lower() == "application/ld+json" else None
    if tag == "a":
        return "a" if "href" in attributes else None
    return tag if tag in ("title", "p") else None


def _link(element: _Open, text: str) -> Link:
    attributes = element.attributes
    name = text or attributes.get("aria-label", "") or attributes.get("title", "")
    return Link(
        href=attributes["href"].strip(),
        text=" ".join(name.split()),
        line=element.line,
        opens_new_tab=attributes.get("target", "").strip().lower() == "_blank",
        rel=tuple(attributes.get("rel", "").lower().split()),
    )
