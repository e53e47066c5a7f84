"""Where a run begins: at its task, where an earlier process left its session, or where a ceiling stopped another.

Each of the three says what the run knows already, and what is written before it does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from safeloop.ledger import Ledger, Row
from safeloop.loop.approving import Approvals
from safeloop.loop.begun import Decision, check_begun, check_decision
from safeloop.loop.closing import BREACHED, Ending
from safeloop.loop.continuing import Past
from safeloop.loop.conversation import Conversation
from safeloop.loop.goal import Goal
from safeloop.loop.governed import Standing
from safeloop.loop.opening import Setting, check_fresh, open_session
from safeloop.loop.resuming import Memory, resume_session, stop_of
from safeloop.loop.sameness import check_same
from safeloop.models import Reply
from safeloop.spec import Ceilings, spend_of
from safeloop.tools import Root


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A reply whose answer was not finished.

    Attributes:
        results: What its calls returned, in order, and whether each passed.
        begun: The `call` row of the call after them, if it may have run.
        skips: That one is passed over.
        failures: What the checks found that were made after it, where some failed and the work was to go on.
    """

    reply: Reply
    results: tuple[tuple[str, bool], ...] = ()
    begun: Row | None = None
    skips: bool = False
    failures: tuple[str, ...] = ()


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


def fresh(ledger: Ledger, session: str, task: str, goal: Goal) -> Start:
    """Begin a session at its task.

    Raises:
        RuntimeError: It has run already, or was written by hand.
        LedgerError: It was opened by a process that is gone.
    """
    check_fresh(ledger.rows(session), session)
    conversation = Conversation(ledger.content, goal)
    conversation.say(task)

    def enter(setting: Setting, _: Root) -> None:
        open_session(ledger, setting)

    return Start(task, conversation, enter)


def continued(ledger: Ledger, session: str, before: str, goal: Goal) -> Start:
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

    return Start(past.task, past.conversation(goal), enter, continues=before)


def resumed(
    ledger: Ledger, session: str, decision: Decision | None, goal: Goal, approvals: Approvals
) -> Start:
    """Go on where an earlier process left a session.

    Args:
        decision: About the call that may have run; one of a tool that only reads, or is idempotent, needs none.
        approvals: Who may approve a call that waits for it, and who can be asked.

    Raises:
        LedgerError: It was never opened, is closed for good, or what it needs is no longer kept.
        SettingError: The decision is about another call, or about one that has not run.
    """
    stop = stop_of(ledger.rows(session), session)
    check_decision(stop, decision)
    memory, before = Memory(ledger, stop), stop.opened.data["continues"]
    past = None if before is None or stop.turns else Past(ledger, before)  # its files may be missing, until a tool ran
    task, workspace, output, reply = memory.task, memory.workspace, memory.output, memory.reply

    def enter(setting: Setting, staging: Root) -> Ending | None:
        check_same(stop.rows, workspace, setting)
        if stop.breach is not None:  # nothing runs after a breach: only its end is missing
            return Ending(BREACHED, stop.breach.data["breach_reason"])
        if decision is None:
            check_begun(ledger, stop, setting.tools, approvals, output)
        resume_session(ledger, session)
        if past is not None:
            past.restore(staging)
        return None

    unanswered = None if reply is None else Unanswered(
        reply, memory.results(), stop.begun, skips=decision is not None and not decision.again,
        failures=memory.failures(),
    )
    turns = stop.turns if stop.breach is None else stop.breach.data["turn"]
    return Start(
        task, memory.conversation(goal) if past is None or stop.asked is not None else past.conversation(goal), enter,
        Standing(turns, stop.attempts, spend_of(stop.rows).tokens, memory.settled()),
        Ceilings.of_row(stop.opened.data["ceilings"]), stop.elapsed_ms, unanswered, output, before, is_new=False,
    )
