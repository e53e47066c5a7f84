"""The page of one session: its frame as exact text, what came later, its turns, every row, and the head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from safeloop.review.framing.status import status_lines
from safeloop.review.reporting.charts import Chart, Line, draw
from safeloop.review.reporting.evidence import as_stored
from safeloop.review.reporting.figures import Step, ceiling, steps
from safeloop.review.reporting.listing import rows_section
from safeloop.review.reporting.markup import exact, facts, folded, paragraph, section, table, words
from safeloop.spec.units import usd_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeloop.ledger import Row
    from safeloop.review.framing.shown import ShownFrame

_MOST_OPEN_LINES = 60


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
        ("Rows", str(len(rows))), ("Made", words(about)),
    )))
    yield from _frame(shown)
    later = status_lines(shown)
    listed = "<ul>" + "".join(f"<li>{words(line)}</li>" for line in later) + "</ul>" if later else ""
    nothing = "" if later else paragraph("Nothing came after the cut: nobody has attested or released this session.")
    yield section("later", "What came later", paragraph("It is not part of the frame, and not of its hash."), listed,
                  nothing)
    yield _turns(rows)
    yield from rows_section(map(as_stored, rows))
    yield head_section(record.note)


def head_section(note: str) -> str:
    """Return the head note, exactly as it is signed."""
    return section("head", "The head", paragraph("The newest checkpoint of the ledger, signed by its log key."),
                   f'<pre id="head-note">{exact(note)}</pre>')


def _frame(shown: ShownFrame) -> Iterator[str]:
    yield '<section aria-labelledby="frame-heading"><h2 id="frame-heading">The frame</h2>\n'
    yield paragraph("What a reviewer signs: exactly this text, its last line end included. Copied into a file, "
                    "sha256sum prints the same digest.")
    yield f'<p>SHA-256 <code id="frame-sha256">{shown.sha256}</code></p>\n'
    yield '<pre id="frame" tabindex="0" role="region" aria-labelledby="frame-heading">'
    yield exact(shown.text)
    yield "</pre></section>\n"


def _turns(rows: Sequence[Row]) -> str:
    found = steps(rows)
    tokens, cost = ceiling(rows, "tokens"), ceiling(rows, "microusd")
    return section("turns", "Turns", *_charts(found, tokens, cost), _timeline(found, tokens, cost))


def _charts(found: tuple[Step, ...], tokens: int | None, cost: int | None) -> Iterator[str]:
    spent = tuple(step.total_tokens for step in found)
    title = "Tokens charged, turn by turn" + ("" if tokens is None else ", against their ceiling")
    yield draw(_against("tokens", title, "tokens", found, spent, tokens))
    priced = tuple(step.total_microusd for step in found)
    if any(priced) or cost is not None:
        title = "Cost in micro-dollars, turn by turn" + ("" if cost is None else ", against its ceiling")
        yield draw(_against("cost", title, "micro-dollars", found, priced, cost))


def _against(
    identity: str, title: str, unit: str, found: tuple[Step, ...], totals: tuple[int, ...], limit: int | None
) -> Chart:
    last = totals[-1] if totals else 0
    bound = "without a ceiling" if limit is None else f"of a ceiling of {limit:,}"
    lines: tuple[Line, ...] = (Line("charged so far", totals),)
    if limit is not None:
        lines += (Line("ceiling", tuple(limit for _ in totals)),)
    labels = tuple(str(step.turn) for step in found)
    said = f"{last:,} {unit} {bound}, after {len(found)} steps; the table below has every figure."
    return Chart(f"chart-{identity}", title, said, labels, lines)


def _timeline(found: tuple[Step, ...], tokens: int | None, cost: int | None) -> str:
    lines = (
        (str(step.turn) if step.turn else "before", step.at[:19] + "Z", ", ".join(step.happened), step.tokens,
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
