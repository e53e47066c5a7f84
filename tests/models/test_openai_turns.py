"""Whole turns through chat completions: what is asked, and what comes back."""

import base64
import contextlib
import json

import pytest

from safeloop.errors import SettingError
from safeloop.models import LLMClient, MessagesEndpoint, ToolCall, Usage, adapt, read_reply, replay
from safeloop.models.openai import OpenAIClient
from tests.servers.openai_server import OpenAIServer, call, completion, usage

ASK = {"model": "m", "max_tokens": 100, "system": "be brief", "messages": [{"role": "user", "content": "hi"}]}
TOOL = {"name": "look", "description": "Look.", "input_schema": {"type": "object", "properties": {}}}


@contextlib.contextmanager
def talking(*script, usage_in="own", **options):
    with OpenAIServer(script, usage_in=usage_in) as server, OpenAIClient(server.base_url, **options) as client:
        yield server, client


def answer(*script, **options):
    """The reply to one request."""
    with talking(*script, **options) as (server, client):
        reply = client.messages.create(**ASK)
        assert len(server.posts) == 1
        assert replay(reply.raw) == reply == read_reply(reply)
        return reply


def sent(*messages, reply="ok", **more):
    """The messages that a server sees of a conversation, but for the system prompt."""
    with talking(reply) as (server, client):
        client.messages.create(**{**ASK, "messages": list(messages), **more})
        return server.posts[0].body["messages"][1:]


def test_a_text_turn_comes_back_whole_with_what_was_billed():
    with talking("hello there") as (server, client):
        reply = client.messages.create(**ASK)
        assert (reply.text, reply.stop_reason, reply.tool_calls) == ("hello there", "end_turn", ())
        assert reply.model == "local-model"
        assert [reply.usage.total] == server.billed
        assert client.endpoint == server.base_url


def test_it_is_a_client_like_any_other_that_cannot_count():
    with OpenAIClient("http://127.0.0.1:9/v1") as client:
        assert isinstance(client, LLMClient)
        assert isinstance(client.messages, MessagesEndpoint)
        assert adapt(client) is client
        assert not hasattr(client.messages, "count_tokens"), "bytes bound it"
        assert not hasattr(client, "costs_nothing"), "a server on this machine may well be a gateway to a paid one"


def test_only_what_was_given_is_sent_always_as_a_stream_with_its_usage():
    with talking("a", "b") as (server, client):
        client.messages.create(**ASK, tools=None)
        client.messages.create(**ASK, tools=[TOOL], thinking={"type": "adaptive"})
        assert server.posts[0].body == {
            "model": "m", "max_tokens": 100, "stream": True, "stream_options": {"include_usage": True},
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        }
        function = {"name": "look", "description": "Look.", "parameters": TOOL["input_schema"]}
        assert server.posts[1].body["tools"] == [{"type": "function", "function": function}]
        assert "thinking" not in server.posts[1].body


@pytest.mark.parametrize(
    ("base_url", "limit_name", "expected"),
    [
        ("https://api.openai.com/v1", None, "max_completion_tokens"),
        ("https://eu.api.openai.com./v1", None, "max_completion_tokens"),
        ("https://mine.openai.azure.com/openai/v1", None, "max_completion_tokens"),
        ("https://api.openai.com/v1", "max_tokens", "max_tokens"),
        ("https://notopenai.com/v1", None, "max_tokens"),
        ("https://openai.com.evil.example/v1", None, "max_tokens"),
        ("http://127.0.0.1:1/v1", None, "max_tokens"),
        ("http://127.0.0.1:1/v1", "max_completion_tokens", "max_completion_tokens"),
    ],
)
def test_the_limit_has_the_name_that_the_address_or_the_setting_says(base_url, limit_name, expected):
    import httpx2

    bodies = []

    def record(request):
        bodies.append(json.loads(request.content))
        text = 'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, text=text)

    with httpx2.Client(transport=httpx2.MockTransport(record)) as http:
        OpenAIClient(base_url, api_key="k", limit_name=limit_name, http_client=http).messages.create(**ASK)
    assert {name: body.get(name) for body in bodies for name in ("max_tokens", "max_completion_tokens")} == {
        "max_tokens": None, "max_completion_tokens": None, expected: 100,
    }


def test_a_key_goes_into_the_header_and_without_one_there_is_none():
    with talking("a", api_key="sk-very-secret") as (server, client):
        client.messages.create(**ASK)
        assert server.posts[0].headers["authorization"] == "Bearer sk-very-secret"
        assert "sk-very-secret" not in f"{client!r} {client.messages!r} {client.endpoint} {client._http.headers!r}"
    with talking("a") as (server, client):
        client.messages.create(**ASK)
        assert "authorization" not in server.posts[0].headers


def test_tool_calls_keep_their_ids_names_arguments_and_order():
    arguments = {"path": "é/ü.txt", "deep": {"n": [1, 2.5, None, True]}}
    reply = answer(completion("so:", calls=[call("read", arguments, "call_a"), call("list", {}, "call_b")]))
    assert (reply.text, reply.stop_reason) == ("so:", "tool_use")
    assert reply.tool_calls == (ToolCall("call_a", "read", arguments), ToolCall("call_b", "list", {}))


def test_calls_and_their_results_go_back_under_their_ids_results_first():
    with talking(completion(calls=[call("look", {"é": 1}, "a"), call("look", "", "b")]), "done") as (server, client):
        reply = client.messages.create(**ASK, tools=[TOOL])
        assert [one.input for one in reply.tool_calls] == [{"é": 1}, {}]
        results = [
            {"type": "text", "text": "and then"},
            {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
            {"type": "tool_result", "tool_use_id": "b", "content": "it broke", "is_error": True},
            {"type": "tool_result", "tool_use_id": "c"},
        ]
        again = [*ASK["messages"], {"role": "assistant", "content": list(reply.content)}, {"role": "user", "content": results}]
        client.messages.create(**{**ASK, "messages": again, "tools": [TOOL]})
        assert server.posts[1].body["messages"][2:] == [
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"é":1}'}},
                {"id": "b", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "a", "content": "x\ny"},
            {"role": "tool", "tool_call_id": "b", "content": "error: it broke"},
            {"role": "tool", "tool_call_id": "c", "content": ""},
            {"role": "user", "content": "and then"},
        ]  # fmt: skip


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", '"x"', "null", "NaN", '{"n": Infinity}', "x" * 10_000, "[" * 100_000])
def test_arguments_that_are_no_object_reach_the_tools_as_they_are_and_go_back_as_json(arguments):
    reply = answer(completion(calls=[call("look", arguments)]))
    assert reply.tool_calls[0].input == arguments
    [message] = sent({"role": "assistant", "content": list(reply.content)}, tools=[TOOL])
    back = json.loads(message["tool_calls"][0]["function"]["arguments"])
    assert back == {"INVALID_JSON": arguments[:40]}, "servers parse the history's calls and refuse what is no object"


def test_the_name_of_an_invented_tool_goes_back_as_one_that_servers_take():
    blocks = [{"type": "tool_use", "id": str(n), "name": name, "input": {}} for n, name in enumerate(["a b\x1b", "", "é" * 99])]
    [message] = sent({"role": "assistant", "content": blocks})
    assert [one["function"]["name"] for one in message["tool_calls"]] == ["a_b_", "_", "_" * 64]


def test_thinking_is_kept_and_goes_back_only_beside_calls_as_it_came():
    for name in ("reasoning_content", "reasoning"):
        reply = answer(completion("so", thinking="hm, hm", thinking_as=name, calls=[call("look")]))
        assert reply.content[0] == {"type": "thinking", "thinking": "hm, hm", "came_as": name}
        assert reply.text == "so"
        [message] = sent({"role": "assistant", "content": list(reply.content)})
        assert message[name] == "hm, hm"
        [message] = sent({"role": "assistant", "content": list(reply.content[:2])})
        assert message == {"role": "assistant", "content": "so"}


def test_thinking_of_another_provider_and_empty_replies_do_not_go_back():
    blocks = [{"type": "thinking", "thinking": "x", "signature": "c2ln"}, {"type": "redacted_thinking", "data": "eA=="}]
    assert sent({"role": "assistant", "content": blocks}, {"role": "user", "content": "on"}) == [{"role": "user", "content": "on"}]
    call_block = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
    [message] = sent({"role": "assistant", "content": [*blocks, call_block]})
    assert message.keys() == {"role", "content", "tool_calls"}


def test_images_go_as_data_urls_those_of_results_after_the_results():
    data = base64.b64encode(b"png").decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    far = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    assert sent({"role": "user", "content": [{"type": "text", "text": "see"}, image, far]}) == [
        {"role": "user", "content": [{"type": "text", "text": "see"}, part,
                                     {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]},
    ]  # fmt: skip
    result = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "shot"}, image]}
    assert sent({"role": "user", "content": [result]}) == [
        {"role": "tool", "tool_call_id": "a", "content": "shot"}, {"role": "user", "content": [part]},
    ]


def test_choices_of_tools_and_the_plain_parameters_are_translated():
    with talking(*["x"] * 5) as (server, client):
        for choice in ({"type": "auto"}, {"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "look"}):
            client.messages.create(**ASK, tools=[TOOL], tool_choice=choice)
        client.messages.create(**{**ASK, "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                               temperature=0.5, top_p=0.9, stop_sequences=["END"])  # fmt: skip
        client.messages.create(**{**ASK, "system": ""})
        bodies = [post.body for post in server.posts]
    assert [body.get("tool_choice") for body in bodies[:3]] == [
        "auto", "required", {"type": "function", "function": {"name": "look"}},
    ]
    assert [body.get("parallel_tool_calls") for body in bodies[:3]] == [None, False, None]
    assert (bodies[3]["temperature"], bodies[3]["top_p"], bodies[3]["stop"]) == (0.5, 0.9, ["END"])
    assert bodies[3]["messages"][0] == {"role": "system", "content": "a\nb"}
    assert bodies[4]["messages"] == ASK["messages"]


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"context_management": {}}, "context_management"),
        ({"tools": [{"type": "web_search_20260209", "name": "web_search"}]}, "web_search"),
        ({"tool_choice": {"type": "mine"}}, "mine"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "text"}}]}]}, "document"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]}, "image"),
        ({"messages": [{"role": "user", "content": ["words", 5]}]}, "int"),
        ({"system": [IMAGE]}, "system prompt"),
    ],
)
def test_what_has_no_counterpart_is_refused_and_nothing_is_sent(more, named):
    with talking("x") as (server, client):
        with pytest.raises(SettingError, match=named):
            client.messages.create(**{**ASK, **more})
        assert server.requests == []


def test_lone_surrogates_come_whole_and_go_back_as_question_marks():
    reply = answer(completion("a\udead", calls=[call("\ud800evil", {"k": "\udfff"})]))
    assert (reply.text, reply.tool_calls[0].name, reply.tool_calls[0].input) == ("a\udead", "\ud800evil", {"k": "\udfff"})
    [message] = sent({"role": "assistant", "content": list(reply.content)})
    assert message["content"] == "a?"
    assert message["tool_calls"][0]["function"] == {"name": "_evil", "arguments": '{"k":"?"}'}


@pytest.mark.parametrize(
    ("finish_reason", "calls", "stop_reason"),
    [
        ("stop", [], "end_turn"),
        ("stop", [call("look")], "end_turn"),
        ("tool_calls", [call("look")], "tool_use"),
        ("length", [], "max_tokens"),
        ("content_filter", [], "refusal"),
        ("eos", [], "eos"),
        ("error", [call("look")], None),
        ("tool_use", [call("look")], None),
    ],
)
def test_every_finish_reason_arrives_and_calls_after_an_unknown_one_are_never_taken_for_whole(finish_reason, calls, stop_reason):
    reply = answer(completion("x", calls=calls, finish_reason=finish_reason))
    assert reply.stop_reason == stop_reason
    assert json.loads(reply.raw)["chat_completion"]["finish_reason"] == finish_reason


def test_a_refusal_in_words_is_a_refusal():
    reply = answer(completion(refusal="I will not."))
    assert (reply.text, reply.stop_reason) == ("I will not.", "refusal")


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (usage(100, 20), Usage(input=100, output=20)),
        (usage(100, 20, cached=64, thinking=15, total_tokens=120), Usage(input=36, cache_read=64, output=20, thinking=15)),
        (usage(100, 5, thinking=15, total_tokens=120), Usage(input=100, output=20, thinking=15)),
        (usage(100, 20, total_tokens=3), Usage(input=100, output=20)),
        (usage(100, 20, prompt_tokens_details=None, completion_tokens_details={}), Usage(input=100, output=20)),
    ],
)
@pytest.mark.parametrize("usage_in", ["own", "last", "every"])
def test_usage_is_read_wherever_it_stands_and_nothing_is_counted_twice(counts, expected, usage_in):
    reply = answer(completion("x", usage=counts), usage_in=usage_in)
    assert reply.usage == expected
    assert json.loads(reply.raw)["chat_completion"]["usage"] == counts, "the server's own words are kept"


@pytest.mark.parametrize("usage_in", ["never", "first"])
def test_a_server_that_does_not_say_what_the_whole_reply_cost_is_charged_in_full(usage_in):
    assert answer(completion("x", usage=usage(10, 1)), usage_in=usage_in).usage is None


@pytest.mark.parametrize(
    "counts",
    [
        usage(-5, 10), usage("10", 10), usage(10, "5"), usage(0, 0), usage(True, 5), usage(10.0, 5), usage(None, 5),
        usage(10**9 + 1, 5), usage(10, 5, cached=11), usage(10, 5, cached=-1), usage(10, 5, cached="1"), usage(10, 5, thinking=6),
        usage(10, 5, total_tokens="15"), usage(10, 5, prompt_tokens_details="none"), [], "none", {},
    ],
)  # fmt: skip
def test_usage_that_cannot_be_believed_is_no_usage(counts):
    reply = answer(completion("x", usage=counts))
    assert (reply.text, reply.usage) == ("x", None)


def test_a_later_usage_never_lowers_an_earlier_one():
    with talking(completion("x", usage=usage(10, 0)), usage_in="every") as (_, client):
        assert client.messages.create(**ASK).usage == Usage(input=10, output=1)
