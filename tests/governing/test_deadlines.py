"""Servers that stall and drip: the time ceiling and the deadline end every call, and what it may have cost is charged."""

import time

import httpx2
import pytest

from safeloop.errors import CircuitBreakerError, SettingError
from tests.governing.blocks import (
    ASKED,
    STREAMED,
    audited,
    drain,
    governed,
    kinds,
    limits,
    only,
    reserved,
    rows,
    run_async,
)
from tests.servers.faults import Fault


def test_a_timeout_of_the_clients_own_is_in_doubt(ledger):
    with governed(ledger, [Fault.stall(), "hi"]) as (_, client):
        assert client.with_options(timeout=0.3).messages.create(**ASKED).content[0].text == "hi"
    assert only(ledger, "attempt")["in_doubt"] is True
    assert only(ledger, "attempt")["error"]["class"] == "APITimeoutError"


SLOW = {"stall": Fault.stall(), "drip": Fault.drip("a reply that never ends " * 40), "midway": Fault.stall_midway("x" * 999),
        "headers": Fault.drip_headers()}  # fmt: skip


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("streamed", [False, True])
def test_the_time_ceiling_ends_a_call_whatever_the_server_does(ledger, fault, streamed):
    if not streamed and fault in (SLOW["drip"], SLOW["midway"]):
        streamed = None  # these send streams: read by a plain call, as a body
    started = time.monotonic()
    with pytest.raises(CircuitBreakerError, match="time_ceiling"):
        with governed(ledger, [fault] * 3, breaker=limits(time_limit_s=1)) as (server, client):
            if streamed is None:
                client.post("/v1/messages", body={**ASKED, "stream": True}, cast_to=object)
            elif streamed:
                drain(client)
            else:
                client.messages.create(**ASKED)
    assert time.monotonic() - started < 4
    attempt = only(ledger, "attempt")
    assert (attempt["in_doubt"], attempt["charged_tokens"]) == (True, reserved(ledger))
    assert stopped_by(ledger) == ("time_ceiling", "breached", "time_ceiling")
    assert len(server.posts) == 1
    assert audited(ledger) == []


def stopped_by(ledger):
    breach, close = only(ledger, "breach"), only(ledger, "close")
    return breach["breach_reason"], close["outcome"], close["reason"]


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_the_time_ceiling_ends_an_async_call_too(ledger, fault):
    async def work(client, server):
        started = time.monotonic()
        with pytest.raises(CircuitBreakerError, match="time_ceiling"):
            async for _ in await client.messages.create(**STREAMED):
                pass
        return time.monotonic() - started

    assert run_async(ledger, [fault] * 3, work, breaker=limits(time_limit_s=1)) < 4
    assert only(ledger, "attempt")["in_doubt"] is True
    assert stopped_by(ledger) == ("time_ceiling", "breached", "time_ceiling")
    assert audited(ledger) == []


def test_without_a_time_ceiling_a_deadline_ends_a_server_that_drips_for_ever(ledger):
    started = time.monotonic()
    with governed(ledger, [SLOW["headers"], "hi"], deadline_s=0.5) as (_, client):
        assert client.messages.create(**ASKED).content[0].text == "hi"
    assert time.monotonic() - started < 4
    assert only(ledger, "attempt")["in_doubt"] is True
    assert only(ledger, "close")["outcome"] == "completed"


def test_the_deadline_ends_a_reply_that_its_reader_has_begun_to_read_and_the_session_goes_on(ledger):
    with governed(ledger, [SLOW["drip"], "hi"], deadline_s=0.5) as (_, client):
        with pytest.raises(httpx2.ReadTimeout, match=r"not complete after 0\.\d+ seconds"):
            drain(client)
        assert client.messages.create(**ASKED).content[0].text == "hi"
    assert [row.data["in_doubt"] for row in rows(ledger, "attempt")] == [True]
    assert kinds(ledger)[-3:] == ["intent", "turn", "close"]
    assert audited(ledger) == []


def test_the_deadline_ends_an_async_call_too(ledger):
    async def work(client, _server):
        with pytest.raises(httpx2.ReadTimeout):
            async for _ in await client.messages.create(**STREAMED):
                pass
        return (await client.messages.create(**ASKED)).content[0].text

    assert run_async(ledger, [SLOW["drip"], SLOW["headers"], "hi"], work, deadline_s=0.5) == "hi"
    assert [row.data["in_doubt"] for row in rows(ledger, "attempt")] == [True, True]


@pytest.mark.parametrize("deadline_s", [0, -1, float("inf"), 86_401, "1"])
def test_a_deadline_that_means_nothing_is_refused(ledger, deadline_s):
    with pytest.raises(SettingError, match="deadline"):
        with governed(ledger, [], deadline_s=deadline_s):
            pass
    assert kinds(ledger) == []


def test_a_counter_that_drips_for_ever_is_not_waited_for(ledger):
    started = time.monotonic()
    with pytest.raises(CircuitBreakerError, match="token_ceiling"):
        with governed(ledger, ["hi"], counted=Fault.drip_headers(), breaker=limits(tokens=200), deadline_s=0.5) as (
            _, client
        ):
            client.messages.create(**ASKED)
    assert time.monotonic() - started < 3


def test_a_child_in_a_block_is_ended_where_the_time_of_its_parent_ends(ledger):
    with governed(ledger, ["hi"], breaker=limits(time_limit_s=1.5)) as (_, client):
        client.messages.create(**ASKED)
        with pytest.raises(CircuitBreakerError, match="time_ceiling"):
            with governed(ledger, [SLOW["drip"]], session="c", parent="s") as (_, child):
                drain(child)
    assert only(ledger, "breach", session="c")["scope"] == "parent"
