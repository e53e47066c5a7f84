"""Loops that spend what they must not: intents, charges, ceilings, parents, windows; each beside its near miss."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.spec import ToolGrant
from tests.review.auditing.loops import Book, Loop, judged
from tests.review.sessions import CEILINGS

LOOK = ("read_file", "read")


def only(book: Book) -> tuple[str, int, str]:
    (found,) = judged(book)
    return found


def test_a_session_that_keeps_its_word_is_not_accused() -> None:
    book = Book()
    loop = Loop(book).begin().step(100).ask().fail().ask(turn=2, attempt=2).fail(5_000, in_doubt=True, status=None)
    loop.asked = 2
    loop.step(300).plan().act().act("read_file", "read", name="c2").end()
    assert judged(book) == []


def test_a_reply_without_an_intent_is_found() -> None:
    book = Book()
    Loop(book).begin().ask().reply().reply(intent=None, turn=2).end()
    assert ("intent", 5, "turn 2 names no intent") in judged(book)


def test_an_intent_is_settled_once() -> None:
    book = Book()
    Loop(book).begin().ask().reply().reply().end()
    assert only(book) == ("intent", 5, "turn 1 names n 2, where no intent is open")


def test_an_intent_of_another_turn_is_not_settled() -> None:
    book = Book()
    Loop(book).begin().ask().reply(turn=2).end()
    assert only(book) == ("intent", 4, "is attempt 1 at turn 2, and its intent at n 2 is attempt 1 at turn 1")


@pytest.mark.parametrize(("turn", "attempt"), [(3, 1), (1, 1), (1, 2), (2, 2)])
def test_turns_and_attempts_are_counted_without_gaps_and_answered_turns_are_not_asked_again(
    turn: int, attempt: int
) -> None:
    book = Book()
    Loop(book).begin().step().ask(turn=turn, attempt=attempt).reply().end()
    assert only(book) == (
        "intent", 5, f"asks for attempt {attempt} at turn {turn}, where attempt 1 at turn 2 should follow"
    )


def test_a_retry_is_the_next_attempt() -> None:
    book = Book()
    Loop(book).begin().ask().fail().ask(turn=1, attempt=3).fail().end()
    assert only(book)[2] == ("asks for attempt 3 at turn 1, where attempt 1 at turn 2 should follow, "
                             "or attempt 2 at turn 1")


def test_another_model_than_the_session_was_opened_for_is_found() -> None:
    book = Book()
    Loop(book).begin().ask(model="dear").reply().end()
    assert only(book) == ("intent", 3, "asks model dear, and the session was opened for scripted")


def test_max_tokens_above_what_was_wanted_or_reserved_is_found_and_exactly_that_is_not() -> None:
    book = Book()
    loop = Loop(book).begin().ask(100, max_tokens=100, wanted_max_tokens=100).reply()
    assert judged(book) == []
    loop.ask(100, max_tokens=101, wanted_max_tokens=100).reply()
    assert judged(book) == [
        ("reservation", 5, "max_tokens 101 is above wanted_max_tokens 100"),
        ("reservation", 5, "max_tokens 101 is above reserved_tokens 100"),
    ]


@pytest.mark.parametrize("more", [0, 1])
def test_a_token_ceiling_may_be_spent_exactly(more: int) -> None:
    book = Book()
    Loop(book).begin({"tokens": 1_000}).step(400, 500).ask(600 + more)
    words = "granted beyond the token_ceiling of 1,000: 400 charged and 601 asked for"
    assert judged(book) == [("ceiling", 5, words)] * more


@pytest.mark.parametrize("reserved", [500, 501])
def test_open_intents_and_attempts_in_doubt_stay_charged_in_full(reserved: int) -> None:
    book = Book()
    loop = Loop(book).begin({"tokens": 1_000}).ask(300).fail(300, in_doubt=True, status=None)
    loop.ask(200).ask(reserved)
    assert [found[0] for found in judged(book)] == ["ceiling"] * (reserved - 500)


@pytest.mark.parametrize("turns", [2, 3])
def test_a_turn_ceiling_may_be_reached_and_not_passed(turns: int) -> None:
    book = Book()
    loop = Loop(book).begin({"turns": 2})
    for _ in range(turns):
        loop.step()
    words = "granted beyond the turn_ceiling of 2: 2 charged and 1 asked for"
    assert judged(book) == [("ceiling", 7, words)] * (turns - 2)


@pytest.mark.parametrize(("price", "words"), [
    (500, []), (501, ["granted beyond the cost_ceiling of 700: 200 charged and 501 asked for"]),
    (None, ["granted without a price under the cost_ceiling of 700"]),
])
def test_a_cost_ceiling_is_held_and_nothing_is_bought_without_a_price(price: int | None, words: list[str]) -> None:
    book = Book()
    Loop(book).begin({"microusd": 700}).ask(reserved_microusd=300).reply(cost_microusd=200).ask(reserved_microusd=price)
    assert [found[2] for found in judged(book)] == words


def test_a_time_ceiling_is_held_and_the_clock_is_not_set_back() -> None:
    book = Book()
    loop = Loop(book).begin({"elapsed_ms": 1_000}).ask(elapsed_ms=10).reply(elapsed_ms=900).ask(elapsed_ms=1_000)
    assert judged(book) == []
    loop.reply(elapsed_ms=1_001).ask(elapsed_ms=5)
    assert judged(book) == [
        ("ceiling", 7, "sets its clock back: 5 ms elapsed, and an earlier row of its session says 1,001"),
        ("ceiling", 7, "granted beyond the time_ceiling of 1,000: 1,001"),
    ]


def test_the_clock_of_an_intent_is_not_set_back_by_what_settles_it() -> None:
    book = Book()
    Loop(book).begin({"elapsed_ms": 1_000}).ask(elapsed_ms=500).reply(elapsed_ms=0).ask(elapsed_ms=499)
    assert judged(book) == [
        ("ceiling", 5, "sets its clock back: 499 ms elapsed, and an earlier row of its session says 500")
    ]


def test_tool_calls_are_counted_where_they_ran() -> None:
    book = Book()
    loop = Loop(book).begin({"tool_calls": 2}).step().plan(*LOOK).act(*LOOK).act("nope", "read", error="E", ms=0)
    loop.plan().act(error="E")
    assert judged(book) == []
    loop.plan()
    assert judged(book) == [("ceiling", 10, "is tool call 3 under the tool_ceiling of 2")]


def test_calls_of_descendants_count_in_every_ancestor_whatever_they_are_allowed_themselves() -> None:
    book = Book()
    Loop(book, "p").begin({"tool_calls": 9}).plan().act()
    middle = Loop(book, "m").begin({"tool_calls": 2}, parent="p").plan().act()
    low = Loop(book, "c").begin({}, parent="m").plan().act()
    assert judged(book) == []
    low.plan(*LOOK, name="c2").act(*LOOK, name="c2")
    assert judged(book) == [("parent", 13, "of session m: is tool call 3 under the tool_ceiling of 2")]
    middle.plan(name="c3")
    assert judged(book)[1:] == [("ceiling", 15, "is tool call 4 under the tool_ceiling of 2")]


def test_where_calls_are_limited_a_read_says_so_before_it_runs() -> None:
    """Others of the family could not count it otherwise, until it is over."""
    book = Book()
    Loop(book, "free").begin({}).act(*LOOK)
    Loop(book, "p").begin({"tool_calls": 9})
    Loop(book, "c").begin({}, parent="p").act(*LOOK).act(*LOOK, error="E", ms=0)
    assert judged(book) == [("call", 8, "read_file (read) ran without a call row before it")]


def test_calls_in_a_family_of_which_a_row_is_missing_are_not_held_against_it() -> None:
    book = Book()
    Loop(book, "p").begin({"tool_calls": 1})
    child = Loop(book, "c").begin({}, parent="p").plan()
    alone = Loop(book, "a").begin({"tool_calls": 1}).plan().plan(name="c2")
    child.plan(name="c2")
    assert [(rule, row) for rule, row, _ in judged(book)] == [("ceiling", 9), ("parent", 10)]
    assert [(rule, row) for rule, row, _ in judged(book, without=(5,))] == [("ceiling", 9)]
    assert alone.asked == 0


def test_three_errors_in_a_row_may_be_followed_by_another_try_and_four_not() -> None:
    book = Book()
    loop = Loop(book).begin({"errors": 3}).ask().fail(status=500).ask(turn=1, attempt=2).fail(status=429)
    loop.ask(turn=1, attempt=3).reply().act("x", "read", error="E", ms=0)
    loop.ask(turn=2).fail(status=None).ask(turn=2, attempt=2)
    assert judged(book) == []
    loop.fail(status=500).ask(turn=2, attempt=3)
    assert judged(book) == [("ceiling", 14, "granted beyond the error_ceiling of 3: 4")]
    loop.reply().ask(turn=3).fail(status=500).ask(turn=3, attempt=2)  # a reply without calls ends the errors
    assert len(judged(book)) == 1


@pytest.mark.parametrize(("changes", "words"), [
    ({"token_delta": 99}, "charges 99 tokens, and its usage is 100"),
    ({"usage": None, "token_delta": 4_999}, "charges 4,999 tokens for a reply without usage, and 5,000 were reserved"),
    ({"usage": None, "token_delta": 5_000}, ""),
    ({"cost_microusd": None}, "charges no price for a reply, and 0 microusd were reserved"),
])
def test_what_was_used_is_charged_and_what_is_not_known_in_full(changes: dict[str, object], words: str) -> None:
    book = Book()
    Loop(book).begin().ask().reply(**changes)
    assert [found[2] for found in judged(book)] == [words] * bool(words)


def test_an_attempt_in_doubt_is_charged_in_full_in_tokens_and_in_money() -> None:
    book = Book()
    Loop(book).begin().ask(reserved_microusd=7).fail(4_999, in_doubt=True, charged_microusd=None)
    assert judged(book) == [
        ("charge", 4, "charges 4,999 tokens for an attempt in doubt, and 5,000 were reserved"),
        ("charge", 4, "charges no price for an attempt in doubt, and 7 were reserved"),
    ]


def test_an_overrun_is_called_one() -> None:
    book = Book()
    Loop(book).begin().ask(100, max_tokens=50).reply(101).ask(100, max_tokens=50).reply(101, overrun=None)
    assert only(book) == ("charge", 6, "charges 101 tokens of 100 reserved, and does not call it an overrun")


@pytest.mark.parametrize(("ceilings", "words"), [
    ({"turns": 8, "tokens": 40_000}, ""), ({"turns": 7, "tokens": 1, "errors": 1}, ""),
    ({"turns": 9, "tokens": 40_000}, "raises the ceiling on turns to 9, and its spec row promises 8"),
    ({"turns": 8}, "puts no ceiling on tokens, and its spec row one of 40,000"),
])
def test_ceilings_are_never_looser_than_the_specs(ceilings: dict[str, int], words: str) -> None:
    book = Book()
    Loop(book).begin(ceilings, promised=CEILINGS)
    assert judged(book) == ([("promise", 2, words)] if words else [])


@pytest.mark.parametrize(("grant", "words"), [
    (ToolGrant(("read", "write", "destructive")), []),
    (ToolGrant(("read", "destructive"), ("read_file", "delete_page")),
     ["lists write_file (write), and its spec row grants no such permission"]),
    (ToolGrant(("read", "write", "destructive"), ("read_file", "write_file")),
     ["lists delete_page, which is none of the tools that its spec row names"]),
    (ToolGrant(("read", "write", "destructive"), ("read_file:read", "write_file:read", "delete_page")),
     ["lists write_file, which is none of the tools that its spec row names"]),
    (ToolGrant(()), [f"lists {name} ({permission}), and its spec row grants no such permission" for name, permission in (
        ("read_file", "read"), ("write_file", "write"), ("delete_page", "destructive"))]),
])
def test_tools_are_never_more_than_the_spec_grants(grant: ToolGrant, words: list[str]) -> None:
    book = Book()
    Loop(book).begin(granted=grant)
    assert judged(book) == [("promise", 2, each) for each in words]


def test_a_reply_without_a_price_does_not_give_back_what_was_reserved_for_it() -> None:
    book = Book()
    Loop(book).begin({"microusd": 10}).ask(reserved_microusd=10).reply(cost_microusd=None).ask(reserved_microusd=10)
    assert judged(book) == [("charge", 4, "charges no price for a reply, and 10 microusd were reserved")]


@pytest.mark.parametrize("more", [0, 1])
def test_a_childs_spend_counts_in_every_ancestor(more: int) -> None:
    book = Book()
    Loop(book, "top").begin({"tokens": 1_000}).step(100, 100)
    Loop(book, "mid").begin({}, parent="top")
    child = Loop(book, "low").begin({"tokens": 40_000, "turns": 8}, parent="mid").step(400, 600)
    child.ask(500 + more)
    words = "of session top: granted beyond the token_ceiling of 1,000: 500 charged and 501 asked for"
    assert [found for found in judged(book) if found[0] == "parent"] == [("parent", 11, words)] * more


def test_a_parent_cannot_spend_again_what_its_child_has_spent() -> None:
    book = Book()
    top = Loop(book, "top").begin({"turns": 2, "tokens": 40_000}).step()
    Loop(book, "low").begin(parent="top").step().end()
    top.ask()
    assert judged(book) == [("ceiling", 10, "granted beyond the turn_ceiling of 2: 2 charged and 1 asked for")]


@pytest.mark.parametrize("parent", ["nobody", "low", "ended"])
def test_a_child_is_opened_while_its_parent_is_open(parent: str) -> None:
    book = Book()
    Loop(book, "ended").begin().end()
    Loop(book, "low").begin(parent=parent)
    assert only(book) == ("parent", 5, f"is a child of session {parent}, which is not open")


@pytest.mark.parametrize(("wait_s", "more", "words"), [
    (0, 0, []), (0, 1, ["granted beyond the hour's tokens (2026-11-21T07), limited to 1,000: "
                        "400 charged and 601 asked for"]),
    (3_600, 1, []), (-3_600, 1, ["granted beyond the hour's tokens (2026-11-21T07), limited to 1,000: "
                                 "400 charged and 601 asked for"]),
])
def test_an_hour_is_full_over_all_sessions_until_it_turns_and_a_clock_set_back_does_not_empty_it(
    wait_s: int, more: int, words: list[str]
) -> None:
    book = Book()
    book.limits(hour={"tokens": 1_000})
    Loop(book, "a").begin().step(400, 900).end()
    book.now += timedelta(seconds=wait_s)
    Loop(book, "b").begin().ask(600 + more)
    assert [found[2] for found in judged(book) if found[0] == "window"] == words


def test_days_months_money_and_sessions_are_limited_too() -> None:
    book = Book()
    book.limits(day={"sessions": 1, "microusd": 10}, month={"tokens": 5_000})
    Loop(book, "a").begin().ask(reserved_microusd=6).reply(100, cost_microusd=6).end(cost_microusd=6)
    book.now += timedelta(hours=2)
    Loop(book, "b").begin().ask(4_901, reserved_microusd=5).ask(10, reserved_microusd=None)
    assert [found[1:] for found in judged(book)] == [
        (8, "granted beyond the day's sessions (2026-11-21), limited to 1: 1 charged and 1 asked for"),
        (9, "granted beyond the day's microusd (2026-11-21), limited to 10: 6 charged and 5 asked for"),
        (9, "granted beyond the month's tokens (2026-11), limited to 5,000: 100 charged and 4,901 asked for"),
        (10, "granted beyond the day's microusd (2026-11-21), limited to 10: 11 charged and 0 asked for"),
        (10, "granted without a price, and the day's microusd are limited to 10"),
        (10, "granted beyond the month's tokens (2026-11), limited to 5,000: 5,001 charged and 10 asked for"),
    ]


@pytest.mark.parametrize(("said_in", "n", "billed", "is_lowered"), [
    ("ledger", 3, 100, True), ("ledger", 2, 100, True), ("one", 3, 100, True), ("two", 3, 100, False),
    ("ledger", 5, 0, False), ("ledger", 3, 600, False),
])
def test_only_an_attempt_in_doubt_is_lowered_to_what_was_billed(
    said_in: str, n: int, billed: int, is_lowered: bool
) -> None:
    book = Book()
    book.limits(month={"tokens": 1_000})
    loop = Loop(book).begin({"tokens": 1_000, "turns": 8}).ask(500).fail(500, in_doubt=True, status=None)
    loop.step(300, 300)
    Loop(book, "two").spec()
    book.reconcile("one", n, 500, billed, said_in=said_in)
    if said_in == "one":
        loop.rows.append(book.rows[-1])
    loop.ask(600)
    assert [found[0] for found in judged(book)] == ([] if is_lowered else ["ceiling", "window"])


def test_a_reconciliation_of_an_earlier_month_is_forgotten_only_for_sessions_that_ended() -> None:
    book = Book()
    loop = Loop(book).begin({"tokens": 1_000, "turns": 8}).ask(500, reserved_microusd=5)
    loop.fail(500, in_doubt=True, status=None, charged_microusd=5)
    Loop(book, "ended").begin().ask(500).fail(500, in_doubt=True, status=None).end("failed")
    book.now += timedelta(days=30)
    book.reconcile("one", 3, 500, 0, billed_microusd=0)
    book.reconcile("ended", 3, 500, 0)
    loop.ask(1_000)
    assert judged(book) == []


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 400)), max_size=8), st.integers(0, 1_200))
def test_a_loop_that_asks_its_own_rule_is_never_accused_and_one_token_more_always_is(
    steps: list[tuple[int, int]], ceiling: int
) -> None:
    book = Book()
    loop = Loop(book).begin({"tokens": ceiling, "turns": 8})
    charged = 0
    for reserved, used in steps:
        if charged + reserved > ceiling:
            break
        loop.step(min(used, reserved), reserved)
        charged += min(used, reserved)
    assert judged(book) == []
    left = ceiling - charged
    loop.ask(left + 1)
    beyond = [found[2] for found in judged(book) if "token_ceiling" in found[2]]
    asked = f"{charged:,} charged and {left + 1:,} asked for"
    assert beyond == [f"granted beyond the token_ceiling of {ceiling:,}: {asked}"]
