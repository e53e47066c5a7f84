"""What is in doubt is settled to what the report proves, and where it proves nothing, it stays as it is."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from safeloop.review.reconciling import judging
from safeloop.review.reconciling.comparing import compare
from safeloop.review.reconciling.counts import Counts
from safeloop.review.reconciling.reading import read_report
from safeloop.review.reconciling.report import SECOND, Payer
from safeloop.review.reconciling.settling import Proof, Settlement, Why, prove
from tests.review.reconciling.bills import DAY, HOUR, KEY, MINUTE, OPUS, SHOP, SONNET, WIDTHS, Charge, Scene, with_terms

AT = DAY + 2 * HOUR


def settled(scene: Scene, until: int = 1 << 60) -> list[Settlement]:
    return list(proof_of(scene, until).settlements)


def kept(scene: Scene, until: int = 1 << 60, **more: Any) -> dict[Why, int]:
    """Why nothing was settled: nothing was."""
    proof = proof_of(scene, until, **more)
    assert proof.settlements == ()
    return dict(proof.kept)


def proof_of(scene: Scene, until: int = 1 << 60, **more: Any) -> Proof:
    return prove(scene.compared(**more), scene.width, lambda model, read, out: read + 5 * out, until=until)


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
    lowered = {each.n: each.tokens for each in settled(scene)}
    for n, tokens in lowered.items():
        assert tokens >= billed[n]
    capped = [dataclasses.replace(call, most=min(call.most, lowered.get(call.n, call.most))) for call in scene.calls]
    is_gone = [not call.most and bool(before.most) for call, before in zip(capped, scene.calls, strict=True)]
    scene.calls = [call for call, gone in zip(capped, is_gone, strict=True) if not gone]
    assert scene.found() == [], "what was settled explains its bill no more"


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
    assert kept(scene) == {Why.UNBILLED: 1}


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
    assert kept(scene) == {Why.PROOF: 1}
    with_terms(scene, unnamed=Payer(KEY, SHOP))
    scene.charges = []
    scene.calls = scene.calls[:1]
    assert kept(scene) == {Why.PROOF: 1}


def of_another_key() -> Scene:
    """A small reply of ours with an attempt in doubt beside it; only what somebody else was billed is in the report."""
    scene = Scene()
    scene.call(AT - HOUR, Counts(3))
    scene.doubt(AT - HOUR)
    scene.doubt(AT + 2 * HOUR)
    other = Payer("apikey_02", SHOP)
    scene.charges = [Charge(AT - HOUR + 5 * SECOND, SONNET, Counts(40), other), Charge(AT + HOUR, OPUS, Counts(1), other)]
    return scene


def test_a_report_filtered_to_another_key_that_does_not_name_it_settles_nothing():
    assert kept(of_another_key(), group=["model"]) == {Why.KEYS: 2}
    scene = of_another_key()
    scene.charges[0].counts = Counts(3)  # even a reply that is billed exactly may be theirs
    assert kept(scene, group=["model"]) == {Why.KEYS: 2}


def test_a_reply_in_a_larger_bill_is_no_proof_that_it_was_billed_and_one_in_the_next_bucket_is():
    scene = Scene()
    scene.call(AT + 2 * MINUTE, Counts(3), billed=False)
    scene.doubt(AT)
    scene.charges = [Charge(AT + 2 * MINUTE + 5 * SECOND, SONNET, Counts(40))]
    assert scene.found() == [], "the doubt explains it"
    assert kept(scene) == {Why.PROOF: 1}
    scene.call(AT + 4 * MINUTE, Counts(9, 0, 0, 2))
    assert [each.tokens for each in settled(scene)] == [37]


def test_a_bill_that_names_no_key_in_its_time_may_be_its_own():
    scene = scene_with_proof()
    scene.doubt(AT, billed=Counts(150))
    ours, mixed = scene.pages(), scene.pages(group=["model"])
    page = {**ours, "data": ours["data"][:100] + mixed["data"][100:]}
    found = compare(read_report([json.dumps(page).encode()]), scene.recorded, scene.terms)
    assert found.lanes.by_key and found.lanes.others == 150
    proof = prove(found, scene.width, lambda *_: None, until=1 << 60)
    assert (proof.settlements, proof.kept) == ((), {Why.KEYLESS: 1})
    scene.charges[-1].payer = Payer(None, SHOP)
    scene.charges[-1].at = AT + 2 * HOUR
    assert [each.tokens for each in settled(scene)] == [0], "at another time it is nobody's here"


def test_a_page_that_names_no_workspace_bills_the_same_key():
    scene = scene_with_proof()
    call = scene.doubt(AT)
    scene.charges.append(Charge(AT + 20 * MINUTE, SONNET, Counts(150), Payer(KEY, None)))
    assert settled(scene) == [Settlement("s", call.n, 150, None)]


def test_a_report_that_does_not_name_models_has_no_price_and_may_leave_one_out():
    scene = scene_with_proof()
    scene.doubt(AT)
    scene.charges.append(Charge(AT + 20 * MINUTE, OPUS, Counts(60)))
    assert kept(scene, group=["api_key_id", "workspace_id"]) == {Why.MODELS: 1}


def test_a_bill_at_another_time_that_nobody_recorded_may_be_its_own_by_a_clock_that_was_wrong():
    scene = scene_with_proof()
    scene.doubt(AT)
    scene.charges.append(Charge(AT + 3 * HOUR, SONNET, Counts(150)))
    assert [fault for fault, _ in scene.classes()] == ["ghost_call"]
    assert kept(scene) == {Why.UNEXPLAINED: 1}
    scene.charges.pop()
    _, charge = scene.call(AT + 3 * HOUR)
    charge.counts = Counts(101, 0, 0, 50)
    assert kept(scene) == {Why.UNEXPLAINED: 1}, "beside a reply too"
    charge.counts = Counts(99, 0, 0, 50)
    assert [each.tokens for each in settled(scene)] == [0]


def test_where_more_is_wrong_than_is_listed_nothing_is_settled(monkeypatch):
    monkeypatch.setattr(judging, "MOST_NAMED", 1)
    scene = scene_with_proof()
    scene.doubt(AT)
    _, charge = scene.call(AT + 50 * MINUTE, Counts(1_000, 0, 0, 500))
    charge.counts = Counts(10, 0, 0, 500)
    scene.charges += [Charge(AT + 10 * MINUTE, OPUS, Counts(1, 0, 0, 1)), Charge(AT + 12 * MINUTE, OPUS, Counts(1))]
    assert scene.compared().judgement.beyond
    assert kept(scene) == {Why.BEYOND: 1}


def test_every_reason_says_what_is_lacking():
    assert len({each.words for each in Why}) == len(Why)


def test_a_time_that_is_not_certainly_complete_settles_nothing():
    scene = scene_with_proof()
    call = scene.doubt(AT)
    last = call.ends + 60 * SECOND
    assert kept(scene, until=last // MINUTE * MINUTE) == {Why.INCOMPLETE: 1}
    assert len(settled(scene, until=(last // MINUTE + 1) * MINUTE)) == 1


def test_where_sessions_do_not_name_their_key_nothing_is_settled():
    scene = scene_with_proof()
    scene.doubt(AT)
    scene.calls = [dataclasses.replace(each, payer=Payer(None, None)) for each in scene.calls]
    assert kept(scene) == {Why.KEYS: 1}


def test_an_attempt_at_an_edge_of_the_report_is_not_settled():
    scene = scene_with_proof()
    scene.doubt(DAY + 5 * HOUR)
    assert kept(scene) == {Why.EDGE: 1}
