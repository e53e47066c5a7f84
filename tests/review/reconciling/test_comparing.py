"""What is billed and what is recorded, compared: nothing is found where nothing is wrong, and each fault has its name."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from safeloop.errors import SettingError
from safeloop.review.reconciling import judging
from safeloop.review.reconciling.aliases import parse_aliases
from safeloop.review.reconciling.counts import Counts
from safeloop.review.reconciling.findings import Fault, Severity
from safeloop.review.reconciling.report import SECOND, Payer
from tests.review.reconciling.bills import DAY, HOUR, MINUTE, OPUS, SHOP, SONNET, WIDTHS, Charge, Scene, with_terms

SKEWS = st.integers(-59, 59).map(lambda seconds: seconds * SECOND)


@example(seed=900, count=296, width="1h", skew=0, most=3)  # what a doubt was billed, pushed on by calls at edges of hours
@given(seed=st.integers(0, 10**9), count=st.integers(1, 300), width=st.sampled_from(sorted(WIDTHS)), skew=SKEWS,
       most=st.sampled_from([3, 400]))  # fmt: skip
def test_a_provider_that_bills_what_it_was_sent_finds_nothing_though_its_clock_differs(seed, count, width, skew, most):
    chance = random.Random(seed)
    scene = Scene(WIDTHS[width], skew=skew)
    scene.random_calls(chance, count, most)
    for _ in range(chance.randrange(6)):
        at = DAY + HOUR + chance.randrange(3 * HOUR)
        billed = chance.choice([None, Counts(chance.randrange(500), 0, 0, chance.randrange(1, 400))])
        scene.doubt(at, billed=billed)
    assert scene.found() == []


@given(seed=st.integers(0, 10**9), skew=SKEWS)
def test_a_call_that_nobody_recorded_is_a_ghost(seed, skew):
    chance = random.Random(seed)
    scene = Scene(skew=skew)
    scene.random_calls(chance, 40)
    busy = {call.begins // MINUTE + more for call in scene.calls for more in range(-3, 4)}
    at = next(each for each in (DAY + chance.randrange(6 * HOUR) for _ in range(10_000)) if each // MINUTE not in busy)
    scene.charges.append(Charge(at, SONNET, Counts(70, 0, 0, 7)))
    (finding,) = scene.found()
    assert (finding.fault, finding.severity, finding.billed) == (Fault.GHOST, Severity.ALERT, Counts(70, 0, 0, 7))
    assert finding.begins <= at < finding.ends


@given(seed=st.integers(0, 10**9), width=st.sampled_from(["1m", "1h"]), skew=SKEWS)
def test_a_reply_that_nobody_billed_is_a_missing_record_and_it_is_the_one_that_is_named(seed, width, skew):
    chance = random.Random(seed)
    scene = Scene(WIDTHS[width], skew=skew)
    scene.random_calls(chance, 40)
    call, _ = scene.call(DAY + 3 * HOUR + 30 * MINUTE, Counts(7_001, 11, 0, 5_003), session="invented", billed=False)
    (finding,) = scene.found()
    assert (finding.fault, finding.severity) == (Fault.MISSING, Severity.ALERT)
    assert finding.calls == (("invented", call.n),)


@given(seed=st.integers(0, 10**9), width=st.sampled_from(["1m", "1h"]), skew=SKEWS)
def test_what_is_billed_under_another_model_is_a_substitution(seed, width, skew):
    scene = Scene(WIDTHS[width], skew=skew)
    scene.random_calls(random.Random(seed), 40)
    call, _ = scene.call(DAY + 2 * HOUR, Counts(7_001, 0, 0, 5_003), session="swapped", as_billed="claude-haiku-5-5")
    (finding,) = scene.found()
    assert (finding.fault, finding.severity) == (Fault.SUBSTITUTION, Severity.ALERT)
    assert (finding.asked, finding.model) == (SONNET, "claude-haiku-5-5")
    assert finding.calls == (("swapped", call.n),)


@pytest.mark.parametrize(("billed", "severity"), [
    (Counts(1_050, 0, 0, 500), "info"), (Counts(1_051, 0, 0, 500), "warn"), (Counts(1_200, 0, 0, 500), "warn"),
    (Counts(1_201, 0, 0, 500), "alert"), (Counts(1_000, 0, 0, 601), "alert"), (Counts(1_000, 0, 0, 525), "info"),
    (Counts(950, 0, 0, 500), "info"), (Counts(799, 0, 0, 500), "alert"), (Counts(1_000, 0, 0, 500, 1), "alert"),
    (Counts(960, 0, 40, 500), "warn"), (Counts(0, 0, 1_000, 500), "alert"),
])  # fmt: skip
def test_a_mismatch_is_as_grave_as_its_worst_part(billed, severity):
    scene = Scene()
    _, charge = scene.call(DAY + HOUR, Counts(1_000, 0, 0, 500))
    charge.counts = billed
    assert scene.classes() == [("token_mismatch", severity)]


def drifting(scene: Scene, minutes: tuple[int, ...]) -> Scene:
    for minute in minutes:
        _, charge = scene.call(DAY + HOUR + minute * MINUTE, Counts(1_000, 0, 0, 500))
        charge.counts = Counts(1_010, 0, 0, 500)
    return scene


def test_three_drifts_of_one_key_within_a_quarter_of_an_hour_are_an_alert():
    assert sorted(drifting(Scene(), (0, 7, 15)).classes()) == [
        ("accumulation", "alert"), ("token_mismatch", "info"), ("token_mismatch", "info"), ("token_mismatch", "info"),
    ]  # fmt: skip
    assert drifting(Scene(), (0, 8, 16)).classes() == [("token_mismatch", "info")] * 3
    assert drifting(Scene(), (0, 7)).classes() == [("token_mismatch", "info")] * 2


def test_hours_cannot_show_what_lies_within_a_quarter_of_one():
    scene = drifting(Scene(HOUR), (0,))
    for model in (OPUS, "claude-haiku-5-5"):
        _, charge = scene.call(DAY + HOUR, Counts(1_000, 0, 0, 500), model=model)
        charge.counts = Counts(1_010, 0, 0, 500)
    assert scene.classes() == [("token_mismatch", "info")] * 3


@pytest.mark.parametrize(("asked", "billed", "aliases", "classes"), [
    ("claude-sonnet-5-5", "claude-sonnet-5-5-20260901", {}, []),
    ("claude-sonnet-5-5-latest", "claude-sonnet-5-5-20260901", {}, []),
    ("claude-sonnet-5-5-20260901", "claude-sonnet-5-5", {}, []),
    ("claude-sonnet-5-5-20260901", "claude-sonnet-5-5-20260902", {}, ["model_substitution"]),
    ("claude-sonnet-5", "claude-sonnet-5-5", {}, ["model_substitution"]),
    ("house", "claude-opus-5-5", {}, ["model_substitution"]),
    ("house", "claude-opus-5-5", {"house": "claude-opus-5-5"}, []),
    ("house", "claude-sonnet-5-5", {"house": "claude-opus-5-5"}, ["model_substitution"]),
])  # fmt: skip
def test_a_model_renamed_by_an_alias_is_the_same_and_another_model_is_not(asked, billed, aliases, classes):
    scene = Scene()
    with_terms(scene, aliases=aliases)
    scene.call(DAY + HOUR, model=asked, as_billed=billed)
    assert [fault for fault, _ in scene.classes()] == classes


@pytest.mark.parametrize(("asked", "served"), [(SONNET, OPUS), (f"{SONNET}-20260901", f"{SONNET}-20260902")])
def test_a_reply_that_names_another_model_is_a_substitution_though_it_was_billed_as_it_says(asked, served):
    scene = Scene()
    call, _ = scene.call(DAY + HOUR, model=served)
    scene.calls = [dataclasses.replace(call, asked=asked)]
    (finding,) = scene.found()
    assert (finding.fault, finding.asked, finding.model) == (Fault.SUBSTITUTION, asked, served)


def test_a_doubt_does_not_explain_what_was_billed_before_it_though_calls_lie_between():
    scene = Scene()
    for minute in range(12):
        scene.call(DAY + HOUR + minute * MINUTE, Counts(3, 0, 0, 2))
    scene.doubt(DAY + HOUR + 10 * MINUTE)
    scene.charges.append(Charge(DAY + HOUR + 2 * MINUTE, SONNET, Counts(300, 0, 0, 1)))
    assert [fault for fault, _ in scene.classes()] == ["token_mismatch"]
    scene.charges[-1].at += 9 * MINUTE
    assert scene.classes() == []


def test_more_buckets_than_can_be_named_are_counted(monkeypatch):
    monkeypatch.setattr(judging, "MOST_NAMED", 3)
    scene = Scene()
    scene.charges = [Charge(DAY + minute * MINUTE, SONNET, Counts(10)) for minute in range(5)]
    found = scene.compared()
    assert (len(found.findings), found.judgement.beyond, found.judgement.beyond_tokens) == (3, 2, 20)


def test_what_several_models_were_recorded_for_and_one_was_billed_is_a_substitution_of_each():
    scene = Scene()
    scene.call(DAY + HOUR, Counts(100, 0, 0, 51), as_billed="claude-haiku-5-5")
    scene.call(DAY + HOUR, Counts(200, 0, 0, 52), model=OPUS, as_billed="claude-haiku-5-5")
    assert [(str(each.fault), each.asked) for each in scene.found()] == [
        ("model_substitution", SONNET), ("model_substitution", OPUS)]  # fmt: skip


def test_aliases_are_pairs_and_stand_for_one_model_each():
    assert parse_aliases(" a=b , c = d,") == {"a": "b", "c": "d"}
    assert parse_aliases(None) == {}
    for wrong in ("a", "a=", "=b", "a=b,a=c"):
        with pytest.raises(SettingError, match="model_aliases"):
            parse_aliases(wrong)


def test_a_report_that_names_no_models_compares_none():
    scene = Scene()
    scene.call(DAY + HOUR, as_billed=OPUS)
    assert scene.classes(group=("api_key_id", "workspace_id")) == []
    assert scene.classes(group=("api_key_id", "model"))[0] == ("model_substitution", "alert")


def test_an_attempt_in_doubt_explains_no_more_than_was_reserved():
    scene = Scene()
    scene.doubt(DAY + HOUR, 1_000, billed=Counts(700, 0, 0, 300))
    assert scene.found() == []
    scene = Scene()
    scene.doubt(DAY + HOUR, 1_000, billed=Counts(701, 0, 0, 300))
    assert [fault for fault, _ in scene.classes()] == ["ghost_call"]
    scene = Scene()
    scene.doubt(DAY + 2 * HOUR, 1_000)
    scene.charges.append(Charge(DAY + 2 * HOUR - 3 * MINUTE, SONNET, Counts(10, 0, 0, 5)))
    assert [fault for fault, _ in scene.classes()] == ["ghost_call"], "what was billed before it was asked is not its bill"


@pytest.mark.parametrize("tokens", [0, 40])
def test_an_attempt_in_doubt_explains_no_searches(tokens):
    scene = Scene()
    scene.doubt(DAY + HOUR, 1_000)
    scene.charges.append(Charge(DAY + HOUR + 5 * MINUTE, SONNET, Counts(tokens, searches=100_000)))
    assert scene.classes() == [("ghost_call", "alert")]
    scene.call(DAY + HOUR + 5 * MINUTE)
    assert scene.classes() == [("token_mismatch", "alert")]
    scene.charges[0].counts = Counts(tokens)
    assert scene.classes() == []


def test_a_call_two_minutes_off_is_not_the_same_call():
    scene = Scene()
    _, charge = scene.call(DAY + HOUR, took=0)
    charge.at += 2 * MINUTE
    assert sorted(fault for fault, _ in scene.classes()) == ["ghost_call", "missing_record"]


def test_other_keys_of_the_organisation_are_nobodys_ghosts_and_are_counted():
    scene = Scene()
    scene.call(DAY + HOUR)
    scene.charges.append(Charge(DAY + HOUR, SONNET, Counts(9_000, 0, 0, 1), Payer("apikey_other", SHOP)))
    found = scene.compared()
    assert (found.findings, found.lanes.others) == ((), 9_001)
    assert [fault for fault, _ in scene.classes(group=("model", "workspace_id"))] == ["token_mismatch"]


def test_a_session_that_does_not_say_its_key_is_looked_for_under_all_of_them():
    scene = Scene()
    call, _ = scene.call(DAY + HOUR)
    scene.calls = [dataclasses.replace(call, payer=Payer(None, None))]
    found = scene.compared()
    assert (found.findings, found.lanes.by_key, found.lanes.by_workspace) == ((), False, False)


def test_what_is_not_complete_or_not_covered_is_not_judged():
    scene = Scene()
    scene.call(DAY + 5 * HOUR, billed=False)
    scene.charges.append(Charge(DAY + 5 * HOUR + 10 * MINUTE, SONNET, Counts(1)))
    assert len(scene.found()) == 2
    with_terms(scene, complete_until=DAY + 5 * HOUR)
    found = scene.compared()
    assert (found.findings, found.calls, found.unjudged) == ((), 0, 1)
