"""The inbox: which sessions wait for a person, the oldest first, and the command that each of them waits for.

Navigation, and no evidence: it reads what the ledger's indexes lead to and checks no signature. A signed attestation
counts here by the name in its row, whoever signed it; review, release and audit check everything with pinned keys.
Nothing waits, and nothing is listed, once a session was released, rejected or erased, or is accepted and of a kind
that the policy never releases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from safeloop.ledger import Row
from safeloop.ledger.rows import LEDGER_SESSION
from safeloop.ledger.visible import shell_word
from safeloop.review.cut import cut_of, is_governed
from safeloop.review.doubts import NO_DOUBT, Doubt, doubts_of
from safeloop.review.glance import charged, readable
from safeloop.review.releasing.policy import ReleasePolicy
from safeloop.spec.standing import State as Standing
from safeloop.spec.standing import call_id, standing_of, undecided_call
from safeloop.spec.suspension import Cause, suspension_of

if TYPE_CHECKING:
    from safeloop.ledger.reader import LedgerReader

_TELLING = ("open", "close", "attestation", "erase")
_DONE = ("release",)  # and "erase", but what was erased before its session ended must still be ended
_UNGOVERNED = "ungoverned"


class State(StrEnum):
    """What a session waits for."""

    REVIEW = "review"
    ACCEPTED = "accepted"
    SUSPENDED = "suspended"
    APPROVAL = "approval"
    OPEN = "open"


class Wait(StrEnum):
    """The same, told by what has to come first."""

    REVIEW = "review"
    RELEASE = "release"
    APPROVAL = "approval"
    CALL = "call"
    QUOTA = "quota"
    WINDOW = "window"
    RESUME = "resume"
    RUNNER = "runner"


_WAITS = {
    State.REVIEW: Wait.REVIEW, State.ACCEPTED: Wait.RELEASE, State.APPROVAL: Wait.APPROVAL, State.OPEN: Wait.RUNNER,
}
_CAUSES = {Cause.CALL: Wait.CALL, Cause.WAITING: Wait.QUOTA, Cause.WINDOW: Wait.WINDOW}


@dataclass(frozen=True, slots=True)
class Item:
    """A session that waits.

    Attributes:
        state: `open` is running or crashed: its lock tells which. `approval` waits for a reviewer's decision about a
            call; once there is one, it is `suspended` as any other.
        outcome: As its `close` row states it; `ungoverned` for rows written by hand; None while it is open.
        at: The time of the row since which it waits: the writer's claim.
        row: That row's number.
        turns: Answered ones.
        tokens: Charged ones.
        cost_microusd: Of answered turns; None where it is not known.
        reason: Why it is suspended, or how it ended more precisely, as its `close` row states it.
        next_command: What to do; for an open session, if nobody runs it.
        doubt: What of it is charged for attempts whose outcome nobody knows; or that run now, in a session that runs.
    """

    session: str
    state: State
    outcome: str | None
    at: str
    row: int
    turns: int
    tokens: int
    cost_microusd: int | None
    reason: str | None
    next_command: str
    doubt: Doubt = NO_DOUBT

    @property
    def waits_for(self) -> Wait:
        """What has to come first: of a suspended session, as its reason says, whether or not that time has come."""
        if self.state is not State.SUSPENDED:
            return _WAITS[self.state]
        cause = suspension_of(self.reason).cause
        return Wait.RESUME if cause is None else _CAUSES.get(cause, Wait.RESUME)


def waiting(reader: LedgerReader, policy: ReleasePolicy | None = None) -> tuple[Item, ...]:
    """Return the sessions of a ledger that wait for a person, the oldest first.

    Args:
        reader: The ledger; read in one snapshot, and only where an index leads.
        policy: What may be released; None is the default.

    Raises:
        VerificationError: A row that is needed cannot be read.
    """
    with reader.snapshot():
        doubts = doubts_of(reader)
        items = [item_of(rows, policy or ReleasePolicy()) for rows in _sessions(reader)]
    found = (replace(item, doubt=doubts.get(item.session, NO_DOUBT)) for item in items if item is not None)
    return tuple(sorted(found, key=lambda item: item.row))


def item_of(rows: Sequence[Row], policy: ReleasePolicy) -> Item | None:
    """Say what one session waits for; None if for nothing. Pure.

    Args:
        rows: In order; of a closed session that a loop opened, the kinds that tell its state are enough.
        policy: What may be released.
    """
    cut = cut_of(rows)
    if is_governed(rows):
        return _running(rows) if cut is None else _closed(rows, cut, str(cut.data["outcome"]), policy)
    if cut is None or not any(row.kind in ("turn", "breach") for row in rows):
        return None  # a promise that nobody has run yet
    return _closed(rows, cut, _UNGOVERNED, policy)


def _running(rows: Sequence[Row]) -> Item:
    last = next(row for row in reversed(rows) if row.kind in ("open", "close", "resume"))
    command = f"safeloop resume {last.session}"
    if last.kind != "close":
        return _item(rows, last, State.OPEN, None, command)
    undecided = undecided_call(rows)
    if undecided is not None and (state := standing_of(rows, undecided).state) is not Standing.USED:
        if state is Standing.WAITS:
            return _item(rows, last, State.APPROVAL, "suspended", f"safeloop approve {call_id(undecided)}")
    elif suspension_of(last.data["reason"]).needs_person:
        call = next((shell_word(row.data["call"]) for row in reversed(rows) if row.kind == "call"), "CALL")
        command += f" --rerun {call}, or --skip {call}"
    return _item(rows, last, State.SUSPENDED, "suspended", command)


def _closed(rows: Sequence[Row], cut: Row, outcome: str, policy: ReleasePolicy) -> Item | None:
    if any(row.kind in ("release", "erase") for row in rows):
        return None
    decisions = standing_decisions(rows)
    if "reject" in decisions and policy.any_reject_blocks:
        return None
    if decisions.count("accept") < policy.accepts:
        return _item(rows, cut, State.REVIEW, outcome, f"safeloop review {cut.session}")
    releasable = {"completed": True, "breached": policy.accept_breach, "unmet": policy.accept_unmet}
    if not releasable.get(outcome, False):
        return None
    return _item(rows, cut, State.ACCEPTED, outcome, f"safeloop release {cut.session} --to DIR")


def standing_decisions(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the latest signed decision of each reviewer who signed one, by the names in the rows."""
    latest = {row.data["reviewer"]: row.data["decision"] for row in rows if _is_signed(row)}
    return tuple(latest.values())


def _is_signed(row: Row) -> bool:
    return row.kind == "attestation" and row.data["signature"] is not None


def _item(rows: Sequence[Row], since: Row, state: State, outcome: str | None, command: str) -> Item:
    if since.kind == "close":
        data = since.data
        figures, reason = (data["turns"], data["total_tokens"], data["cost_microusd"]), data["reason"]
    else:
        figures, reason = charged(rows), None
    return Item(since.session, state, outcome, since.at, since.id, *figures, reason, command)


def _sessions(reader: LedgerReader) -> Iterator[Sequence[Row]]:
    """Yield the rows that matter, by session: all of them where no `close` row sums them up."""
    for session, stored in reader.by_session(*_TELLING, besides=_DONE):
        if session != LEDGER_SESSION:
            rows = tuple(readable(stored))
            whole = is_governed(rows) and cut_of(rows) is not None
            yield rows if whole else tuple(readable(reader.rows_of(session)))
