"""Whether the loops of a ledger kept their word: the sessions, and which rule is asked about which row.

A row that was not shown takes its session out of judgement, and with it everything that adds up over several
sessions, from that row on: what is missing is found by the rules of the record, and proves nothing against a loop.

What rows cannot tell: repeats, because equal bytes have different commitments; whether a call that is said to have
been refused was; and what was never written. All times are the writer's claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from safeloop.ledger import Row, visible
from safeloop.ledger.charges import charged
from safeloop.ledger.rows import LEDGER_SESSION
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.chains import SessionKey, session_key
from safeloop.review.auditing.findings import Finding, Rule, about
from safeloop.review.auditing.word import calls, closing, intents, order, releases
from safeloop.review.auditing.word.laxity import OwnPolicy
from safeloop.review.auditing.word.reconciling import Doubts
from safeloop.review.auditing.word.scopes import Account, crossed, loosened, ungranted
from safeloop.review.auditing.word.states import (
    UNCHECKED,
    Governed,
    Promise,
    Reviewed,
    Unopened,
    packed_end,
    reviewed,
)
from safeloop.review.auditing.word.windows import Windows
from safeloop.review.cut import LATER
from safeloop.spec import Ceilings
from safeloop.spec.criteria import RETRIES
from safeloop.spec.dry_run import is_dry_run

_LOST = "lost"  # a session of which a row was not shown
_SUSPENDED = "suspended"
_OF_SESSIONS = order.WORK | {"open", "release"}

_State = Unopened | Reviewed | bytes | str
_Rule = Callable[[Governed, Row], Iterable[Finding]]


class Word:
    """Whether the loops of a ledger kept their word, from rows alone: fed row by row in ledger order, flat in memory.

    Of a session that is closed for good 47 bytes are kept, and a small record for each attestation after that.

    Args:
        trust: Who may review and approve, and the policy that the auditor would ask of a release.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._running: dict[str, Governed] = {}
        self._sessions: dict[SessionKey, _State] = {}  # all others
        self._windows = Windows()
        self._doubts = Doubts(self._windows)
        self._next = 0
        self._lost_at = 0  # number of the first row that was not shown
        self._has_families = False
        self._policy = OwnPolicy(trust)
        self._rules: dict[str, _Rule] = {
            "intent": self._intent, "attempt": self._outcome, "turn": self._outcome, "call": self._call,
            "approval": self._approval, "tool": self._tool, "check": closing.check_criterion,
            "close": self._close, "release": _unclosed,
        }

    def follow(self, row: Row) -> list[Finding]:
        """Take in the next row; return what it shows against its loop.

        Args:
            row: A row whose signature, place and form of kind hold. One that is passed over is noticed.
        """
        return self.follow_all((row,))

    def follow_all(self, rows: Sequence[Row]) -> list[Finding]:
        """Take in the next rows, at least one, at positions that follow each other; return what they show."""
        if rows[0].idx != self._next and not self._lost_at:
            self._lost_at = self._next + 1
        self._next = rows[-1].idx + 1
        found: list[Finding] = []
        running, rules, see = self._running, self._rules, self._windows.see
        for row in rows:
            _, _, _, at, _, kind, _, n, prev, name, _, leaf = row
            if see(at):
                self._doubts.forget_ended(running.__contains__)
            if kind == "reconcile":
                self._doubts.reconcile(row)
            session = running.get(name)
            if session is None:
                found += self._apart(row)
            elif n != session.rows or prev != session.leaf:
                del running[name]
                self._sessions[session_key(name)] = self._lose(row)
            else:
                session.rows, session.leaf, rule = n + 1, leaf, rules.get(kind)
                if rule is None or session.breach or session.suspended:
                    found += self._out_of_order(session, row, rule)
                else:
                    found += rule(session, row)
        return found

    def finish(self) -> Iterable[Finding]:
        """Return what could be said only after the last row: nothing, as every rule is about a row and those before."""
        return ()

    def notes(self) -> Iterator[str]:
        """Yield what the reader should know besides."""
        if self._lost_at and (self._windows.is_limited or self._has_families):
            yield (f"limits of hours, days and months, and ceilings of parents, were judged only up to row "
                   f"{self._lost_at}, which was not shown")
        yield from self._policy.notes()

    def _of_the_ledger(self, row: Row) -> Iterator[Finding]:
        """Take in a row about the ledger as a whole: no session, so that nothing may be done in its name."""
        if row.kind == "limits":
            self._windows.limit(row)
        elif row.kind in _OF_SESSIONS:
            yield about(row, Rule.BEGUN, f"{row.kind} in session {LEDGER_SESSION}, which no loop opens")

    def _apart(self, row: Row) -> Iterable[Finding]:
        """Take in a row of no session that runs."""
        if row.session == LEDGER_SESSION:
            return self._of_the_ledger(row)
        state = self._state(row)
        if type(state) is Unopened:
            return self._begin(state, row)
        return self._after(state, row) if type(state) is Reviewed else ()

    def _lose(self, row: Row) -> str:
        """Take note that a row before this one was not shown."""
        self._lost_at = self._lost_at or row.id
        return _LOST

    def _state(self, row: Row) -> _State:
        """Return the session that a row is the next of, one that does not run, or `_LOST`."""
        key = session_key(row.session)
        found = state = self._sessions.get(key)
        if found is None:
            state = Unopened()
        elif type(found) is bytes:
            state = reviewed(found, row)
        elif type(found) is str:
            return found
        if state is None or isinstance(state, (str, bytes)) or row.n != state.rows or row.prev != state.leaf:
            state = self._lose(row)
        else:
            state.rows, state.leaf = row.n + 1, row.leaf
        if state is not found:
            self._sessions[key] = state
        return state

    def _begin(self, state: Unopened, row: Row) -> Iterator[Finding]:
        data = row.data
        if row.kind == "spec":
            names = {visible(each["name"]): each.get("retries", RETRIES) for each in data["criteria"]}
            state.promises += (Promise(row.leaf, data["ceilings"], data["tools"], names),)
        elif row.kind == "open":
            yield from self._open(state, row)
        elif row.kind == "release":
            yield about(row, Rule.RELEASE, f"releases session {row.session}, which no loop has opened")
        elif row.kind in order.WORK:
            state.first_work = state.first_work or row.id
            state.promises = ()

    def _open(self, state: Unopened, row: Row) -> Iterator[Finding]:
        data = row.data
        if state.first_work:
            yield about(row, Rule.BEGUN, f"opens session {row.session}, whose work began in row {state.first_work}")
        promise = next((each for each in state.promises if each.leaf == data["spec"]), Promise("", {}, {}, {}))
        ceilings = Ceilings.of_row(data["ceilings"])
        if data["ceilings"] != promise.ceilings:
            for words in loosened(ceilings, Ceilings.of_row(promise.ceilings)):
                yield about(row, Rule.PROMISE, words)
        for words in ungranted(data["tools"], promise.tools):
            yield about(row, Rule.PROMISE, words)
        parent = None
        if data["parent"] is not None:
            self._has_families = True
            found = self._running.get(data["parent"])
            parent = None if found is None else found.account
            if parent is None and not self._lost_at:
                yield about(row, Rule.PARENT, f"is a child of session {data['parent']}, which is not open")
        account = Account(row.session, ceilings, parent)
        tools = {each["name"]: each["permission"] for each in data["tools"]}
        self._sessions.pop(session_key(row.session))
        self._running[row.session] = Governed(
            row.n + 1, row.leaf, data["model"], account, tools, dict.fromkeys(promise.criteria, UNCHECKED),
            dict(promise.criteria),
            is_dry_run=is_dry_run(data),
        )
        for words in tuple(self._windows.open_session()):
            if not self._lost_at:
                yield about(row, Rule.WINDOW, words)

    def _out_of_order(self, session: Governed, row: Row, rule: _Rule | None) -> Iterator[Finding]:
        yield from order.move(session, row)
        if rule is not None:
            yield from rule(session, row)

    def _intent(self, session: Governed, row: Row) -> Iterable[Finding]:
        own, windows, data = session.account, self._windows, row.data
        found = intents.reserve(session, row, windows.hour)
        own.reserve(data["turn"], data["reserved_tokens"], data["reserved_microusd"])
        windows.charge(windows.hour, data["reserved_tokens"], data["reserved_microusd"] or 0)
        if not (self._lost_at and own.has_children):  # what a child's lost rows gave back is not known
            for words in crossed(own, data, is_own=True):
                found.append(about(row, Rule.CEILING, words))
        if not self._lost_at and (own.parent is not None or self._windows.is_limited):
            found += self._shared(own, row)
        return found

    def _shared(self, own: Account, intent: Row) -> Iterator[Finding]:
        """Hold an intent against what is limited for several sessions together."""
        for account in () if own.parent is None else own.parent.line():
            for words in crossed(account, intent.data, is_own=False):
                yield about(intent, Rule.PARENT, f"of session {account.session}: {words}")
        for words in self._windows.crossed(intent) if self._windows.is_limited else ():
            yield about(intent, Rule.WINDOW, words)

    def _outcome(self, session: Governed, row: Row) -> Iterable[Finding]:
        held = session.pending.pop(row.data["intent"], None)
        hour = self._windows.hour if held is None else held.hour
        charge = charged(row)
        self._windows.charge(hour, *session.account.settle(row, charge, held))
        if row.kind == "attempt" and row.data["in_doubt"]:
            self._doubts.note(row, hour, session.account)
        return intents.settle(session, row, charge, held)

    def _call(self, session: Governed, row: Row) -> Iterator[Finding]:
        return calls.begin(session, row, is_whole=not self._lost_at)

    def _tool(self, session: Governed, row: Row) -> Iterator[Finding]:
        return calls.outcome(session, row, is_whole=not self._lost_at)

    def _approval(self, session: Governed, row: Row) -> Iterator[Finding]:
        calls.decide(session, row, self._trust)
        return iter(())

    def _close(self, session: Governed, row: Row) -> Iterator[Finding]:
        yield from closing.close(session, row)
        if row.data["outcome"] == _SUSPENDED:
            session.suspended = row.id
        else:
            del self._running[row.session]
            self._sessions[session_key(row.session)] = packed_end(row)

    def _after(self, session: Reviewed, row: Row) -> Iterator[Finding]:
        if row.kind not in LATER:
            session.void = session.void or row.id
            if row.kind != "open":  # a second one is a finding of its chain
                yield about(row, Rule.CLOSED, f"{row.kind} after the session was closed as {session.outcome}")
        elif row.kind == "attestation":
            releases.hear(session, row, self._trust)
        elif row.kind == "release":
            for words in releases.faults(session, row):
                yield about(row, Rule.RELEASE, words)
            self._policy.compare(row)


def _unclosed(_: Governed, row: Row) -> Iterator[Finding]:
    yield about(row, Rule.RELEASE, f"releases session {row.session}, which is not closed")
