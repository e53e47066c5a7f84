"""The page of one session: its frame as exact text, what came later, its turns, every row, and the head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from safeloop.review.framing.status import status_lines
from safeloop.review.reporting.charts import Chart, Line, Unit, draw
from safeloop.review.reporting.evidence import as_stored
from safeloop.review.reporting.figures import Step, ceiling, steps
from safeloop.review.reporting.listing import rows_section
from safeloop.review.reporting.markup import exact, facts, folded, paragraph, section, table, unsigned, words
from safeloop.review.reporting.rows import body_text
from safeloop.spec.units import usd_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeloop.ledger import Row
    from safeloop.review.framing.shown import ShownFrame

_MOST_OPEN_LINES = 60
_MOST_OF_PURPOSE = 300
_ALL = 100  # percent


def session_body(shown: ShownFrame, about: str) -> Iterator[str]:
    """Yield the contents of a session's page.

    Args:
        shown: The session, verified as `review` verifies it.
        about: When and by which program the page was made, as text.
    """
    record = shown.record
    rows = record.rows
    yield section("about", "This page", facts((
        ("Session", f"<code>{words(record.session)}</code>"), ("Ledger", f"<code>{words(record.ledger)}</code>"),
        ("Rows", f"{len(rows):,}"), ("Made", words(about)),
    )))
    found = steps(rows)
    tokens, cost = ceiling(rows, "tokens"), ceiling(rows, "microusd")
    yield unsigned("glance", "At a glance", *_summary(shown, found, tokens, cost))
    yield frame_section(shown.sha256, shown.text)
    later = status_lines(shown)
    listed = "<ul>" + "".join(f"<li>{words(line)}</li>" for line in later) + "</ul>" if later else ""
    nothing = "" if later else paragraph("Nothing came after the cut: nobody has attested or released this session.")
    yield unsigned("later", "What came later", paragraph("It is not part of the frame, and not of its hash."), listed,
                   nothing)
    yield unsigned("turns", "Turns", *_charts(found, tokens, cost), _timeline(found, tokens, cost))
    yield from rows_section(map(as_stored, rows))
    yield head_section(record.note)


def head_section(note: str) -> str:
    """Return the head note exactly as it is signed, written as bodies are: an HTML parser must not mend one."""
    form, text = body_text(note.encode())
    return section(
        "head", "The head", paragraph("The newest checkpoint of the ledger, signed by its log key."),
        f'<pre id="head-note" data-form="{form}" tabindex="0" role="region" aria-labelledby="head">{exact(text)}</pre>',
    )


def frame_section(sha256: str, text: str) -> str:
    """Return the frame with its digest in hex."""
    return section(
        "frame-heading", "The frame",
        paragraph("What a reviewer signs: exactly this text, its last line end included. Copied into a file, "
                  "sha256sum prints the same digest."),
        f'<p>SHA-256 <code id="frame-sha256">{sha256}</code></p>',
        f'<pre id="frame" tabindex="0" role="region" aria-labelledby="frame-heading">{exact(text)}</pre>',
    )


def _summary(shown: ShownFrame, found: tuple[Step, ...], tokens: int | None, cost: int | None) -> Iterator[str]:
    """Yield the session in a few lines; who accepted it is as rows say, and not judged."""
    end, purpose = shown.facts.cut, shown.facts.spec.what_it_does
    last = found[-1]
    outcome = str(end.data["outcome"]) if end.kind == "close" else "none: no loop ended it"
    named = {decision: _named(shown.later, decision) for decision in ("accept", "reject")}
    released = ", ".join(f"row {row.id}" for row in shown.later if row.kind == "release")
    yield paragraph("A summary of the rows, in which nothing is judged: safeloop audit says which attestations count.")
    yield facts((
        ("Purpose", words(purpose if len(purpose) <= _MOST_OF_PURPOSE else f"{purpose[:_MOST_OF_PURPOSE]}…")),
        ("Outcome", words(outcome)),
        ("Tokens", _used(last.total_tokens, tokens, Unit.COUNT)),
        ("Cost", _used(last.total_microusd, cost, Unit.MICROUSD) + ("" if last.is_priced else "; not all is known")),
        ("Accepted by", words(named["accept"] or "nobody")), ("Rejected by", words(named["reject"] or "nobody")),
        ("Released", released or "no"),
    ))


def _named(later: Sequence[Row], decision: str) -> str:
    """Name those who decided so, in the order of their rows."""
    return ", ".join(
        f"{row.data.get('reviewer')} (row {row.id}{', not signed' if row.data.get('signature') is None else ''})"
        for row in later if row.kind == "attestation" and row.data.get("decision") == decision
    )


def _used(spent: int, limit: int | None, unit: Unit) -> str:
    """Say how much of a ceiling was used; a hundred percent only where nothing is left."""
    if limit is None:
        return f"{unit.text(spent)}, without a ceiling"
    percent = round(_ALL * spent / limit) if limit else _ALL
    return f"{unit.text(spent)} of {unit.text(limit)} ({min(percent, _ALL - 1) if spent < limit else percent} %)"


def _charts(found: tuple[Step, ...], tokens: int | None, cost: int | None) -> Iterator[str]:
    turns = tuple(step for step in found if step.turn is not None)
    spent = tuple(step.total_tokens for step in turns)
    yield draw(_against("Tokens", turns, spent, tokens, Unit.COUNT))
    priced = tuple(step.total_microusd for step in turns)
    if any(priced) or cost is not None:
        yield draw(_against("Cost", turns, priced, cost, Unit.MICROUSD))


def _against(name: str, turns: tuple[Step, ...], totals: tuple[int, ...], limit: int | None, unit: Unit) -> Chart:
    used = _used(totals[-1] if totals else 0, limit, unit)
    lines: tuple[Line, ...] = (Line("charged so far", totals),)
    if limit is not None:
        lines += (Line("ceiling", tuple(limit for _ in totals)),)
    labels = tuple(str(step.turn) for step in turns)
    said = f"{used}, after {len(turns)} steps; the table below has every figure."
    return Chart(f"chart-{name.lower()}", f"{name}, turn by turn: {used}", said, labels, lines, unit=unit)


def _timeline(found: tuple[Step, ...], tokens: int | None, cost: int | None) -> str:
    lines = (
        (step.name, step.at[:19] + "Z", ", ".join(step.happened), step.tokens,
         step.total_tokens, _left(tokens, step.total_tokens), _price(step), step.milliseconds)
        for step in found
    )
    most_tokens = "none of tokens" if tokens is None else f"{tokens:,} tokens"
    most_cost = "none of cost" if cost is None else usd_text(cost)
    made = table(
        f"Timeline of turns. Ceilings: {most_tokens}, {most_cost}. Times are the writer's claims.",
        ("Turn", "Began", "What happened", "Tokens", "So far", "Left", "Cost so far", "ms"), lines,
    )
    return made if len(found) <= _MOST_OPEN_LINES else folded(f"Timeline of {len(found)} turns", made)


def _left(limit: int | None, spent: int) -> int | None:
    return None if limit is None else limit - spent


def _price(step: Step) -> str:
    return usd_text(step.total_microusd) if step.is_priced else f"{usd_text(step.total_microusd)} and more"
