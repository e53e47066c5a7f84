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

from safeloop.review.reporting.markup import words

_SCRIPTS = (
    "bytes.js", "encoding.js", "ed25519.js", "note.js", "tree.js", "row.js", "chain.js", "keyring.js", "shown.js",
    "verification.js", "verdict.js", "pins.js", "page.js",
)  # fmt: skip


@cache
def script() -> str:
    """Return the verifier: its modules, one after the other, in a scope of their own."""
    return '"use strict";\n(() => {\n' + "\n".join(map(_asset, _SCRIPTS)) + "})();\n"


@cache
def style() -> str:
    """Return the style sheet."""
    return _asset("page.css")


def policy() -> str:
    """Return the Content-Security-Policy, which names script and style by their hashes."""
    return (
        f"default-src 'none'; script-src '{_hash(script())}'; style-src '{_hash(style())}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


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


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
