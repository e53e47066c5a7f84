"""Code that somebody already has: every way to ask for a reply is reserved, recorded and settled."""

import json

import pytest

import safeloop
from safeloop.errors import LedgerLocked, SettingError
from tests.governing.blocks import ASKED, MODEL, asking, client_of, governed, kinds, limits, only, rows, run_async
from tests.loop.playing import spec_of
from tests.servers.anthropic_server import AnthropicServer, message, text, thinking, tool_use

ONE_TURN = ["spec", "open", "intent", "turn", "close"]


def create(client):
    return client.messages.create(**ASKED).content[0].text


def create_streamed(client):
    return "".join(
        event.delta.text for event in client.messages.create(stream=True, **ASKED) if event.type == "content_block_delta"
    )


def stream(client):
    with client.messages.stream(**ASKED) as stream:
        return "".join(stream.text_stream)


def stream_final(client):
    with client.messages.stream(**ASKED) as stream:
        return stream.get_final_text()


def raw(client):
    return client.messages.with_raw_response.create(**ASKED).parse().content[0].text


def raw_streamed(client):
    events = client.messages.with_raw_response.create(stream=True, **ASKED).parse()
    return "".join(event.delta.text for event in events if event.type == "content_block_delta")


def streaming_response(client):
    with client.messages.with_streaming_response.create(**ASKED) as response:
        return response.parse().content[0].text


def streaming_lines(client):
    with client.messages.with_streaming_response.create(stream=True, **ASKED) as response:
        lines = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
    return "".join(event["delta"]["text"] for event in lines if event["type"] == "content_block_delta")


def streaming_bytes(client):
    with client.messages.with_streaming_response.create(**ASKED) as response:
        return json.loads(b"".join(response.iter_bytes()))["content"][0]["text"]


def beta(client):
    return client.beta.messages.create(betas=["some-beta-2026-01-01"], **ASKED).content[0].text


def posted(client):
    return client.post("/v1/messages", body=ASKED, cast_to=object)["content"][0]["text"]


WAYS = [create, create_streamed, stream, stream_final, raw, raw_streamed, streaming_response, streaming_lines,
        streaming_bytes, beta, posted]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_each_way_to_ask_is_one_intent_and_one_turn(ledger, way):
    with governed(ledger, ["hi there"]) as (server, client):
        assert way(client) == "hi there"
        assert kinds(ledger) == ONE_TURN[:-1]
    assert kinds(ledger) == ONE_TURN
    turn = only(ledger, "turn")
    assert [turn["token_delta"]] == server.billed
    assert turn["stop_reason"] == "end_turn"
    assert only(ledger, "close")["outcome"] == "completed"


async def a_create(client):
    return (await client.messages.create(**ASKED)).content[0].text


async def a_create_streamed(client):
    events = await client.messages.create(stream=True, **ASKED)
    return "".join([event.delta.text async for event in events if event.type == "content_block_delta"])


async def a_stream(client):
    async with client.messages.stream(**ASKED) as stream:
        return "".join([part async for part in stream.text_stream])


async def a_raw(client):
    response = await client.messages.with_raw_response.create(**ASKED)
    return (await response.parse()).content[0].text


async def a_streaming_response(client):
    async with client.messages.with_streaming_response.create(**ASKED) as response:
        return (await response.parse()).content[0].text


async def a_streaming_lines(client):
    async with client.messages.with_streaming_response.create(stream=True, **ASKED) as response:
        lines = [json.loads(line[6:]) async for line in response.iter_lines() if line.startswith("data: ")]
    return "".join(event["delta"]["text"] for event in lines if event["type"] == "content_block_delta")


ASYNC_WAYS = [a_create, a_create_streamed, a_stream, a_raw, a_streaming_response, a_streaming_lines]


@pytest.mark.parametrize("way", ASYNC_WAYS, ids=lambda way: way.__name__)
def test_each_way_to_ask_of_an_async_client_is_one_intent_and_one_turn(ledger, way):
    async def work(client, server):
        return await way(client), server.billed

    said, billed = run_async(ledger, ["hi there"], work)
    assert said == "hi there"
    assert kinds(ledger) == ONE_TURN
    assert [only(ledger, "turn")["token_delta"]] == billed


def a_tool():
    import anthropic

    @anthropic.beta_tool
    def look(what: str) -> str:
        """Look at something."""
        return f"seen {what}"

    return look


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_runner_is_governed_turn_by_turn(ledger, streamed):
    script = [message(text("let me see"), tool_use("look", {"what": "it"})), "done"]
    with governed(ledger, script) as (server, client):
        runner = client.beta.messages.tool_runner(tools=[a_tool()], stream=streamed, **ASKED)
        if streamed:
            for part in runner:
                part.get_final_message()
        else:
            assert runner.until_done().content[0].text == "done"
    assert kinds(ledger) == ["spec", "open", "intent", "turn", "intent", "turn", "close"]
    assert [row.data["token_delta"] for row in rows(ledger, "turn")] == server.billed


def test_from_the_second_turn_the_bound_is_what_the_last_one_cost_and_the_bytes_of_what_was_added(ledger):
    long = "word " * 4000
    script = [message(text("let me see"), tool_use("look", {"what": "it"})), "done"]
    with governed(ledger, script) as (server, client):
        client.beta.messages.tool_runner(tools=[a_tool()], **asking(long)).until_done()
    first, second = (row.data["reserved_tokens"] - row.data["max_tokens"] for row in rows(ledger, "intent"))
    assert first > len(long)
    assert server.billed[0] <= second < server.billed[0] + 500


def test_a_request_that_changes_what_was_paid_for_is_bounded_by_all_its_bytes(ledger):
    long = "word " * 4000
    answer = {"role": "assistant", "content": "hi there"}
    with governed(ledger, ["hi there"] * 5, breaker=limits(tokens=500_000)) as (_, client):
        client.messages.create(**asking(long))
        more = [*asking(long)["messages"], answer, {"role": "user", "content": "more"}]
        client.messages.create(**asking(messages=more))
        client.messages.create(**asking(messages=[*asking(f"{long}!")["messages"], *more[1:]]))
        client.messages.create(**asking(messages=[more[0], {**answer, "content": "hi there, and more"}, more[2]]))
        client.messages.create(**asking(messages=more, system="be brief"))
    bounds = [row.data["reserved_tokens"] - row.data["max_tokens"] for row in rows(ledger, "intent")]
    assert bounds[1] < len(long)
    assert all(bound > len(long) for bound in (bounds[0], *bounds[2:]))


def test_the_intent_keeps_the_request_and_the_turn_the_raw_reply(ledger):
    said = message(thinking("hm", "c2lnbmF0dXJl"), text("hi"))
    with governed(ledger, [said, said]) as (server, client):
        client.messages.create(system="be brief", **ASKED)
        with client.messages.stream(**ASKED) as stream:
            stream.until_done()
    first, second = rows(ledger, "intent")
    kept = [json.loads(ledger.read_content(part)) for part in json.loads(ledger.read_content(first.data["request"]))]
    assert kept == [{"model": MODEL, "max_tokens": 1000, "system": "be brief"}, *ASKED["messages"]]
    assert server.posts[0].body["messages"] == ASKED["messages"]
    again = json.loads(ledger.read_content(second.data["request"]))
    assert again[-1] == json.loads(ledger.read_content(first.data["request"]))[-1], "a message is kept once"
    for turn in rows(ledger, "turn"):
        assert json.loads(ledger.read_content(turn.data["response"]))["content"] == said["content"]


def test_the_open_row_says_the_model_the_endpoint_and_the_ceilings_that_are_kept(ledger):
    with governed(ledger, ["hi"], task="greet") as (server, client):
        client.messages.create(**ASKED)
    opened = only(ledger, "open")
    assert (opened["model"], opened["endpoint"], opened["tools"]) == (MODEL, server.url, [])
    assert opened["ceilings"] == {"turns": 20, "tokens": 50_000, "errors": 3}
    assert ledger.read_content(opened["task"]) == b"greet"


def test_the_last_reply_is_the_output(ledger):
    with governed(ledger, ["first", "last"]) as (_, client):
        client.messages.create(**ASKED)
        client.messages.create(**ASKED)
    assert ledger.read_content(only(ledger, "close")["output"]) == b"last"


def test_a_client_of_the_same_class_is_given_and_the_first_one_stays_as_it_is(ledger):
    with AnthropicServer(["one", "two"]) as server, client_of(server, max_retries=7) as mine:
        with safeloop.govern(mine, spec=spec_of("s"), breaker=limits(), ledger=ledger) as client:
            assert type(client) is type(mine)
            assert (client.max_retries, mine.max_retries, mine.middleware) == (0, 7, ())
            mine.messages.create(**ASKED)
            assert kinds(ledger) == []


def test_the_escape_that_the_docs_name_is_one(ledger):
    with governed(ledger, ["free"]) as (_, client):
        client.with_options(middleware=[]).messages.create(**ASKED)
    assert kinds(ledger) == ["spec", "open", "close"]


def test_what_other_middleware_makes_of_a_request_is_what_is_reserved_and_sent(ledger):
    def doubles(request, call_next):
        return call_next(request.copy(body={**request.json, "max_tokens": request.json["max_tokens"] * 2}))

    with governed(ledger, ["hi"], client=lambda server: client_of(server, middleware=[doubles])) as (server, client):
        client.messages.create(**ASKED)
    assert only(ledger, "intent")["max_tokens"] == server.posts[0].body["max_tokens"] == 2000


def test_a_block_holds_its_sessions_lock(ledger):
    with governed(ledger, ["hi"]) as (server, _), client_of(server) as other:
        with pytest.raises(LedgerLocked, match="running"):
            safeloop.govern(other, spec=spec_of("s"), breaker=limits(), ledger=ledger).__enter__()


def test_a_session_is_run_once(ledger):
    with governed(ledger, []):
        pass
    with pytest.raises(RuntimeError, match="has run and is closed"):
        with governed(ledger, []):
            pass


def test_a_client_is_not_governed_after_its_block(ledger):
    with governed(ledger, ["hi"]) as (server, client):
        pass
    with pytest.raises(RuntimeError, match="its block was left"):
        client.messages.create(**ASKED)
    assert server.posts == []


@pytest.mark.parametrize("client", [object(), None])
def test_only_a_client_of_the_sdk_can_be_governed(ledger, client):
    with pytest.raises(SettingError, match="govern needs an Anthropic client"):
        safeloop.govern(client, spec=spec_of("s"), breaker=limits(), ledger=ledger)


def test_async_and_sync_clients_say_which_block_they_need(ledger):
    async def work(client, server):
        block = safeloop.govern(client, spec=spec_of("t"), breaker=limits(), ledger=ledger)
        with pytest.raises(SettingError, match="async") as refused:
            block.__enter__()
        return refused.value.hint

    assert run_async(ledger, [], work).startswith("async with")


def test_a_ceiling_that_nobody_would_keep_is_refused(ledger):
    with pytest.raises(SettingError, match="calls of tools"):
        with governed(ledger, [], breaker=limits(tool_call_limit=5)):
            pass
    assert kinds(ledger) == []
