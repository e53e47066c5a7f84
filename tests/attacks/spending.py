"""Loops that spend what they must not, and say so in well-signed rows: intents, charges, ceilings, families, windows.

The operator holds every key; the sums are made to fit, and only the rule that is broken can tell.
"""

from __future__ import annotations

from datetime import timedelta

from tests.attacks.attack import meets
from tests.attacks.pen import Liar, Pen, gamma, publish
from tests.attacks.scene import BETA, Hand, Keys

# Intents.


@meets("intent:24", keys=Keys.BOTH, words="asks for attempt 1 at turn 3, where attempt 1 at turn 2 should follow")
def a_turn_is_left_out_of_the_count(hand: Hand) -> None:
    publish(gamma(hand).begin().step().ask(turn=3).reply().end())


@meets("intent:22", keys=Keys.BOTH, words="asks model dear, and the session was opened for scripted")
def another_model_is_asked_than_the_session_was_opened_for(hand: Hand) -> None:
    publish(gamma(hand).begin().ask(model="dear").reply().end())


@meets("intent:23", keys=Keys.BOTH, words="is attempt 1 at turn 2, and its intent at n 2 is attempt 1 at turn 1")
def a_reply_settles_the_intent_of_another_turn(hand: Hand) -> None:
    publish(gamma(hand).begin().ask().reply(turn=2).end())


@meets("intent:24", keys=Keys.BOTH, words="turn 1 names n 2, where no intent is open")
def one_intent_is_settled_twice(hand: Hand) -> None:
    publish(gamma(hand).begin().ask().reply().reply().end())


# Charges.


@meets("charge:23", keys=Keys.BOTH, words="charges 4,999 tokens for an attempt in doubt, and 5,000 were reserved")
def an_attempt_in_doubt_is_charged_less_than_its_reservation(hand: Hand) -> None:
    publish(gamma(hand).begin().ask(5_000).fail(4_999, in_doubt=True))


@meets("charge:23", keys=Keys.BOTH, words="charges 1 tokens for a reply without usage, and 5,000 were reserved")
def a_reply_says_nothing_of_its_usage_and_is_charged_one_token(hand: Hand) -> None:
    publish(gamma(hand).begin().ask(5_000).reply(1, usage=None).end())


@meets("charge:23", keys=Keys.BOTH, words="charges 101 tokens of 100 reserved, and does not call it an overrun")
def an_overrun_is_passed_over_in_silence(hand: Hand) -> None:
    publish(gamma(hand).begin().ask(100).reply(101, overrun=False).end())


@meets("charge:23", "charge:25", keys=Keys.BOTH, words="charges no price for a reply, and 900 microusd were reserved")
def replies_without_a_price_give_back_what_was_reserved_for_them(hand: Hand) -> None:
    """So that a ceiling on cost would never be reached."""
    loop = gamma(hand).begin({"microusd": 1_000})
    for _ in range(2):
        loop.ask(reserved_microusd=900).reply(cost_microusd=None)
    publish(loop)


# Ceilings of the session.


@meets("ceiling:26", keys=Keys.BOTH, words="is tool call 2 under the tool_ceiling of 1")
def a_tool_is_called_beyond_the_ceiling(hand: Hand) -> None:
    publish(gamma(hand).begin({"tool_calls": 1}).step().plan().act().plan(name="c2").act(name="c2"))


@meets("ceiling:24", keys=Keys.BOTH, words="sets its clock back: 5 ms elapsed, and an earlier row of its session says 900")
def the_clock_is_set_back_under_a_ceiling_on_time(hand: Hand) -> None:
    publish(gamma(hand).begin({"elapsed_ms": 1_000}).ask().reply(elapsed_ms=900).ask(elapsed_ms=5))


@meets("ceiling:24", keys=Keys.BOTH, words="granted beyond the time_ceiling of 1,000: 1,001")
def a_request_is_granted_when_the_time_is_over(hand: Hand) -> None:
    publish(gamma(hand).begin({"elapsed_ms": 1_000}).ask().reply(elapsed_ms=1_001).ask(elapsed_ms=1_001))


@meets("ceiling:24", keys=Keys.BOTH, words="granted beyond the error_ceiling of 0: 1")
def a_request_is_granted_after_too_many_errors(hand: Hand) -> None:
    publish(gamma(hand).begin({"errors": 0}).ask().fail(status=500).ask(turn=1, attempt=2))


@meets("ceiling:22", keys=Keys.BOTH, words="granted without a price under the cost_ceiling of 7")
def a_request_without_a_price_is_granted_under_a_ceiling_on_cost(hand: Hand) -> None:
    publish(gamma(hand).begin({"microusd": 7}).ask(reserved_microusd=None))


# Families and windows.


@meets("parent:21", keys=Keys.BOTH, words="is a child of session beta, which is not open")
def a_child_is_opened_under_a_parent_that_is_closed(hand: Hand) -> None:
    publish(gamma(hand).begin(parent=BETA))


@meets("parent:26", keys=Keys.BOTH, words="of session gamma: granted beyond the token_ceiling of 1,000: 600 charged and 401")
def a_child_spends_what_its_parent_could_not(hand: Hand) -> None:
    parent = gamma(hand).begin({"tokens": 1_000}).step(600, 600)
    publish(Liar(parent.book, "child").begin(parent="gamma").ask(401))  # type: ignore[arg-type]  # the pen of both


@meets("window:27", keys=Keys.BOTH, words="granted beyond the hour's tokens .*, limited to 1,000: 600 charged and 401 asked")
def a_second_session_spends_what_the_hour_has_not_left(hand: Hand) -> None:
    pen = Pen(hand)
    pen.limits(hour={"tokens": 1_000})
    Liar(pen, "first").begin().step(600, 900)
    publish(Liar(pen, "second").begin().ask(401))


@meets("window:25", keys=Keys.BOTH, words="granted beyond the day's sessions .*, limited to 1")
def one_more_session_is_opened_than_the_day_allows(hand: Hand) -> None:
    pen = Pen(hand)
    pen.limits(day={"sessions": 1})
    Liar(pen, "first").begin().end()
    publish(Liar(pen, "second").begin())


@meets("window:27", keys=Keys.BOTH, words="limited to 1,000: 600 charged and 401 asked for")
def a_clock_set_back_does_not_empty_the_hour(hand: Hand) -> None:
    pen = Pen(hand)
    pen.limits(hour={"tokens": 1_000})
    Liar(pen, "first").begin().step(600, 900)
    pen.now -= timedelta(hours=3)
    publish(Liar(pen, "second").begin().ask(401))


@meets("ceiling:27", keys=Keys.BOTH, words="granted beyond the token_ceiling of 1,000: 600 charged and 500 asked for")
def a_reconciliation_takes_back_what_was_never_in_doubt(hand: Hand) -> None:
    pen = Pen(hand)
    loop = Liar(pen).begin({"tokens": 1_000}).step(600, 600)
    pen.reconcile("gamma", 2, 600, 0)
    pen.reconcile("gamma", 3, 600, 0)
    pen.reconcile("gamma", 3, 600, 0, said_in="ledger")
    publish(loop.ask(500))
