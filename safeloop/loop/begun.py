"""A call that had begun when its session stopped: whether it is run by itself, or only a person can say.

One that only reads, or is idempotent, simply runs again. One that needs an approval has not run while it has none, or
one that nobody can have used. Any other may have had its effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from safeloop.errors import SettingError, Suspended
from safeloop.ledger import Ledger, Row
from safeloop.ledger.visible import shell_word
from safeloop.loop.approving import Approvals, waiting_reason
from safeloop.loop.closing import SUSPENDED, Ending, Product, close_session
from safeloop.loop.resuming import Stop
from safeloop.spec.standing import State, call_id, standing_of
from safeloop.spec.suspension import Cause, reason_of, suspension_of
from safeloop.tools import Permission, ToolRegistry
from safeloop.tools.approvals import fault_of_grant


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person says about a call that may have run: run it again, or pass over it.

    Attributes:
        call: The provider's id, as its row shows it.
        again: False passes over it.
    """

    call: str
    again: bool


@dataclass(frozen=True, slots=True)
class _Question:
    """What only a person can say.

    Attributes:
        words: For the error.
        reason: For the `close` row.
    """

    words: str
    hint: str
    reason: str


def check_decision(stop: Stop, decision: Decision | None) -> None:
    """Check that a decision is about the call that may have run.

    Raises:
        SettingError: It is about another one, or about one that has not run.
    """
    if decision is None:
        return
    begun, session = stop.begun, stop.opened.session
    if begun is None or decision.call != begun.data["call"]:
        which = "every call of it has its outcome" if begun is None else f"the one that waits is {begun.data['call']}"
        raise SettingError(
            f"session {session}: there is nothing to decide about call {decision.call}; {which}",
            hint=f"safeloop resume {session}",
        )
    if _needs_approval(begun) and standing_of(stop.rows, begun).state is not State.USED:
        raise SettingError(
            f"session {session}: call {decision.call} has not run: it is for a reviewer to approve or refuse",
            hint=f"safeloop approve {call_id(begun)}, or safeloop refuse {call_id(begun)}",
        )


def check_begun(
    ledger: Ledger, stop: Stop, tools: ToolRegistry, approvals: Approvals, output: str | None
) -> None:
    """Keep a session suspended where only a person can say how it goes on, and nobody can be asked.

    Args:
        tools: Those that the session has.
        output: The text of the last reply that had any.

    Raises:
        Suspended: It is.
    """
    if stop.begun is None:
        return
    ask = _undecided(stop, stop.begun, approvals) if _needs_approval(stop.begun) else _in_doubt(stop.begun, tools)
    if ask is None:
        return
    session = stop.opened.session
    before = None if stop.suspended is None else suspension_of(stop.suspended.data["reason"]).cause
    if before is not suspension_of(ask.reason).cause:
        close_session(
            ledger, session, Ending(SUSPENDED, ask.reason), Product(output=output), (), elapsed_ms=stop.elapsed_ms
        )
    raise Suspended(f"session {session} waits for a person: {ask.words}", hint=ask.hint)


def _needs_approval(begun: Row) -> bool:
    return bool(begun.data["permission"] == Permission.DESTRUCTIVE.value)


def _in_doubt(begun: Row, tools: ToolRegistry) -> _Question | None:
    tool = tools.get(begun.data["tool"])
    if tool is not None and (tool.is_idempotent or tool.permission is Permission.READ):
        return None
    return _may_have_run(begun)


def _may_have_run(begun: Row) -> _Question:
    call, word = begun.data["call"], shell_word(begun.data["call"])
    words = f"{call} of {begun.data['tool']} may have run already"
    hint = f"find out, then: safeloop resume {begun.session} --rerun {word}, or --skip {word}"
    return _Question(words, hint, reason_of(Cause.CALL, words))


def _undecided(stop: Stop, begun: Row, approvals: Approvals) -> _Question | None:
    standing, call = standing_of(stop.rows, begun), call_id(begun)
    if standing.state is State.USED:
        return _may_have_run(begun)
    name, words = f"{call} of {begun.data['tool']}", ""
    if standing.state is State.WAITS:
        words = f"{name} is destructive, and nobody has decided about it"
    elif standing.row is not None and standing.state is State.GRANTED:
        fault = fault_of_grant(standing.row, approvals.pins(), datetime.now(UTC))
        words = f"the approval of {name} in row {standing.row.id} counts for nothing: {fault}" if fault else ""
    if not words or approvals.ask is not None:
        return None
    hint = f"safeloop approve {call}, or safeloop refuse {call}; then safeloop resume {begun.session}"
    return _Question(words, hint, waiting_reason(begun))
