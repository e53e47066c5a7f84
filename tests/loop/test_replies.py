"""What becomes of each kind of reply, through any client and through the real SDK."""

import json

import anthropic
import pytest

from safeloop.models import replay
from tests.loop.playing import (
    Player,
    call,
    kinds,
    loop_of,
    messages_of,
    noting,
    only,
    reply,
    rows_of,
    text,
    thinking,
)
from tests.servers import anthropic_server as server_side
from tests.servers.anthropic_server import AnthropicServer

CUT = ["max_tokens", "refusal", "model_context_window_exceeded", None]
TASK = {"role": "user", "content": "do it"}
CONTINUE = {"role": "user", "content": "continue"}


def sdk(server):
    return anthropic.Anthropic(api_key="k", base_url=server.url)


@pytest.mark.parametrize("stop_reason", CUT)
def test_no_call_of_a_cut_reply_is_run_and_each_gets_an_error_row(ledger, stop_reason):
    ran = []
    blocks = (text("hm"), call("note", {"what": "x"}, "toolu_1"), call("nothing", {}, "toolu_2"))
    client = Player(reply(*blocks, stop_reason=stop_reason), reply("done"))
    result = loop_of(ledger, client, tools=noting(ran)).run("do it")
    assert ran == []
    assert rows_of(ledger, "call") == []
    tools = [row.data for row in rows_of(ledger, "tool")]
    assert [(tool["call"], tool["tool"], tool["permission"]) for tool in tools] == [
        ("toolu_1", "note", "write"), ("toolu_2", "nothing", "destructive"),
    ]
    assert [(tool["pass_fail"], tool["error"]["class"]) for tool in tools] == [(False, "CutReply")] * 2
    outcomes = {"refusal": "refused", "model_context_window_exceeded": "failed"}
    assert result.outcome == outcomes.get(stop_reason, "completed")
    assert result.success is (stop_reason in ("max_tokens", None))


@pytest.mark.parametrize("stop_reason", ["max_tokens", None])
def test_a_cut_reply_that_goes_on_is_answered_with_an_error_result_for_each_call(ledger, stop_reason):
    client = Player(reply(call("note", {}, "a"), call("look", {}, "b"), stop_reason=stop_reason), reply("done"))
    loop_of(ledger, client, tools=noting([])).run("do it")
    assistant, results = client.asked[1]["messages"][1:]
    assert assistant == {"role": "assistant", "content": [call("note", {}, "a"), call("look", {}, "b")]}
    assert [(block["type"], block["tool_use_id"], block["is_error"]) for block in results["content"]] == [
        ("tool_result", "a", True), ("tool_result", "b", True),
    ]
    assert all("cut" in block["content"] for block in results["content"])


def test_a_call_that_the_sdk_itself_would_hand_over_half_is_not_run(ledger):
    ran = []
    half = server_side.message(
        server_side.tool_use("note", '{"what": "rm -rf /tmp/'), stop_reason="max_tokens", usage=server_side.usage()
    )
    with AnthropicServer([half, "done"]) as server:
        loop_of(ledger, sdk(server), tools=noting(ran)).run("do it")
        assert server.posts[1].body["messages"][1]["content"][0]["input"] == {"INVALID_JSON": '{"what": "rm -rf /tmp/'}
    assert ran == []
    tool = only(ledger, "tool")
    assert json.loads(ledger.read_content(tool.data["arguments"])) == {"INVALID_JSON": '{"what": "rm -rf /tmp/'}


@pytest.mark.parametrize("stop_reason", ["tool_use", "end_turn", "stop_sequence", "pause_turn"])
def test_the_calls_of_a_whole_reply_run_in_their_order_whatever_it_calls_its_end(ledger, stop_reason):
    ran = []
    blocks = (call("look", {"what": "1"}, "a"), text("and"), call("note", {"what": "2"}, "b"), call("fail", {}, "c"))
    client = Player(reply(*blocks, stop_reason=stop_reason), reply("done"))
    assert loop_of(ledger, client, tools=noting(ran)).run("do it").success
    assert ran == [("look", "1"), ("note", "2"), ("fail", "")]
    results = client.asked[1]["messages"][2]["content"]
    assert [block["tool_use_id"] for block in results] == ["a", "b", "c"]
    assert ["is_error" in block for block in results] == [False, False, True]
    assert results[1]["content"].endswith("noted 2")


@pytest.mark.parametrize("block", [thinking("hm"), {"type": "redacted_thinking", "data": "b64"}])
@pytest.mark.parametrize("stop_reason", ["max_tokens", "pause_turn", None, "stop_sequence"])
def test_a_reply_of_thinking_alone_is_not_sent_back(ledger, block, stop_reason):
    client = Player(reply(block, block, stop_reason=stop_reason), reply("done"))
    assert loop_of(ledger, client).run("do it").success
    assert client.asked[1]["messages"] == [TASK]


@pytest.mark.parametrize("content", [[], [text("")], [text("  \n")], [text(""), text("\t")]])
@pytest.mark.parametrize("stop_reason", ["max_tokens", "pause_turn", None])
def test_a_reply_of_nothing_is_not_sent_back_and_not_answered(ledger, content, stop_reason):
    client = Player(reply(*content, stop_reason=stop_reason), reply("done"))
    assert loop_of(ledger, client).run("do it").success
    assert client.asked[1]["messages"] == [TASK]


def test_replies_of_nothing_for_ever_end_at_a_ceiling(ledger):
    result = loop_of(ledger, Player(reply(stop_reason="max_tokens")), turns=4).run("do it")
    assert (result.breach_reason, result.turns) == ("turn_ceiling", 5)


def test_an_empty_reply_that_says_it_is_the_end_is_the_end_and_has_no_output(ledger):
    assert loop_of(ledger, Player(reply())).run("do it").outcome == "completed"
    assert only(ledger, "close").data["output"] is None


def test_a_reply_of_text_alone_goes_back_as_one_string_and_is_answered_with_continue(ledger):
    client = Player(reply("one ", "two", stop_reason="max_tokens"), reply("done"))
    loop_of(ledger, client).run("do it")
    assert client.asked[1]["messages"] == [TASK, {"role": "assistant", "content": "one two"}, CONTINUE]


@pytest.mark.parametrize("stop_reason", ["max_tokens", "tool_use", "stop_sequence", "of a later version", None])
def test_any_other_end_without_calls_is_answered_with_continue(ledger, stop_reason):
    client = Player(reply(thinking("hm"), "so far", stop_reason=stop_reason), reply("done"))
    loop_of(ledger, client).run("do it")
    assert client.asked[1]["messages"] == [
        TASK, {"role": "assistant", "content": [thinking("hm"), text("so far")]}, CONTINUE,
    ]


def test_a_pause_goes_back_as_it_is_without_another_word(ledger):
    client = Player(reply("searching", stop_reason="pause_turn"), reply("done"))
    loop_of(ledger, client).run("do it")
    assert client.asked[1]["messages"] == [TASK, {"role": "assistant", "content": "searching"}]


def test_a_refusal_ends_the_session_as_refused_with_what_was_said(ledger):
    client = Player(reply("I would rather not.", stop_reason="refusal"))
    result = loop_of(ledger, client).run("do it")
    assert (result.success, result.outcome, result.breach_reason, result.turns) == (False, "refused", None, 1)
    assert result.reason == "the model declined"
    assert ledger.read_content(only(ledger, "close").data["output"]) == b"I would rather not."


def test_a_full_context_window_ends_the_session_as_failed(ledger):
    result = loop_of(ledger, Player(reply("and so", stop_reason="model_context_window_exceeded"))).run("do it")
    assert (result.success, result.outcome, result.reason) == (False, "failed", "model_context_window_exceeded")
    assert kinds(ledger)[-2:] == ["turn", "close"]


def test_the_output_is_the_last_text_that_there_was(ledger):
    client = Player(reply("the report", stop_reason="max_tokens"), reply(thinking("hm")))
    loop_of(ledger, client).run("do it")
    assert ledger.read_content(only(ledger, "close").data["output"]) == b"the report"


def test_thinking_and_signatures_go_back_byte_for_byte_through_the_real_sdk(ledger):
    signature = "EqQBCkYIBxgCKkA+/é\\u2028==" * 20
    blocks = [
        server_side.thinking("a 😀 thought\u2028\x7f", signature),
        {"type": "redacted_thinking", "data": "AAAA//+=="},
        server_side.text("so"),
        server_side.tool_use("look", {"what": "ünï", "unknown": [1.5, None, {"deep": True}]}),
    ]
    with AnthropicServer([server_side.message(*blocks), "done"]) as server:
        loop_of(ledger, sdk(server), tools=noting([]), tokens=100_000).run("do it")
        sent_back = server.posts[1].body["messages"][1]
    assert sent_back == {"role": "assistant", "content": blocks}
    assert json.dumps(sent_back["content"]) == json.dumps(blocks)
    kept = replay(ledger.read_content(rows_of(ledger, "turn")[0].data["response"]))
    assert list(kept.content) == blocks
    assert messages_of(ledger, rows_of(ledger, "intent")[1])[1] == sent_back


def test_each_request_is_read_back_whole_from_the_content_of_its_intent(ledger):
    client = Player(
        reply(thinking("hm"), call("look", {"what": "\ud800"}), stop_reason="tool_use"),
        reply("so far", stop_reason="max_tokens"), reply("done"),
    )
    loop_of(ledger, client, tools=noting([])).run("do \ud800 it")
    for asked, intent in zip(client.asked, rows_of(ledger, "intent"), strict=True):
        assert messages_of(ledger, intent) == asked["messages"]


@pytest.mark.parametrize("words", ["x" * 5_000_000, "\ud800" * 100_000, "\0" * 1_000])
def test_a_reply_of_any_size_and_any_characters_is_recorded_and_goes_back(ledger, words):
    client = Player(reply(words, stop_reason="max_tokens"), reply("done"))
    assert loop_of(ledger, client, tokens=50_000_000).run("do it").success
    assert client.asked[1]["messages"][1]["content"] == words
    kept = replay(ledger.read_content(rows_of(ledger, "turn")[0].data["response"]))
    assert kept.text == words


@pytest.mark.parametrize(
    "odd",
    [
        reply({"type": "tool_use"}, stop_reason="tool_use"),
        reply({"type": "tool_use", "id": 5, "name": None, "input": "no object"}, stop_reason="tool_use"),
        reply(call("\u202e\0\ud800" * 200, [1], "\ud800" * 500), stop_reason="tool_use"),
        reply({"type": "text", "text": 5}, stop_reason="max_tokens"),
        reply({"type": "of a later version", "data": [None]}, stop_reason="\ud800" * 300),
        {"content": "a string", "stop_reason": 5, "usage": None, "model": "\ud800"},
        {"content": None, "stop_reason": "max_tokens"},
        {}, None, "a string", 7, object(),
    ],
)
def test_a_paid_reply_of_any_shape_has_its_row(ledger, odd):
    client = Player(odd, reply("done"))
    loop_of(ledger, client, tools=noting([])).run("do it")
    assert rows_of(ledger, "turn")[0].data["pass_fail"] is True
    assert kinds(ledger)[-1] == "close"


def test_a_reply_that_cannot_even_be_looked_at_is_in_doubt_and_charged_in_full(ledger):
    class Mine:
        @property
        def content(self):
            raise OSError("a lazy body whose connection is gone")

    with pytest.raises(OSError, match="lazy body"):
        loop_of(ledger, Player(Mine())).run("do it")
    assert kinds(ledger) == ["spec", "open", "intent", "attempt", "close"]
    attempt = only(ledger, "attempt").data
    assert (attempt["in_doubt"], attempt["error"]["class"]) == (True, "Unrecorded")
    assert attempt["charged_tokens"] == only(ledger, "intent").data["reserved_tokens"]
    close = only(ledger, "close").data
    assert (close["total_tokens"], close["cost_microusd"]) == (attempt["charged_tokens"], None)
