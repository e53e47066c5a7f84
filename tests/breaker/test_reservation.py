"""Reserving under the write lock of a real ledger."""

import hashlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeloop.breaker import FREE, Bound, Granted, How, Place, Refused, Request, reserve
from safeloop.ledger import Draft, Ledger
from safeloop.ledger.content import JSON
from safeloop.spec import Ceilings, Reason, Spend

HASH = hashlib.sha256(b"task").hexdigest()


def place(turn=1, attempt=1):
    return Place("s", turn, attempt, HASH, 7)


def request(wanted=1_000, **more):
    return Request("model-\u202ename", "", (), (), wanted, **more)


def reserved(ledger, tokens, ceilings, *, at=None, ask=None, final=True, price=None):
    return reserve(
        ledger.append, at or place(), ask or request(), Bound(tokens, How.BOUND), ceilings,
        (ledger.content(b"[]", JSON),), price=price, final=final,
    )


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.db", keys=tmp_path / "keys")


def settle(ledger, granted, tokens):
    """An attempt that was charged for: it settles the intent as a turn would."""
    data = {
        "turn": granted.intent.data["turn"], "attempt": 1, "intent": granted.intent.n, "charged_tokens": tokens,
        "charged_microusd": None, "error": {"class": "X", "status": None, "detail": None}, "execution_time_ms": 0,
        "elapsed_ms": 0, "in_doubt": True,
    }
    ledger.append(lambda _: (Draft("s", "attempt", data),))


def test_a_granted_attempt_has_its_intent_on_disk_with_every_figure(ledger):
    granted = reserved(ledger, 200, Ceilings(turns=1, tokens=5_000))
    assert granted == Granted(ledger.rows("s")[0], 1_000, 1_200, None, Spend(0, 0, elapsed_ms=7))
    data = dict(granted.intent.data)
    assert data.pop("request")["bytes"] == 2
    assert data == {
        "turn": 1, "attempt": 1, "model": "model-\\u{202e}name", "wanted_max_tokens": 1_000, "max_tokens": 1_000,
        "bound": "bound", "reserved_tokens": 1_200, "reserved_microusd": None, "elapsed_ms": 7,
    }


def test_the_answer_is_clamped_to_exactly_what_is_left(ledger):
    granted = reserved(ledger, 200, Ceilings(tokens=1_500), ask=request(4_000))
    assert (granted.max_tokens, granted.reserved_tokens) == (1_300, 1_500)


def test_room_for_exactly_the_smallest_useful_answer_is_enough_and_one_token_less_is_not(ledger):
    refused = reserved(ledger, 200, Ceilings(tokens=200 + 1_023), ask=request(4_000))
    assert isinstance(refused, Refused)
    assert (refused.breach.reason, refused.breach.next_at_most, refused.tokens) == (Reason.TOKENS, 1_224, 0)
    assert reserved(ledger, 200, Ceilings(tokens=200 + 1_024), ask=request(4_000)).max_tokens == 1_024


@pytest.mark.parametrize(
    ("ask", "smallest"),
    [
        ({"wanted": 10}, 10), ({"wanted": 9_000}, 1_024), ({"wanted": 9_000, "thinks": True}, 4_096),
        ({"wanted": 3_000, "thinks": True}, 3_000),
        ({"wanted": 9_000, "thinks": True, "thinking_budget": 2_000}, 3_024),
    ],
)
def test_a_request_that_lets_the_model_think_needs_more_room_and_its_budget_is_never_cut(ledger, ask, smallest):
    assert isinstance(reserved(ledger, 0, Ceilings(tokens=smallest - 1), ask=request(**ask)), Refused)
    assert reserved(ledger, 0, Ceilings(tokens=smallest), ask=request(**ask)).max_tokens == min(smallest, ask["wanted"])


def test_a_refusal_is_a_breach_row_that_says_which_ceiling_and_by_how_much(ledger):
    settle(ledger, reserved(ledger, 100, Ceilings()), 800)
    refused = reserved(ledger, 500, Ceilings(tokens=1_000), at=place(2))
    assert refused.tokens == 800
    assert ledger.rows("s")[-1].kind == "breach"
    assert ledger.rows("s")[-1].data == {
        "turn": 2, "state_origin": "circuit_breaker", "scope": "session", "input_hash": HASH, "pass_fail": False,
        "token_delta": 0, "execution_time_ms": 0, "breach_reason": "token_ceiling", "limit": 1_000, "spent": 800,
        "next_at_most": 1_500,
    }


def test_a_refusal_that_is_not_final_leaves_no_row(ledger):
    assert isinstance(reserved(ledger, 500, Ceilings(tokens=100), final=False), Refused)
    assert ledger.rows("s") == ()


def test_a_turn_beyond_its_ceiling_is_refused_before_tokens_are_looked_at(ledger):
    refused = reserved(ledger, 10**9, Ceilings(turns=1, tokens=1), at=place(2))
    assert (refused.breach.reason, refused.breach.limit, refused.breach.spent) == (Reason.TURNS, 1, 1)


def test_without_a_token_ceiling_nothing_is_clamped(ledger):
    assert reserved(ledger, 10**6, Ceilings(turns=1), ask=request(64_000)).max_tokens == 64_000


def test_a_client_that_costs_nothing_reserves_no_money_and_any_other_an_unknown_sum(ledger):
    assert reserved(ledger, 1, Ceilings(), price=FREE).intent.data["reserved_microusd"] == 0
    assert reserved(ledger, 1, Ceilings(), at=place(2)).intent.data["reserved_microusd"] is None


def test_an_open_reservation_counts_in_full_until_it_is_settled_and_then_as_what_it_was(ledger):
    ceilings = Ceilings(tokens=2_000)
    first = reserved(ledger, 500, ceilings)
    assert isinstance(reserved(ledger, 500, ceilings, at=place(2), final=False), Refused)
    settle(ledger, first, 300)
    assert reserved(ledger, 500, ceilings, at=place(2)).reserved_tokens == 1_500


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 5_000),
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 3_000), st.floats(0, 1)), min_size=1, max_size=8),
)
def test_whatever_is_asked_and_settled_the_reservations_together_never_pass_the_ceiling(limit, asks):
    ledger = Ledger(":memory:")
    charged = 0
    for turn, (bound, wanted, part) in enumerate(asks, start=1):
        outcome = reserved(ledger, bound, Ceilings(tokens=limit), at=place(turn), ask=request(wanted))
        if isinstance(outcome, Refused):
            assert charged + bound + min(wanted, 1_024) > limit
            continue
        assert charged + outcome.reserved_tokens <= limit
        assert min(wanted, 1_024) <= outcome.max_tokens <= wanted
        billed = round(part * outcome.reserved_tokens)
        settle(ledger, outcome, billed)
        charged += billed


def test_two_that_reserve_at_once_never_get_more_than_there_is_together(tmp_path):
    path, keys = tmp_path / "ledger.db", tmp_path / "keys"
    Ledger(path, keys=keys).close()
    outcomes = []

    def work(number):
        own = Ledger(path, keys=keys)
        for turn in range(5):
            at = place(10 * number + turn + 1)
            outcomes.append(reserved(own, 100, Ceilings(tokens=3_000), at=at, ask=request(500)))
        own.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    granted = [outcome.reserved_tokens for outcome in outcomes if isinstance(outcome, Granted)]
    assert len(outcomes) == 15
    assert granted == [600] * 5
