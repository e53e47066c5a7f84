"""In a session, in order: the rules from 2 on, row by row over the whole ledger."""

from typing import Any

from tests.verifier import acting, ending, releasing, spending
from tests.verifier.chain import ZEROS
from tests.verifier.rows import Row
from tests.verifier.session import WORK, Book, Session

RULES = {
    "intent": spending.intent, "attempt": spending.settles, "turn": spending.settles, "call": acting.call,
    "tool": acting.tool, "approval": acting.approval, "breach": ending.breach, "check": ending.check,
    "resume": ending.resume, "close": ending.close, "release": releasing.release,
}


def follow(book: Book, rows: list[Row]) -> None:
    """Judge the rows whose signature, place and form hold; one that is passed over is noticed."""
    following = 0
    for row in rows:
        if not (row.is_sound and row.is_known and row.is_own):
            continue
        book.is_lost = book.is_lost or row.idx != following
        following = row.idx + 1
        book.clock = max(book.clock, row.at)
        if row.kind == "reconcile":
            spending.reconcile(book, row)
        if row.session == "ledger":
            _of_the_ledger(book, row)
        else:
            _in_session(book, row)


def _of_the_ledger(book: Book, row: Row) -> None:
    if row.kind == "limits":
        book.limits = row
    elif row.kind in WORK | {"open", "release"}:
        book.fail(row, "begun", "in the session `ledger`, which no loop opens")


def _in_session(book: Book, row: Row) -> None:
    session = book.sessions.setdefault(row.session, Session(row.session))
    last = session.rows[-1].leaf.hex() if session.rows else ZEROS
    if session.is_lost or (row.n, row.body["prev"]) != (len(session.rows), last):
        session.is_lost = book.is_lost = True
        return
    if session.open is None:
        _before_opening(book, session, row)
    elif ending.is_allowed(book, session, row) and row.kind in RULES:
        RULES[row.kind](book, session, row)
    session.rows.append(row)


def _before_opening(book: Book, session: Session, row: Row) -> None:
    if row.kind == "open":
        _open(book, session, row)
    elif row.kind == "release":
        book.fail(row, "release", "of a session that no loop opened")


def _open(book: Book, session: Session, row: Row) -> None:
    session.open = row
    has_begun = any(one.kind in WORK for one in session.rows)
    if has_begun:
        book.fail(row, "begun", "work came before")
    if session.spec and not has_begun:
        _keeps(book, session, row, session.spec.data)
    if row.data["parent"] is not None:
        parent = book.sessions.get(row.data["parent"])
        if parent is not None and parent is not session and parent.is_running:
            session.parent = parent
            parent.children.append(session)
        elif not book.is_lost:
            book.fail(row, "parent", "no session that is open then")
    spending.opens(book, row)


def _keeps(book: Book, session: Session, row: Row, promise: dict[str, Any]) -> None:
    """Hold an `open` row against its promise."""
    for name, most in promise["ceilings"].items():
        if session.ceilings.get(name, most + 1) > most:
            book.fail(row, "promise", f"{name} is looser than the spec's")
    grant = promise["tools"]
    for tool in row.data["tools"]:
        if tool["permission"] not in grant["permissions"] or tool["name"] not in grant.get("names", [tool["name"]]):
            book.fail(row, "promise", f"{tool['name']} is not granted by the spec")
