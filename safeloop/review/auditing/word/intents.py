"""One intent for each attempt, held until one row settles it: what was asked for, and what is charged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from safeloop.ledger import Row
from safeloop.ledger.charges import Charge
from safeloop.review.auditing.findings import Finding, Rule, about
from safeloop.review.auditing.word.scopes import Pending
from safeloop.review.auditing.word.states import Governed
from safeloop.spec import Reason, crossing
from safeloop.spec.tally import BUSY


def reserve(session: Governed, row: Row, hour: str) -> list[Finding]:
    """Take in an intent: its number, its model, what it asks for, and the ceilings that only rows' order can tell."""
    found: list[Finding] = []
    data = row.data
    turn, attempt, reserved = data["turn"], data["attempt"], data["reserved_tokens"]
    if session.used_up:
        found.append(about(row, Rule.CEILING, f"asks on after criterion {session.used_up} failed with no retry left"))
    if not (turn == session.last_turn + 1 and attempt == 1) and session.unanswered.get(turn) != attempt - 1:
        found.append(about(row, Rule.INTENT, f"asks for attempt {attempt} at turn {turn}, {_expected(session)}"))
    if data["model"] != session.model:
        words = f"asks model {data['model']}, and the session was opened for {session.model}"
        found.append(about(row, Rule.INTENT, words))
    if data["max_tokens"] > data["wanted_max_tokens"] or data["max_tokens"] > reserved:
        found += _beyond_limits(row)
    if session.is_answering:
        _close_batch(session)
    ceilings = session.account.ceilings
    if ceilings.elapsed_ms is not None or ceilings.errors is not None:
        found += _time_and_errors(session, row)
    session.elapsed_ms = max(session.elapsed_ms, data["elapsed_ms"])
    session.last_turn = max(session.last_turn, turn)
    session.unanswered[turn] = attempt
    session.pending[row.n] = Pending(turn, attempt, reserved, data["reserved_microusd"], hour)
    return found


def settle(session: Governed, row: Row, charge: Charge, held: Pending | None) -> Iterable[Finding]:
    """Take in a `turn` or `attempt` row: it ends one open intent, and charges what was used.

    Args:
        session: It.
        row: It.
        charge: What it charges.
        held: The open intent that the row names, if it does.
    """
    found: list[Finding] = []
    data = row.data
    if held is None:
        where = "names no intent" if data["intent"] is None else f"names n {data['intent']}, where no intent is open"
        found.append(about(row, Rule.INTENT, f"{row.kind} {data['turn']} {where}"))
    else:
        if data["turn"] != held.turn or data["attempt"] != held.attempt:
            words = (f"is attempt {data['attempt']} at turn {data['turn']}, and its intent at n {data['intent']} is "
                     f"attempt {held.attempt} at turn {held.turn}")
            found.append(about(row, Rule.INTENT, words))
        for words in _undercharged(row, charge, held):
            found.append(about(row, Rule.CHARGE, words))
    if row.kind == "turn":
        session.unanswered.pop(data["turn"], None)
        _close_batch(session)
        session.is_answering = True
    elif data["error"]["status"] not in BUSY:
        session.errors += 1
    session.elapsed_ms = max(session.elapsed_ms, data["elapsed_ms"] or 0)
    return found


def _close_batch(session: Governed) -> None:
    """Count the last reply's calls as one error if all failed; a reply that was answered otherwise ends the errors."""
    if session.is_answering:
        session.errors = session.errors + 1 if session.failed_results and not session.passed_results else 0
    session.is_answering = False
    session.failed_results = session.passed_results = 0


def _beyond_limits(row: Row) -> Iterator[Finding]:
    for limit in ("wanted_max_tokens", "reserved_tokens"):
        asked, most = row.data["max_tokens"], row.data[limit]
        if asked > most:
            yield about(row, Rule.RESERVATION, f"max_tokens {asked:,} is above {limit} {most:,}")


def _expected(session: Governed) -> str:
    open_turns = "".join(f", or attempt {made + 1} at turn {turn}" for turn, made in session.unanswered.items())
    return f"where attempt 1 at turn {session.last_turn + 1} should follow{open_turns}"


def _undercharged(row: Row, charge: Charge, held: Pending) -> Iterable[str]:
    words: list[str] = []
    data, (tokens, price) = row.data, charge
    if row.kind == "attempt":
        return _in_full(tokens, price, held, "an attempt in doubt") if data["in_doubt"] else ()
    usage = data["usage"]
    if usage is None:
        words += _in_full(tokens, price, held, "a reply without usage")
    elif tokens != (used := _billed(usage)):
        words.append(f"charges {tokens:,} tokens, and its usage is {used:,}")
    if usage is not None and held.microusd is not None and price is None:
        words.append(f"charges no price for a reply, and {held.microusd:,} microusd were reserved")
    if tokens > held.tokens and not data["overrun"]:
        words.append(f"charges {tokens:,} tokens of {held.tokens:,} reserved, and does not call it an overrun")
    return words


def _billed(usage: Mapping[str, int]) -> int:
    return usage["input"] + usage["cache_write"] + usage["cache_read"] + usage["output"]  # thinking is part of output


def _in_full(tokens: int, microusd: int | None, held: Pending, what: str) -> Iterator[str]:
    if tokens < held.tokens:
        yield f"charges {tokens:,} tokens for {what}, and {held.tokens:,} were reserved"
    if held.microusd is not None and (microusd is None or microusd < held.microusd):
        price = "no price" if microusd is None else f"{microusd:,} microusd"
        yield f"charges {price} for {what}, and {held.microusd:,} were reserved"


def _time_and_errors(session: Governed, row: Row) -> Iterator[Finding]:
    elapsed_ms, ceilings, before = row.data["elapsed_ms"], session.account.ceilings, session.elapsed_ms
    if ceilings.elapsed_ms is not None and elapsed_ms < before:
        words = f"sets its clock back: {elapsed_ms:,} ms elapsed, and an earlier row of its session says {before:,}"
        yield about(row, Rule.CEILING, words)
    for breach in (
        crossing(Reason.TIME, ceilings.elapsed_ms, max(before, elapsed_ms)),
        crossing(Reason.ERRORS, ceilings.errors, session.errors),
    ):
        if breach is not None:
            words = f"granted beyond the {breach.reason} of {breach.limit:,}: {breach.spent:,}"
            yield about(row, Rule.CEILING, words)
