"""What came after the cut, for a block beside the frame that is neither hashed nor signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeloop.review.cut import LATER
from safeloop.review.framing.layout import INDENT, quoted, word

if TYPE_CHECKING:
    from safeloop.review.framing.shown import ShownFrame


def status_lines(shown: ShownFrame) -> tuple[str, ...]:
    """Return a line for each later row, one more for notes, each word of the bill, and which stored frame is shown.

    An attestation is listed as what its row says; whether it counts is the gate's question.
    """
    lines = [line for row in shown.later for line in _lines(row.id, row.kind, row.data)]
    lines += shown.reconciled
    if not shown.facts.is_whole:
        source = "with what is left" if shown.stored_in is None else f"as row {shown.stored_in.id} stored it"
        lines.append(f"content was erased: the frame is shown {source}, and cannot be attested any more")
    return tuple(lines)


def _lines(number: int, kind: str, data: dict[str, object]) -> tuple[str, ...]:
    if kind == "attestation":
        signed = "not signed" if data.get("signature") is None else "signed"
        said = f"row {number}: {word(str(data.get('decision')))} by {word(str(data.get('reviewer')))}, {signed}"
        notes = str(data.get("notes") or "")
        return (said, f"{INDENT}notes={quoted(notes)}") if notes else (said,)
    if kind in LATER:
        return (f"row {number}: {kind}",)
    return (f"row {number}: {word(kind)} after the cut: the frame is void",)
