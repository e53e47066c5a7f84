"""Resume: what was paid is not paid again, what ran is not run again, and nothing goes on as what it was not."""

import json
import shlex
from types import MappingProxyType

import pytest

from safeloop.breaker import Bound, How, Place, Request, reserve
from safeloop.errors import LedgerError, LedgerLocked, NotALoop, SettingError, Suspended
from safeloop.ledger import Draft, Ledger
from safeloop.ledger.content import manifest
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.loop import abandon_session, left_behind
from safeloop.loop.lock import held
from safeloop.loop.place import lock_path, staging_path
from safeloop.loop.resuming import resume_session
from safeloop.review.auditing.audit import audit
from safeloop.spec import Ceilings, Criterion, spend_of
from safeloop.spec.suspension import Cause, suspension_of
from safeloop.tools import file_tools
from tests.ledger.making import state_of
from tests.loop.child import Child
from tests.loop.playing import (
    Counting,
    Player,
    call,
    content_of,
    kinds,
    loop_of,
    messages_of,
    noting,
    only,
    reply,
    rows_of,
    spec_of,
    thinking,
    usage,
)


class Busy(Exception):
    """A server that asks for an hour."""

    status_code = 429
    headers = MappingProxyType({"retry-after": "3600"})


class Stop(KeyboardInterrupt):
    """What ends a run in the middle of a call or a tool, as a signal does."""


UNAUDITED = ("content_is_gone", "close_row_is_missing")  # what these tests do to a ledger, an audit would find


@pytest.fixture(autouse=True)
def audited(request, ledger, keys):
    """Whatever a test makes the loop write, an audit has nothing to say against it."""
    yield
    if ledger.head()[0].size and not any(words in request.node.name for words in UNAUDITED):
        ledger.close()
        state = state_of(ledger.db_path, keys)
        with LedgerReader(ledger.db_path) as reader:
            assert audit(reader, load_trust(keys / "self"), state=state).findings == ()


def stop(*_):
    raise Stop("interrupted by SIGTERM")


def suspended(ledger, *script, **more):
    """Play these replies, then be asked to wait an hour."""
    result = loop_of(ledger, Player(*script, Busy()), **more).run("do it")
    assert result.outcome == "suspended"
    return ledger


def file_loop(ledger, client, **more):
    return loop_of(ledger, client, tools=lambda staging: file_tools(None, staging), **more)


def test_a_suspended_session_goes_on_where_it_stopped_and_pays_for_no_turn_twice(ledger):
    suspended(ledger, reply("so far", stop_reason="max_tokens", counts=usage(100, 11)))
    client = Player(reply("done"))
    result = loop_of(ledger, client).resume()
    assert (result.outcome, result.turns, result.total_tokens) == ("completed", 2, 126)
    assert kinds(ledger) == [
        "spec", "open", "intent", "turn", "intent", "attempt", "close", "resume", "intent", "turn", "close"
    ]
    assert [(row.data["turn"], row.data["attempt"]) for row in rows_of(ledger, "intent")] == [(1, 1), (2, 1), (2, 2)]
    assert client.asked[0]["messages"] == [
        {"role": "user", "content": "do it"}, {"role": "assistant", "content": "so far"},
        {"role": "user", "content": "continue"},
    ]
    resume = only(ledger, "resume")
    assert (resume.data["after"], resume.data["in_doubt"]) == (resume.n - 1, [])
    assert resume.data["software"].startswith("safeloop ")


def test_the_resumed_request_is_bounded_by_what_the_settled_turns_did_cost(ledger):
    """Not by bytes from the start, and counters are not back at zero."""
    words = "x" * 3_000
    suspended(ledger, reply(words, stop_reason="max_tokens", counts=usage(900, 750)))
    client = Player(reply("done"))
    loop_of(ledger, client).resume()
    bounds = [row.data["reserved_tokens"] - row.data["max_tokens"] for row in rows_of(ledger, "intent")]
    assert bounds[1] == bounds[2] < 2_000


def test_counters_do_not_restart_on_resume(ledger):
    suspended(ledger, *[reply("hm", stop_reason="max_tokens", counts=usage(3_000, 1_000))] * 2, turns=3)
    client = Player(reply("hm", stop_reason="max_tokens"))
    result = loop_of(ledger, client, turns=3).resume()
    assert (result.breach_reason, result.turns, len(client.asked)) == ("turn_ceiling", 4, 1)
    assert spend_of(ledger.rows("s")).tokens == 8_015


def test_a_looser_breaker_does_not_loosen_what_a_session_was_opened_with(ledger):
    suspended(ledger, reply("hm", stop_reason="max_tokens"), turns=1 + 1)
    result = loop_of(ledger, Player(reply("hm", stop_reason="max_tokens")), turns=50).resume()
    assert (result.breach_reason, only(ledger, "breach").data["limit"]) == ("turn_ceiling", 2)


def test_thinking_goes_back_byte_by_byte_with_its_signature(ledger):
    blocks = [thinking("hm é \u2028", "c2lnLzEr"), call("look", {"what": "é"})]
    suspended(ledger, reply(*blocks, stop_reason="tool_use"), tools=noting([]))
    client = Player(reply("done"))
    loop_of(ledger, client, tools=noting([])).resume()
    assert client.asked[0]["messages"][1] == {"role": "assistant", "content": blocks}


def test_messages_that_are_kept_are_not_kept_twice(ledger):
    suspended(ledger, reply("hm", stop_reason="max_tokens"))
    loop_of(ledger, Player(reply("done"))).resume()
    first, second, third = (json.loads(content_of(ledger, row.data["request"])) for row in rows_of(ledger, "intent"))
    assert first == second[:1]
    assert second == third
    assert len(messages_of(ledger, rows_of(ledger, "intent")[2])) == 3


def test_suspended_time_does_not_count_and_the_time_before_does(ledger):
    suspended(ledger, reply("hm", stop_reason="max_tokens"))
    before = only(ledger, "close").data["elapsed_ms"]
    loop_of(ledger, Player(reply("done"))).resume()
    elapsed = [row.data["elapsed_ms"] for row in ledger.rows("s") if row.data.get("elapsed_ms") is not None]
    assert elapsed == sorted(elapsed)
    assert before <= elapsed[-1] < before + 5_000


def test_a_half_run_batch_is_finished_and_answered_in_one_message(ledger):
    ran = []
    tools = noting(ran)
    tools.register(name="stop", description="d", parameters={"type": "object"}, handler=stop, permission="read")
    calls = [call("note", {"what": "a"}, "a"), call("fail", {}, "f"), call("stop", {}, "x"), call("look", {}, "b")]
    with pytest.raises(Stop):
        loop_of(ledger, Player(reply(*calls, stop_reason="tool_use")), tools=tools).run("do it")
    assert [row.data["call"] for row in rows_of(ledger, "tool")] == ["a", "f"]

    again = noting(ran)
    again.register(name="stop", description="d", parameters={"type": "object"}, handler=lambda: "ok", permission="read")
    client = Player(reply("done"))
    result = loop_of(ledger, client, tools=again).resume()
    assert (result.outcome, [name for name, _ in ran]) == ("completed", ["note", "fail", "look"])
    answers = client.asked[0]["messages"][2]["content"]
    assert [answer["tool_use_id"] for answer in answers] == ["a", "f", "x", "b"]
    assert [answer.get("is_error", False) for answer in answers] == [False, True, False, False]
    assert "noted a" in answers[0]["content"]
    assert len(client.asked) == 1


def begun(ledger, *, name="note", call_id="c1", **more):
    """Interrupt a session within a tool: its call has a `call` row and no `tool` row."""
    tools = noting([])
    tools.register(name="act", description="d", parameters={"type": "object"}, handler=stop, permission="write", **more)
    with pytest.raises(Stop):
        loop_of(ledger, Player(reply(call("act", {}, call_id), call("look", {}, "l1"), stop_reason="tool_use")),
                tools=tools).run("do it")
    assert kinds(ledger)[-2:] == ["call", "close"]


def acting(ran, **more):
    tools = noting([])
    tools.register(name="act", description="d", parameters={"type": "object"}, permission="write",
                   handler=lambda: ran.append("act") or "acted", **more)
    return tools


def test_a_call_that_may_have_run_runs_again_only_if_its_tool_is_idempotent(ledger):
    begun(ledger, is_idempotent=True)
    ran = []
    result = loop_of(ledger, Player(reply("done")), tools=acting(ran, is_idempotent=True)).resume()
    assert (result.outcome, ran, kinds(ledger).count("call")) == ("completed", ["act"], 1)
    assert rows_of(ledger, "tool")[0].data["arguments"] == only(ledger, "call").data["arguments"]


def test_else_the_session_stays_suspended_and_says_which_call_and_how_it_goes_on(ledger):
    begun(ledger)
    ran, client = [], Player(reply("done"))
    for _ in range(2):
        with pytest.raises(Suspended, match="c1 of act may have run already") as waits:
            loop_of(ledger, client, tools=acting(ran)).resume()
    assert "safeloop resume s --rerun c1, or --skip c1" in waits.value.hint
    assert (ran, client.asked) == ([], [])
    assert kinds(ledger)[-3:] == ["call", "close", "close"]  # told once more why, and not once more each time
    assert rows_of(ledger, "close")[-1].data["reason"] == "call: c1 of act may have run already"
    assert "resume" not in kinds(ledger)


def test_the_id_that_a_server_gave_a_call_is_one_word_of_the_command_that_is_shown(ledger):
    begun(ledger, call_id="c1;touch pwned #\x1b[2J")
    with pytest.raises(Suspended) as waits:
        loop_of(ledger, Player(reply("done")), tools=acting([])).resume()
    command = waits.value.hint.partition("then: ")[2]
    assert shlex.split(command)[2:5] == ["s", "--rerun", "c1;touch pwned #\\u{1b}[2J,"]
    ran = []
    rerun = shlex.split(command)[-1]
    assert loop_of(ledger, Player(reply("done")), tools=acting(ran)).resume(rerun=rerun).outcome == "completed"
    assert ran == ["act"]


@pytest.mark.parametrize(("decision", "ran_then"), [({"rerun": "c1"}, ["act"]), ({"skip": "c1"}, [])])
def test_a_person_decides_whether_it_runs_again(ledger, decision, ran_then):
    begun(ledger)
    ran, client = [], Player(reply("done"))
    assert loop_of(ledger, client, tools=acting(ran)).resume(**decision).outcome == "completed"
    assert ran == ran_then
    answers = client.asked[0]["messages"][2]["content"]
    assert [answer["tool_use_id"] for answer in answers] == ["c1", "l1"]
    assert answers[0].get("is_error", False) is (not ran_then)
    data = rows_of(ledger, "tool")[0].data
    assert (data["pass_fail"], data["arguments"]) == (bool(ran_then), only(ledger, "call").data["arguments"])
    assert (data["error"] or {}).get("class") == (None if ran_then else "PassedOver")


@pytest.mark.parametrize("decision", [{"rerun": "l1"}, {"skip": "c2"}, {"rerun": "c1", "skip": "c1"}])
def test_a_decision_about_another_call_is_refused(ledger, decision):
    begun(ledger)
    before = kinds(ledger)
    with pytest.raises(SettingError):
        loop_of(ledger, Player(reply("done")), tools=acting([])).resume(**decision)
    assert kinds(ledger) == before


def test_a_decision_where_nothing_waits_is_refused(ledger):
    suspended(ledger)
    with pytest.raises(SettingError, match="nothing to decide about call c1"):
        loop_of(ledger, Player(reply("done"))).resume(rerun="c1")


def test_nothing_is_reserved_or_run_in_a_suspended_session_that_nobody_resumed(ledger):
    suspended(ledger)
    place = Place("s", 1, 2, "0" * 64, 0)
    request = Request("m", "", ({"role": "user", "content": "x"},), (), 10)
    contents = (ledger.content(b"[]", "application/json"),)
    with pytest.raises(LedgerError, match="session s is suspended, in row 5") as refused:
        reserve(ledger.append, place, request, Bound(10, How.BOUND), Ceilings(), contents, price=None, final=True)
    assert (refused.value.hint, kinds(ledger)[-1]) == ("safeloop resume s", "close")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"spec": spec_of("s", ceilings=Ceilings(turns=4))}, "its spec is not the one"),
        ({"model": "another"}, "its model was claude-sonnet-5-5, and now it is another"),
        ({"tools": None}, "its tool look is no longer there"),
    ],
)
def test_a_session_whose_promise_model_or_tools_changed_is_refused_with_words(ledger, changed, words):
    suspended(ledger, tools=noting([]))
    client = Player(reply("done"))
    with pytest.raises(SettingError, match=words) as refused:
        loop_of(ledger, client, **({"tools": noting([])} | changed)).resume()
    assert "safeloop close s" in refused.value.hint
    assert (client.asked, kinds(ledger)[-1]) == ([], "close")


def test_another_endpoint_another_workspace_and_another_schema_are_refused_too(ledger, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    suspended(ledger, tools=noting([]), workspace=folders[0])
    other = noting([])
    other.register(name="more", description="d", parameters={"type": "object"}, handler=stop, permission="read")
    with pytest.raises(SettingError, match="its endpoint was Player, and now it is Counting; its workspace was") as no:
        loop_of(ledger, Counting(5, reply("done")), tools=other, workspace=folders[1]).resume()
    assert "there is a tool more that it did not have" in str(no.value)
    changed = noting([])
    changed._tools.pop("look")
    changed.register(name="look", description="d", parameters={"type": "object"}, handler=stop, permission="read")
    with pytest.raises(SettingError, match="its tool look has another permission or schema"):
        loop_of(ledger, Player(reply("done")), tools=changed, workspace=folders[0]).resume()
    assert left_behind(ledger, "s").workspace == folders[0]


@pytest.mark.parametrize("what", ["task", "reply"])
def test_a_session_whose_content_is_gone_says_so_and_names_close(ledger, what):
    suspended(ledger, reply(call("look"), stop_reason="tool_use"), tools=noting([]))
    row = {"task": only(ledger, "open"), "reply": only(ledger, "turn")}[what]
    commitment = row.data["task" if what == "task" else "response"]
    ledger.erase_contents([bytes.fromhex(commitment["salted_sha256"])])
    client = Player(reply("done"))
    with pytest.raises(LedgerError, match=f"cannot go on: .*row {row.id} commits to, is no longer kept") as refused:
        loop_of(ledger, client, tools=noting([])).resume()
    assert refused.value.hint == "safeloop close s"
    assert (client.asked, abandon_session(ledger, "s").data["outcome"]) == ([], "failed")


def test_a_session_whose_staged_files_are_gone_is_refused(ledger):
    result = file_loop(ledger, Player(Busy())).run("do it")
    assert result.outcome == "suspended"
    staging_path(ledger.db_path, "s").rmdir()
    with pytest.raises(LedgerError, match="where the session wrote its files, is gone"):
        file_loop(ledger, Player(reply("done"))).resume()


def test_what_was_staged_before_is_there_after_and_in_the_end(ledger):
    write = reply(call("write_file", {"path": "f.txt", "content": "kept"}), stop_reason="tool_use")
    file_loop(ledger, Player(write, Busy())).run("do it")
    assert only(ledger, "close").data["file_count"] == 1
    spec = spec_of("s")
    client = Player(reply(call("read_file", {"path": "f.txt"}, "r"), stop_reason="tool_use"), reply("done"))
    assert file_loop(ledger, client, spec=spec).resume().outcome == "completed"
    assert "kept" in client.asked[1]["messages"][-1]["content"][0]["content"]
    assert rows_of(ledger, "close")[-1].data["file_count"] == 1


def test_a_criterion_is_judged_at_the_end_and_not_at_a_pause(ledger):
    spec = spec_of("s", criteria=(Criterion("there", file="f.txt", min_chars=1),))
    write = reply(call("write_file", {"path": "f.txt", "content": "kept"}), stop_reason="tool_use")
    file_loop(ledger, Player(write, Busy()), spec=spec).run("do it")
    assert "check" not in kinds(ledger)
    assert file_loop(ledger, Player(reply("done")), spec=spec).resume().outcome == "completed"
    assert only(ledger, "check").data["pass_fail"] is True


def test_a_session_that_never_began_or_is_closed_for_good_or_runs_is_refused(ledger):
    loop = loop_of(ledger, Player(reply("done")))
    with pytest.raises(LedgerError, match="has not begun"):
        loop.resume()
    assert loop.run("do it").outcome == "completed"
    with pytest.raises(LedgerError, match="closed already: completed") as refused:
        loop.resume()
    assert refused.value.hint == "safeloop review s"
    with held(lock_path(ledger.db_path, "s"), "session s"), pytest.raises(LedgerLocked):
        loop.resume()


def test_two_processes_that_resume_one_session_at_once_ask_once(ledger):
    suspended(ledger, reply("so far", stop_reason="max_tokens"), max_wait_s=0)
    with Child("resumes", ledger.db_path, 0.4) as one, Child("resumes", ledger.db_path, 0.4) as other:
        one.reach("begun")
        other.reach("begun")
        ends = sorted((one.end()[1], other.end()[1]), key=str)
    assert ends[0] == {"outcome": "completed"}
    assert ends[1]["raised"] in ("LedgerLocked", "SessionClosed")
    assert (kinds(ledger).count("resume"), kinds(ledger).count("turn")) == (1, 2)


def test_a_full_window_suspends_before_the_first_request_and_again_until_it_turns(ledger):
    limits = {"hour": {}, "day": {"tokens": 100}, "month": {}}
    ledger.append(lambda _: (Draft("ledger", "limits", limits),))
    client = Player(reply("done"))
    assert loop_of(ledger, client).run("do it").outcome == "suspended"
    close = only(ledger, "close").data
    suspension = suspension_of(close["reason"])
    assert (suspension.cause, suspension.until.hour, client.asked) == (Cause.WINDOW, 0, [])
    assert loop_of(ledger, client).resume().outcome == "suspended"
    ledger.append(lambda _: (Draft("ledger", "limits", limits | {"day": {"tokens": 100_000}}),))
    assert loop_of(ledger, client).resume().outcome == "completed"
    assert kinds(ledger) == ["spec", "open", "close", "resume", "close", "resume", "intent", "turn", "close"]
    assert client.asked[0]["messages"] == [{"role": "user", "content": "do it"}]


def test_a_session_whose_requests_no_loop_made_is_refused_with_words(ledger):
    """That of a governed client: its messages are its program's, and not a task that was given to a loop."""
    suspended(ledger, max_wait_s=0)
    resume_session(ledger, "s")
    message = ledger.content(b'{"role":"user","content":"another"}', "application/json")
    listing = ledger.content(manifest([message.commitment]), "application/json")
    request = Request("claude-sonnet-5-5", "", ({"role": "user", "content": "another"},), (), 10)
    reserve(ledger.append, Place("s", 1, 2, "0" * 64, 10_000), request, Bound(9, How.BOUND), Ceilings(),
            (message, listing), price=None, final=True)
    with pytest.raises(NotALoop, match="was not led by a loop") as refused:
        loop_of(ledger, Player(reply("done"))).resume()
    assert "safeloop close s" in refused.value.hint


def test_a_ledger_in_memory_has_nothing_to_resume():
    ledger = Ledger(":memory:")
    suspended(ledger)
    with pytest.raises(LedgerError, match="in memory"):
        loop_of(ledger, Player(reply("done"))).resume()


def test_a_suspended_session_can_be_closed_in_place_of_being_resumed(ledger):
    suspended(ledger, reply("hm", stop_reason="max_tokens"))
    assert abandon_session(ledger, "s").data["outcome"] == "failed"


def test_a_breach_whose_close_row_is_missing_gets_it_and_nothing_else(ledger):
    """kill -9 between the breach and the close: nothing runs after a breach, and no resume row says otherwise."""
    suspended(ledger, reply("hm", stop_reason="max_tokens"), turns=1 + 1)
    breach = {"turn": 2, "state_origin": "circuit_breaker", "breach_reason": "turn_ceiling", "scope": "session",
              "limit": 1, "spent": 1, "next_at_most": 1, "input_hash": "0" * 64, "pass_fail": False, "token_delta": 0,
              "execution_time_ms": 0}  # fmt: skip
    ledger.append(lambda _: (Draft("s", "breach", breach),))
    client = Player(reply("done"))
    result = loop_of(ledger, client).resume()
    assert (result.outcome, result.breach_reason, result.turns, client.asked) == ("breached", "turn_ceiling", 2, [])
    assert kinds(ledger)[-2:] == ["breach", "close"]
