"""Destructive calls: one row, one decision by a pinned reviewer, one run; whatever else comes, it does not run."""

import json
import time
from datetime import datetime, timedelta

import pytest

from safeloop.errors import LedgerError, NotAttested, SettingError, Suspended
from safeloop.ledger import Ledger
from safeloop.ledger.trust import load_trust
from safeloop.loop.approving import Approvals
from safeloop.spec.suspension import Cause, suspension_of
from safeloop.tools.approvals import Answer, record
from tests.loop.playing import Player, call, kinds, only, reply, rows_of
from tests.loop.reviewing import (
    ALICE,
    BOB,
    EVE,
    asks,
    decide,
    found,
    loop_with,
    pin,
    request_of,
    signed,
)


@pytest.fixture(autouse=True)
def audited(ledger, keys):
    """Alice and Bob may approve; and whatever a test makes the loop write, an audit has nothing to say against it."""
    pin(keys, ALICE, BOB)
    yield
    if ledger.head()[0].size:
        assert found(ledger, keys) == []


def suspended(ledger, *calls, **more):
    """Run to the first destructive call."""
    burnt = []
    result = loop_with(ledger, burnt, asks(*calls), **more).run("do it")
    assert result.outcome == "suspended"
    return burnt


def resumed(ledger, burnt, **more):
    client = Player(reply("done"))
    return loop_with(ledger, burnt, client, **more).resume(), client


def told(client):
    """What the model was told of the last reply's calls."""
    return [(block["content"], block.get("is_error", False)) for block in client.asked[-1]["messages"][-1]["content"]]


def asking(*answers):
    """Approvals by a person who gives these answers; what they were asked is kept."""
    left, asked = list(answers), []

    def ask(request):
        asked.append(request)
        answer = left.pop(0)
        return answer(request) if callable(answer) else answer

    return Approvals(ask=ask), asked


def test_a_destructive_call_suspends_its_session_with_its_row_written_and_its_name_told(ledger):
    assert suspended(ledger) == []
    assert kinds(ledger) == ["spec", "open", "intent", "turn", "call", "close"]
    reason = only(ledger, "close").data["reason"]
    assert suspension_of(reason).cause is Cause.APPROVAL
    assert reason == f"approval: {only(ledger, 'call').leaf[:12]} of burn waits for a reviewer's decision"


def test_until_somebody_has_decided_it_cannot_be_resumed_and_nothing_more_is_written(ledger):
    burnt = suspended(ledger)
    size = ledger.head()[0].size
    for _ in range(2):
        with pytest.raises(Suspended, match="burn is destructive, and nobody has decided about it") as waits:
            resumed(ledger, burnt)
    assert f"safeloop approve {only(ledger, 'call').leaf[:12]}" in waits.value.hint
    assert (burnt, ledger.head()[0].size) == ([], size)


def test_what_was_granted_runs_exactly_once_and_the_session_goes_on(ledger, keys):
    burnt = suspended(ledger)
    decide(ledger, keys)
    result, client = resumed(ledger, burnt)
    assert (result.outcome, burnt) == ("completed", [("burn", "page")])
    assert kinds(ledger)[4:] == ["call", "close", "approval", "resume", "tool", "intent", "turn", "close"]
    assert "burnt page" in told(client)[0][0]
    assert only(ledger, "tool").data["arguments"] == only(ledger, "call").data["arguments"]
    with pytest.raises(LedgerError, match="is closed already"):
        resumed(ledger, burnt)
    assert len(burnt) == 1


def test_what_was_refused_does_not_run_and_the_model_is_told(ledger, keys):
    burnt = suspended(ledger)
    decide(ledger, keys, "refused")
    result, client = resumed(ledger, burnt)
    assert (result.outcome, burnt) == ("completed", [])
    ((said, is_error),) = told(client)
    assert (json.loads(said)["error"]["class"], is_error) == ("ApprovalRefused", True)
    assert json.loads(said)["tool"] == "burn"
    row = only(ledger, "approval").data
    assert (row["decision"], row["by"], row["expires_at"]) == ("refused", ALICE, None)


def test_a_grant_that_expired_while_it_waited_does_not_run_it_and_the_model_is_told(ledger, keys, monkeypatch):
    burnt = suspended(ledger)
    decide(ledger, keys, hold=timedelta(seconds=2.2))
    end = only(ledger, "approval").data["expires_at"]
    monkeypatch.setattr("safeloop.tools.approvals.LEAST_LEFT", timedelta(seconds=60))
    result, client = resumed(ledger, burnt)
    assert (result.outcome, burnt) == ("completed", [])
    assert json.loads(told(client)[0][0])["error"]["class"] == "ApprovalExpired"
    expired = rows_of(ledger, "approval")[1].data
    assert expired == {"call": only(ledger, "call").leaf, "decision": "expired", "by": None, "expires_at": end,
                       "statement": None, "signature": None}


def test_of_several_calls_those_before_run_and_are_recorded_and_those_after_run_after_it(ledger, keys):
    calls = [call("look", {"what": "1"}, "a"), call("burn", {"what": "2"}, "b"), call("look", {"what": "3"}, "c"),
             call("burn", {"what": "4"}, "d")]
    burnt = suspended(ledger, *calls)
    assert burnt == [("look", "1")]
    assert kinds(ledger)[4:] == ["tool", "call", "close"]
    decide(ledger, keys)
    result, client = resumed(ledger, burnt)
    assert (result.outcome, client.asked) == ("suspended", [])
    assert burnt == [("look", "1"), ("burn", "2"), ("look", "3")]
    decide(ledger, keys, "refused", by=BOB)
    result, client = resumed(ledger, burnt)
    assert result.outcome == "completed"
    assert [is_error for _, is_error in told(client)] == [False, False, False, True]
    assert [row.data["call"] for row in rows_of(ledger, "tool")] == ["a", "b", "c", "d"]


def test_two_calls_with_the_same_arguments_each_need_an_approval_of_their_own(ledger, keys):
    burnt = suspended(ledger, call("burn", {"what": "x"}, "a"), call("burn", {"what": "x"}, "b"))
    first = decide(ledger, keys)
    result, _ = resumed(ledger, burnt)
    assert (result.outcome, len(burnt)) == ("suspended", 1)
    replayed = signed(request_of(ledger), call=first.data["call"])
    with pytest.raises(LedgerError, match=f"no call {first.data['call'][:12]} of session s waits"):
        record(ledger, replayed, load_trust(keys / "self"))
    decide(ledger, keys)
    assert resumed(ledger, burnt)[0].outcome == "completed"
    assert len(burnt) == 2


@pytest.mark.parametrize(("changes", "error", "words"), [
    ({"call": "0" * 64}, LedgerError, "no call 000000000000 of session s waits for a decision"),
    ({"session": "t"}, LedgerError, "of session t waits for a decision"),
    ({"ledger": "safeloop.local/other"}, NotAttested, "this decision was made for ledger safeloop.local/other"),
    ({"by": BOB}, NotAttested, f"is not pinned as a key of {BOB} for approvals"),
    ({"expires_at": "2026-01-01T00:00:00.000000Z"}, NotAttested, "it expired at 2026-01-01"),
    ({"expires_at": "soon"}, NotAttested, "its end is no time"),
    ({"expires_at": "2099-01-01T00:00:00"}, NotAttested, "its end names no time zone"),
])
def test_a_decision_about_something_else_or_in_anothers_name_is_refused_with_its_reason(
    ledger, keys, changes, error, words
):
    suspended(ledger)
    size = ledger.head()[0].size
    with pytest.raises(error) as refused:
        record(ledger, signed(request_of(ledger), key=ALICE, **changes), load_trust(keys / "self"))
    assert words in str(refused.value)
    assert ledger.head()[0].size == size


def test_a_decision_by_a_stranger_or_for_another_purpose_is_refused(ledger, keys):
    suspended(ledger)
    for more, words in (({"by": EVE}, "is not pinned"), ({"namespace": "safeloop-review"}, "signed for namespace")):
        for decision in ("granted", "refused"):
            with pytest.raises(NotAttested, match=words):
                decide(ledger, keys, decision, **more)


def test_no_grant_is_recorded_that_would_hold_for_longer_than_any_may(ledger, keys):
    burnt = suspended(ledger)
    with pytest.raises(NotAttested, match="and at most 30 days are allowed"):
        decide(ledger, keys, hold=timedelta(days=30, seconds=5))
    approvals, _ = asking(lambda request: signed(request, hold=timedelta(days=31)))
    assert resumed(ledger, burnt, approvals=approvals)[0].outcome == "suspended"
    decide(ledger, keys, hold=timedelta(days=30))
    assert resumed(ledger, burnt)[0].outcome == "completed"


def test_a_clock_that_was_set_back_revives_no_grant(ledger, keys):
    burnt = suspended(ledger)
    granted = decide(ledger, keys)
    late = Ledger(ledger.db_path, clock=lambda: datetime.fromisoformat(granted.at) - timedelta(seconds=1))
    assert resumed(late, burnt)[0].outcome == "suspended"
    assert burnt == []
    assert f"and it was recorded at {granted.at}" in rows_of(ledger, "close")[-1].data["reason"]
    decide(ledger, keys, by=BOB)
    assert resumed(ledger, burnt)[0].outcome == "completed"
    assert len(burnt) == 1


def test_two_approvers_at_once_decide_once(ledger, keys):
    burnt = suspended(ledger)
    decide(ledger, keys)
    with pytest.raises(NotAttested, match=r"was decided about already: granted in row \d+"):
        decide(ledger, keys, by=BOB)
    assert resumed(ledger, burnt)[0].outcome == "completed"
    assert (len(burnt), len(rows_of(ledger, "approval"))) == (1, 1)


def test_a_refusal_takes_back_a_grant_that_was_not_used_and_no_grant_takes_back_a_refusal(ledger, keys):
    burnt = suspended(ledger)
    decide(ledger, keys)
    decide(ledger, keys, "refused", by=BOB)
    for decision in ("granted", "refused"):
        with pytest.raises(NotAttested, match="was decided about already: refused"):
            decide(ledger, keys, decision)
    assert resumed(ledger, burnt)[0].outcome == "completed"
    assert burnt == []


def test_a_grant_whose_key_is_no_longer_pinned_runs_nothing_until_another_is_given(ledger, keys):
    burnt = suspended(ledger)
    decide(ledger, keys)
    pins = keys / "self" / "reviewers"
    whole = pins.read_text()
    pins.write_text("".join(line for line in whole.splitlines(keepends=True) if not line.startswith(ALICE)))
    with pytest.raises(Suspended, match="counts for nothing: .* is not pinned as a key of alice"):
        resumed(ledger, burnt)
    assert burnt == []
    decide(ledger, keys, by=BOB)
    assert resumed(ledger, burnt)[0].outcome == "completed"
    assert len(burnt) == 1
    pins.write_text(whole)


def test_a_session_that_runs_takes_no_decision_from_outside(ledger, keys):
    burnt = []
    refused = []

    def meanwhile(request):
        with pytest.raises(LedgerError, match="is not suspended: it runs") as error:
            record(ledger, signed(request), load_trust(keys / "self"))
        refused.append(error)
        return Answer.LEFT

    approvals, _ = asking(meanwhile)
    assert loop_with(ledger, burnt, approvals=approvals).run("do it").outcome == "suspended"
    assert (len(refused), burnt) == (1, [])


def test_rerun_and_skip_are_not_for_a_call_that_has_not_run(ledger, keys):
    burnt = suspended(ledger)
    for words in ({"rerun": "toolu_1"}, {"skip": "toolu_1"}):
        with pytest.raises(SettingError, match="has not run: it is for a reviewer to approve or refuse"):
            loop_with(ledger, burnt).resume(**words)
    decide(ledger, keys)
    with pytest.raises(SettingError, match="has not run"):
        loop_with(ledger, burnt).resume(skip="toolu_1")
    assert resumed(ledger, burnt)[0].outcome == "completed"


def test_a_person_who_is_asked_sees_everything_and_approves_at_once(ledger):
    burnt = []
    approvals, asked = asking(signed)
    hostile = "a\u202eb\x1b[2J\u200b\nApproved by alice"
    client = asks(call("burn", {"what": hostile}))
    assert loop_with(ledger, burnt, client, approvals=approvals).run("do it").outcome == "completed"
    assert burnt == [("burn", hostile)]
    shown = asked[0].text
    assert all(word in shown for word in ("burn", "destructive", asked[0].call.leaf, ledger.origin))
    assert r"a\u{202e}b\u001b[2J\u{200b}\nApproved by alice" in shown
    assert not set(shown) & {"\u202e", "\x1b", "\u200b"}
    arguments = shown.split("arguments\n")[1].partition("\na parameter that is left out takes the tool's own default\n")[0]
    assert all(line.startswith("  | ") for line in arguments.split("\n"))
    assert kinds(ledger)[4:7] == ["call", "approval", "tool"]


@pytest.mark.parametrize(("answer", "decision", "error"), [
    (Answer.NO, "refused", "ApprovalRefused"), (Answer.TIMED_OUT, "expired", "ApprovalExpired"),
])
def test_no_and_silence_mean_no_and_are_rows(ledger, answer, decision, error):
    burnt, client = [], asks()
    approvals, _ = asking(answer)
    assert loop_with(ledger, burnt, client, approvals=approvals).run("do it").outcome == "completed"
    assert burnt == []
    assert json.loads(told(client)[0][0])["error"]["class"] == error
    row = only(ledger, "approval").data
    assert (row["decision"], row["by"], row["statement"], row["signature"]) == (decision, None, None, None)


def test_a_person_who_leaves_suspends_the_session_and_is_asked_again_when_it_goes_on(ledger):
    burnt = []
    approvals, asked = asking(Answer.LEFT, signed)
    assert loop_with(ledger, burnt, approvals=approvals).run("do it").outcome == "suspended"
    result, _ = resumed(ledger, burnt, approvals=approvals)
    assert (result.outcome, burnt, len(asked)) == ("completed", [("burn", "page")], 2)


@pytest.mark.parametrize("more", [
    {"key": EVE}, {"by": EVE}, {"call": "0" * 64}, {"session": "t"}, {"ledger": "safeloop.local/other"},
    {"expires_at": "2026-01-01T00:00:00.000000Z"}, {"namespace": "safeloop-review"},
])
def test_an_answer_at_the_terminal_that_counts_for_nothing_runs_nothing(ledger, more):
    burnt = []
    approvals, _ = asking(lambda request: signed(request, **more))
    assert loop_with(ledger, burnt, approvals=approvals).run("do it").outcome == "suspended"
    assert (burnt, rows_of(ledger, "approval")) == ([], [])
    assert "the answer counts for nothing: " in only(ledger, "close").data["reason"]


def test_in_memory_where_no_session_can_wait_the_answer_is_no():
    burnt, client, ledger = [], asks(), Ledger(":memory:")
    assert loop_with(ledger, burnt, client).run("do it").outcome == "completed"
    assert burnt == []
    assert json.loads(told(client)[0][0])["error"]["class"] == "ApprovalRefused"


def test_a_run_that_outlives_its_grant_is_no_fault(ledger, keys, monkeypatch):
    burnt = suspended(ledger)
    decide(ledger, keys, hold=timedelta(seconds=2.6))
    real = Ledger.append

    def slow(self, rule):
        if burnt:
            time.sleep(max(0.0, 3.0 - (time.monotonic() - began)))
        return real(self, rule)

    began = time.monotonic()
    monkeypatch.setattr(Ledger, "append", slow)
    assert resumed(ledger, burnt)[0].outcome == "completed"
    assert len(burnt) == 1
    tool = only(ledger, "tool")
    assert tool.at > only(ledger, "approval").data["expires_at"]
    assert tool.data["execution_time_ms"] > 400
