"""The ledger at a glance: sessions by outcome, what they spent, what stopped them, and how long reviewers took.

Navigation, and no evidence, as the inbox: it reads what indexes and derived figures lead to and checks no signature.
It holds one session's rows at a time. Besides, memory grows by eight bytes for each row that tells what a session is
(`LedgerReader.by_session`), by fewer than a hundred for each attested session, and by what is or was in doubt
(`doubts_of`). Times are the writer's claims. A session counts where its first row's `at` is not before `since`; windows
are those open now, whatever `since`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from safeloop.ledger import Row
from safeloop.ledger.rows import LEDGER_SESSION, timestamp
from safeloop.ledger.upkeep.limiting import Used, limits_of, used
from safeloop.review.cut import cut_of, is_governed
from safeloop.review.doubts import NO_DOUBT, Doubt, doubts_of
from safeloop.review.glance import charged, readable
from safeloop.review.inbox import Wait, item_of, standing_decisions
from safeloop.review.releasing.policy import ReleasePolicy
from safeloop.spec.dry_run import is_dry_run
from safeloop.spec.spend import Reason

if TYPE_CHECKING:
    from safeloop.ledger.reader import LedgerReader

_TELLING = ("open", "close", "breach", "attestation", "release", "erase")
_OUTCOMES = ("completed", "unmet", "breached", "failed", "refused")
_OPEN = {
    Wait.APPROVAL: "approval", Wait.CALL: "call", Wait.QUOTA: "quota", Wait.WINDOW: "window", Wait.RESUME: "stopped",
    Wait.RUNNER: "open",
}
_DRY_RUN, _UNGOVERNED, _IMPORTED, _NOT_RUN = "dry run", "ungoverned", "imported", "not run"
_OTHER = "other"

LABELS = (*_OUTCOMES, _DRY_RUN, _UNGOVERNED, _IMPORTED, *_OPEN.values(), _NOT_RUN)
"""What a session is counted as, in this order: how it ended, or what it waits for while it has not ended.

`open` is running or crashed: its lock tells which. `stopped` waits for nothing but a `resume`. `not run` is a promise
alone. A dry run ends as `failed` and is counted apart.
"""


@dataclass(frozen=True, slots=True)
class Attested:
    """How long sessions waited from their close to the first signed attestation, whoever signed it.

    Attributes:
        count: Those that have one.
        median_s: Seconds; None where there is none. Times that ran backwards are left out, here and in `longest_s`.
        longest_s: The same.
        backwards: Attestations that claim to be older than what they are about: a clock was set.
        awaited: Sessions that ended, are not erased, and have none yet.
    """

    count: int
    median_s: int | None
    longest_s: int | None
    backwards: int
    awaited: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """One state of a ledger, in figures; nothing of it is verified.

    Attributes:
        since: The `at` from which sessions count, by their first row, inclusive; None counts all.
        sessions: How many by each of `LABELS`, in that order, those that do not occur too.
        released: Sessions with a release.
        rejected: Sessions that some reviewer's latest signed decision rejects; the inbox lists none of these, unless
            the policy lets a reject block nothing.
        erased: Sessions of which content was erased; they stay counted as what they are.
        breaches: How many by reason, most first; `other` is what no breaker of ours has written.
        turns: Answered ones.
        tokens: Charged, those in doubt too; what reconciliations took off is off.
        tokens_in_doubt: Of them, those of attempts whose outcome nobody knows, or that run now.
        microusd_in_doubt: The price of these, in micro-dollars, which is no part of `cost_microusd`; None if not known.
        cost_microusd: Of answered turns; None as soon as one of them has no known cost.
        known_microusd: The same of the sessions whose cost is known.
        unpriced: Sessions whose cost is not known.
        windows: Each limit of hour, day and month that is in force, and how much of it is used now by all sessions.
        attested: How long reviewers took.
    """

    since: str | None
    sessions: tuple[tuple[str, int], ...]
    released: int
    rejected: int
    erased: int
    breaches: tuple[tuple[str, int], ...]
    turns: int
    tokens: int
    tokens_in_doubt: int
    microusd_in_doubt: int | None
    cost_microusd: int | None
    known_microusd: int
    unpriced: int
    windows: tuple[Used, ...]
    attested: Attested

    @property
    def session_count(self) -> int:
        """All sessions that count."""
        return sum(number for _, number in self.sessions)


@dataclass(frozen=True, slots=True)
class Account:
    """One session's part.

    Attributes:
        label: One of `LABELS`.
        turns: Answered ones.
        cost_microusd: None where it is not known.
        breaches: The reason of each.
        attested_after_s: Seconds from its close to the first signed attestation; less than 0 where a clock was set.
        awaits_attestation: It ended, and nobody has signed.
    """

    label: str
    turns: int
    tokens: int
    cost_microusd: int | None
    breaches: tuple[str, ...]
    attested_after_s: int | None
    awaits_attestation: bool
    is_released: bool
    is_rejected: bool
    is_erased: bool


def statistics(reader: LedgerReader, since: datetime | None, now: datetime) -> Statistics:
    """Count a ledger, in one snapshot.

    Args:
        reader: The ledger.
        since: Aware; sessions whose first row is older do not count. None counts all.
        now: Aware; it tells which windows are open.

    Raises:
        VerificationError: A row that is needed cannot be read.
    """
    begins = None if since is None else timestamp(since.astimezone(UTC))
    sums = _Sums()
    with reader.snapshot():
        doubts = doubts_of(reader)
        for session, rows in _sessions(reader, begins):
            account = account_of(rows)
            if account is not None:
                sums.add(account, doubts.get(session, NO_DOUBT))
        windows = used(reader, limits_of(reader), timestamp(now.astimezone(UTC)))
    return sums.statistics(begins, windows)


def account_of(rows: Sequence[Row]) -> Account | None:
    """Count one session; None for the record of an import, which is none. Pure.

    Args:
        rows: In order; of a session that a loop opened and that has ended, the kinds that tell its state are enough.
    """
    if not is_governed(rows):
        return _by_hand(rows)
    cut = cut_of(rows)
    if cut is None:
        item = item_of(rows, ReleasePolicy())
        return None if item is None else _account(rows, _OPEN[item.waits_for], *charged(rows))
    opened = next(row for row in rows if row.kind == "open")
    label = _DRY_RUN if is_dry_run(opened.data) else str(cut.data["outcome"])
    return _account(
        rows, label, cut.data["turns"], cut.data["total_tokens"], cut.data["cost_microusd"], ended=cut,
    )


def _by_hand(rows: Sequence[Row]) -> Account | None:
    said = [row for row in rows if row.kind in ("turn", "breach")]
    if said and all(row.data["state_origin"] == "import" for row in said):
        return None
    label = _NOT_RUN if not said else _IMPORTED if rows[0].session.startswith("import:") else _UNGOVERNED
    return _account(rows, label, *charged(rows), ended=cut_of(rows) if said else None)


def _account(
    rows: Sequence[Row], label: str, turns: int, tokens: int, cost: int | None, *, ended: Row | None = None
) -> Account:
    signed = next((row for row in rows if row.kind == "attestation" and row.data["signature"] is not None), None)
    is_erased = any(row.kind == "erase" for row in rows)
    return Account(
        label, turns, tokens, cost,
        tuple(str(row.data["breach_reason"]) for row in rows if row.kind == "breach"),
        None if ended is None or signed is None else _seconds(ended.at, signed.at),
        ended is not None and signed is None and not is_erased,
        any(row.kind == "release" for row in rows), "reject" in standing_decisions(rows), is_erased,
    )


def _seconds(earlier: str, later: str) -> int:
    # Towards the past: half a second backwards is backwards.
    return int((datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds() // 1)


def _sessions(reader: LedgerReader, begins: str | None) -> Iterator[tuple[str, Sequence[Row]]]:
    """Yield the sessions that count: their telling rows, or all where no `close` row sums them up."""
    for session, stored in reader.by_session(*_TELLING):
        if session == LEDGER_SESSION or (begins is not None and _first_at(reader, session) < begins):
            continue
        rows = tuple(readable(stored))
        whole = is_governed(rows) and cut_of(rows) is not None
        yield session, rows if whole else tuple(readable(reader.rows_of(session)))


def _first_at(reader: LedgerReader, session: str) -> str:
    first = next(readable([stored] if (stored := reader.row_of(session, 0)) else ()), None)
    return "" if first is None else first.at


class _Sums:
    """What accounts add up to."""

    def __init__(self) -> None:
        self._labels: Counter[str] = Counter()
        self._breaches: Counter[str] = Counter()
        self._durations = array("q")
        self._turns = self._tokens = self._known = self._unpriced = self._doubt = self._doubt_microusd = 0
        self._is_doubt_priced = True
        self._released = self._rejected = self._erased = self._awaited = 0

    def add(self, account: Account, doubt: Doubt) -> None:
        """Take in a session, and what of it is in doubt."""
        self._labels[account.label] += 1
        self._breaches.update(reason if reason in set(Reason) else _OTHER for reason in account.breaches)
        self._turns += account.turns
        self._tokens += account.tokens - doubt.lowered
        self._doubt += doubt.tokens
        self._doubt_microusd += doubt.microusd or 0
        self._is_doubt_priced &= doubt.microusd is not None
        self._known += account.cost_microusd or 0
        self._unpriced += account.cost_microusd is None
        self._released += account.is_released
        self._rejected += account.is_rejected
        self._erased += account.is_erased
        self._awaited += account.awaits_attestation
        if account.attested_after_s is not None:
            self._durations.append(account.attested_after_s)

    def statistics(self, since: str | None, windows: tuple[Used, ...]) -> Statistics:
        """Return the sums."""
        forward = [each for each in self._durations if each >= 0]
        attested = Attested(
            len(self._durations), int(median(forward)) if forward else None, max(forward, default=None),
            len(self._durations) - len(forward), self._awaited,
        )
        breaches = sorted(self._breaches.items(), key=lambda each: (-each[1], each[0]))
        return Statistics(
            since, tuple((label, self._labels[label]) for label in LABELS), self._released, self._rejected,
            self._erased, tuple(breaches), self._turns, self._tokens, self._doubt,
            self._doubt_microusd if self._is_doubt_priced else None,
            None if self._unpriced else self._known, self._known, self._unpriced, windows, attested,
        )
