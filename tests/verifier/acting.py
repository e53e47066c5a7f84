"""Tools: what ran was listed, announced where it does more than read, and approved where it destroys: rule 7."""

from datetime import datetime, timedelta

from tests.verifier import sshsig
from tests.verifier.encoding import encode
from tests.verifier.keys import key_id
from tests.verifier.rows import Row
from tests.verifier.session import Book, Session
from tests.verifier.spending import tool_call

SAME = ("turn", "tool", "permission", "arguments")


def call(book: Book, session: Session, row: Row) -> None:
    session.calls[row.data["call"]] = row
    tool_call(book, session, row)


def approval(_: Book, session: Session, row: Row) -> None:
    same = ("call", "statement")
    is_copy = row.data["statement"] is not None and any(
        one.kind == "approval" and all(one.data[key] == row.data[key] for key in same) for one in session.rows
    )
    if not (is_copy and row.data["decision"] == "granted"):
        session.approvals[row.data["call"]] = row


def tool(book: Book, session: Session, row: Row) -> None:
    data = row.data
    announced = session.calls.pop(data["call"], None)
    decision = session.approvals.pop(announced.leaf.hex(), None) if announced else None
    is_rehearsed = not data["pass_fail"] and (data["error"] or {}).get("class") == "dry run"
    if session.results is not None and not (is_rehearsed and data["execution_time_ms"] == 0):
        session.results.append(data["pass_fail"])
    is_refused = not data["pass_fail"] and data["execution_time_ms"] == 0 and data["error"] is not None
    if announced is None and is_refused:
        return
    listed = {pin["name"]: pin["permission"] for pin in (session.open.data["tools"] if session.open else [])}
    permission = listed.get(data["tool"])
    if permission != data["permission"]:
        book.fail(row, "tool", "not a tool of the open row, with this permission")
    if permission is None:
        return
    if session.is_dry_run and permission != "read":
        book.fail(row, "call", "ran in a dry run")
    if announced is None:
        tool_call(book, session, row)
    is_limited = any("tool_calls" in one.ceilings for one in (session, *session.ancestors))
    if announced is None and (is_limited or permission != "read"):
        book.fail(row, "call", "ran without a call row before it")
    elif permission != "read" and announced and any(announced.data[key] != data[key] for key in SAME):
        book.fail(row, "call", "ran otherwise than its call row says")
    was_refused = is_refused and decision is not None and decision.data["decision"] != "granted"
    if permission == "destructive" and not was_refused and not (decision and _holds(book, decision, row)):
        book.fail(row, "approval", "destructive, and no approval of this call holds")
    elif permission == "destructive" and not is_refused and decision and not _is_for(session, decision, row):
        book.fail(row, "approval", "destructive, and the approval of this call was for another run, or came later")


def _is_for(session: Session, decision: Row, row: Row) -> bool:
    """Say whether a decision was made for the run that a row tells of: no process before had it, and it came first."""
    if row.at - timedelta(milliseconds=row.data["execution_time_ms"]) < decision.at - timedelta(seconds=1):
        return False
    turns = [one for one in session.rows if one.kind in ("open", "close", "resume")]
    resumed = [at for at, one in enumerate(turns) if one.kind == "resume"]
    if not resumed or decision.n > turns[resumed[-1]].n:
        return True
    before = turns[resumed[-1] - 1]
    return before.kind == "close" and decision.n > before.n


def _holds(book: Book, decision: Row, row: Row) -> bool:
    """Say whether a decision is a grant, signed by a pinned reviewer, that held when the tool began."""
    data = decision.data
    stated = {key: data[key] for key in ("by", "call", "decision", "expires_at")}
    if data["decision"] != "granted" or None in (*stated.values(), data["signature"]):
        return False
    stated |= {"ledger": decision.body["ledger"], "session": decision.session}
    if data["statement"] != encode(stated).decode():
        return False
    signer = sshsig.verify(data["signature"], "safeloop-approval", data["statement"].encode())
    if signer is None or not book.trust.may_sign(signer, data["by"], "safeloop-approval", decision.at):
        return False
    if decision.idx >= book.trust.revoked.get((key_id(signer.raw), decision.body["ledger"]), decision.idx + 1):
        return False
    try:
        expires = datetime.fromisoformat(data["expires_at"])
    except ValueError:
        return False
    return expires.tzinfo is not None and expires >= row.at - timedelta(milliseconds=row.data["execution_time_ms"])
