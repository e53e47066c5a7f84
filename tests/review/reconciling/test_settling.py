"""What is in doubt is settled to what the report proves, and where it proves nothing, it stays as it is."""

from __future__ import annotations

import dataclasses
import random

from hypothesis import given
from hypothesis import strategies as st

from safeloop.review.reconciling.counts import Counts
from safeloop.review.reconciling.report import SECOND, Payer
from safeloop.review.reconciling.settling import Settlement, settlements
from tests.review.reconciling.bills import DAY, HOUR, KEY, MINUTE, OPUS, SHOP, SONNET, WIDTHS, Charge, Scene, with_terms

AT = DAY + 2 * HOUR


def settled(scene: Scene, until: int = 1 << 60) -> list[Settlement]:
    report = scene.report()
    return list(settlements(scene.compared(), report.width, lambda model, read, out: read + 5 * out, until=until))


def scene_with_proof(width: int = MINUTE) -> Scene:
    scene = Scene(width)
    scene.call(DAY + 10 * MINUTE)
    return scene


@given(seed=st.integers(0, 10**9), width=st.sampled_from(sorted(WIDTHS)), skew=st.integers(-59, 59), count=st.integers(1, 80))
def test_settled_charges_together_and_each_alone_never_fall_below_the_bill(seed, width, skew, count):
    chance = random.Random(seed)
    scene = Scene(WIDTHS[width], skew=skew * SECOND)
    scene.random_calls(chance, count)
    billed = {}
    for _ in range(chance.randrange(1, 6)):
        counts = chance.choice([Counts(), Counts(chance.randrange(500), 0, 0, chance.randrange(1, 400))])
        call = scene.doubt(DAY + HOUR + chance.randrange(3 * HOUR), billed=counts)
        billed[call.n] = counts.tokens
    for each in settled(scene):
        assert each.tokens >= billed[each.n]


def test_nothing_billed_is_nothing_charged_and_what_was_left_of_other_calls_is_the_rest():
    scene = scene_with_proof()
    call = scene.doubt(AT)
    scene.call(AT + 30 * MINUTE)
    assert settled(scene) == [Settlement("s", call.n, 0, 0)]
    scene.charges.append(Charge(AT + 20 * MINUTE, SONNET, Counts(30, 0, 0, 4)))
    assert settled(scene) == [Settlement("s", call.n, 34, 50)]


def test_the_bill_of_another_model_counts_and_has_no_price():
    scene = scene_with_proof()
    call = scene.doubt(AT)
    scene.charges.append(Charge(AT + 20 * MINUTE, OPUS, Counts(30, 0, 0, 4)))
    assert settled(scene) == [Settlement("s", call.n, 34, None)]
    scene.charges[-1] = Charge(AT + 20 * MINUTE, SONNET, Counts(30, 0, 0, 4, 1))
    assert settled(scene) == [Settlement("s", call.n, 34, None)]


def test_a_reply_that_was_not_billed_proves_that_the_rest_of_the_bill_may_be_the_doubts():
    scene = scene_with_proof()
    scene.doubt(AT)
    scene.call(AT + 10 * MINUTE, billed=False)
    scene.charges.append(Charge(AT + 30 * MINUTE, SONNET, Counts(100, 0, 0, 50)))
    assert [str(each.fault) for each in scene.found()] == ["missing_record"], "the bill may be the doubt's"
    assert settled(scene) == []


def test_a_reply_billed_lower_than_recorded_proves_nothing_and_one_billed_higher_only_adds():
    scene = scene_with_proof()
    call = scene.doubt(AT)
    scene.calls[-1] = dataclasses.replace(call, most=1)
    _, charge = scene.call(AT + 10 * MINUTE, Counts(100, 0, 0, 50))
    charge.counts = Counts(90, 0, 0, 60)
    assert settled(scene) == []
    charge.counts = Counts(110, 0, 0, 50)
    assert settled(scene) == [Settlement("s", call.n, 10, 10)]


def test_a_reply_at_the_edge_of_the_time_is_not_taken_off():
    scene = scene_with_proof()
    call = scene.doubt(AT)
    scene.call(AT - 55 * SECOND, took=5 * SECOND)
    assert settled(scene) == [Settlement("s", call.n, 150, 350)]


def test_a_report_of_another_key_or_without_the_model_settles_nothing():
    scene = Scene()
    scene.doubt(AT)
    scene.call(AT - HOUR, model=OPUS)
    assert settled(scene) == []
    with_terms(scene, unnamed=Payer(KEY, SHOP))
    scene.charges = []
    scene.calls = scene.calls[:1]
    assert settled(scene) == []


def test_a_time_that_is_not_certainly_complete_settles_nothing():
    scene = scene_with_proof()
    call = scene.doubt(AT)
    last = call.ends + 60 * SECOND
    assert settled(scene, until=last // MINUTE * MINUTE) == []
    assert len(settled(scene, until=(last // MINUTE + 1) * MINUTE)) == 1


def test_keys_that_are_not_compared_make_the_bill_of_all_of_them_count():
    scene = scene_with_proof()
    call = scene.doubt(AT)
    scene.calls = [dataclasses.replace(each, payer=Payer(None, None)) for each in scene.calls]
    scene.charges.append(Charge(AT + MINUTE, SONNET, Counts(7), Payer("apikey_other", SHOP)))
    assert [(each.n, each.tokens) for each in settled(scene)] == [(call.n, 7)]
