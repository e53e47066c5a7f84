"""A row in the page: a line of what it says, and behind it the exact bytes of its body, which the verifier reads.

Nothing of a body is in the page twice: what a reader sees is what is verified. The line's cells are made from the body
by the verifier again (`assets/shown.js`, with the same tables), and one that differs is a finding.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.errors import EncodingError
from safeloop.ledger import Row
from safeloop.ledger.rows import parse_row
from safeloop.ledger.visible import escaped, has_unseen
from safeloop.review.reporting.markup import exact, words

TOKENS = {
    "intent": "reserved_tokens", "attempt": "charged_tokens", "turn": "token_delta", "close": "total_tokens",
}  # fmt: skip
COST = {
    "intent": "reserved_microusd", "attempt": "charged_microusd", "turn": "cost_microusd", "close": "cost_microusd",
}  # fmt: skip
WORD = {
    "open": "model", "turn": "stop_reason", "call": "tool", "tool": "tool", "approval": "decision",
    "breach": "breach_reason", "check": "criterion", "close": "outcome", "attestation": "decision", "key": "event",
}  # fmt: skip
"""What a row's line says besides place and time, by kind; the verifier has the same tables."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as it is stored, whatever that is; `row` is None where it cannot be read as one of this version."""

    idx: int
    body: object
    signature: object
    row: Row | None

    @classmethod
    def of(cls, idx: int, body: object, signature: object) -> StoredRow:
        """Read what can be read."""
        if isinstance(body, bytes) and isinstance(signature, bytes):
            try:
                return cls(idx, body, signature, parse_row(idx, body, signature))
            except EncodingError:
                pass
        return cls(idx, body, signature, None)


def row_html(stored: StoredRow) -> str:
    """Return a row as a line that opens."""
    form, text = body_text(stored.body)
    number, *cells = cells_of(stored)
    line = "".join(f'<span class="cell {name}">{words(cell)}</span>' for name, cell in zip(_NAMES, cells, strict=True))
    return (
        f'<details class="row" id="row-{number}" data-index="{stored.idx}"><summary><span class="mark">○ not checked'
        f'</span><span class="cell number">{number}</span>{line}</summary><pre data-form="{form}">{exact(text)}</pre>'
        "</details>\n"
    )


_NAMES = ("at", "kind", "place", "gist")


def cells_of(stored: StoredRow) -> tuple[str, str, str, str, str]:
    """Return what a row's line says: number, time, kind, place in its session, and the gist of its data."""
    row, number = stored.row, str(stored.idx + 1)
    if row is None:
        return number, "", "unreadable", "", ""
    return number, row.at, row.kind, f"{row.session} n {row.n}", _gist(row.kind, row.data)


def body_text(body: object) -> tuple[str, str]:
    r"""Return how a body stands in the page, and its text there.

    `exact` is the text itself; `escaped` has unseen characters as `\u{hex}` and backslashes twice; what is no UTF-8, or
    would not come through an HTML parser as it is, stands in `base64`.
    """
    if not isinstance(body, bytes):
        return "base64", ""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(body).decode()
    if has_unseen(text) or "\t" in text or text.startswith("\n"):
        return "escaped", escaped(text)
    return "exact", text


def _gist(kind: str, data: Mapping[str, Any]) -> str:
    parts = [f"turn {data['turn']}"] if type(data.get("turn")) is int else []
    for keys, unit in ((TOKENS, "tokens"), (COST, "microusd")):
        figure = data.get(keys.get(kind, ""))
        if type(figure) is int:
            parts.append(f"{figure} {unit}")
    if isinstance(data.get("pass_fail"), bool):
        parts.append("PASS" if data["pass_fail"] else "FAIL")
    word = data.get(WORD.get(kind, ""))
    if isinstance(word, str):
        parts.append(word)
    return ", ".join(parts)
