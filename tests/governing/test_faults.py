"""Servers that stall, drip, drop, cut streams, answer twice, and say nonsense about usage: each is charged, and seen."""

import contextlib
import time

import anthropic
import httpx2
import pytest

from safeloop.errors import CircuitBreakerError, Suspended
from tests.governing.blocks import (
    ASKED,
    STREAMED,
    async_client_of,
    audited,
    client_of,
    drain,
    governed,
    kinds,
    limits,
    only,
    reserved,
    rows,
    run_async,
)
from tests.loop.playing import spec_of
from tests.servers.anthropic_server import AnthropicServer, message, stream_events, text, usage
from tests.servers.faults import Fault

BAD_USAGES = {
    "missing": None, "zero": usage(0, 0), "negative": usage(-5, 5), "a string": usage("5", 5), "a fraction": usage(1.5, 5),
    "absurd": usage(10**10, 5), "true": usage(True, 5), "a word": "many", "a list": [1, 2], "empty": {},
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_USAGES.values(), ids=BAD_USAGES)
@pytest.mark.parametrize("streamed", [False, True])
def test_usage_that_cannot_be_believed_is_charged_in_full(ledger, bad, streamed):
    with governed(ledger, [message(text("hi"), usage=bad)]) as (_, client):
        if streamed:
            with client.messages.with_streaming_response.create(**STREAMED) as response:
                assert b"message_stop" in b"".join(response.iter_bytes())
        else:
            assert client.post("/v1/messages", body=ASKED, cast_to=object)["content"][0]["text"] == "hi"
    turn = only(ledger, "turn")
    assert (turn["usage"], turn["token_delta"]) == (None, reserved(ledger))
    assert audited(ledger) == []


@pytest.mark.parametrize("streamed", [False, True])
def test_more_than_was_reserved_is_written_as_it_is_and_marked(ledger, streamed):
    with governed(ledger, [message(text("hi"), usage=usage(9000, 90))]) as (_, client):
        drain(client) if streamed else client.messages.create(**ASKED)
    turn = only(ledger, "turn")
    assert (turn["token_delta"], turn["overrun"]) == (9090, True)
    assert audited(ledger) == []


CUTS = {
    "cut": Fault.cut(), "broken off": Fault.break_off(), "half an event": Fault.half_event(), "bad JSON": Fault.bad_json(),
    "error event": Fault.error_event(), "empty": Fault.stream(""),
    "started twice": Fault.stream("".join(stream_events(message(text("a"), usage=usage()))[:-1]) * 2),
}  # fmt: skip


@pytest.mark.parametrize("fault", CUTS.values(), ids=CUTS)
def test_a_stream_without_its_end_is_in_doubt_and_charged_in_full(ledger, fault):
    with governed(ledger, [fault, "after"]) as (_, client):
        with contextlib.suppress(anthropic.APIError, httpx2.HTTPError, ValueError):
            drain(client)
        assert client.messages.create(**ASKED).content[0].text == "after"
    attempt = only(ledger, "attempt")
    assert (attempt["in_doubt"], attempt["charged_tokens"]) == (True, reserved(ledger))
    assert [row.data["turn"] for row in rows(ledger, "turn")] == [2]
    assert audited(ledger) == []


ANSWER = "".join(stream_events(message(text("a"), usage=usage(7, 3))))


def test_a_stream_that_answers_twice_at_once_is_in_doubt(ledger):
    with governed(ledger, [Fault.stream(ANSWER * 2)]) as (_, client):
        with client.messages.with_streaming_response.create(**STREAMED) as response:
            assert b"".join(response.iter_bytes()) == (ANSWER * 2).encode()
    attempt = only(ledger, "attempt")
    assert (attempt["error"]["class"], attempt["charged_tokens"]) == ("BadStream", reserved(ledger))
    assert audited(ledger) == []


def test_a_second_answer_that_comes_after_the_first_reaches_nobody(ledger):
    with governed(ledger, [Fault.parts(ANSWER, ANSWER)]) as (_, client):
        with client.messages.with_streaming_response.create(**STREAMED) as response:
            assert b"".join(response.iter_bytes()) == ANSWER.encode()
    assert only(ledger, "turn")["token_delta"] == 10


def test_a_second_answer_reaches_no_async_reader(ledger):
    async def work(client, _server):
        async with client.messages.with_streaming_response.create(**STREAMED) as response:
            return b"".join([part async for part in response.iter_bytes()])

    assert run_async(ledger, [Fault.parts(ANSWER, ANSWER)], work) == ANSWER.encode()


@pytest.mark.parametrize("after", ['event: ping\ndata: {"type": "ping"}\n\n', ": bye\n\n", "data: [DONE]\n\n"])
def test_what_is_no_part_of_a_reply_may_follow_it(ledger, after):
    with governed(ledger, [Fault.stream(ANSWER + after)]) as (_, client):
        drain(client)
    assert only(ledger, "turn")["token_delta"] == 10


def test_a_stream_closed_by_its_reader_is_in_doubt(ledger):
    with governed(ledger, [Fault.stall_midway("a long reply")] * 2) as (_, client):
        with client.messages.stream(**ASKED) as stream:
            next(iter(stream))
        events = client.messages.create(**STREAMED)
        next(iter(events))
        events.close()
    assert [row.data["in_doubt"] for row in rows(ledger, "attempt")] == [True, True]
    assert [row.data["error"]["class"] for row in rows(ledger, "attempt")] == ["CutStream"] * 2
    assert audited(ledger) == []


def test_a_stream_whose_end_was_seen_is_paid_even_if_it_is_not_read_to_its_end(ledger):
    with governed(ledger, [Fault.drip("hi", every_s=0.001)]) as (server, client):
        with client.messages.with_streaming_response.create(**STREAMED) as response:
            came, parts = b"", response.iter_bytes()  # kept: a generator that is dropped closes the response
            for part in parts:
                came += part
                if came.endswith(b'"message_stop"}\n\n'):
                    break
            assert kinds(ledger)[-1] == "turn", "as soon as its end is seen"
    assert [only(ledger, "turn")["token_delta"]] == server.billed


def test_a_stream_that_nobody_reads_is_in_doubt_when_the_block_is_left(ledger):
    with governed(ledger, ["hi"]) as (_, client):
        left = client.messages.create(**STREAMED)
    attempt = only(ledger, "attempt")
    assert (attempt["in_doubt"], attempt["charged_tokens"]) == (True, reserved(ledger))
    before = len(rows(ledger))
    list(left)
    left.close()
    assert len(rows(ledger)) == before, "nothing is written to a session that is closed"
    assert audited(ledger) == []


def test_an_answer_that_is_no_message_is_in_doubt(ledger):
    with governed(ledger, [Fault.html()]) as (_, client):
        client.messages.create(**ASKED)
    attempt = only(ledger, "attempt")
    assert (attempt["error"]["class"], attempt["in_doubt"]) == ("NotAMessage", True)
    assert audited(ledger) == []


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_busy_server_is_waited_for_as_it_asks_and_costs_nothing(ledger, status):
    busy = Fault.status(status, headers={"retry-after": "0.2"})
    with governed(ledger, [busy, busy, busy, busy, busy, "hi"]) as (server, client):
        started = time.monotonic()
        assert client.messages.create(**ASKED).content[0].text == "hi"
        assert time.monotonic() - started >= 1
    assert [row.data["charged_tokens"] for row in rows(ledger, "attempt")] == [0] * 5
    assert [row.data["attempt"] for row in rows(ledger, "intent")] == [1, 2, 3, 4, 5, 6]
    assert {row.data["turn"] for row in rows(ledger, "intent")} == {1}
    assert only(ledger, "close")["total_tokens"] == server.billed[0]
    assert audited(ledger) == []


def test_a_wait_that_is_too_long_suspends(ledger):
    with pytest.raises(Suspended, match="waiting: until") as suspended:
        with governed(ledger, [Fault.status(429, headers={"retry-after": "3600"})], max_wait_s=1) as (server, client):
            client.messages.create(**ASKED)
    assert suspended.value.__cause__ is None
    assert len(server.posts) == 1
    assert only(ledger, "close")["outcome"] == "suspended"
    assert only(ledger, "close")["reason"].startswith("waiting: until ")
    assert audited(ledger) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_cannot_go_better_is_the_callers_error_at_once(ledger, status):
    with pytest.raises(anthropic.APIStatusError) as refused:
        with governed(ledger, [Fault.status(status)] * 3) as (server, client):
            client.messages.create(**ASKED)
    assert (refused.value.status_code, len(server.posts)) == (status, 1)
    assert "on purpose" in str(refused.value), "the server's own words reach the caller"
    attempt = only(ledger, "attempt")
    assert (attempt["error"]["status"], attempt["charged_tokens"]) == (status, 0)
    assert b"on purpose" in ledger.read_content(attempt["error"]["detail"])
    assert only(ledger, "close")["outcome"] == "failed"
    assert audited(ledger) == []


@pytest.mark.parametrize("status", [408, 409])
def test_408_and_409_are_tried_again_at_no_charge(ledger, status):
    with governed(ledger, [Fault.status(status), "hi"]) as (_, client):
        client.messages.create(**ASKED)
    assert only(ledger, "attempt")["charged_tokens"] == 0


@pytest.mark.parametrize("fault", [Fault.status(500), Fault.reset(), Fault.status(502, body="<html>")],
                         ids=["500", "reset", "502"])  # fmt: skip
def test_what_may_have_been_billed_is_charged_and_tried_again_only_if_it_fits_again(ledger, fault):
    with pytest.raises(CircuitBreakerError, match="token_ceiling") as refused:
        with governed(ledger, [fault] * 9, breaker=limits(tokens=2300, error_limit=9)) as (server, client):
            client.messages.create(**ASKED)
    assert refused.value.__cause__ is None
    assert len(server.posts) == 2
    assert [row.data["in_doubt"] for row in rows(ledger, "attempt")] == [True, True]
    assert audited(ledger) == []


def test_a_server_that_is_not_there_costs_nothing(ledger):
    def nowhere(server):
        return anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:9")

    with pytest.raises((CircuitBreakerError, Suspended)):
        with governed(ledger, [], client=nowhere, breaker=limits(error_limit=2), max_wait_s=20) as (_, client):
            client.messages.create(**ASKED)
    assert {row.data["charged_tokens"] for row in rows(ledger, "attempt")} == {0}
    assert audited(ledger) == []


def test_async_retries_are_the_same(ledger):
    async def work(client, server):
        said = (await client.messages.create(**ASKED)).content[0].text
        with pytest.raises(anthropic.BadRequestError, match="the script has ended"):
            await client.messages.create(**ASKED)
        return said

    assert run_async(ledger, [Fault.status(529), Fault.status(500), Fault.reset(), "hi"], work) == "hi"
    assert [row.data["error"]["status"] for row in rows(ledger, "attempt")] == [529, 500, None, 400]
    assert audited(ledger) == []


@pytest.mark.parametrize("make", [client_of, async_client_of])
def test_a_compressed_stream_is_read_all_the_same(ledger, make):
    """What servers really send: the bytes are watched before they are unpacked."""
    import gzip

    events = "".join(stream_events(message(text("hi"), usage=usage(7, 3)))).encode()
    packed = gzip.compress(events)
    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}

    import safeloop

    with AnthropicServer([]) as server:
        if make is client_of:
            http = httpx2.Client(transport=Unread(headers, packed))
            with client_of(server, http_client=http) as mine:
                with safeloop.govern(mine, spec=spec_of("s"), breaker=limits(), ledger=ledger) as client:
                    drain(client)
        else:
            import asyncio

            async def work():
                http = httpx2.AsyncClient(transport=Unread(headers, packed))
                async with async_client_of(server, http_client=http) as mine:
                    async with safeloop.govern(mine, spec=spec_of("s"), breaker=limits(), ledger=ledger) as client:
                        async for _ in await client.messages.create(**STREAMED):
                            pass

            asyncio.run(work())
    assert only(ledger, "turn")["token_delta"] == 10


class Unread(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """A transport whose answers are not read yet, in pieces of seven bytes."""

    def __init__(self, headers, data):
        self.headers, self.data = headers, data

    def handle_request(self, request):
        return httpx2.Response(200, headers=self.headers, stream=Pieces(self.data))

    async def handle_async_request(self, request):
        return httpx2.Response(200, headers=self.headers, stream=Pieces(self.data))


class Pieces(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, data):
        self.data = data

    def __iter__(self):
        yield from (self.data[at : at + 7] for at in range(0, len(self.data), 7))

    async def __aiter__(self):
        for piece in self:
            yield piece
