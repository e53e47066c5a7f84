"""Intents, what they are charged, and the ceilings on it: rules 3 to 5."""

from collections.abc import Iterable
from datetime import datetime

from tests.verifier.rows import Row
from tests.verifier.session import Book, Charge, Session

BUSY = (429, 503, 529)
BILLED = ("input", "cache_write", "cache_read", "output")
WINDOWS = {"hour": 4, "day": 3, "month": 2}


def intent(book: Book, session: Session, row: Row) -> None:
    data = row.data
    turn, attempt = data["turn"], data["attempt"]
    is_next = (turn, attempt) == (max(session.asked, default=0) + 1, 1)
    if not is_next and session.unanswered.get(turn) != attempt - 1:
        book.fail(row, "intent", "neither the next turn nor the next attempt at one without reply")
    if session.has_used_up_retries:
        book.fail(row, "ceiling", "a criterion had failed with no retry left")
    if session.open and data["model"] != session.open.data["model"]:
        book.fail(row, "intent", "asks another model than the session was opened with")
    if data["max_tokens"] > min(data["wanted_max_tokens"], data["reserved_tokens"]):
        book.fail(row, "reservation", "max_tokens is more than was wanted or reserved")
    session.asked.add(turn)
    session.unanswered[turn] = attempt
    session.charges.append(Charge(turn, attempt, row.n, book.clock, data["reserved_tokens"], data["reserved_microusd"]))
    _time_and_errors(book, session, row)
    _ceilings(book, session, row)
    _windows(book, row)


def settles(book: Book, session: Session, row: Row) -> None:
    """Judge a `turn` or an `attempt`: which intent it settles, and at what charge."""
    data = row.data
    tokens = data["token_delta" if row.kind == "turn" else "charged_tokens"]
    microusd = data["cost_microusd" if row.kind == "turn" else "charged_microusd"]
    held = next((one for one in session.charges
                 if one.settled is None and one.intent is not None and one.intent == data["intent"]), None)
    if held is None or (held.turn, held.attempt) != (data["turn"], data["attempt"]):
        book.fail(row, "intent", "settles no open intent of this turn and attempt")
    if held is None:
        held = Charge(data["turn"], data["attempt"] or 0, None, book.clock, tokens, microusd)
        session.charges.append(held)
    else:
        _charged(book, row, held, tokens, microusd)
    held.tokens, held.microusd, held.settled = tokens, microusd, row.n
    held.in_doubt = row.kind == "attempt" and data["in_doubt"]
    if row.kind == "turn":
        session.unanswered.pop(data["turn"], None)
        _end_results(session)
        session.results = []
        session.asked.add(data["turn"])
    elif data["error"]["status"] not in BUSY:
        session.errors += 1
    session.elapsed_ms = max(session.elapsed_ms, data["elapsed_ms"] or 0)


def _charged(book: Book, row: Row, held: Charge, tokens: int, microusd: int | None) -> None:
    usage = row.data.get("usage")
    in_doubt = usage is None if row.kind == "turn" else row.data["in_doubt"]
    if usage is not None and tokens != sum(usage[key] for key in BILLED):
        book.fail(row, "charge", "token_delta is not what usage adds up to")
    is_short = held.microusd is not None and (microusd is None or microusd < held.microusd)
    if in_doubt and (tokens < held.tokens or is_short):
        book.fail(row, "charge", "in doubt, and charged less than was reserved")
    if usage is not None and held.microusd is not None and microusd is None:
        book.fail(row, "charge", "no price, and one was reserved")
    if row.kind == "turn" and tokens > held.tokens and not row.data["overrun"]:
        book.fail(row, "charge", "more than the reservation, and not called an overrun")


def reconcile(book: Book, row: Row) -> None:
    """Lower what attempts in doubt are charged; whatever else is said there changes nothing."""
    for item in row.data["settled"]:
        session = book.sessions.get(item["session"])
        if session is None or row.session not in ("ledger", item["session"]):
            continue
        for one in session.charges:
            if one.in_doubt and item["n"] in (one.settled, one.intent):
                billed = item.get("billed_microusd")
                tokens, microusd = one.given_back
                microusd += 0 if billed is None else max(one.net_microusd - billed, 0)
                one.given_back = tokens + max(one.net_tokens - item["billed_tokens"], 0), microusd


def tool_call(book: Book, session: Session, row: Row) -> None:
    """Count a call, or a read that ran without one, here and in every ancestor."""
    session.tool_calls += 1
    if not (book.is_lost and session.children):  # what a child's lost rows called is not known
        _too_many_calls(book, session, row, "ceiling")
    for one in [] if book.is_lost else session.ancestors:
        _too_many_calls(book, one, row, "parent")


def _too_many_calls(book: Book, session: Session, row: Row, rule: str) -> None:
    made = sum(one.tool_calls for one in session.family)
    if made > session.ceilings.get("tool_calls", made):
        book.fail(row, rule, "beyond the ceiling of tool_calls")


def _end_results(session: Session) -> None:
    """Count the last reply as one error if all its tools failed; any other ends the errors."""
    if session.results is not None:
        session.errors = session.errors + 1 if session.results and not any(session.results) else 0
    session.results = None


def _time_and_errors(book: Book, session: Session, row: Row) -> None:
    elapsed, most = row.data["elapsed_ms"], session.ceilings.get("elapsed_ms")
    if most is not None and not session.elapsed_ms <= elapsed <= most:
        book.fail(row, "ceiling", "beyond the ceiling of elapsed_ms, or back in time")
    session.elapsed_ms = max(session.elapsed_ms, elapsed)
    _end_results(session)
    if session.errors > session.ceilings.get("errors", session.errors):
        book.fail(row, "ceiling", "beyond the ceiling of errors")


def _ceilings(book: Book, session: Session, row: Row) -> None:
    if not (book.is_lost and session.children):  # what a child's lost rows gave back is not known
        _beyond(book, session, row, "ceiling", row.data["turn"])
    for one in [] if book.is_lost else session.ancestors:
        _beyond(book, one, row, "parent", 0)


def _beyond(book: Book, session: Session, row: Row, rule: str, turn: int) -> None:
    """Hold what a session and its descendants are charged against its ceilings."""
    turns = sum(len(one.asked) for one in session.family)
    spent = _spent(charge for one in session.family for charge in one.charges) | {"turns": max(turn, turns)}
    for name, value in spent.items():
        if name in session.ceilings and value > session.ceilings[name]:
            book.fail(row, rule, f"beyond the ceiling of {name}")
    if "microusd" in session.ceilings and row.data["reserved_microusd"] is None:
        book.fail(row, rule, "without a price under a ceiling of cost")


def _spent(charges: Iterable[Charge]) -> dict[str, int]:
    found = list(charges)
    return {"tokens": sum(one.net_tokens for one in found), "microusd": sum(one.net_microusd for one in found)}


def _is_in(window: str, one: datetime, other: datetime) -> bool:
    parts = WINDOWS[window]
    return one.timetuple()[:parts] == other.timetuple()[:parts]


def _windows(book: Book, row: Row) -> None:
    if book.limits is None or book.is_lost:
        return
    charges = [one for session in book.sessions.values() for one in session.charges]
    for name, most in book.limits.data.items():
        spent = _spent(one for one in charges if _is_in(name, one.granted, book.clock))
        for what, value in spent.items():
            if value > most.get(what, value):
                book.fail(row, "window", f"beyond the {what} of this {name}")
        if "microusd" in most and row.data["reserved_microusd"] is None:
            book.fail(row, "window", f"without a price, and the cost of this {name} is limited")


def opens(book: Book, row: Row) -> None:
    """Count the sessions that were opened in this hour, day and month."""
    book.opened.append(book.clock)
    if book.limits is None or book.is_lost:
        return
    for name, most in book.limits.data.items():
        count = sum(_is_in(name, when, book.clock) for when in book.opened)
        if count > most.get("sessions", count):
            book.fail(row, "window", f"beyond the sessions of this {name}")
