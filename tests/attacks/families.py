"""Families that spend what an ancestor could not, parents that are none, and limits of the ledger that are got round.

The operator holds every key and the sums are made to fit, as in `spending`.
"""

from __future__ import annotations

from datetime import timedelta

from safeloop.ledger import Draft
from tests.attacks.attack import meets
from tests.attacks.pen import Liar, Pen, gamma, publish
from tests.attacks.scene import NO_PREV, Hand, Keys
from tests.review.auditing.loops import Loop

LOOK = ("read_file", "read")


def child(parent: Loop, name: str = "child", **changes: object) -> Loop:
    """Open a child without ceilings of its own: its `spec` and `open` are the next two rows."""
    return Liar(parent.book, name).begin({}, **{"parent": parent.session} | changes)  # type: ignore[arg-type]  # one pen


# Parents that are none.


@meets("parent:21", keys=Keys.BOTH, words="is a child of session nobody, which is not open")
def a_child_is_opened_under_a_parent_that_never_was(hand: Hand) -> None:
    publish(gamma(hand).begin(parent="nobody"))


@meets("parent:21", keys=Keys.BOTH, words="is a child of session gamma, which is not open")
def a_session_is_its_own_parent(hand: Hand) -> None:
    publish(gamma(hand).begin(parent="gamma").step())


@meets("parent:21", keys=Keys.BOTH, words="is a child of session other, which is not open")
def two_sessions_are_each_others_parents(hand: Hand) -> None:
    loop = gamma(hand).begin(parent="other")
    publish(child(loop, "other").step())


@meets("parent:22", keys=Keys.BOTH, words="is a child of session gamma, which is not open")
def a_child_is_opened_under_a_parent_that_has_only_promised(hand: Hand) -> None:
    loop = gamma(hand)
    loop.spec()
    publish(child(loop))


# What a child spends. The parent's rows are 20 and 21, then its work.


@meets("parent:26", keys=Keys.BOTH, words="of session gamma: granted beyond the cost_ceiling of 1,000: 600 charged and 401")
def a_child_costs_what_its_parent_could_not_pay(hand: Hand) -> None:
    parent = gamma(hand).begin({"microusd": 1_000}).ask(reserved_microusd=600).reply(cost_microusd=600)
    publish(child(parent).ask(reserved_microusd=401))


@meets("parent:24", keys=Keys.BOTH, words="of session gamma: granted without a price under the cost_ceiling of 1,000")
def a_child_without_a_price_spends_for_a_parent_with_a_ceiling_on_cost(hand: Hand) -> None:
    publish(child(gamma(hand).begin({"microusd": 1_000})).ask(reserved_microusd=None))


@meets("parent:26", keys=Keys.BOTH, words="of session gamma: granted beyond the turn_ceiling of 1: 1 charged and 1 asked for")
def a_child_takes_the_turn_that_its_parent_has_not_left(hand: Hand) -> None:
    publish(child(gamma(hand).begin({"turns": 1}).step()).ask())


@meets("parent:26", keys=Keys.BOTH, words="of session gamma: granted beyond the token_ceiling of 1,000: 0 charged and 1,001")
def a_grandchild_spends_what_its_grandparent_could_not(hand: Hand) -> None:
    publish(child(child(gamma(hand).begin({"tokens": 1_000})), "grandchild").ask(1_001))


@meets("ceiling:26", keys=Keys.BOTH, words="granted beyond the token_ceiling of 1,000: 600 charged and 401 asked for")
def a_parent_forgets_what_its_child_has_spent(hand: Hand) -> None:
    parent = gamma(hand).begin({"tokens": 1_000})
    child(parent).step(600, 900)
    publish(parent.ask(401))


@meets("parent:26", keys=Keys.BOTH, words="of session gamma: is tool call 2 under the tool_ceiling of 1")
def a_child_calls_a_tool_that_its_parent_has_not_left(hand: Hand) -> None:
    publish(child(gamma(hand).begin({"tool_calls": 1}).plan().act()).plan())


@meets("parent:27", keys=Keys.BOTH, words="of session gamma: is tool call 2 under the tool_ceiling of 1")
def two_children_race_past_their_parents_ceiling_on_calls(hand: Hand) -> None:
    """Each was counted before the other had begun."""
    parent = gamma(hand).begin({"tool_calls": 1})
    one, other = child(parent, "one"), child(parent, "other")
    one.plan()
    other.plan()
    one.act()
    publish(other.act())


@meets("ceiling:26", keys=Keys.BOTH, words="is tool call 2 under the tool_ceiling of 1")
def a_parent_makes_the_call_that_its_child_has_used_up(hand: Hand) -> None:
    parent = gamma(hand).begin({"tool_calls": 1})
    child(parent).plan().act()
    publish(parent.plan().act())


@meets("call:24", keys=Keys.BOTH, words=r"read_file \(read\) ran without a call row before it")
def a_read_runs_unannounced_where_calls_are_limited(hand: Hand) -> None:
    """Its row comes when it is over: others of the family could not count it while it ran."""
    publish(child(gamma(hand).begin({"tool_calls": 9})).act(*LOOK))


# Limits of the ledger.


def limited(hand: Hand, **limits: dict[str, int]) -> Pen:
    """Begin with a `limits` row, which is row 20; the first session after it has rows from 21 on."""
    pen = Pen(hand)
    pen.limits(**limits)
    return pen


@meets("window:27", keys=Keys.BOTH, words=r"beyond the day's microusd .*, limited to 1,000: 600 charged and 401 asked for")
def sessions_cost_more_than_the_day_allows(hand: Hand) -> None:
    pen = limited(hand, day={"microusd": 1_000})
    Liar(pen, "first").begin().ask(reserved_microusd=900).reply(cost_microusd=600)
    pen.now += timedelta(hours=9)
    publish(Liar(pen, "second").begin().ask(reserved_microusd=401))


@meets("window:27", keys=Keys.BOTH, words=r"beyond the month's tokens .*, limited to 1,000: 600 charged and 401 asked for")
def every_day_is_fine_and_the_month_is_not(hand: Hand) -> None:
    pen = limited(hand, day={"tokens": 900}, month={"tokens": 1_000})
    Liar(pen, "first").begin().step(600, 900)
    pen.now += timedelta(days=20)
    publish(Liar(pen, "second").begin().ask(401))


@meets("window:23", keys=Keys.BOTH, words="granted without a price, and the hour's microusd are limited to 7")
def a_request_without_a_price_is_granted_in_an_hour_that_limits_cost(hand: Hand) -> None:
    publish(Liar(limited(hand, hour={"microusd": 7})).begin().ask(reserved_microusd=None))


@meets("window:27", keys=Keys.BOTH, words="limited to 1,000: 600 charged and 401 asked for")
def limits_are_raised_afterwards_by_a_row_that_is_backdated(hand: Hand) -> None:
    """A row counts from its place on, whatever time it claims."""
    pen = limited(hand, hour={"tokens": 1_000})
    Liar(pen, "first").begin().step(600, 900)
    loop = Liar(pen, "second").begin().ask(401)
    pen.now -= timedelta(hours=6)
    pen.limits(hour={"tokens": 10**9})
    publish(loop)


@meets("window:28", keys=Keys.BOTH, gaps=("ungoverned",), words="limited to 1,000: 600 charged and 401 asked for")
def limits_are_raised_in_the_name_of_a_session(hand: Hand) -> None:
    pen = limited(hand, hour={"tokens": 1_000})
    Liar(pen, "first").begin().step(600, 900)
    pen.append(lambda _: [Draft("elsewhere", "limits", {"hour": {}, "day": {}, "month": {}})])
    publish(Liar(pen, "second").begin().ask(401))


@meets("writer:20", keys=Keys.LOG, words="is signed by writer .*, which is not pinned|not pinned")
def limits_are_forged_by_a_stranger(hand: Hand) -> None:
    body = hand.body(19) | {"session": "ledger", "n": 0, "prev": NO_PREV, "kind": "limits"}
    data = {"hour": {}, "day": {}, "month": {}}
    hand.rows.append(hand.seal(body | {"data": data, "writer": hand.stranger.key_id}, hand.stranger))
    hand.write()


@meets("signature:20", keys=Keys.BOTH)
def limits_are_edited_after_they_were_signed(hand: Hand) -> None:
    """Where a row was not shown, windows are judged no further: the record is what fails."""
    pen = limited(hand, hour={"tokens": 1_000})
    body, signature = hand.rows[19]
    hand.rows[19] = (body.replace(b'"tokens":1000', b'"tokens":9999'), signature)
    publish(Liar(pen, "first").begin().ask(1_001))
