"""The page of a whole ledger: what an audit said of it, its figures, its sessions, every row, and the head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safeloop.errors import SafeloopError
from safeloop.ledger.note import parse_checkpoint
from safeloop.ledger.rows import LEDGER_SESSION
from safeloop.review.auditing.findings import counted
from safeloop.review.reporting.glance import glance_section
from safeloop.review.reporting.listing import rows_section
from safeloop.review.reporting.markup import facts, paragraph, section, table, unsigned, words
from safeloop.review.reporting.rows import StoredRow
from safeloop.review.reporting.session import head_section
from safeloop.review.statistics import Statistics, statistics

if TYPE_CHECKING:
    from datetime import datetime

    from safeloop.ledger.reader import LedgerReader
    from safeloop.review.auditing.verdict import AuditReport

_MOST_FINDINGS = 100
_MOST_SESSIONS = 1_000


@dataclass(slots=True)
class _Told:
    """What a session's rows say of it, as they are read."""

    first: int
    at: str
    outcome: str
    rows: int = 0
    tokens: int = 0
    reviewed: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Overview:
    """A ledger, read once; nothing of it is verified but by the audit.

    Attributes:
        origin: As the head states it; None where it states none.
        name: What the page calls the ledger.
        note: The head as it is stored.
        rows: How many rows there are.
        signatures: Position and signature of each.
        sessions: By id, in the order of their first rows.
        glance: Its figures, or why there are none.
    """

    origin: str | None
    name: str
    note: str
    audited: AuditReport
    rows: int
    signatures: tuple[tuple[int, object], ...]
    sessions: dict[str, _Told] = field(repr=False)
    glance: Statistics | str


def overview(reader: LedgerReader, audited: AuditReport, glance: Statistics | str) -> Overview:
    """Read a ledger once; `glance` is what `glance_at` returned."""
    note = reader.head() or ""
    try:
        origin = parse_checkpoint(note).origin
    except SafeloopError:
        origin = None
    signatures: list[tuple[int, object]] = []
    sessions: dict[str, _Told] = {}
    for idx, body, signature in reader.rows():
        signatures.append((idx, signature))
        _tell(sessions, StoredRow.of(idx, body, signature))
    return Overview(
        origin, origin or str(reader.path), note, audited, len(signatures), tuple(signatures), sessions, glance
    )


def glance_at(reader: LedgerReader, now: datetime) -> Statistics | str:
    """Return a ledger's figures, or why there are none: rows of one that does not verify may not be readable."""
    try:
        return statistics(reader, None, now)
    except SafeloopError as error:
        return str(error)


def ledger_body(reader: LedgerReader, view: Overview, about: str) -> Iterator[str]:
    """Yield the contents of a ledger's page."""
    yield section("about", "This page", facts((
        ("Ledger", f"<code>{words(view.name)}</code>"), ("Rows", f"{view.rows:,}"), ("Made", words(about)),
    )))
    yield _audit(view.audited)
    yield glance_section(view.glance)
    yield _sessions(view)
    yield from rows_section(StoredRow.of(*stored) for stored in reader.rows())
    yield head_section(view.note)


def _audit(report: AuditReport) -> str:
    lines = [paragraph(f"When the page was made, safeloop audit said: {report.verdict}",
                       "alarm" if report.findings else "")]
    for title, found in (("Findings", report.findings), ("Gaps", report.gaps)):
        if found:
            left = len(found) - _MOST_FINDINGS
            shown = [(each.row or "all", str(each.rule), each.message) for each in found[:_MOST_FINDINGS]]
            lines.append(table(f"{title} of the audit", ("Row", "Rule", "What"), shown))
            if left > 0:
                lines.append(paragraph(f"{left:,} more are not listed: safeloop audit lists them."))
    return unsigned("audit", "The audit", *lines)


def _sessions(view: Overview) -> str:
    lines = [
        (session, f"{told.at[:19]}Z", told.outcome, ", ".join(told.reviewed) or "-", ", ".join(told.released) or "-",
         told.rows, told.tokens, told.first + 1)
        for session, told in list(view.sessions.items())[:_MOST_SESSIONS]
    ]
    left = len(view.sessions) - len(lines)
    made = table("Sessions by their first row, in the words of their rows: a summary, in which nothing is judged",
                 ("Session", "Began", "Outcome", "Reviewed", "Released", "Rows", "Tokens", "First row"), lines)
    return unsigned("sessions", "Sessions", made,
                    paragraph(f"{counted(left, 'more session')} among the rows below.") if left > 0 else "")


def _tell(sessions: dict[str, _Told], stored: StoredRow) -> None:
    row = stored.row
    if row is None:
        return
    outcome = "its own rows" if row.session == LEDGER_SESSION else "not closed"
    told = sessions.setdefault(row.session, _Told(stored.idx, row.at, outcome))
    told.rows += 1
    charged = row.data.get({"turn": "token_delta", "attempt": "charged_tokens"}.get(row.kind, ""))
    told.tokens += charged if type(charged) is int else 0
    number = stored.idx + 1
    if row.kind == "attestation":
        told.reviewed.append(f"{row.data.get('decision')} in row {number}")
    elif row.kind == "release":
        told.released.append(f"row {number}")
    elif row.kind == "close":
        told.outcome = str(row.data.get("outcome"))

