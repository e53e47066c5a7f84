"""What a search engine looks at in an HTML page, as plain values. Lines count from 1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text and the line that it begins on."""

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Heading:
    """One of h1 to h6; `text` includes the alt texts of its images."""

    level: int
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Link:
    """An `a` element with an href; `text` is what it is called: its text, alt texts, aria-label or title."""

    href: str
    text: str
    line: int
    opens_new_tab: bool
    rel: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """An `img` element; `alt` is None where it has no alt attribute, "" where it says it is decoration."""

    source: str
    alt: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Meta:
    """A `meta` element; `name` is its name, property or http-equiv, or `charset`; lower case."""

    name: str
    content: str
    line: int


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, in the order of the page; white space is collapsed to single spaces."""

    elements: int
    language: str
    titles: tuple[Text, ...]
    metas: tuple[Meta, ...]
    canonicals: tuple[Text, ...]
    headings: tuple[Heading, ...]
    links: tuple[Link, ...]
    images: tuple[Image, ...]
    structured_data: tuple[Text, ...]
    lead: str
    broken_off_at: int | None     # the line of the construct that never ends
    control_characters: int       # other than white space
    characters_left_out: int

    def meta(self, name: str) -> tuple[Meta, ...]:
        """All `meta` elements of this lower-case name."""
        return tuple(meta for meta in self.metas if meta.name == name)
