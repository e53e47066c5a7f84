"""Settling: the `turn` row of an attempt that brought its reply, and the `attempt` row of one that did not.

Pure: it builds drafts. What cannot be known is charged in full, and a real figure is written even where it is more
than was reserved.
"""

from __future__ import annotations

from typing import Protocol

from safeloop.breaker.decisions import Granted, Place
from safeloop.breaker.prices import Counts, Price
from safeloop.ledger import Content, Draft, visible
from safeloop.ledger.encoding import MAX_INTEGER

LLM = "llm"


class Usage(Counts, Protocol):
    """What a provider says of a reply, as far as it is believed."""

    @property
    def thinking(self) -> int:
        """The part of `output` that was thinking."""

    @property
    def total(self) -> int:
        """All tokens that count against a ceiling."""


def turn_draft(
    place: Place,
    granted: Granted,
    *,
    usage: Usage | None,
    model: str | None,
    stop_reason: str | None,
    response: Content,
    execution_time_ms: int,
    elapsed_ms: int,
    price: Price | None,
    named: Price | None = None,
    state_origin: str = LLM,
    pass_fail: bool = True,
) -> Draft:
    """Return the `turn` row of a reply, which settles its intent.

    Args:
        usage: None where the provider's figure cannot be believed: the reservation is charged in full.
        model: As the reply names it.
        price: What the reservation was made at; None if it is not known.
        named: What the model costs that the reply names, where it is another and that is known: the dearer is charged.
    """
    tokens = granted.reserved_tokens if usage is None else usage.total
    costs = [cost_of(granted, usage, each) for each in (price, named)]
    cost = max((each for each in costs if each is not None), default=None)
    is_overrun = tokens > granted.reserved_tokens or (cost or 0) > (granted.reserved_microusd or 0)
    data = {
        "turn": place.turn, "attempt": place.attempt, "intent": granted.intent.n, "state_origin": state_origin,
        "model": None if model is None else visible(model), "input_hash": place.input_hash,
        "response": response.commitment, "stop_reason": None if stop_reason is None else visible(stop_reason),
        "usage": None if usage is None else {
            "input": usage.input, "cache_write": usage.cache_write, "cache_read": usage.cache_read,
            "output": usage.output, "thinking": usage.thinking, "searches": usage.searches,
        },
        "token_delta": tokens, "cost_microusd": cost, "execution_time_ms": execution_time_ms,
        "elapsed_ms": elapsed_ms, "pass_fail": pass_fail, "overrun": is_overrun, "breach_reason": None,
    }
    return Draft(place.session, "turn", data, (response,))


def attempt_draft(
    place: Place,
    granted: Granted,
    *,
    in_doubt: bool,
    error_class: str,
    status: int | None,
    detail: Content | None,
    execution_time_ms: int,
    elapsed_ms: int,
) -> Draft:
    """Return the `attempt` row of an attempt without a reply, which settles its intent.

    Args:
        in_doubt: The provider may have billed it: it is charged at its full reservation, else nothing.
        error_class: A short stable name.
        detail: The provider's own words.
    """
    data = {
        "turn": place.turn, "attempt": place.attempt, "intent": granted.intent.n,
        "charged_tokens": granted.reserved_tokens if in_doubt else 0,
        "charged_microusd": granted.reserved_microusd if in_doubt else 0,
        "error": {
            "class": visible(error_class), "status": status, "detail": None if detail is None else detail.commitment,
        },
        "execution_time_ms": execution_time_ms, "elapsed_ms": elapsed_ms, "in_doubt": in_doubt,
    }
    return Draft(place.session, "attempt", data, () if detail is None else (detail,))


def cost_of(granted: Granted, usage: Usage | None, price: Price | None) -> int | None:
    """Return what a reply is charged in micro-dollars; None if its price is not known.

    Usage that cannot be believed, or that holds something without a rate, is charged at the reservation.
    """
    if price is None or granted.reserved_microusd is None:
        return None
    cost = None if usage is None else price.of(usage)
    return granted.reserved_microusd if cost is None else min(cost, MAX_INTEGER)
