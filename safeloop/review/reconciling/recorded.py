"""What a ledger says of calls: the replies, and what may have been billed without one. From rows alone.

The attempts of one turn are one logical call. Its reply must have been billed as its row has it; each attempt in doubt,
and each intent without an outcome, may have been billed, up to its reservation; every other attempt was not. What a
reconciliation settled an attempt to is all that it may have been billed from then on: a bill beyond it is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import LEDGER_SESSION, Row, parse_row
from safeloop.review.reconciling.counts import NOTHING, Counts
from safeloop.review.reconciling.report import SECOND, Payer

LONGEST: Final = 86_400 * SECOND
"""A request goes on for no longer than this: the longest deadline that an adapter takes."""

LINGERS: Final = 3_600 * SECOND
"""How long a provider may go on with a request that nobody waits for any more."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: Final = ("open", "intent", "turn", "attempt", "reconcile")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a session's `open` row says of who pays.

    Attributes:
        asked: The model, as it is asked for.
    """

    endpoint: str
    asked: str
    payer: Payer


@dataclass(frozen=True, slots=True)
class Call:
    """One part of a logical call that may be on the bill: a reply, or an attempt of which nobody knows.

    Attributes:
        turn: With the session, the logical call that it belongs to.
        n: Of the row that settled it: `turn` or `attempt`; else of the intent.
        begins: The earliest moment at which it may be billed, by the ledger's clock, in microseconds.
        ends: The latest.
        asked: The model that was asked.
        served: The model that the reply names; None without a reply.
        counts: What the reply was recorded with; nothing where that is not known.
        most: Tokens that it may have been billed at most beyond `counts`: where `counts` is nothing, its reservation,
            or what a reconciliation settled it to.
        is_doubt: Its row is an attempt in doubt: what it is charged may be lowered.
    """

    session: str
    turn: int
    n: int
    begins: int
    ends: int
    asked: str
    served: str | None
    payer: Payer
    counts: Counts = NOTHING
    most: int = 0
    is_doubt: bool = False

    @property
    def is_certain(self) -> bool:
        """Whether it is known what it must have been billed."""
        return self.most == 0

    @property
    def model(self) -> str:
        """The model under which it is looked for: the one that answered, or the one that was asked."""
        return self.asked if self.served is None else self.served


@dataclass(frozen=True, slots=True)
class Recorded:
    """The calls of a ledger.

    Attributes:
        calls: Those whose time touches the report's, by time.
        elsewhere: How many replies came from each other endpoint: there is no report about them.
        keys: Every public id of an API key that an `open` row names.
        workspaces: The same of workspaces.
    """

    calls: tuple[Call, ...]
    elsewhere: Mapping[str, int]
    keys: frozenset[str]
    workspaces: frozenset[str]


@dataclass(slots=True)
class _Lowered:
    """What reconciliations settled attempts in doubt to.

    Attributes:
        tokens: By session and place of the `attempt` row, the lowest.
    """

    tokens: dict[tuple[str, int], int] = field(default_factory=dict)
    _doubts: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)

    def note(self, attempt: Row) -> None:
        """Take in an attempt in doubt: it goes by its own `n` and by its intent's."""
        name = (attempt.session, attempt.n)
        self._doubts[name] = self._doubts[attempt.session, attempt.data["intent"]] = name

    def reconcile(self, row: Row) -> None:
        """Take in what a row settles; what was not in doubt before it is not settled by it."""
        for item in row.data["settled"]:
            name = self._doubts.get((item["session"], item["n"]))
            if name is not None and row.session in (LEDGER_SESSION, item["session"]):
                self.tokens[name] = min(item["billed_tokens"], self.tokens.get(name, item["billed_tokens"]))

    def capped(self, call: Call) -> Call | None:
        """Return what a call may still have been billed; None if it was settled to nothing."""
        most = self.tokens.get((call.session, call.n), call.most) if call.is_doubt else call.most
        if most >= call.most:
            return call
        return replace(call, most=most) if most else None


def recorded_calls(
    reader: LedgerReader, begins: int, ends: int, *, endpoints: Iterable[str], unnamed: Payer
) -> Recorded:
    """Read the calls that may be billed in a time; the caller widens it by what clocks may differ.

    Rows are taken as they stand: whether they do is an audit's question. Rows that were written by hand settled no
    intent, and are no calls.

    Args:
        endpoints: Whose bill it is.
        unnamed: Who pays for a session that does not say, None where that is not known.
    """
    billed, opened, lowered = frozenset(endpoints), dict[str, Opened](), _Lowered()
    elsewhere: dict[str, int] = {}
    keys, workspaces, calls = set[str](), set[str](), list[Call]()
    for intent, outcome in _settled(reader, opened, lowered):
        of = opened.get(intent.session)
        if of is None:
            continue
        call = _call(of, unnamed, intent, outcome)
        if call is None or call.ends < begins or call.begins > ends:
            continue
        if of.endpoint not in billed:
            elsewhere[of.endpoint] = elsewhere.get(of.endpoint, 0) + 1
        else:
            calls.append(call)
    for each in opened.values():
        keys.update(filter(None, [each.payer.api_key_id]))
        workspaces.update(filter(None, [each.payer.workspace]))
    calls = [each for each in map(lowered.capped, calls) if each is not None]
    calls.sort(key=lambda call: (call.begins, call.ends, call.session, call.n))
    return Recorded(tuple(calls), elsewhere, frozenset(keys), frozenset(workspaces))


def _settled(
    reader: LedgerReader, opened: dict[str, Opened], lowered: _Lowered
) -> Iterator[tuple[Row, Row | None]]:
    """Yield each intent with what settled it, or None; note on the way who opened what, and what was lowered."""
    pending: dict[tuple[str, int], Row] = {}
    for stored in reader.rows_of_kinds(*_KINDS):
        row = parse_row(*stored)
        if row.kind == "open":
            payer = Payer(row.data["api_key_id"], row.data["billing_workspace"])
            opened.setdefault(row.session, Opened(row.data["endpoint"], row.data["model"], payer))
        elif row.kind == "intent":
            pending[row.session, row.n] = row
        elif row.kind == "reconcile":
            lowered.reconcile(row)
        else:
            intent = pending.pop((row.session, row.data["intent"]), None)
            if intent is not None:
                if row.kind == "attempt" and row.data["in_doubt"]:
                    lowered.note(row)
                yield intent, row
    for intent in pending.values():
        yield intent, None


def _call(opened: Opened, unnamed: Payer, intent: Row, outcome: Row | None) -> Call | None:
    """Return what may be on the bill; None for an attempt that provably cost nothing."""
    said, began = intent.data, microseconds(intent.at)
    asked, reserved = said["model"], said["reserved_tokens"]
    payer = Payer(opened.payer.api_key_id or unnamed.api_key_id, opened.payer.workspace or unnamed.workspace)
    if outcome is None:
        ends = began + LONGEST + LINGERS
        return Call(intent.session, said["turn"], intent.n, began, ends, asked, None, payer, most=max(reserved, 1))
    settled = microseconds(outcome.at)
    if outcome.kind == "attempt":
        if not outcome.data["in_doubt"]:
            return None
        ends = max(began, min(settled, began + LONGEST)) + LINGERS
        most = max(reserved, outcome.data["charged_tokens"], 1)
        return Call(intent.session, said["turn"], outcome.n, began, ends, asked, None, payer, most=most, is_doubt=True)
    told, served = outcome.data["usage"], outcome.data["model"]
    counts = NOTHING if told is None else Counts(*(told[name] for name in _USAGE))
    most = max(outcome.data["token_delta"], reserved, 1) if told is None else 0
    begins, ends = min(began, settled), max(began, settled)
    return Call(intent.session, said["turn"], outcome.n, begins, ends, asked, served, payer, counts, most)


_USAGE: Final = ("input", "cache_write", "cache_read", "output", "searches")


def microseconds(at: str) -> int:
    """Return a row's time."""
    return (datetime.fromisoformat(at) - _EPOCH) // timedelta(microseconds=1)
