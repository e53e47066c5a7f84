"""A ceiling stops; it does not destroy: the work goes on in a new session, with its own ceilings."""

import json

import pytest

from safeloop.breaker import CircuitBreaker
from safeloop.errors import LedgerError
from safeloop.ledger.upkeep.limiting import set_limits
from safeloop.loop import AgentLoop
from safeloop.loop.place import staging_path
from tests.loop.playing import (
    Player,
    breaker,
    call,
    content_of,
    kinds,
    loop_of,
    noting,
    only,
    reply,
    rows_of,
    spec_of,
    usage,
)
from tests.loop.test_resuming import Busy, audited, file_loop

__all__ = ["audited"]  # the fixture: here too an audit has nothing to say


def test_a_breached_sessions_work_goes_on_in_a_new_session_with_its_own_ceilings(ledger):
    calls = reply(call("write_file", {"path": "f.txt", "content": "one"}), stop_reason="tool_use")
    before = file_loop(ledger, Player(calls), turns=1).run("do it")
    assert before.breach_reason == "turn_ceiling"
    client = Player(reply(call("read_file", {"path": "f.txt"}, "r"), stop_reason="tool_use"), reply("done"))
    result = file_loop(ledger, client, spec=spec_of("t"), turns=2).continue_from("s")
    assert (result.outcome, result.turns) == ("completed", 2)
    opened = only(ledger, "open", "t").data
    assert (opened["continues"], opened["parent"]) == ("s", None)
    assert opened["input_hash"] == only(ledger, "open").data["input_hash"]
    assert [message["role"] for message in client.asked[0]["messages"]] == ["user", "assistant", "user"]
    assert client.asked[0]["messages"][0]["content"] == "do it"
    assert "one" in client.asked[1]["messages"][-1]["content"][0]["content"]
    assert only(ledger, "close", "t").data["file_count"] == 1
    mine = json.loads(content_of(ledger, rows_of(ledger, "intent", "t")[0].data["request"]))
    theirs = json.loads(content_of(ledger, only(ledger, "intent").data["request"]))
    assert not {each["salted_sha256"] for each in mine} & {each["salted_sha256"] for each in theirs}


def test_a_session_that_continues_another_can_itself_be_suspended_before_its_first_reply_and_continued(ledger):
    write = reply(call("write_file", {"path": "f.txt", "content": "one"}), stop_reason="tool_use")
    file_loop(ledger, Player(write), turns=1).run("do it")
    assert file_loop(ledger, Player(Busy()), spec=spec_of("t"), max_wait_s=0).continue_from("s").outcome == "suspended"
    (staging_path(ledger.db_path, "t") / "f.txt").unlink()  # as if the process had died before it was put there
    client = Player(reply("hm", stop_reason="max_tokens"))
    result = file_loop(ledger, client, spec=spec_of("t"), turns=1).resume()
    assert (result.outcome, len(client.asked[0]["messages"])) == ("breached", 3)
    last = Player(reply("done"))
    assert file_loop(ledger, last, spec=spec_of("u")).continue_from("t").outcome == "completed"
    assert [message["role"] for message in last.asked[0]["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert only(ledger, "close", "u").data["file_count"] == 1


def test_the_new_session_is_no_child_and_only_windows_span_both(ledger):
    set_limits(ledger, {("hour", "tokens"): 9_000})
    dear = reply("hm", stop_reason="max_tokens", counts=usage(10, 1_000))
    assert loop_of(ledger, Player(dear), turns=2, tokens=5_000).run("do it").total_tokens == 2_020
    result = loop_of(ledger, Player(dear), spec=spec_of("t"), turns=4, tokens=5_000).continue_from("s")
    assert (result.breach_reason, result.turns, result.total_tokens) == ("turn_ceiling", 5, 4_040), "ceilings of its own"
    last = loop_of(ledger, Player(dear), spec=spec_of("u"), turns=9, tokens=9_000).continue_from("t")
    assert (last.outcome, last.reason.partition(":")[0]) == ("suspended", "window"), "but the hour is the same"
    assert 6_060 + last.total_tokens <= 9_000


def test_only_a_session_that_a_ceiling_stopped_is_continued(ledger):
    loop_of(ledger, Player(reply("done"))).run("do it")
    for before in ("s", "unknown"):
        with pytest.raises(LedgerError, match="was not stopped by a ceiling"):
            loop_of(ledger, Player(reply("done")), spec=spec_of("t")).continue_from(before)
    assert kinds(ledger, "t") == []


def test_calls_that_a_tool_ceiling_kept_from_running_are_told_as_not_run_to_the_next_session(ledger):
    limits = CircuitBreaker(5, 15_000, tool_call_limit=1, output_fn=lambda _: None)
    calls = reply(call("look", {}, "a"), call("look", {}, "b"), stop_reason="tool_use")
    before = AgentLoop(spec_of("s"), limits, ledger, Player(calls), tools=noting([])).run("do it")
    assert before.breach_reason == "tool_ceiling"
    client = Player(reply("done"))
    AgentLoop(spec_of("t"), breaker(), ledger, client, tools=noting([])).continue_from("s")
    answers = client.asked[0]["messages"][2]["content"]
    assert [(answer["tool_use_id"], answer["is_error"]) for answer in answers] == [("a", True), ("b", True)]
