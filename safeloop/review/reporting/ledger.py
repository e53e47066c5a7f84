"""The page of a whole ledger: what an audit said of it, its figures, its sessions, every row, and the head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safeloop.errors import SafeloopError
from safeloop.ledger.note import parse_checkpoint
from safeloop.ledger.rows import LEDGER_SESSION
from safeloop.review.auditing.findings import counted
from safeloop.review.reporting.charts import Chart, Line, draw
from safeloop.review.reporting.listing import rows_section
from safeloop.review.reporting.markup import facts, paragraph, section, table, words
from safeloop.review.reporting.rows import StoredRow
from safeloop.review.reporting.session import head_section
from safeloop.review.statistics import Statistics, statistics
from safeloop.spec.units import usd_text

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


@dataclass(frozen=True, slots=True)
class Overview:
    """A ledger, read once; nothing of it is verified but by the audit.

    Attributes:
        origin: As the head states it; None where it states none.
        name: What the page calls the ledger.
        note: The head as it is stored.
        rows: How many rows there are; one more than a page holds, if there are more.
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


def overview(reader: LedgerReader, audited: AuditReport, glance: Statistics | str, *, most_rows: int) -> Overview:
    """Read a ledger once, up to one row more than a page holds; `glance` is what `glance_at` returned."""
    note = reader.head() or ""
    try:
        origin = parse_checkpoint(note).origin
    except SafeloopError:
        origin = None
    signatures: list[tuple[int, object]] = []
    sessions: dict[str, _Told] = {}
    for idx, body, signature in reader.rows():
        signatures.append((idx, signature))
        if len(signatures) > most_rows:
            break
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
    yield _glance(view)
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
    return section("audit", "The audit", *lines)


def _glance(view: Overview) -> str:
    figures = view.glance
    if isinstance(figures, str):
        return section("glance", "At a glance", paragraph(f"No figures: {figures}"))
    by_label = [(label, number) for label, number in figures.sessions if number]
    return section(
        "glance", "At a glance",
        paragraph("Figures from what indexes lead to, as safeloop stats has them: navigation, and no evidence."),
        facts(_spending(figures)), *_charts(figures, by_label),
        table("Sessions by outcome, or by what they wait for", ("Outcome", "Sessions"), by_label),
        _list("Breaches by reason", ("Reason", "How many"), list(figures.breaches)),
        _list("Limits of the open windows", ("Window", "Unit", "Used", "Limit", "Percent"), [
            (f"{each.window} {each.begins}", each.unit, each.charged, each.limit, int(each.part * 100))
            for each in figures.windows
        ]),
    )


def _spending(figures: Statistics) -> list[tuple[str, str]]:
    cost = (usd_text(figures.known_microusd) if figures.cost_microusd is not None
            else f"{usd_text(figures.known_microusd)} known; that of {counted(figures.unpriced, 'session')} is not")
    waited = figures.attested
    waits = "" if waited.median_s is None else f"; median wait {waited.median_s:,} s, longest {waited.longest_s:,} s"
    return [
        ("Sessions", f"{figures.session_count:,}, {figures.released:,} of them released"),
        ("Turns", f"{figures.turns:,}"),
        ("Tokens", f"{figures.tokens:,}, {figures.tokens_in_doubt:,} of them in doubt"), ("Cost", words(cost)),
        ("Attested", words(f"{waited.count:,}{waits}; {waited.awaited:,} wait")),
    ]


def _charts(figures: Statistics, by_label: list[tuple[str, int]]) -> Iterator[str]:
    if by_label:
        said = ", ".join(f"{number:,} {label}" for label, number in by_label)
        yield draw(_bars("chart-sessions", "Sessions by outcome", said, by_label))
    windows = [(f"{each.window}, {each.unit}", int(each.part * 100)) for each in figures.windows]
    if windows:
        said = ", ".join(f"{label} {percent} %" for label, percent in windows)
        yield draw(_bars("chart-windows", "Used part of each limit, in percent", said, windows))


def _bars(identity: str, title: str, said: str, figures: list[tuple[str, int]]) -> Chart:
    labels, values = tuple(label for label, _ in figures), tuple(value for _, value in figures)
    return Chart(identity, title, f"{said}.", labels, (Line(title, values),), is_bars=True)


def _list(caption: str, columns: tuple[str, ...], lines: list[tuple[object, ...]]) -> str:
    return table(caption, columns, lines) if lines else paragraph(f"{caption}: none.")


def _sessions(view: Overview) -> str:
    lines = [
        (session, told.at[:19], told.rows, told.outcome, told.tokens, told.first + 1)
        for session, told in list(view.sessions.items())[:_MOST_SESSIONS]
    ]
    left = len(view.sessions) - len(lines)
    made = table("Sessions by their first row; tokens as turns and failed attempts state them",
                 ("Session", "Began", "Rows", "Outcome", "Tokens", "First row"), lines)
    return section("sessions", "Sessions", made,
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
    if row.kind == "close":
        told.outcome = str(row.data.get("outcome"))

