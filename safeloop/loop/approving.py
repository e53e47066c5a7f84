"""A destructive call between its `call` row and its run: decided about by a person, in rows, before anything happens.

Where nobody can be asked, the session is suspended, and what was recorded meanwhile is judged when it goes on. A grant
is judged here once more, whoever recorded it: by the pins and the time of now, under the ledger's lock.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from safeloop.breaker import check_running
from safeloop.ledger import Draft, Ledger, Row, View
from safeloop.ledger.approval import EXPIRED, REFUSED, unsigned_data
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.site import MEMORY
from safeloop.ledger.trust import Trust, load_trust
from safeloop.loop.interruption import Interruption
from safeloop.loop.lock import Runner
from safeloop.spec.standing import State, call_id, standing_of
from safeloop.spec.suspension import Cause, reason_of
from safeloop.tools import Refusal
from safeloop.tools.approvals import (
    LEAST_LEFT,
    Answer,
    Ask,
    Request,
    Signed,
    copied_from,
    fault_now,
    fault_of_grant,
    has_expired,
)
from safeloop.tools.call import unapproved
from safeloop.tools.registry import Tool

_SAID = {
    State.REFUSED: ("ApprovalRefused", "was not run: the person who was asked refused this call"),
    State.EXPIRED: ("ApprovalExpired", "was not run: nobody approved this call in time, or its approval has expired"),
}
_MILLISECOND = timedelta(milliseconds=1)


def own_pins() -> Trust:
    """Return the pins of the environment's own key folder.

    Raises:
        KeyUnusable: It has none, or they are not understood.
    """
    return load_trust(KeyFolder().self_trust)


@dataclass(frozen=True, slots=True)
class Approvals:
    """Who may approve destructive calls, and who can be asked.

    Attributes:
        pins: Reads the trust folder, anew for each judgement: pins change while a session waits.
        ask: Asks a person; None suspends the session, and somebody decides later.
    """

    pins: Callable[[], Trust] = own_pins
    ask: Ask | None = None


@dataclass(frozen=True, slots=True)
class Waits:
    """A call that waits for a decision, and with it its session.

    Attributes:
        reason: As the `close` row states it.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant that holds, and is used now.

    Attributes:
        expires_at: Its end.
        began: The ledger's clock when it was found to hold.
    """

    expires_at: datetime
    began: datetime

    @classmethod
    def of(cls, row: Row, now: str) -> Grant:
        """Take an `approval` row's."""
        return cls(datetime.fromisoformat(row.data["expires_at"]), datetime.fromisoformat(now))

    def covering(self, outcome: Draft, now: str) -> Draft:
        """Return a `tool` row that shows that its run began before the end of the grant.

        A row is written after its run, and rows tell only how long that took: where the grant has ended since, that
        is the time by the ledger's clock, which goes on while a machine sleeps or another process holds the ledger.
        """
        moment = datetime.fromisoformat(now)
        if moment < self.expires_at - LEAST_LEFT:
            return outcome
        took = max(math.ceil((moment - self.began) / _MILLISECOND), outcome.data["execution_time_ms"])
        return dataclasses.replace(outcome, data=dict(outcome.data) | {"execution_time_ms": took})


@dataclass(frozen=True, slots=True)
class Approving:
    """Decides about the destructive calls of one session."""

    ledger: Ledger
    session: str
    approvals: Approvals
    interruption: Interruption
    runner: Runner

    def decide(self, tool: Tool, call: Row) -> Grant | Refusal | Waits:
        """Have a call decided about that has just begun."""
        return self._ask(tool, call)

    def decide_again(self, tool: Tool, call: Row) -> Grant | Refusal | Waits:
        """Say what was decided about a call while its session waited; where nothing was, have it decided about.

        One that may have run on a grant needs another: each is for one run.
        """
        standing = standing_of(before_resume(self.ledger.rows(self.session)), call)
        if standing.row is not None and standing.state is State.GRANTED:
            return self._claim(tool, call, standing.row)
        if standing.state in _SAID:
            return unapproved(tool, *_SAID[standing.state])
        return self._ask(tool, call)

    def _claim(self, tool: Tool, call: Row, grant: Row) -> Grant | Refusal | Waits:
        """Take a recorded grant, if it counts and has not expired; that it has becomes a row."""
        pins, found = self.approvals.pins(), list[Grant | Refusal | Waits]()

        def decide(view: View) -> tuple[Draft, ...]:
            check_running(view, self.session)
            fault = fault_of_grant(grant, pins, datetime.fromisoformat(view.now))
            if fault:
                found.append(Waits(waiting_reason(call, f"row {grant.id} counts for nothing: {fault}")))
                return ()
            if has_expired(grant.data["expires_at"], view.now):
                found.append(unapproved(tool, *_SAID[State.EXPIRED]))
                return (self._unsigned(call, EXPIRED, grant.data["expires_at"]),)
            found.append(Grant.of(grant, view.now))
            return ()

        self.runner.check()
        self.ledger.append(decide)
        return found[0]

    def _ask(self, tool: Tool, call: Row) -> Grant | Refusal | Waits:
        if self.approvals.ask is None:
            # A ledger in memory keeps no session that could wait: there the answer is no.
            return self._no(tool, call, REFUSED) if self.ledger.db_path == MEMORY else Waits(waiting_reason(call))
        request = Request(self.ledger.origin, call, self.ledger.read_content(call.data["arguments"]))
        with self.interruption.waking():
            answer = self.approvals.ask(request)
        if isinstance(answer, Signed):
            return self._take(call, answer)
        if answer is Answer.LEFT:
            return Waits(waiting_reason(call))
        return self._no(tool, call, EXPIRED if answer is Answer.TIMED_OUT else REFUSED)

    def _take(self, call: Row, signed: Signed) -> Grant | Waits:
        """Record a grant that was signed just now, for this call."""
        pins, found = self.approvals.pins(), list[Grant | Waits]()
        draft = Draft(self.session, "approval", signed.decision.row_data(signed.signature))

        def decide(view: View) -> tuple[Draft, ...]:
            check_running(view, self.session)
            fault = "it is for another call" if signed.decision.call != call.leaf else ""
            fault = fault or copied_from(view.session(self.session), draft)
            fault = fault or fault_now(draft, self.ledger.origin, view, pins)
            if fault:
                found.append(Waits(waiting_reason(call, f"the answer counts for nothing: {fault}")))
                return ()
            now = datetime.fromisoformat(view.now)
            found.append(Grant(datetime.fromisoformat(draft.data["expires_at"]), now))
            return (draft,)

        self.runner.check()
        self.ledger.append(decide)
        return found[0]

    def _no(self, tool: Tool, call: Row, decision: str) -> Refusal:
        def decide(view: View) -> tuple[Draft, ...]:
            check_running(view, self.session)
            return (self._unsigned(call, decision),)

        self.runner.check()
        self.ledger.append(decide)
        return unapproved(tool, *_SAID[State(decision)])

    def _unsigned(self, call: Row, decision: str, expires_at: str | None = None) -> Draft:
        return Draft(self.session, "approval", unsigned_data(call.leaf, decision, expires_at))

    def ended_grant(self, call: Row, view: View) -> tuple[Draft, ...]:
        """Return the row of a grant that ends while nobody knows whether it was used; none where it holds, or is none.

        For a call that is passed over: its `tool` row must not look as if it ran on a grant that had expired.
        """
        newest = standing_of(view.session(self.session), call).row
        if newest is None or newest.data["decision"] != State.GRANTED:
            return ()
        end = newest.data["expires_at"]
        return (self._unsigned(call, EXPIRED, end),) if has_expired(end, view.now) else ()


def before_resume(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return the rows before a session was resumed for the last time: what others have said while it waited."""
    resumed = next((row.n for row in reversed(rows) if row.kind == "resume"), len(rows))
    return rows[:resumed]


def waiting_reason(call: Row, more: str = "") -> str:
    """Return why a session waits whose call needs a decision."""
    said = f"{call_id(call)} of {call.data['tool']} waits for a reviewer's decision"
    return reason_of(Cause.APPROVAL, f"{said}; {more}" if more else said)
