"""A program of its own: a page's HTML on its standard input, what a reader sees of it as JSON on its output.

It runs apart because pages are hostile and parsers are slow on some of them (a megabyte of `<?` takes html.parser
minutes): here a page costs its own process, which has a limit of CPU and memory, no environment, and no file that it
could write. It imports nothing of safeloop, so that it starts quickly.

The parser is BeautifulSoup over Python's html.parser: slower than those in C, and the only one of them in which a
fault of the parser cannot become code that a page runs.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import warnings
from collections.abc import Iterator

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PageElement, Tag

CPU_S = 10  # seconds
MEMORY_BYTES = 1 << 30

_UNSEEN = ("head", "script", "style", "template", "svg", "math", "iframe", "object", "canvas", "noembed", "noframes")
_BLOCK_NAMES = """
address article aside blockquote body dd details dialog div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5
h6 header hgroup hr html li main menu nav ol option p pre section select summary table tbody tfoot thead tr ul
"""
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_MARKS = ("-", "#", "##", "###", "####", "#####", "######")
_HIDING = re.compile(r"(?:display:none|visibility:hidden)(?:[;!]|\Z)")
_SHOWN_URL = 500  # characters of a link's address


def read(html: str) -> dict[str, str]:
    """Give a page's `title`, `description`, `canonical` link and `text`; each may be empty.

    The text is what would be shown, in the order of the source: headings with `#`, entries with `-`, links and images
    as Markdown has them. Left out are comments, scripts, styles, and elements with `hidden` or an inline style that
    hides.
    """
    soup = BeautifulSoup(_closed(html), "html.parser")
    description = next((tag for tag in soup.find_all("meta") if _attribute(tag, "name").lower() == "description"), None)
    canonical = next((tag for tag in soup.find_all("link") if _attribute(tag, "rel").lower() == "canonical"), None)
    return {
        "title": " ".join(soup.title.get_text().split()) if soup.title else "",
        "description": (_attribute(description, "content") or "(empty)") if description else "",
        "canonical": _attribute(canonical, "href") if canonical else "",
        "text": _lines(_pieces(soup)),
    }


def _closed(html: str) -> str:
    """Leave out a tag that is never closed: it is no element, and html.parser looks for its end again and again."""
    end = html.rfind(">") + 1
    return html[:end] + html[end:].partition("<")[0]


def _pieces(soup: BeautifulSoup) -> Iterator[str]:
    """Write the page piece by piece, without recursion: a page may be nested as deeply as it is long."""
    open_tags: list[tuple[Tag, Iterator[PageElement]]] = [(soup, iter(soup.contents))]
    verbatim = 0
    while open_tags:
        tag, children = open_tags[-1]
        child = next(children, None)
        if child is None:
            open_tags.pop()
            verbatim -= tag.name == "pre"
            yield _end(tag)
        elif isinstance(child, Tag):
            if not _is_hidden(child):
                yield _start(child)
                verbatim += child.name == "pre"
                open_tags.append((child, iter(child.contents)))
        elif type(child) is NavigableString:  # its subclasses are comments, declarations and their like
            yield str(child) if verbatim else re.sub(r"\s+", " ", child)


def _start(tag: Tag) -> str:
    if tag.name == "p":
        return "\n\n"  # html.parser nests a paragraph in one that was not closed
    if tag.name in _BLOCKS:
        return "\n" + _HEADINGS.get(tag.name, "- " if tag.name in ("li", "option") else "")
    if tag.name == "a" and _link(tag):
        return "["
    if tag.name == "img":
        alt = f"![{_attribute(tag, 'alt')}]" if tag.has_attr("alt") else "![image without alt]"
        return f"{alt}({_attribute(tag, 'src')[:_SHOWN_URL]})"
    return {"br": "\n", "td": " | ", "th": " | "}.get(tag.name, "")


def _end(tag: Tag) -> str:
    if tag.name == "a" and (link := _link(tag)):
        return f"]({link})"
    return "\n\n" if tag.name in _HEADINGS or tag.name == "p" else "\n" if tag.name in _BLOCKS else ""


def _link(tag: Tag) -> str:
    """Give where a link leads; empty where it leads nowhere that could be fetched."""
    href = _attribute(tag, "href")
    return "" if href.lower().startswith(("javascript:", "data:", "#")) else href[:_SHOWN_URL]


def _is_hidden(tag: Tag) -> bool:
    style = "".join(_attribute(tag, "style").lower().split())
    return tag.name in _UNSEEN or tag.has_attr("hidden") or _HIDING.search(style) is not None


def _attribute(tag: Tag, name: str) -> str:
    """Give an attribute on one line; of those that hold several words, bs4 gives a list."""
    value = tag.get(name)
    return " ".join((" ".join(value) if isinstance(value, list) else str(value or "")).split())


def _lines(pieces: Iterator[str]) -> str:
    """Put the pieces together: the mark of a heading or an entry before its words, and no two empty lines in a row."""
    lines = [""]
    for line in "".join(pieces).split("\n"):
        kept = line.rstrip()
        if kept and lines[-1] in _MARKS:
            lines[-1] = f"{lines[-1]} {kept.lstrip()}"
        elif kept or lines[-1] not in ("", *_MARKS):
            lines.append(kept if kept.startswith("  ") else kept.lstrip(" "))
    return "\n".join(lines).strip("\n")


def main() -> None:
    """Read one page, within limits that it cannot raise again."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")  # bs4's advice to its programmers
    html = sys.stdin.buffer.read().decode("utf-8", "replace")
    sys.stdout.write(json.dumps(read(html)))


if __name__ == "__main__":
    main()
