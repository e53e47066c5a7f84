"""Whose ceilings a reservation must fit under: the session's own, and those of every ancestor.

A child's spend counts in all of them, so that a child can never spend what its parent could not, and nothing is set
aside that would be lost. A parent was opened before its children, so there are no cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from safeloop.errors import LedgerError
from safeloop.ledger import Row, View
from safeloop.spec import Ceilings, Spend, Tally, spend_in

SESSION, PARENT = "session", "parent"
SUSPENDED = "suspended"  # the one outcome after which a session may go on

IsLive = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Scope:
    """One set of ceilings, and what was charged under them.

    Attributes:
        name: `session`, or `parent` for any ancestor.
        session: Whose ceilings they are.
        spend: What was charged, descendants included.
        live: Tokens and micro-dollars of it that other sessions hold in reserve and whose holders live.
        turn: The number of the next turn under these ceilings.
    """

    name: str
    session: str
    ceilings: Ceilings
    spend: Spend
    live: tuple[int, int]
    turn: int

    @property
    def at_best(self) -> Spend:
        """What would be charged if all that others hold were given back."""
        tokens, microusd = self.live
        return replace(self.spend, tokens=self.spend.tokens - tokens, microusd=self.spend.microusd - microusd)


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A session whose child spends.

    Attributes:
        opened: Its `open` row.
        elapsed_ms: What it had used of its time when the child was opened.
    """

    opened: Row
    elapsed_ms: int


class Family:
    """What sessions that are related were charged, read once in a transaction.

    Args:
        view: The ledger under the write lock.
        session: The one that asks; what it holds itself is nobody else's.
        rows: Its rows.
        is_live: Whether the process that runs a session lives.
    """

    def __init__(self, view: View, session: str, rows: tuple[Row, ...], is_live: IsLive) -> None:
        self._view, self._session, self._is_live = view, session, is_live
        self._tallies = {session: tally_of(rows)}

    def tally(self, session: str) -> Tally:
        """Return the tally of a session's own rows."""
        if session not in self._tallies:
            self._tallies[session] = tally_of(self._view.session(session))
        return self._tallies[session]

    def scope(self, name: str, session: str, ceilings: Ceilings, *, more_turns: int, elapsed_ms: int) -> Scope:
        """Return the scope of a session's ceilings; its own errors count in it, and those of others do not."""
        own = spend_in(self.tally(session))
        live_tokens = live_microusd = 0
        total = replace(own, elapsed_ms=elapsed_ms)
        for other in self._line(session):
            tally = self.tally(other)
            if other != session:
                total = _sum(total, tally)
            tokens, microusd = self._lowered(other)
            total = replace(total, tokens=total.tokens - tokens, microusd=total.microusd - microusd)
            if other != self._session and any(tally.held) and self._is_live(other):
                live_tokens, live_microusd = live_tokens + tally.held[0], live_microusd + tally.held[1]
        return Scope(name, session, ceilings, total, (live_tokens, live_microusd), total.turns + more_turns)

    def _lowered(self, session: str) -> tuple[int, int]:
        """Return what reconciliations with the provider took back of a session's attempts in doubt.

        Of a session that is closed for good nothing is taken back any more, as the audit has it for months gone by.
        """
        doubts = self._view.doubts(session)
        if not doubts or is_closed(self._view, session):
            return 0, 0
        charged = {row.n: row.data for row in self._view.session(session) if row.kind == "attempt"}
        pairs = [(charged[doubt.attempt], doubt) for doubt in doubts if doubt.attempt in charged]
        return (
            sum(row["charged_tokens"] - doubt.tokens for row, doubt in pairs),
            sum((row["charged_microusd"] or 0) - (doubt.microusd or 0) for row, doubt in pairs),
        )

    def _line(self, session: str) -> Iterator[str]:
        """Yield a session and all its descendants, each once: rows that no loop wrote may go in circles."""
        waiting, seen = [session], {session}
        while waiting:
            yield (each := waiting.pop())
            children = [child for child in self._view.children(each) if child not in seen]
            waiting += children
            seen.update(children)


def scopes_of(
    view: View, session: str, rows: tuple[Row, ...], ceilings: Ceilings, turn: int, elapsed_ms: int, is_live: IsLive
) -> Iterator[Scope]:
    """Yield the session's scope, then that of each ancestor, nearest first.

    Args:
        rows: The session's.
        ceilings: The session's.
        turn: The next turn's number in the session; another attempt at a turn is not another turn.
        elapsed_ms: Monotonic time that the session has used.
        is_live: Whether the process that runs a session lives.

    Raises:
        LedgerError: An ancestor is closed for good.
    """
    family = Family(view, session, rows, is_live)
    own = family.tally(session)
    more, elapsed = int(turn > own.turns), max(own.elapsed_ms, elapsed_ms)
    scope = family.scope(SESSION, session, ceilings, more_turns=more, elapsed_ms=elapsed)
    yield replace(scope, turn=max(scope.turn, turn))
    for ancestor in ancestors(view, rows):
        parent = ancestor.opened
        check_open(view, parent.session)
        elapsed += ancestor.elapsed_ms
        in_force = Ceilings.of_row(parent.data["ceilings"])
        scope = family.scope(PARENT, parent.session, in_force, more_turns=more, elapsed_ms=elapsed)
        yield replace(scope, spend=replace(scope.spend, errors=0))


def ancestors(view: View, rows: tuple[Row, ...]) -> Iterator[Ancestor]:
    """Yield a session's ancestors, nearest first.

    Args:
        rows: The session's.

    Raises:
        LedgerError: What is named as a parent was not opened before its child.
    """
    child = next((row for row in rows if row.kind == "open"), None)
    while child is not None and child.data["parent"] is not None:
        found = parent_row(view, child.data["parent"], child.idx)
        before = (row.data.get("elapsed_ms") for row in view.session(found.session) if row.idx < child.idx)
        yield Ancestor(found, max((elapsed for elapsed in before if type(elapsed) is int), default=0))
        child = found


def parent_row(view: View, parent: str, before: int) -> Row:
    """Return the `open` row of a session that is to be a parent of what is opened at a position.

    Raises:
        LedgerError: There was none by then: a session that comes later, or is the child itself, is nobody's parent.
    """
    found = next((row for row in view.session(parent) if row.kind == "open" and row.idx < before), None)
    if found is None:
        raise LedgerError(
            f"session {parent} cannot be a parent: it was not opened before its child", hint="safeloop inbox"
        )
    return found


def check_open(view: View, session: str) -> None:
    """Check that a session is not closed for good: nothing is charged to it, or done in its name, afterwards.

    Raises:
        LedgerError: It is.
    """
    closed = _end(view, session)
    if closed is not None:
        raise LedgerError(
            f"session {session} is closed already: {closed.data['outcome']}, in row {closed.id}",
            hint=f"safeloop review {session}",
        )


def is_closed(view: View, session: str) -> bool:
    """Say whether a session is closed for good."""
    return _end(view, session) is not None


def _end(view: View, session: str) -> Row | None:
    if not view.has(session, "close"):
        return None
    ends = (row for row in view.session(session) if row.kind == "close" and row.data["outcome"] != SUSPENDED)
    return next(ends, None)


def check_running(view: View, session: str) -> None:
    """Check the same, and that a session which was suspended has been resumed: until then nobody works in its name.

    Raises:
        LedgerError: It is closed, or still suspended.
    """
    check_open(view, session)
    if not view.has(session, "close"):
        return
    last = next(row for row in reversed(view.session(session)) if row.kind in ("close", "resume"))
    if last.kind == "close":
        raise LedgerError(f"session {session} is suspended, in row {last.id}", hint=f"safeloop resume {session}")


def tally_of(rows: tuple[Row, ...]) -> Tally:
    """Add up a session's rows."""
    tally = Tally()
    for row in rows:
        tally.add(row)
    return tally


def _sum(total: Spend, tally: Tally) -> Spend:
    return replace(
        total, turns=total.turns + tally.turns, tokens=total.tokens + tally.tokens,
        microusd=total.microusd + tally.microusd, unpriced=total.unpriced + tally.unpriced,
        tool_calls=total.tool_calls + tally.tool_calls,
    )
