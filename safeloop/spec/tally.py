"""A session's charges, added up row by row: what the breaker asks before every call.

The audit adds them up by itself, from rows whose form it has checked: the two must agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from safeloop.spec.counts import LARGEST, count_or_none
from safeloop.spec.dry_run import is_not_run

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHARGES = {
    "intent": ("reserved_tokens", "reserved_microusd"), "attempt": ("charged_tokens", "charged_microusd"),
    "turn": ("token_delta", "cost_microusd"),
}  # fmt: skip
"""The kinds that carry charges, and the keys of each one's tokens and micro-dollars."""

BUSY = (429, 503, 529)
"""Statuses of attempts that count neither as an error nor as an end of errors."""


class SessionRow(Protocol):
    """What a tally reads of a row."""

    @property
    def kind(self) -> str:
        """The row's kind."""

    @property
    def n(self) -> int:
        """The row's place in its session, from 0."""

    @property
    def data(self) -> Mapping[str, Any]:
        """The row's data."""


class Turns:
    """Turns that were asked for, each counted once; small where they are numbered without gaps from 1."""

    __slots__ = ("_beyond", "_first")

    def __init__(self) -> None:
        self._first = 0  # turns 1 to this
        self._beyond: set[int] = set()  # and these

    def __len__(self) -> int:
        return self._first + len(self._beyond)

    def add(self, turn: int) -> bool:
        """Count a turn; say whether it is a new one."""
        if turn == self._first + 1 and not self._beyond:
            self._first = turn
            return True
        if 1 <= turn <= self._first or turn in self._beyond:
            return False
        self._beyond.add(turn)
        while self._first + 1 in self._beyond:
            self._first += 1
            self._beyond.remove(self._first)
        return True


class Tally:
    """What one session was charged so far, from its rows in order and from nothing else.

    An intent is charged at its reservation until a later `turn` or `attempt` row names it; from then on that row's
    own figure is charged. A figure that is missing, negative or no integer never reduces a sum: the reservation stays
    charged, and an intent whose reservation cannot be read leaves no room.

    Attributes:
        replies: Turns that got their reply: `turn` rows.
        microusd: Millionths of a US dollar, as far as they are known.
        unpriced: Charges and reservations whose price is not known.
        elapsed_ms: The most that a row says.
    """

    __slots__ = (
        "_asked", "_errors", "_failed", "_held", "_is_answering", "_open_calls", "_passed", "_tokens", "_tools",
        "_unreadable", "elapsed_ms", "microusd", "replies", "unpriced",
    )  # fmt: skip

    def __init__(self) -> None:
        self.replies = self.microusd = self.unpriced = self.elapsed_ms = 0
        self._errors = self._failed = self._passed = self._tools = 0
        self._is_answering = False
        self._open_calls: set[tuple[Any, Any]] = set()
        self._tokens = 0
        self._held: dict[int, tuple[int, int | None]] = {}
        self._asked = Turns()
        self._unreadable = 0

    @property
    def tokens(self) -> int:
        """Settled turns, failed attempts and open reservations together; at most what a row can say."""
        return min(self._tokens, LARGEST)

    @property
    def turns(self) -> int:
        """Turns that were asked for, answered or not."""
        return len(self._asked) + self._unreadable

    @property
    def tool_calls(self) -> int:
        """Calls of tools: those that were answered, and those that may have run."""
        return self._tools + len(self._open_calls)

    @property
    def open_calls(self) -> frozenset[tuple[Any, Any]]:
        """Turn and id of calls that may have run, and were not answered."""
        return frozenset(self._open_calls)

    @property
    def errors(self) -> int:
        """Consecutive errors: replies whose calls all failed, and failed attempts other than by a busy server."""
        if not self._is_answering:
            return self._errors
        return self._errors + 1 if self._failed and not self._passed else 0

    @property
    def held(self) -> tuple[int, int]:
        """Tokens and micro-dollars of open reservations."""
        return sum(tokens for tokens, _ in self._held.values()), sum(price or 0 for _, price in self._held.values())

    def add(self, row: SessionRow) -> None:
        """Take in the session's next row; most kinds cost nothing."""
        kind, data = row.kind, row.data
        elapsed_ms = data.get("elapsed_ms")
        if type(elapsed_ms) is int and elapsed_ms > self.elapsed_ms:
            self.elapsed_ms = elapsed_ms
        figures = _CHARGES.get(kind)
        if figures is None:
            self._act(row)
            return
        tokens, price = count_or_none(data.get(figures[0])), count_or_none(data.get(figures[1]))
        if kind == "intent":
            self._release(row.n)
            self._end_batch()
            tokens = LARGEST if tokens is None else tokens
            self._held[row.n] = (tokens, price)
        else:
            settled = count_or_none(data.get("intent"))
            reserved = 0 if settled is None else self._release(settled)
            tokens = reserved if tokens is None else tokens
            self._answer(row)
        self._tokens += tokens
        self.microusd += price or 0
        self.unpriced += price is None
        turn = count_or_none(data.get("turn"))
        if turn is None:
            self._unreadable += 1
        else:
            self._asked.add(turn)

    def _answer(self, row: SessionRow) -> None:
        """Take in what came of an attempt."""
        if row.kind == "turn":
            self.replies += 1
            self._end_batch()
            self._is_answering = True
        elif _status(row.data) not in BUSY:
            self._errors += 1

    def _act(self, row: SessionRow) -> None:
        """Take in what was done with a call of a tool."""
        if row.kind not in ("call", "tool"):
            return
        call = row.data.get("turn"), row.data.get("call")
        if row.kind == "call":
            self._open_calls.add(call)
            return
        self._open_calls.discard(call)
        self._tools += 1
        if row.data.get("pass_fail") is True:
            self._passed += 1
        elif not is_not_run(row.data):
            self._failed += 1

    def _end_batch(self) -> None:
        """Count the last reply's calls as one error if all failed; a reply that was answered otherwise ends errors."""
        if self._is_answering:
            self._errors, self._is_answering = self.errors, False
        self._failed = self._passed = 0

    def _release(self, n: int) -> int:
        """End a reservation, and return its tokens; 0 where there is none."""
        if n not in self._held:
            return 0
        tokens, price = self._held.pop(n)
        self._tokens -= tokens
        self.microusd -= price or 0
        self.unpriced -= price is None
        return tokens


def _status(data: Mapping[str, Any]) -> object:
    error = data.get("error")
    return error.get("status") if isinstance(error, dict) else None
