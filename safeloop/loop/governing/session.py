"""The session of a governed client: opened once, every attempt a pair of rows, closed when its block is left.

Threads and tasks may ask at the same time. What a row says of the time and of its turn's number is decided and
written under one lock, so that rows are in the order of their clocks and turns are numbered without gaps.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from safeloop.breaker import (
    FREE,
    Bound,
    CircuitBreaker,
    Full,
    Granted,
    Place,
    Price,
    Refused,
    reserve,
)
from safeloop.errors import AttemptFailed, SettingError
from safeloop.ledger import Ledger, visible
from safeloop.ledger.site import MEMORY
from safeloop.loop import place
from safeloop.loop.closing import SUSPENDED, Ending, Product, close_session
from safeloop.loop.events import Closed, Listener, Replied, Reserved, Started
from safeloop.loop.governing.asked import Asked
from safeloop.loop.governing.brake import Brake
from safeloop.loop.governing.keeping import Kept
from safeloop.loop.governing.lineage import Lineage
from safeloop.loop.governing.returning import Standing, standing_of
from safeloop.loop.governing.settling import Ticket, settle_attempt, settle_turn
from safeloop.loop.lock import Runner, held, is_session_live
from safeloop.loop.opening import NOBODY, Billing, Setting, open_session
from safeloop.loop.resuming import resume_session
from safeloop.models import Reply
from safeloop.spec import SpecResult
from safeloop.tools import ToolRegistry

_PROBE_S = 0.25  # rides out another process that only asks whether the lock is held
NO_MODEL = "none was asked"


class GovernedSession:
    """What requests of one client are charged to.

    Args:
        model: The one model that may be asked; None takes the first request's.
        endpoint: Where requests go.
        price_of: Finds a model's price; None where it is not known.
        parent: The session that this one is a child of, whose ceilings hold too.
    """

    def __init__(
        self,
        spec: SpecResult,
        breaker: CircuitBreaker,
        ledger: Ledger,
        *,
        task: str,
        model: str | None,
        endpoint: str,
        price_of: Callable[[str], Price | None],
        parent: str | None,
        on_event: Listener,
        billing: Billing = NOBODY,
    ) -> None:
        self.id = spec.session_id
        self.breaker = breaker.tightened(spec.ceilings)
        # Calls of tools are the block's own code, so that nobody would keep a ceiling on repeats.
        self.ceilings = replace(self.breaker.ceilings, repeats=None)
        self.tell = on_event
        self._spec, self._ledger = spec, ledger
        self._task, self._model, self._endpoint, self._price_of = task, model, endpoint, price_of
        self._parent, self._billing = parent, billing
        self._input_hash = hashlib.sha256(task.encode("utf-8", "surrogatepass")).hexdigest()
        self._lock = threading.RLock()
        self._runner = Runner()
        self._stack = ExitStack()
        self._started = time.monotonic()
        self._price: Price | None = None
        self._kept = Kept(ledger.content)
        self._tickets: set[Ticket] = set()
        self._turn = self._tokens = 0
        self._brake = Brake(ledger, self.breaker, on_event)
        self._output: str | None = None
        self._is_open = self._is_closed = False
        self.lineage = Lineage()

    def enter(self) -> None:
        """Take the session's lock; go on with a session that waits, or open it if its model is known.

        Raises:
            LedgerLocked: Somebody else runs it.
            RuntimeError: It has run already, or was written by hand.
            LedgerError: It can neither begin nor go on.
            SettingError: It is another model's.
        """
        with self._stack:
            self._stack.enter_context(self._held())
            standing = standing_of(self._ledger.rows(self.id), self._spec)
            if standing is not None:
                self._return(standing)
            elif self._model is not None:
                self._open(self._model)
            self._stack = self._stack.pop_all()

    def begin(self, asked: Asked) -> None:
        """Check that a request may be made at all in this session.

        Raises:
            CircuitBreakerError: It was stopped already.
            RuntimeError: Its block was left, or this is a forked child.
            SettingError: It is another model's.
        """
        self._runner.check()
        with self._lock:
            if self._is_closed:
                raise RuntimeError(f"session {self.id} is closed: its block was left, so nothing more is sent")
            self._brake.check()
            model = asked.request.model
            if self._model not in (None, model):
                raise self._other_model(str(self._model), model)
            self._open(model)

    def reserve(self, asked: Asked, bound: Bound, turn: int, attempt: int, owner: object, *, final: bool) -> (
        Ticket | Refused | Full
    ):
        """Reserve an attempt's worst case.

        Args:
            turn: 0 for the next one.
            owner: Who will wait for it.
            final: A refusal is a breach.

        Raises:
            CircuitBreakerError: It does not fit, and `final`; the breach is a row, and the banner was shown.
        """
        with self._lock:
            self._runner.check()
            self._brake.check()
            where = Place(self.id, turn or self._turn + 1, attempt, self._input_hash, self._elapsed_ms())
            self._brake.check_own(where, self._tokens)
            contents, fresh = self._kept.committed(asked)
            decision = reserve(
                self._ledger.append, where, asked.request, bound, self.ceilings, contents,
                price=self._price, final=final, is_live=lambda session: is_session_live(self._ledger.db_path, session),
            )
            if isinstance(decision, Refused) and final:
                self._brake.trip(where, decision.breach, decision.tokens)
            if not isinstance(decision, Granted):
                return decision
            self._kept.mark(fresh)
            self._turn = max(self._turn, where.turn)
            ticket = Ticket(where, decision, asked, owner)
            self._tickets.add(ticket)
            return ticket

    def leaving(self, ticket: Ticket) -> None:
        """Tell of a request that is about to leave."""
        where = ticket.place
        self.tell(Reserved(
            self.id, where.turn, self._tokens, ticket.granted.max_tokens, self.ceilings, where.attempt,
            ticket.granted.spend,
        ))

    def settle(self, ticket: Ticket, outcome: Reply | AttemptFailed) -> None:
        """Record what came of an attempt; once its session is closed, it is in doubt and stays so."""
        with self._lock:
            if ticket not in self._tickets or not self._runner.is_here:
                return
            self._tickets.discard(ticket)
            if isinstance(outcome, AttemptFailed):
                row = settle_attempt(self._ledger, ticket, outcome, self._elapsed_ms()).data
                self._tokens += row["charged_tokens"]
                return
            named = None if outcome.model in (None, self._model) else self._price_of(str(outcome.model))
            row = settle_turn(self._ledger, ticket, outcome, self._elapsed_ms(), self._price, named).data
            self._tokens += row["token_delta"]
            self._output = outcome.text or self._output
            self.lineage.add(ticket.asked, outcome)
            self.tell(Replied(self.id, ticket.place.turn, row["token_delta"], row["stop_reason"]))

    def waits_for_others(self, owner: object) -> bool:
        """Say whether somebody else's attempt at this session is under way, which may give something back."""
        with self._lock:
            return any(ticket.owner != owner for ticket in self._tickets)

    def unlimited_parts(self, asked: Asked) -> tuple[str, ...]:
        """Return the names of what nothing bounds in a request, where what it is about is limited."""
        ceilings = self.ceilings
        has_cost = ceilings.microusd is not None or self._has_cost_windows()
        return (
            *(asked.unbounded if has_cost or ceilings.tokens is not None else ()), *(asked.dearer if has_cost else ())
        )

    @property
    def next_turn(self) -> int:
        """The number of the next turn."""
        return self._turn + 1

    @property
    def left_s(self) -> float | None:
        """Seconds that the session's own time ceiling leaves; None without one."""
        return self.ceilings.left_s(self._elapsed_ms())

    def left_for(self, ticket: Ticket) -> float | None:
        """Seconds that every time ceiling, its ancestors' too, leaves for an attempt; None without one."""
        return ticket.granted.left_s(self._elapsed_ms())

    def check_time(self, ticket: Ticket) -> None:
        """Stop the session if its time is over, now that it has ended an attempt.

        Raises:
            CircuitBreakerError: It is; the breach is a row, and the banner was shown.
        """
        with self._lock:
            if self._is_closed or not self._runner.is_here:
                return
            self._brake.check()
            where = replace(ticket.place, elapsed_ms=self._elapsed_ms())
            self._brake.check_time(where, self._tokens, self.ceilings)

    def close(self, ending: Ending) -> None:
        """Close the session, whose attempts without outcome are in doubt, and let go of its lock."""
        with self._stack, self._lock:
            if self._is_closed or not self._runner.is_here:
                return
            self._is_closed = True
            if not self._is_open and ending.outcome == SUSPENDED:
                return  # it has not begun, and can begin another time
            self._open(self._model or NO_MODEL)
            self._tickets.clear()
            row = close_session(
                self._ledger, self.id, self._brake.ending or ending, Product(output=self._output), self._spec.criteria,
                elapsed_ms=self._elapsed_ms(),
            )
        self.tell(Closed(self.id, row.data["outcome"], row.data["reason"]))

    def _held(self) -> AbstractContextManager[None]:
        if self._ledger.db_path == MEMORY:
            return ExitStack()  # type: ignore[return-value]  # nobody else can have it
        return held(place.lock_path(self._ledger.db_path, self.id), f"session {self.id}", wait_s=_PROBE_S)

    def _has_cost_windows(self) -> bool:
        limits = self._ledger.rows_of_kinds("limits")
        return bool(limits) and any("microusd" in window for window in limits[-1].data.values())

    def _open(self, model: str) -> None:
        if self._is_open:
            return
        self._price = FREE if model == NO_MODEL else self._price_of(model)
        setting = Setting(
            self._spec, self._task, self.ceilings, model, self._endpoint, ToolRegistry(), None, parent=self._parent,
            price=self._price, by_program=True, billing=self._billing,
        )
        open_session(self._ledger, setting)
        self._is_open, self._model = True, model
        self.tell(Started(self.id, model, self.ceilings))

    def _return(self, standing: Standing) -> None:
        """Go on with a session that was suspended, or whose process is gone: what was spent stays spent."""
        if self._model not in (None, standing.model):
            raise self._other_model(standing.model, str(self._model))
        self._price = self._price_of(standing.model)
        resume_session(self._ledger, self.id)
        self.ceilings = self.ceilings.tightened(standing.ceilings)
        self._is_open, self._model, self._turn = True, standing.model, standing.turn
        self._tokens = standing.tokens
        self._started = time.monotonic() - standing.elapsed_ms / 1000
        self.tell(Started(self.id, standing.model, self.ceilings))

    def _other_model(self, opened: str, asked: str) -> SettingError:
        return SettingError(
            f"session {self.id} was opened for {visible(opened, 80)}, not {visible(asked, 80)}",
            hint="one session has one model: govern a client for the other under a spec of its own",
        )

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)
