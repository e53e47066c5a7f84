"""Whole turns through the real SDK."""

import contextlib
import json

import anthropic
import httpx2
import pytest

from safeloop.errors import AttemptFailed, SettingError
from safeloop.models import LLMClient, MessagesEndpoint, ToolCall, Usage, adapt, read_reply, replay
from safeloop.models.anthropic import AnthropicClient
from tests.servers.anthropic_server import AnthropicServer, Fault, message, text, thinking, tool_use, usage

ASK = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 100,
    "system": "be brief",
    "messages": [{"role": "user", "content": "hi"}],
}
TOOL = {"name": "t", "input_schema": {"type": "object"}}
STOP_REASONS = [
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
    None,
]


@contextlib.contextmanager
def talking(*script, **options):
    with AnthropicServer(script) as server, AnthropicClient(api_key="k", base_url=server.url, **options) as client:
        yield server, client


def test_a_text_turn_comes_back_whole_with_what_was_billed():
    with talking("hello there") as (server, client):
        reply = client.messages.create(**ASK)
        assert (reply.text, reply.stop_reason, reply.tool_calls) == ("hello there", "end_turn", ())
        assert reply.model == "claude-sonnet-5-5"
        assert [reply.usage.total] == server.billed
        assert client.endpoint == server.url


def test_only_what_was_given_is_sent_and_always_as_a_stream():
    with talking("a", "b") as (server, client):
        client.messages.create(**ASK, tools=None)
        client.messages.create(**ASK, tools=[TOOL], thinking={"type": "adaptive"})
        assert server.posts[0].body == {**ASK, "stream": True}
        assert server.posts[1].body.keys() - server.posts[0].body.keys() == {"tools", "thinking"}


def test_the_text_of_a_reply_is_all_its_text_blocks():
    with talking(message(text("one "), tool_use("t"), text("two"))) as (_, client):
        assert client.messages.create(**ASK).text == "one two"


def test_tool_calls_keep_their_ids_names_arguments_and_order():
    arguments = {"path": "é/ü.txt", "deep": {"n": [1, 2.5, None, True]}}
    with talking(message(tool_use("read", arguments, "toolu_a"), tool_use("list", {}, "toolu_b"))) as (_, client):
        reply = client.messages.create(**ASK)
    assert reply.stop_reason == "tool_use"
    assert reply.tool_calls == (
        ToolCall("toolu_a", "read", arguments),
        ToolCall("toolu_b", "list", {}),
    )


def test_thinking_goes_back_unchanged_down_to_the_signature():
    blocks = [
        thinking("first\nthis, then that …", "EqQBCkYIARgCKkDz+/=="),
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        text("so: "),
        tool_use("t", {"a": 1}),
    ]
    with talking(message(*blocks), "done") as (server, client):
        first = client.messages.create(**ASK)
        assert list(first.content) == blocks
        again = [*ASK["messages"], {"role": "assistant", "content": list(replay(first.raw).content)}]
        client.messages.create(**{**ASK, "messages": again})
        assert server.posts[1].body["messages"][1]["content"] == blocks


def test_the_kept_bytes_are_the_message_and_read_back_as_the_same_reply():
    with talking(message(text("é"), usage=usage(7, 3, 2, 1), container=None)) as (_, client):
        reply = client.messages.create(**ASK)
    assert json.loads(reply.raw)["content"] == [text("é")]
    assert replay(reply.raw) == reply
    assert read_reply(reply) == reply


def test_blocks_that_no_sdk_knows_yet_are_kept_as_they_came():
    block = {"type": "hologram", "beam": {"w": 1}, "caller": None}
    with talking(message(block, text("x"))) as (_, client):
        assert client.messages.create(**ASK).content[0] == block


def test_cached_and_thinking_tokens_and_searches_are_all_counted():
    more = {"output_tokens_details": {"thinking_tokens": 40}, "server_tool_use": {"web_search_requests": 2}}
    counts = usage(10, 50, 200, 3000, **more)
    with talking(message(text("x"), usage=counts)) as (server, client):
        reply = client.messages.create(**ASK)
    assert reply.usage == Usage(input=10, cache_write=200, cache_read=3000, output=50, thinking=40, searches=2)
    assert server.billed == [reply.usage.total] == [3260]


@pytest.mark.parametrize("stop_reason", STOP_REASONS)
def test_every_stop_reason_arrives_and_none_stays_none(stop_reason):
    with talking(message(text("x"), stop_reason=stop_reason)) as (_, client):
        assert client.messages.create(**ASK).stop_reason == stop_reason


@pytest.mark.parametrize(
    "counts",
    [
        None,
        usage(-5, 10),
        usage("10", 10),
        usage(10, "5"),
        usage(0, 0),
        usage(True, 5),
        usage(10.0, 5),
        usage(10**9 + 1, 5),
    ],
)
def test_usage_that_cannot_be_believed_is_no_usage(counts):
    with talking(message(text("x"), usage=counts)) as (_, client):
        reply = client.messages.create(**ASK)
    assert (reply.text, reply.usage) == ("x", None)


def test_a_tool_name_of_lone_surrogates_arrives_and_can_be_kept():
    with talking(message(tool_use("\ud800evil", {"k\udfff": "\udead"}))) as (_, client):
        reply = client.messages.create(**ASK)
    assert reply.tool_calls == (ToolCall("toolu_1", "\ud800evil", {"k\udfff": "\udead"}),)
    assert replay(reply.raw) == reply


def test_lone_surrogates_cannot_be_sent_and_that_costs_nothing():
    with talking("x") as (server, client):
        with pytest.raises(AttemptFailed, match="could not be put together") as caught:
            client.messages.create(**{**ASK, "messages": [{"role": "user", "content": "\ud800"}]})
        assert (caught.value.error_class, caught.value.in_doubt) == ("UnsendableRequest", False)
        assert server.requests == []


def test_a_misspelled_parameter_never_leaves():
    with talking("x") as (server, client):
        with pytest.raises(AttemptFailed, match="unexpected keyword argument 'max_token'") as caught:
            client.messages.create(**ASK, max_token=5)
        assert (caught.value.error_class, caught.value.in_doubt) == ("UnsendableRequest", False)
        assert server.requests == []


def test_a_call_cut_by_max_tokens_is_kept_as_text_and_not_as_a_smaller_call():
    with talking(message(tool_use("rm", '{"path": "/tmp/x", "dry_ru'), stop_reason="max_tokens")) as (_, client):
        reply = client.messages.create(**ASK)
    assert reply.tool_calls[0].input == {"INVALID_JSON": '{"path": "/tmp/x", "dry_ru'}


def test_counting_tokens_asks_the_provider_and_bills_nothing():
    with talking() as (server, client):
        server.counted = 1234
        request = {name: ASK[name] for name in ("model", "system", "messages")}
        assert client.messages.count_tokens(**request, tools=None).input_tokens == 1234
        assert (server.requests[0].path, server.billed) == ("/v1/messages/count_tokens", [])
        assert server.requests[0].body == request


@pytest.mark.parametrize("answer", [Fault.status(500), Fault.status(429), Fault.reset(), Fault.html(), -1, "12", True])
def test_a_count_that_fails_is_never_in_doubt(answer):
    with talking() as (server, client):
        server.counted = answer
        with pytest.raises(AttemptFailed) as caught:
            client.messages.count_tokens(model="m", messages=ASK["messages"])
        assert caught.value.in_doubt is False
        assert len(server.requests) == 1


def test_a_client_of_the_users_own_is_adapted_with_its_headers_and_without_its_retries():
    with AnthropicServer([Fault.status(500), "fine"]) as server:
        settings = {"default_headers": {"x-team": "blue"}, "max_retries": 5}
        with anthropic.Anthropic(api_key="mine", base_url=server.url, **settings) as own:
            client = adapt(own)
            assert isinstance(client, AnthropicClient)
            with pytest.raises(AttemptFailed) as caught:
                client.messages.create(**ASK)
            assert (caught.value.status, len(server.posts)) == (500, 1)
            assert client.messages.create(**ASK).text == "fine"
            assert own.max_retries == 5
        assert server.posts[1].headers["x-team"] == "blue"
        assert "mine" in server.posts[1].headers.get("x-api-key", server.posts[1].headers.get("authorization", ""))


def test_closing_the_adapter_leaves_a_client_that_was_passed_in_open():
    with AnthropicServer(["x"]) as server, anthropic.Anthropic(api_key="k", base_url=server.url) as own:
        adapt(own).close()
        assert not own.is_closed()


def test_the_users_own_requests_on_an_adapted_client_are_left_alone():
    with AnthropicServer(["x", "y"]) as server, anthropic.Anthropic(api_key="k", base_url=server.url) as own:
        assert adapt(adapt(own)._sdk).messages.create(**ASK).text == "x"
        assert own.messages.create(**ASK).content[0].text == "y"
        assert len(own._client.event_hooks["request"]) == 1


def test_a_middleware_that_answers_by_itself_is_read_like_a_server():
    kept = anthropic.types.Message.construct(content=[text("from a cache")], stop_reason="end_turn")
    own = anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:9", middleware=[lambda _request, _next: kept])
    with own:
        reply = adapt(own).messages.create(**ASK)
    assert (reply.text, reply.usage) == ("from a cache", None)


def test_an_http_client_of_the_users_own_carries_the_requests():
    with AnthropicServer(["x"]) as server, httpx2.Client(headers={"x-own": "1"}, timeout=5) as http:
        AnthropicClient(api_key="k", base_url=server.url, http_client=http).messages.create(**ASK)
        assert len(server.posts) == 1
        assert not http.is_closed


def test_the_adapter_is_a_client_by_the_protocols():
    client = AnthropicClient(api_key="k")
    assert isinstance(client, LLMClient)
    assert isinstance(client.messages, MessagesEndpoint)
    assert client.endpoint == "https://api.anthropic.com"


def test_the_endpoint_never_shows_a_password():
    assert AnthropicClient(api_key="k", base_url="https://me:secret@host.example:8443/llm/?t=1").endpoint == (
        "https://host.example:8443/llm"
    )


def test_without_a_key_the_error_names_the_variable_and_the_way_without_one():
    with pytest.raises(SettingError, match="ANTHROPIC_API_KEY is not set") as caught:
        AnthropicClient()
    assert caught.value.hint == "export ANTHROPIC_API_KEY=..., or try it without a key: safeloop demo"
    with anthropic.Anthropic() as own, pytest.raises(SettingError, match="ANTHROPIC_API_KEY"):
        adapt(own)


def test_an_auth_token_or_a_header_is_a_credential_too(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "t")
    AnthropicClient().close()
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN")
    with anthropic.Anthropic(default_headers={"Authorization": "Bearer x"}) as own:
        adapt(own)


@pytest.mark.parametrize("key", ["sk-ant\n", " sk", "sk ant\t", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_before_anything_is_reserved(key):
    with pytest.raises(SettingError, match="API key") as caught:
        AnthropicClient(api_key=key)
    assert key.strip() not in str(caught.value)


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan"), float("inf"), 86_401, "60"])
def test_a_deadline_without_meaning_is_refused(deadline_s):
    with pytest.raises(SettingError, match="deadline"):
        AnthropicClient(api_key="k", deadline_s=deadline_s)


def test_settings_that_contradict_each_other_or_make_no_client_are_refused():
    with anthropic.Anthropic(api_key="k") as own, pytest.raises(SettingError, match="not both"):
        AnthropicClient(own, api_key="k2")
    with pytest.raises(SettingError, match="could not be made"):
        AnthropicClient(api_key="k", base_url="http://host:port")
    with pytest.raises(SettingError, match="address"):
        AnthropicClient(api_key="k", base_url="llm.example")
    with pytest.raises(SettingError, match="could not be made"):
        AnthropicClient(api_key="k", http_client=object())
