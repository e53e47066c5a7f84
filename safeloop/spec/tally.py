"""A session's charges, added up row by row: one sum for the breaker before a call and for the audit years later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from safeloop.spec.counts import LARGEST, count_or_none

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKENS = {"intent": "reserved_tokens", "attempt": "charged_tokens", "turn": "token_delta"}
"""The kinds that carry charges, and the key of each one's tokens."""

_MICROUSD = {"intent": "reserved_microusd", "attempt": "charged_microusd", "turn": "cost_microusd"}


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


class Tally:
    """What one session was charged so far, from its rows in order and from nothing else.

    An intent is charged at its reservation until a later `turn` or `attempt` row names it; from then on that row's
    own figure is charged. A figure that is missing, negative or no integer never reduces a sum: the reservation stays
    charged, and an intent whose reservation cannot be read leaves no room.

    Attributes:
        replies: Turns that got their reply: `turn` rows.
        microusd: Millionths of a US dollar, as far as they are known.
        unpriced: Charges and reservations whose price is not known.
    """

    __slots__ = ("_beyond", "_first", "_held", "_tokens", "_unreadable", "microusd", "replies", "unpriced")

    def __init__(self) -> None:
        self.replies = self.microusd = self.unpriced = 0
        self._tokens = 0
        self._held: dict[int, tuple[int, int | None]] = {}
        self._first = 0  # turns 1 to this were asked for
        self._beyond: set[int] = set()  # and these
        self._unreadable = 0

    @property
    def tokens(self) -> int:
        """Settled turns, failed attempts and open reservations together; at most what a row can say."""
        return min(self._tokens, LARGEST)

    @property
    def turns(self) -> int:
        """Turns that were asked for, answered or not."""
        return self._first + len(self._beyond) + self._unreadable

    def add(self, row: SessionRow) -> None:
        """Take in the session's next row; most kinds cost nothing."""
        key = _TOKENS.get(row.kind)
        if key is None:
            return
        tokens, price = count_or_none(row.data.get(key)), count_or_none(row.data.get(_MICROUSD[row.kind]))
        if row.kind == "intent":
            self._release(row.n)
            held = LARGEST if tokens is None else tokens
            self._held[row.n] = (held, price)
            self._charge(held, price)
        else:
            settled = count_or_none(row.data.get("intent"))
            reserved = 0 if settled is None else self._release(settled)
            self._charge(reserved if tokens is None else tokens, price)
            self.replies += row.kind == "turn"
        self._ask(count_or_none(row.data.get("turn")))

    def _charge(self, tokens: int, price: int | None) -> None:
        self._tokens += tokens
        self.microusd += price or 0
        self.unpriced += price is None

    def _release(self, n: int) -> int:
        """End a reservation, and return its tokens; 0 where there is none."""
        tokens, price = self._held.pop(n, (0, 0))
        self._tokens -= tokens
        self.microusd -= price or 0
        self.unpriced -= price is None
        return tokens

    def _ask(self, turn: int | None) -> None:
        """Count a turn once, in a space that does not grow where turns are numbered without gaps from 1."""
        if turn is None:
            self._unreadable += 1
        elif not 1 <= turn <= self._first:
            self._beyond.add(turn)
            while self._first + 1 in self._beyond:
                self._first += 1
                self._beyond.remove(self._first)
