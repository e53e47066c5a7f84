"""A whole loop through an OpenAI-compatible server: reserved, called, recorded and charged like any other."""

import json

import pytest

from safeloop.models.openai import OpenAIClient
from tests.loop.playing import kinds, loop_of, noting, only, rows_of
from tests.servers.openai_server import Fault, OpenAIServer, call, completion, usage


def ran(ledger, *script, usage_in="own", **options):
    """The result of a run, the server that it talked to, and the tools that ran."""
    tools = []
    with OpenAIServer(script, usage_in=usage_in) as server, OpenAIClient(server.base_url) as client:
        result = loop_of(ledger, client, tools=noting(tools), **options).run("x")
    return result, server, tools


def test_turns_and_tools_go_there_and_back_and_what_was_billed_is_what_was_charged(ledger):
    calls = [call("look", {"what": "a"}, "c1"), call("note", {"what": "é"}, "c2")]
    result, server, tools = ran(ledger, completion("hm", thinking="so", calls=calls), "done", model="local-model")
    assert (result.success, result.turns, result.total_tokens) == (True, 2, sum(server.billed))
    assert tools == [("look", "a"), ("note", "é")]
    roles = [message["role"] for message in server.posts[1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]
    assert [message.get("tool_call_id") for message in server.posts[1].body["messages"][3:]] == ["c1", "c2"]
    opened = only(ledger, "open").data
    assert (opened["model"], opened["endpoint"]) == ("local-model", server.base_url)
    assert kinds(ledger)[-1] == "close"
    reserved = [row.data["reserved_tokens"] for row in rows_of(ledger, "intent")]
    assert all(billed <= most for billed, most in zip(server.billed, reserved)), "never more than was reserved"


def test_arguments_that_are_no_json_come_back_to_the_model_as_an_error_and_the_loop_goes_on(ledger):
    result, server, tools = ran(ledger, completion(calls=[call("look", '{"what": "a')]), "I see")
    assert (result.success, tools) == (True, [])
    answer = server.posts[1].body["messages"][-1]
    assert answer["role"] == "tool"
    assert "must be an object" in answer["content"]
    assert only(ledger, "tool").data["pass_fail"] is False


def test_a_call_that_the_limit_cut_is_not_run(ledger):
    result, server, tools = ran(ledger, completion(calls=[call("look", '{"what":')], finish_reason="length"), "done")
    assert (result.success, tools) == (True, [])
    assert "cut" in server.posts[1].body["messages"][-1]["content"]


def test_a_call_after_a_finish_reason_that_nobody_knows_is_not_run(ledger):
    _, _, tools = ran(ledger, completion(calls=[call("note", {"what": "x"})], finish_reason="error"), "done")
    assert tools == []
    assert rows_of(ledger, "turn")[0].data["stop_reason"] is None


def test_a_server_without_usage_is_charged_in_full_and_never_outspends_the_ceiling(ledger):
    result, server, _ = ran(ledger, *["go on"] * 50, usage_in="never", tokens=6_000)
    turn = rows_of(ledger, "turn")[0].data
    assert (turn["usage"], turn["token_delta"]) == (None, only(ledger, "intent").data["reserved_tokens"])
    assert sum(server.billed) <= result.total_tokens <= 6_000


def test_a_small_ceiling_stops_the_call_before_it_leaves(ledger):
    result, server, _ = ran(ledger, "never", tokens=1_000)
    assert (result.success, result.breach_reason, server.requests) == (False, "token_ceiling", [])


def test_the_limit_is_clamped_to_what_is_left(ledger):
    _, server, _ = ran(ledger, "short", tokens=4_000, max_tokens=100_000)
    assert 1_024 <= server.posts[0].body["max_tokens"] < 4_000


def test_a_server_that_overruns_is_charged_what_it_billed(ledger):
    result, _, _ = ran(ledger, completion("x", usage=usage(50_000, 5)))
    assert (only(ledger, "turn").data["overrun"], result.total_tokens) == (True, 50_005)


@pytest.mark.parametrize(("fault", "in_doubt"), [(Fault.cut(), True), (Fault.status(503), False), (Fault.status(500), True)])
def test_an_attempt_that_failed_is_a_row_and_charged_if_it_may_have_been_paid(ledger, fault, in_doubt):
    result, server, _ = ran(ledger, fault, "done")
    assert (result.outcome, len(server.posts)) == ("completed", 2)
    intent, attempt = rows_of(ledger, "intent")[0].data, only(ledger, "attempt").data
    assert (attempt["in_doubt"], attempt["charged_tokens"]) == (in_doubt, intent["reserved_tokens"] if in_doubt else 0)


def test_the_reply_that_is_kept_holds_the_servers_own_words(ledger):
    ran(ledger, completion("done", usage=usage(100, 7, cached=64)))
    turn = only(ledger, "turn").data
    kept = json.loads(ledger.read_content(turn["response"]))
    assert kept["chat_completion"]["usage"]["prompt_tokens_details"] == {"cached_tokens": 64}
    assert (turn["usage"]["input"], turn["usage"]["cache_read"], turn["token_delta"]) == (36, 64, 107)
