"""The file itself: one document, its style and its program inside, nothing fetched from anywhere.

The Content-Security-Policy allows exactly this style and this script, by their hashes, and nothing else: no network,
no other script, no handler or style in an attribute, no form that is sent, no text that becomes markup. The pieces
are yielded as they are made, so that a page of many rows is never whole in memory.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files

from safeloop.review.reporting.listing import rows_section
from safeloop.review.reporting.markup import UNSIGNED, paragraph, script_json, words
from safeloop.review.reporting.session import frame_section, head_section

_SCRIPTS = (
    "bytes.js", "encoding.js", "ed25519.js", "note.js", "tree.js", "row.js", "chain.js", "keyring.js", "shown.js",
    "verification.js", "verdict.js", "pins.js", "layout.js", "rebuilding.js", "page.js",
)  # fmt: skip


@cache
def script() -> str:
    """Return the verifier: its modules, one after the other, in a scope of their own."""
    shell = f"const SHELL = {script_json(_shell())};\n"
    return '"use strict";\n(() => {\n' + shell + "\n".join(map(_asset, _SCRIPTS)) + "})();\n"


@cache
def style() -> str:
    """Return the style sheet."""
    return _asset("page.css")


def policy() -> str:
    """Return the Content-Security-Policy, which names script and style by their hashes."""
    return _policy(_hash(script()))


def document(title: str, body: Iterable[str], data: Iterable[str]) -> Iterator[bytes]:
    """Yield the page.

    Args:
        title: What it is about.
        body: Markup for between header and footer, in pieces.
        data: What the verifier is given, as JSON in pieces that cannot end their element.
    """
    yield _asset("head.html").format(policy=policy(), style=style(), title=words(title)).encode()
    for piece in body:
        yield piece.encode()
    yield b'</main>\n<script type="application/json" id="safeloop-data">'
    for piece in data:
        yield piece.encode()
    yield f"</script>\n{_asset('foot.html')}<script>{script()}</script>\n</body>\n</html>\n".encode()


def _shell() -> dict[str, str]:
    """Return every part that is the same in all pages, empty where pages differ: the verifier compares them."""
    head = _asset("head.html").format(policy="", style=style(), title="")
    return {
        "policy": _policy(""),
        "head": _between(head, "<head>", "</head>"),
        "skip": _between(head, "<a ", "</a>"),
        "header": _between(head, "<header>", "</header>"),
        "verdict": _between(head, '<section id="verdict"', "</section>"),
        "frame": frame_section("", "").rstrip("\n"),
        "rows": "".join(rows_section(())).rstrip("\n"),
        "note": head_section("").rstrip("\n"),
        "unsigned": paragraph(UNSIGNED, "unsigned"),
        "foot": _asset("foot.html").rstrip("\n"),
    }


def _between(text: str, start: str, end: str) -> str:
    """Return what begins with one text and ends with the next other one, both included."""
    at = text.index(start)
    return text[at : text.index(end, at) + len(end)]


def _policy(script_hash: str) -> str:
    return (
        f"default-src 'none'; script-src '{script_hash}'; style-src '{_hash(style())}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
