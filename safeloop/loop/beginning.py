"""Where a run begins: at its task, where an earlier process left its session, or where a ceiling stopped another.

Each of the three says what the run knows already, and what is written before it does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from safeloop.errors import SettingError, Suspended
from safeloop.ledger import Ledger, Row
from safeloop.loop.closing import BREACHED, SUSPENDED, Ending, Product, close_session
from safeloop.loop.continuing import Past
from safeloop.loop.conversation import Conversation
from safeloop.loop.governed import Standing
from safeloop.loop.opening import Setting, check_fresh, open_session
from safeloop.loop.resuming import Memory, Stop, resume_session, stop_of
from safeloop.loop.sameness import check_same
from safeloop.models import Reply
from safeloop.spec import Ceilings, spend_of
from safeloop.spec.suspension import Cause, reason_of, suspension_of
from safeloop.tools import Permission, Root


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
class Unanswered:
    """A reply whose answer was not finished.

    Attributes:
        results: What its calls returned, in order, and whether each passed.
        begun: The `call` row of the call after them, if it may have run.
        skips: That one is passed over.
    """

    reply: Reply
    results: tuple[tuple[str, bool], ...] = ()
    begun: Row | None = None
    skips: bool = False


Enter = Callable[[Setting, Root], Ending | None]


@dataclass(frozen=True, slots=True)
class Start:
    """What a run knows when it begins.

    Attributes:
        enter: Writes what comes before everything else; returns the ending of a session that had only that to come.
        ceilings: In force already, beside those of the spec and the breaker.
        elapsed_ms: Monotonic time that the session has used.
        unanswered: What is to be finished before anything is asked.
        output: The text of the last reply that had any.
        continues: The session whose work goes on in this one.
        is_new: Its staging folder is to be made, and is empty.
    """

    task: str
    conversation: Conversation
    enter: Enter
    standing: Standing = field(default_factory=Standing)
    ceilings: Ceilings = field(default_factory=Ceilings)
    elapsed_ms: int = 0
    unanswered: Unanswered | None = None
    output: str | None = None
    continues: str | None = None
    is_new: bool = True


def fresh(ledger: Ledger, session: str, task: str) -> Start:
    """Begin a session at its task.

    Raises:
        RuntimeError: It has run already, or was written by hand.
        LedgerError: It was opened by a process that is gone.
    """
    check_fresh(ledger.rows(session), session)
    conversation = Conversation(ledger.content)
    conversation.say(task)

    def enter(setting: Setting, _: Root) -> None:
        open_session(ledger, setting)

    return Start(task, conversation, enter)


def continued(ledger: Ledger, session: str, before: str) -> Start:
    """Begin a session with the task, the conversation and the files of one that a ceiling stopped.

    Args:
        before: That session.

    Raises:
        RuntimeError: The session has run already, or was written by hand.
        LedgerError: The one before was not stopped by a ceiling, or what is needed of it is no longer kept.
    """
    check_fresh(ledger.rows(session), session)
    past = Past(ledger, before)

    def enter(setting: Setting, staging: Root) -> None:
        open_session(ledger, setting)
        past.restore(staging)

    return Start(past.task, past.conversation(), enter, continues=before)


def resumed(ledger: Ledger, session: str, decision: Decision | None) -> Start:
    """Go on where an earlier process left a session.

    Args:
        decision: About the call that may have run; one of a tool that only reads, or is idempotent, needs none.

    Raises:
        LedgerError: It was never opened, is closed for good, or what it needs is no longer kept.
        SettingError: The decision is about another call.
    """
    stop = stop_of(ledger.rows(session), session)
    _check_decision(stop, decision)
    memory, before = Memory(ledger, stop), stop.opened.data["continues"]
    past = None if before is None or stop.turns else Past(ledger, before)  # its files may be missing, until a tool ran
    task, workspace, output, reply = memory.task, memory.workspace, memory.output, memory.reply

    def enter(setting: Setting, staging: Root) -> Ending | None:
        check_same(stop.rows, workspace, setting)
        if stop.breach is not None:  # nothing runs after a breach: only its end is missing
            return Ending(BREACHED, stop.breach.data["breach_reason"])
        if decision is None:
            _check_begun(ledger, stop, setting, output)
        resume_session(ledger, session)
        if past is not None:
            past.restore(staging)
        return None

    unanswered = None if reply is None else Unanswered(
        reply, memory.results(), stop.begun, skips=decision is not None and not decision.again
    )
    turns = stop.turns if stop.breach is None else stop.breach.data["turn"]
    return Start(
        task, memory.conversation() if past is None or stop.asked is not None else past.conversation(), enter,
        Standing(turns, stop.attempts, spend_of(stop.rows).tokens, memory.settled()),
        Ceilings.of_row(stop.opened.data["ceilings"]), stop.elapsed_ms, unanswered, output, before, is_new=False,
    )


def _check_decision(stop: Stop, decision: Decision | None) -> None:
    waits = None if stop.begun is None else stop.begun.data["call"]
    if decision is not None and decision.call != waits:
        which = "every call of it has its outcome" if waits is None else f"the one that waits is {waits}"
        raise SettingError(
            f"session {stop.opened.session}: there is nothing to decide about call {decision.call}; {which}",
            hint=f"safeloop resume {stop.opened.session}",
        )


def _check_begun(ledger: Ledger, stop: Stop, setting: Setting, output: str | None) -> None:
    """Keep a session suspended where only a person can say whether a call is to run again.

    Raises:
        Suspended: It is.
    """
    if stop.begun is None:
        return
    name, call, session = stop.begun.data["tool"], stop.begun.data["call"], stop.opened.session
    tool = setting.tools.get(name)
    if tool is not None and (tool.is_idempotent or tool.permission is Permission.READ):
        return
    reason = reason_of(Cause.CALL, f"{call} of {name} may have run already")
    if stop.suspended is None or not suspension_of(stop.suspended.data["reason"]).needs_person:
        close_session(
            ledger, session, Ending(SUSPENDED, reason), Product(output=output), (), elapsed_ms=stop.elapsed_ms
        )
    raise Suspended(
        f"session {session} waits for a person: {call} of {name} may have run already",
        hint=f"find out, then: safeloop resume {session} --rerun {call}, or --skip {call}",
    )
