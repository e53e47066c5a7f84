"""The audit's sums are the breaker's: each adds up the same rows by itself, and they must come to the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from safeloop.ledger import Row
from safeloop.review.auditing.word.scopes import Account, Pending
from safeloop.spec import Ceilings, Tally

COUNTS = st.integers(0, 2**53 - 1) | st.integers(0, 9)
PRICES = st.none() | COUNTS
TURNS = st.integers(1, 6)
INTENTS = st.fixed_dictionaries({
    "turn": TURNS, "attempt": st.just(1), "reserved_tokens": COUNTS, "reserved_microusd": PRICES, "elapsed_ms": COUNTS,
})  # fmt: skip
NAMED = st.none() | st.integers(0, 12)  # open, settled, later, or no intent at all
REPLIES = st.fixed_dictionaries({
    "turn": st.integers(0, 6), "intent": NAMED, "token_delta": COUNTS, "cost_microusd": PRICES, "elapsed_ms": PRICES,
})  # fmt: skip
ATTEMPTS = st.fixed_dictionaries({
    "turn": TURNS, "intent": NAMED, "charged_tokens": COUNTS, "charged_microusd": PRICES, "elapsed_ms": COUNTS,
    "error": st.just({"class": "Timeout", "status": None, "detail": None}),
})  # fmt: skip
ROWS = st.lists(
    st.tuples(st.just("intent"), INTENTS) | st.tuples(st.just("turn"), REPLIES) | st.tuples(st.just("attempt"), ATTEMPTS),
    max_size=12,
)


def row(n: int, kind: str, data: dict[str, Any]) -> Row:
    return Row(n, b"", b"", "", data, kind, "", n, "", "s", "", "")


@given(drafts=ROWS)
def test_what_a_session_was_charged_is_what_the_breaker_counts(drafts: list[tuple[str, dict[str, Any]]]) -> None:
    account, tally, pending, changes = Account("s", Ceilings(), None), Tally(), dict[int, Pending](), [0, 0]
    for each in (row(n, *draft) for n, draft in enumerate(drafts)):
        tally.add(each)
        if each.kind == "intent":
            account.reserve(each)
            tokens, price = each.data["reserved_tokens"], each.data["reserved_microusd"]
            pending[each.n] = Pending(each.data["turn"], 1, tokens, price, "")
            change = tokens, price or 0
        else:
            change = account.settle(each, pending.pop(each.data["intent"], None))
        changes = [one + more for one, more in zip(changes, change, strict=True)]
        own = account.own
        assert (own.replies, own.unpriced, own.microusd) == (tally.replies, tally.unpriced, tally.microusd)
        assert min(own.tokens, 2**53 - 1) == tally.tokens
        assert [account.tokens, account.microusd] == [own.tokens, own.microusd] == changes
        assert account.turns == tally.turns


@given(drafts=ROWS)
def test_a_childs_charges_are_its_parents_and_its_grandparents(drafts: list[tuple[str, dict[str, Any]]]) -> None:
    first = Account("a", Ceilings(), None)
    second = Account("b", Ceilings(), first)
    third = Account("c", Ceilings(), second)
    for each in (row(n, *draft) for n, draft in enumerate(drafts)):
        third.reserve(each) if each.kind == "intent" else third.settle(each, None)
    sums = [(each.turns, each.tokens, each.microusd) for each in (first, second, third)]
    assert sums[0] == sums[1] == sums[2]
    assert first.own.tokens == second.own.tokens == 0
    assert first.has_children and second.has_children and not third.has_children
