"""One intent for each attempt, held until one row settles it: what was asked for, and what is charged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from safeloop.ledger import Row
from safeloop.review.auditing.findings import Finding, Rule, about
from safeloop.review.auditing.word.states import Governed, Pending
from safeloop.spec import Reason, crossing
from safeloop.spec.tally import BUSY


def reserve(session: Governed, row: Row, hour: str) -> Iterator[Finding]:
    """Take in an intent: its number, its model, what it asks for, and the ceilings that only rows' order can tell."""
    data = row.data
    turn, attempt = data["turn"], data["attempt"]
    if session.unanswered.get(turn) != attempt - 1 and (turn, attempt) != (session.last_turn + 1, 1):
        yield about(row, Rule.INTENT, f"asks for attempt {attempt} at turn {turn}, {_expected(session)}")
    if data["model"] != session.model:
        yield about(row, Rule.INTENT, f"asks model {data['model']}, and the session was opened for {session.model}")
    for limit in ("wanted_max_tokens", "reserved_tokens"):
        if data["max_tokens"] > data[limit]:
            yield about(row, Rule.RESERVATION, f"max_tokens {data['max_tokens']:,} is above {limit} {data[limit]:,}")
    yield from _time_and_errors(session, row)
    session.last_turn = max(session.last_turn, turn)
    session.unanswered[turn] = attempt
    session.pending[row.n] = Pending(turn, attempt, data["reserved_tokens"], data["reserved_microusd"], hour)


def settle(session: Governed, row: Row) -> Iterator[Finding]:
    """Take in a `turn` or `attempt` row: it ends one open intent, and charges what was used."""
    data = row.data
    held = None if data["intent"] is None else session.pending.pop(data["intent"], None)
    if held is None:
        where = "names no intent" if data["intent"] is None else f"names n {data['intent']}, where no intent is open"
        yield about(row, Rule.INTENT, f"{row.kind} {data['turn']} {where}")
    else:
        if (data["turn"], data["attempt"]) != (held.turn, held.attempt):
            yield about(row, Rule.INTENT, f"is attempt {data['attempt']} at turn {data['turn']}, and its intent at n "
                        f"{data['intent']} is attempt {held.attempt} at turn {held.turn}")
        yield from (about(row, Rule.CHARGE, words) for words in _undercharged(row, held))
    if row.kind == "turn":
        session.unanswered.pop(data["turn"], None)
        _close_batch(session)
        session.is_answering = True
    elif data["error"]["status"] not in BUSY:
        session.errors += 1
    session.elapsed_ms = max(session.elapsed_ms, data["elapsed_ms"] or 0)


def _close_batch(session: Governed) -> None:
    """Count the last reply's calls as one error if all failed; a reply that was answered otherwise ends the errors."""
    if session.is_answering:
        session.errors = session.errors + 1 if session.failed_results and not session.passed_results else 0
    session.is_answering = False
    session.failed_results = session.passed_results = 0


def _expected(session: Governed) -> str:
    open_turns = "".join(f", or attempt {made + 1} at turn {turn}" for turn, made in session.unanswered.items())
    return f"where attempt 1 at turn {session.last_turn + 1} should follow{open_turns}"


def _undercharged(row: Row, held: Pending) -> Iterator[str]:
    data = row.data
    if row.kind == "attempt":
        if data["in_doubt"]:
            yield from _in_full(data["charged_tokens"], data["charged_microusd"], held, "an attempt in doubt")
        return
    usage = data["usage"]
    if usage is None:
        yield from _in_full(data["token_delta"], data["cost_microusd"], held, "a reply without usage")
    elif data["token_delta"] != (used := _billed(usage)):
        yield f"charges {data['token_delta']:,} tokens, and its usage is {used:,}"
    if usage is not None and held.microusd is not None and data["cost_microusd"] is None:
        yield f"charges no price for a reply, and {held.microusd:,} microusd were reserved"
    if data["token_delta"] > held.tokens and not data["overrun"]:
        yield f"charges {data['token_delta']:,} tokens of {held.tokens:,} reserved, and does not call it an overrun"


def _billed(usage: Mapping[str, int]) -> int:
    return usage["input"] + usage["cache_write"] + usage["cache_read"] + usage["output"]  # thinking is part of output


def _in_full(tokens: int, microusd: int | None, held: Pending, what: str) -> Iterator[str]:
    if tokens < held.tokens:
        yield f"charges {tokens:,} tokens for {what}, and {held.tokens:,} were reserved"
    if held.microusd is not None and (microusd is None or microusd < held.microusd):
        price = "no price" if microusd is None else f"{microusd:,} microusd"
        yield f"charges {price} for {what}, and {held.microusd:,} were reserved"


def _time_and_errors(session: Governed, row: Row) -> Iterator[Finding]:
    data, ceilings = row.data, session.account.ceilings
    if ceilings.elapsed_ms is not None and data["elapsed_ms"] < session.elapsed_ms:
        yield about(row, Rule.CEILING, f"sets its clock back: {data['elapsed_ms']:,} ms elapsed, and an earlier row "
                    f"of its session says {session.elapsed_ms:,}")
    session.elapsed_ms = max(session.elapsed_ms, data["elapsed_ms"])
    _close_batch(session)
    for breach in (
        crossing(Reason.TIME, ceilings.elapsed_ms, session.elapsed_ms),
        crossing(Reason.ERRORS, ceilings.errors, session.errors),
    ):
        if breach is not None:
            yield about(row, Rule.CEILING, f"granted beyond the {breach.reason} of {breach.limit:,}: {breach.spent:,}")
