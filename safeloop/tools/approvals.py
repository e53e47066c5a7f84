"""Approvals of destructive calls: what a person is shown, what they answer, and the row that records it.

A decision is recorded while the session is suspended, under the ledger's lock: so of two that are made at once one is
first, and no run goes on meanwhile. A grant is judged before it is recorded: one that would count for nothing is
refused, because in a list it would look like any other. Whoever runs the call judges it again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from safeloop.breaker import check_open
from safeloop.errors import LedgerError, NotAttested, SettingError
from safeloop.ledger import Draft, Ledger, Row, View
from safeloop.ledger.approval import GRANTED, Decision, Where, grant_fault, signature_fault
from safeloop.ledger.folding import folded_behind
from safeloop.ledger.rows import parse_row, timestamp
from safeloop.ledger.visible import shell_word, unseen_escaped
from safeloop.spec.standing import State, call_id, standing_of, stated_in, suspended_by, undecided_call
from safeloop.tools.clean import unseen_made_visible

if TYPE_CHECKING:
    from safeloop.ledger.reader import LedgerReader
    from safeloop.ledger.trust import Trust

LONGEST_HOLD = timedelta(days=30)
LEAST_LEFT = timedelta(seconds=2)
"""A grant with less than this left is taken for expired: what runs on it must begin, by its own row, before its end."""

_MARGIN, _CONTINUED = "  | ", "  \\ "
_LEFT_OUT = "a parameter that is left out takes the tool's own default"
_LAST_SAID = ("tool", "permission", "call")

@dataclass(frozen=True, slots=True)
class Request:
    """A call that a person is asked about.

    Attributes:
        ledger: The origin.
        call: The `call` row.
        arguments: What that row commits to; None where it is no longer kept, and then nobody can approve it.
        state: Whether it waits, was granted and waits to be run, or has a grant that expired before that.
    """

    ledger: str
    call: Row
    arguments: bytes | None
    state: State = State.WAITS

    @property
    def id(self) -> str:
        """What people type."""
        return call_id(self.call)

    @property
    def value(self) -> Any:
        """The arguments as a JSON value; None where they are none."""
        try:
            return None if self.arguments is None else json.loads(self.arguments)
        except (ValueError, RecursionError):
            return None

    @property
    def text(self) -> str:
        r"""Everything that is to be decided about, in full; what is unseen or steers a terminal stands as `\u{hex}`.

        Each line of the arguments has a margin, also where it is broken: no terminal breaks one, and nothing in
        them can stand where our own words do. They may be long, so what is decided about stands after them too.
        """
        data = self.call.data
        facts = (
            ("tool", unseen_escaped(data["tool"])), ("permission", data["permission"]), ("session", self.call.session),
            ("turn", str(data["turn"])), ("call", self.call.leaf), ("ledger", self.ledger),
        )
        shown = "(no longer kept)" if self.arguments is None else _shown(self.arguments)
        lines = [
            *(f"{name:<11}{value}" for name, value in facts), "arguments",
            *(f"{_MARGIN}{line}" for line in shown.split("\n")), _LEFT_OUT,
            *(f"{name:<11}{value}" for name, value in facts if name in _LAST_SAID),
        ]
        return "\n".join(piece for line in lines for piece in folded_behind(_CONTINUED, line))

    def decided(self, decision: str, by: str, expires_at: datetime | None) -> Decision:
        """Return a decision about it, to be signed."""
        until = None if expires_at is None else timestamp(expires_at)
        return Decision(by, self.call.leaf, decision, until, self.ledger, self.call.session)


def _shown(arguments: bytes) -> str:
    text = arguments.decode("utf-8", "surrogatepass")
    with contextlib.suppress(ValueError, RecursionError):  # what is no JSON is shown as it is
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    # Within a JSON text a tab stands between values or nowhere, and a line feed cannot be in a string.
    return unseen_made_visible(text)


@dataclass(frozen=True, slots=True)
class Signed:
    """A person's grant: what they signed, and the armored signature."""

    decision: Decision
    signature: str


class Answer(Enum):
    """What else may come of asking."""

    NO = "no"
    TIMED_OUT = "timed out"
    LEFT = "left"


Ask = Callable[[Request], Signed | Answer]


def pending(reader: LedgerReader, trust: Trust, now: datetime) -> tuple[Request, ...]:
    """Return the calls of suspended sessions that wait for a decision, or to be run on one; the oldest first.

    Unverified: what an index leads to. A grant that counts for nothing by now is none.
    """
    with reader.snapshot():
        sessions = dict.fromkeys(row.session for row in _parsed(reader.rows_of_kinds("call")))
        found = (_pending_in(reader, tuple(_parsed(reader.rows_of(session))), trust, now) for session in sessions)
        return tuple(sorted((each for each in found if each is not None), key=lambda each: each.call.idx))


def _pending_in(reader: LedgerReader, rows: tuple[Row, ...], trust: Trust, now: datetime) -> Request | None:
    call = undecided_call(rows)
    if call is None or suspended_by(rows) is None:
        return None
    standing = standing_of(rows, call)
    state = standing.state
    if state not in (State.WAITS, State.GRANTED):
        return None
    if standing.row is not None and fault_of_grant(standing.row, trust, now):
        state = State.WAITS
    elif standing.row is not None and has_expired(standing.row.data["expires_at"], timestamp(now)):
        state = State.EXPIRED
    return Request(call.ledger, call, reader.read_content(call.data["arguments"]), state)


def _parsed(stored: Iterable[tuple[int, bytes, bytes]]) -> Iterator[Row]:
    return (parse_row(*each) for each in tuple(stored))


def expiry_of(now: datetime, hold: timedelta) -> datetime:
    """Return when a grant expires that is to hold for so long.

    Raises:
        SettingError: It would not hold long enough to be used, or for more than 30 days.
    """
    if not LEAST_LEFT < hold <= LONGEST_HOLD:
        raise SettingError(
            f"a grant holds for more than {LEAST_LEFT.seconds} seconds and at most {LONGEST_HOLD.days} days",
            hint="--expires 30m, 12h or 2d",
        )
    return now + hold


def record(ledger: Ledger, signed: Signed, trust: Trust) -> Row:
    """Record a decision about a call that waits, once.

    Raises:
        NotAttested: It would count for nothing, or the call was decided about already; the message says which.
        LedgerError: The call does not wait for a decision in this ledger and session.
    """
    decision = signed.decision
    draft = Draft(decision.session, "approval", decision.row_data(signed.signature))

    def decide(view: View) -> tuple[Draft, ...]:
        if decision.ledger != ledger.origin:
            raise NotAttested(f"this decision was made for ledger {decision.ledger}, and this one is {ledger.origin}")
        check_open(view, decision.session)
        _check_waits(view, decision, trust)
        if decision.decision == GRANTED:
            _check_new(view, draft)
        fault = fault_now(draft, ledger.origin, view, trust)
        if fault:
            raise NotAttested(
                f"this decision would count for nothing: {fault}",
                hint=f"reviewers are pinned in {trust.path / 'reviewers'}: safeloop trust add-reviewer NAME KEY.pub",
            )
        return (draft,)

    return ledger.append(decide)[0]


def fault_now(draft: Draft, origin: str, view: View, trust: Trust) -> str:
    """Say why a signed decision counts for nothing now, or nothing; of a grant also that its end is over or far off."""
    now, data = datetime.fromisoformat(view.now), draft.data
    where = Where(origin, draft.session, view.size)
    if data["decision"] != GRANTED:
        return signature_fault(data, where, trust, now)
    return grant_fault(data, where, trust, now) or has_expired(data["expires_at"], view.now) or _holds_on(data, now)


def has_expired(expires_at: str, now: str) -> str:
    """Say that a grant has expired, or nothing; both are RFC 3339."""
    left = datetime.fromisoformat(expires_at) - datetime.fromisoformat(now)
    return f"it expired at {expires_at}" if left < LEAST_LEFT else ""


def fault_of_grant(grant: Row, trust: Trust, now: datetime) -> str:
    """Say why a recorded grant counts for nothing now, or nothing; whether it has expired is another question.

    By a clock that is behind the grant's own row nobody can tell whether it has.
    """
    if now < datetime.fromisoformat(grant.at):
        return f"the clock is at {timestamp(now)}, and it was recorded at {grant.at}"
    return grant_fault(grant.data, Where(grant.ledger, grant.session, grant.idx), trust, now)


def copied_from(rows: Sequence[Row], draft: Draft) -> str:
    """Say where the statement of a grant stands already, or nothing: what a person signed is good for one run."""
    first = stated_in(rows, draft.data)
    return "" if first is None else f"its statement stands in row {first.id} already, and is good for one run"


def _holds_on(data: Mapping[str, Any], now: datetime) -> str:
    """Say that a grant would hold for longer than any may, or nothing."""
    is_longer = datetime.fromisoformat(data["expires_at"]) - now > LONGEST_HOLD
    return f"it holds until {data['expires_at']}, and at most {LONGEST_HOLD.days} days are allowed" if is_longer else ""


def _check_new(view: View, draft: Draft) -> None:
    copied = copied_from(view.session(draft.session), draft)
    if copied:
        raise NotAttested(
            f"this decision would count for nothing: {copied}",
            hint=f"sign another: safeloop approve {draft.data['call'][:12]}",
        )


def _check_waits(view: View, decision: Decision, trust: Trust) -> None:
    rows = view.session(decision.session)
    call = undecided_call(rows)
    if call is None or call.leaf != decision.call:
        raise LedgerError(
            f"no call {decision.call[:12]} of session {decision.session} waits for a decision",
            hint="safeloop approvals lists those that do",
        )
    if suspended_by(rows) is None:
        raise LedgerError(
            f"session {decision.session} is not suspended: it runs, or its process is gone",
            hint=f"safeloop resume {decision.session}",
        )
    standing = standing_of(rows, call)
    newest = standing.row
    if newest is None:
        return
    if standing.state is State.USED:
        word = shell_word(call.data["call"])
        raise LedgerError(
            f"call {call_id(call)} was granted in row {newest.id} and may have run",
            hint=f"safeloop resume {decision.session} --rerun {word}, or --skip {word}",
        )
    is_final = standing.state in (State.REFUSED, State.EXPIRED)
    is_again = standing.state is State.GRANTED and decision.decision == GRANTED and _holds(newest, view, trust)
    if is_final or is_again:
        raise NotAttested(
            f"call {call_id(call)} was decided about already: {standing.state} in row {newest.id}",
            hint=f"safeloop resume {decision.session}",
        )


def _holds(row: Row, view: View, trust: Trust) -> bool:
    """Say whether a recorded grant still holds; one that does not may be given anew."""
    fault = fault_of_grant(row, trust, datetime.fromisoformat(view.now))
    return not (fault or has_expired(row.data["expires_at"], view.now))

