"""`with safeloop.govern(client, ...) as client:` puts code that somebody already has inside a session's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from safeloop.breaker import CircuitBreaker, Price
from safeloop.breaker.pricing import Entry, find_price
from safeloop.errors import SettingError, Suspended
from safeloop.ledger import Ledger, visible
from safeloop.ledger.rows import is_session_id
from safeloop.loop.closing import COMPLETED, SUSPENDED, Ending
from safeloop.loop.events import Listener
from safeloop.loop.governing.flow import Terms
from safeloop.loop.governing.keeper import Keeper
from safeloop.loop.governing.session import GovernedSession
from safeloop.loop.opening import NOBODY, Billing
from safeloop.loop.waiting import MAX_WAIT_S, check_max_wait
from safeloop.models import is_anthropic_client
from safeloop.models.address import shown_address
from safeloop.models.deadline import check_deadline
from safeloop.models.wrap import check_readable
from safeloop.spec import SpecResult

if TYPE_CHECKING:
    from safeloop.loop.governing.middleware import GovernedAttempts

_C = TypeVar("_C")
DEADLINE_S = 600.0
_HINT = "any other client can be given to AgentLoop"


class govern(Generic[_C]):  # noqa: N801 - used like a function
    """A block inside which every reply that a client asks for is bound, reserved, recorded and, at need, refused.

    `with` for a sync client, `async with` for an async one; each gives a client of the same class, to be used as the
    first one: `messages.create`, streamed or not, `messages.stream`, raw responses, tool runners. Leaving the block
    closes the session. One block is one session, and one session has one model.

    Args:
        client: An Anthropic client; it stays as it is, ungoverned.
        spec: What done looks like; its session is the block's.
        breaker: The limits; the spec's own ceilings tighten them. Calls of tools are the block's own code: a
            ceiling on them is refused, and the breaker's on repeats is not in force.
        ledger: Where every step is recorded.
        task: What the session works on, for the reviewer; else what its spec says it does.
        model: The model to be asked; else the first request says it.
        parent: The session that this one is a child of: what is spent here counts there too.
        clamp: Lower a request's `max_tokens` to what is left, as long as that is a useful answer. False refuses.
        allow: Names of what nothing bounds and may be asked for all the same: `web_search_20250305`, `fallbacks`, ...
        allow_estimates: Bound by an estimate what bytes do not bound, where the server has no counter.
        max_wait_s: All waits of one request together, in seconds; a longer one is `Suspended`.
        deadline_s: Seconds that one attempt may take in all, the time in which its reply is read included, whatever
            the client's own timeouts; above 0, at most a day.
        prices: The operator's own prices, before the published ones.
        on_event: Told of every step, in the thread that takes it.
        billing: Who pays, as the provider's usage report names it.

    Raises:
        SettingError: An argument has no meaning; nothing was recorded.
    """

    def __init__(  # noqa: PLR0913 - what is not named in the map's own line is keyword-only, with a default
        self,
        client: _C,
        *,
        spec: SpecResult,
        breaker: CircuitBreaker,
        ledger: Ledger,
        task: str | None = None,
        model: str | None = None,
        parent: str | None = None,
        clamp: bool = True,
        allow: Iterable[str] = (),
        allow_estimates: bool = False,
        max_wait_s: float = MAX_WAIT_S,
        deadline_s: float = DEADLINE_S,
        prices: Iterable[Entry] = (),
        on_event: Listener = lambda _: None,
        billing: Billing = NOBODY,
    ) -> None:
        if not is_anthropic_client(client):
            raise SettingError(f"govern needs an Anthropic client, not {type(client).__name__}", hint=_HINT)
        check_readable(client)
        if not is_session_id(spec.session_id):
            raise SettingError(f"{visible(str(spec.session_id), 60)!r} cannot be a session's id")
        if breaker.ceilings.tool_calls is not None or spec.ceilings.tool_calls is not None or spec.ceilings.repeats:
            raise SettingError(
                "a ceiling on calls of tools, or on repeats, cannot be kept here: the block's own code runs them",
                hint="leave it out, or give the tools and the client to AgentLoop",
            )
        self._client = cast(Any, client)
        check_deadline(deadline_s)
        self._terms = Terms(clamp, frozenset(allow), allow_estimates, check_max_wait(max_wait_s), deadline_s)
        self._prices, self._endpoint = tuple(prices), shown_address(str(self._client.base_url))
        self._session = GovernedSession(
            spec, breaker, ledger, task=spec.what_it_does if task is None else task, model=model,
            endpoint=self._endpoint, price_of=self._price_of, parent=parent, on_event=on_event,
            billing=billing,
        )

    def __enter__(self) -> _C:
        if hasattr(self._client, "__aenter__"):
            raise SettingError("this client is async", hint="async with safeloop.govern(...) as client:")
        self._session.enter()
        return self._governed(lambda governor: governor.handle)

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._leave(error)

    async def __aenter__(self) -> _C:
        if not hasattr(self._client, "__aenter__"):
            raise SettingError("this client is sync", hint="with safeloop.govern(...) as client:")
        self._session.enter()
        return self._governed(lambda governor: governor.handle_async)

    async def __aexit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _governed(self, hook: Any) -> _C:
        from safeloop.loop.governing.middleware import GovernedAttempts  # noqa: PLC0415  imports the SDK's HTTP client

        governor: GovernedAttempts = GovernedAttempts(
            self._session, self._client.with_options(max_retries=0), self._terms
        )
        return cast(_C, Keeper(hook(governor), self._endpoint).governed(self._client, {"max_retries": 0}))

    def _leave(self, error: BaseException | None) -> None:
        """Close the session; an error of the block stays the error even if closing fails too."""
        try:
            self._session.close(_ending(error))
        except Exception as second:
            if error is None:
                raise
            error.add_note(f"and closing failed: {second or type(second).__name__}")

    def _price_of(self, model: str) -> Price | None:
        try:
            return find_price(model, self._endpoint, self._prices)
        except SettingError:  # a cost ceiling, or a limit on a window's cost, refuses what has no price
            return None


def _ending(error: BaseException | None) -> Ending:
    """Say how a block ends that this was raised in."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return Ending(COMPLETED)
    if isinstance(error, Suspended):
        return Ending(SUSPENDED, error.message)
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return Ending(SUSPENDED, f"interrupted by {type(error).__name__}")
    return Ending.of(error)
