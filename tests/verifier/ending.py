"""How a session ends: what may follow a breach or a close, and what a close says: rules 6 and 8."""

from tests.verifier.rows import Row
from tests.verifier.session import Book, Session

AFTER_CLOSE = {"attestation", "release", "erase", "reconcile"}
NOT_WHILE_SUSPENDED = {"intent", "turn", "call", "tool", "breach", "check"}
NOT_AFTER_BREACH = {"intent", "call", "tool", "resume"}


def is_allowed(book: Book, session: Session, row: Row) -> bool:
    """Ask whether a row of this kind may come now, and say whether it is judged by the rule of its kind."""
    if session.close is not None:
        if row.kind not in AFTER_CLOSE:
            session.intruder = session.intruder or row
            if row.kind != "open":  # opened twice is told already
                book.fail(row, "closed", "after the close")
        return row.kind == "release"
    if session.breach is not None and row.kind in NOT_AFTER_BREACH:
        book.fail(row, "breach", "after a breach")
    elif session.is_suspended and row.kind in NOT_WHILE_SUSPENDED:
        book.fail(row, "closed", "while suspended")
    return True


def breach(_: Book, session: Session, row: Row) -> None:
    session.breach = session.breach or row


def check(_: Book, session: Session, row: Row) -> None:
    session.checks.append(row)


def resume(_: Book, session: Session, row: Row) -> None:
    del row
    session.is_suspended = False


def close(book: Book, session: Session, row: Row) -> None:
    data = row.data
    prices = [one.microusd for one in session.charges]
    cost = None if None in prices else sum(price for price in prices if price is not None)
    turns = sum(one.kind == "turn" for one in session.rows)
    tokens = sum(one.tokens for one in session.charges)
    if (data["turns"], data["total_tokens"], data["cost_microusd"]) != (turns, tokens, cost):
        book.fail(row, "totals", "not what the rows add up to")
    if not _is_true(session, data["outcome"]):
        book.fail(row, "outcome", "not what the rows show")
    if data["outcome"] == "suspended":
        session.is_suspended = True
    else:
        session.close = row


def _is_true(session: Session, outcome: str) -> bool:
    if session.is_dry_run and outcome in ("completed", "unmet", "breached"):
        return False
    if outcome == "breached":
        return session.breach is not None
    if outcome == "unmet":
        return session.breach is None
    if outcome != "completed":
        return True
    wanted = {one["name"] for one in session.spec.data["criteria"]} if session.spec else set()
    last = {one.data["criterion"]: one.data["pass_fail"] for one in session.checks}  # work may go on after a failure
    foreign = all(one.data["pass_fail"] for one in session.checks if one.data["criterion"] not in wanted)
    return session.breach is None and foreign and all(last.get(name) for name in wanted)
