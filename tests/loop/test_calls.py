"""Tool calls as rows: before and after each, whatever a model wrote and a tool did."""

import json
import time

import pytest

from safeloop.spec import ToolGrant
from safeloop.tools import ToolRegistry, file_tools
from tests.loop.playing import Player, call, kinds, loop_of, noting, only, reply, rows_of, spec_of


def used(*calls):
    return Player(reply(*calls, stop_reason="tool_use"), reply("done"))


def test_what_is_not_read_has_its_call_row_before_it_runs(ledger):
    seen = []
    registry = ToolRegistry()
    registry.register(name="wipe", description="d", parameters={"type": "object"}, permission="write",
                      handler=lambda: seen.append(kinds(ledger)) or "ok")
    registry.register(name="peek", description="d", parameters={"type": "object"}, permission="read",
                      handler=lambda: seen.append(kinds(ledger)) or "ok")
    loop_of(ledger, used(call("wipe"), call("peek")), tools=registry).run("do it")
    assert [kinds_then[-1] for kinds_then in seen] == ["call", "tool"]
    row = only(ledger, "call").data
    assert (row["call"], row["tool"], row["permission"], row["turn"]) == ("toolu_1", "wipe", "write", 1)


def test_arguments_and_results_are_content_and_never_in_a_row(ledger):
    loop_of(ledger, used(call("note", {"what": "secret words"})), tools=noting([])).run("do it")
    for row in ledger.rows("s"):
        assert b"secret words" not in row.body
    tool = only(ledger, "tool").data
    assert json.loads(ledger.read_content(tool["arguments"])) == {"what": "secret words"}
    assert b"noted secret words" in ledger.read_content(tool["result"])


def test_a_tool_that_fails_is_told_to_the_model_without_its_secrets(ledger):
    client = used(call("fail"))
    loop_of(ledger, client, tools=noting([])).run("do it")
    answer = client.asked[1]["messages"][2]["content"][0]
    assert answer["is_error"] is True
    assert "ValueError" in answer["content"]
    assert "hunter2" not in answer["content"]
    tool = only(ledger, "tool").data
    assert (tool["pass_fail"], tool["error"]["class"], tool["error"]["status"]) == (False, "ValueError", None)
    assert b"hunter2" not in ledger.read_content(tool["error"]["detail"])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("nothing", "nothing"), ("", ""), ("a\\b", "a\\\\b"), ("\ud800", "\\u{d800}"), ("\u202e\0", "\\u{202e}\\u{0}"),
        ("x" * 300, "x" * 186 + "…[114 bytes]"),
    ],
)
def test_an_invented_name_is_shown_once_made_visible_and_is_answered(ledger, name, shown):
    client = used(call(name))
    loop_of(ledger, client, tools=noting([])).run("do it")
    assert only(ledger, "tool").data["tool"] == shown
    assert only(ledger, "tool").data["error"]["class"] == "UnknownTool"
    assert client.asked[1]["messages"][2]["content"][0]["is_error"] is True


def test_a_cut_call_with_an_invented_name_is_shown_the_same_way(ledger):
    client = Player(reply(call("a\\\ud800"), stop_reason="max_tokens"), reply("done"))
    loop_of(ledger, client, tools=noting([])).run("do it")
    assert only(ledger, "tool").data["tool"] == "a\\\\\\u{d800}"


@pytest.mark.parametrize("arguments", [None, 5, "x", [], {"what": 5}, {"who": "x"}, {"what": {"deep": [None]}}])
def test_arguments_that_do_not_fit_are_answered_and_nothing_runs(ledger, arguments):
    ran = []
    block = call("note") | {"input": arguments}
    loop_of(ledger, used(block), tools=noting(ran)).run("do it")
    assert ran == []
    assert rows_of(ledger, "call") == []
    assert only(ledger, "tool").data["error"]["class"] == "BadArguments"


def test_what_the_spec_does_not_grant_is_neither_offered_nor_run(ledger):
    ran = []
    client, spec = used(call("note"), call("look")), spec_of("s", tools=ToolGrant(permissions=("read",)))
    loop_of(ledger, client, tools=noting(ran), spec=spec).run("do it")
    assert ran == [("look", "")]
    assert [tool["name"] for tool in client.asked[0]["tools"]] == ["look", "fail"]
    assert [row.data["error"] and row.data["error"]["class"] for row in rows_of(ledger, "tool")] == ["NotGranted", None]


def test_destructive_tools_stay_shut_until_somebody_has_decided(ledger):
    ran = []
    registry = ToolRegistry()
    registry.register(name="burn", description="d", parameters={"type": "object"}, handler=lambda: ran.append(1))
    spec = spec_of("s", tools=ToolGrant(permissions=("read", "write", "destructive")))
    assert loop_of(ledger, used(call("burn")), tools=registry, spec=spec).run("do it").outcome == "suspended"
    assert (ran, kinds(ledger)[-2:]) == ([], ["call", "close"])


def test_without_tools_none_are_offered_and_a_call_is_answered_with_an_error(ledger):
    client = used(call("note"))
    assert loop_of(ledger, client).run("do it").success
    assert "tools" not in client.asked[0]
    assert only(ledger, "tool").data["error"]["class"] == "UnknownTool"


def test_a_huge_result_is_cut_for_the_model_and_says_so(ledger):
    registry = ToolRegistry()
    registry.register(name="dump", description="d", parameters={"type": "object"}, handler=lambda: "x" * 20_000_000,
                      permission="read")
    client = used(call("dump"))
    loop_of(ledger, client, tools=registry, tokens=200_000).run("do it")
    answer = client.asked[1]["messages"][2]["content"][0]["content"]
    assert len(answer) < 51_000
    assert "[cut: 19950000 of 20000000 characters are not shown]" in answer
    assert only(ledger, "tool").data["result"]["bytes"] == len(answer)


def test_two_calls_of_one_id_each_get_their_own_rows_and_answers(ledger):
    ran = []
    client = used(call("note", {"what": "1"}, "same"), call("note", {"what": "2"}, "same"))
    loop_of(ledger, client, tools=noting(ran)).run("do it")
    assert ran == [("note", "1"), ("note", "2")]
    assert [row.data["call"] for row in rows_of(ledger, "tool")] == ["same", "same"]
    assert [block["tool_use_id"] for block in client.asked[1]["messages"][2]["content"]] == ["same", "same"]


@pytest.mark.parametrize("stop_reason", ["tool_use", "max_tokens"])
def test_a_thousand_calls_in_one_reply_are_each_recorded_and_answered_without_waiting_for_ever(ledger, stop_reason):
    calls = [call("look", {"what": str(number)}, f"toolu_{number}") for number in range(1_000)]
    client, ran = Player(reply(*calls, stop_reason=stop_reason), reply("done")), []
    started = time.process_time()
    assert loop_of(ledger, client, tools=noting(ran), tokens=10**7).run("do it").success
    assert time.process_time() - started < 10
    assert [row.data["call"] for row in rows_of(ledger, "tool")] == [f"toolu_{number}" for number in range(1_000)]
    assert len(client.asked[1]["messages"][2]["content"]) == 1_000
    assert len(ran) == (1_000 if stop_reason == "tool_use" else 0)


def test_a_tool_may_run_a_loop_of_its_own(ledger):
    registry = ToolRegistry()
    inner = Player(reply("inner done"))
    registry.register(
        name="delegate", description="d", parameters={"type": "object"}, permission="read",
        handler=lambda: loop_of(ledger, inner, spec=spec_of("inner")).run("part of it").outcome,
    )
    assert loop_of(ledger, used(call("delegate")), tools=registry).run("do it").success
    assert kinds(ledger, "inner") == ["spec", "open", "intent", "turn", "close"]


def test_a_tool_that_asks_to_exit_closes_the_session_as_failed(ledger):
    def leave():
        raise SystemExit(3)

    registry = ToolRegistry()
    registry.register(name="leave", description="d", parameters={"type": "object"}, handler=leave, permission="write")
    with pytest.raises(SystemExit):
        loop_of(ledger, used(call("leave")), tools=registry).run("do it")
    assert kinds(ledger)[-2:] == ["call", "close"]
    assert only(ledger, "close").data["outcome"] == "failed"


def test_a_function_that_makes_the_tools_is_given_the_sessions_own_staging_folder(ledger):
    client = used(call("write_file", {"path": "a/b.txt", "content": "hello"}))
    loop_of(ledger, client, tools=lambda staging: file_tools(None, staging)).run("do it")
    assert only(ledger, "close").data["file_count"] == 1


def test_a_function_that_makes_no_tools_fails_before_anything_is_recorded(ledger):
    def broken(_):
        raise OSError("no server")

    with pytest.raises(OSError, match="no server"):
        loop_of(ledger, Player(reply("done")), tools=broken).run("do it")
    assert ledger.rows("s") == ()
