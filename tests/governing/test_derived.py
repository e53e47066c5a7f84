"""Clients that the block's code derives from the governed one: nothing it can write by accident leaves the limits."""

from __future__ import annotations

import pytest

from safeloop.errors import CircuitBreakerError, SettingError
from tests.governing.blocks import ASKED, audited, governed, kinds, limits, only, run_async
from tests.servers.anthropic_server import AnthropicServer, Fault


def passing(request, call_next):
    return call_next(request)


async def passing_async(request, call_next):
    return await call_next(request)


DERIVED = {
    "middleware": lambda client: client.with_options(middleware=[passing]),
    "copied": lambda client: client.copy(middleware=[passing]),
    "added": lambda client: client.with_middleware(passing),
    "as the SDK says": lambda client: client.with_options(middleware=[*client.middleware, passing]),
    "twice": lambda client: client.with_options(timeout=5).with_options(middleware=(passing, passing)),
    "retries": lambda client: client.with_options(max_retries=4),
}


@pytest.mark.parametrize("how", DERIVED)
def test_a_derived_client_stays_inside_the_limits(ledger, how):
    with pytest.raises(CircuitBreakerError):
        with governed(ledger, ["hi"] * 9, breaker=limits(turns=2)) as (server, client):
            derived = DERIVED[how](client)
            for _ in range(9):
                derived.messages.create(**ASKED)
    assert len(server.posts) == kinds(ledger).count("intent") == 2
    assert audited(ledger) == []


def test_a_derived_async_client_stays_inside_the_limits(ledger):
    async def work(client, server):
        derived = client.with_options(middleware=[passing_async])
        with pytest.raises(CircuitBreakerError):
            for _ in range(9):
                await derived.messages.create(**ASKED)
        return len(server.posts)

    assert run_async(ledger, ["hi"] * 9, work, breaker=limits(turns=2)) == kinds(ledger).count("intent") == 2


def test_what_later_middleware_makes_of_a_request_is_what_is_reserved(ledger):
    def doubles(request, call_next):
        return call_next(request.copy(body={**request.json, "max_tokens": request.json["max_tokens"] * 2}))

    with governed(ledger, ["hi"]) as (server, client):
        client.with_middleware(doubles).messages.create(**ASKED)
    assert only(ledger, "intent")["max_tokens"] == server.posts[0].body["max_tokens"] == 2000


def test_later_middleware_that_sends_twice_reserves_twice(ledger):
    def twice(request, call_next):
        call_next(request)
        return call_next(request)

    with governed(ledger, ["one", "two"]) as (server, client):
        client.with_middleware(twice).messages.create(**ASKED)
    assert len(server.posts) == kinds(ledger).count("intent") == kinds(ledger).count("turn") == 2


@pytest.mark.parametrize("moves", ["derived", "assigned"])
def test_another_address_is_refused(ledger, moves):
    with AnthropicServer(["dear"]) as dear:
        with pytest.raises(SettingError, match="at prices of its own"):
            with governed(ledger, ["hi"]) as (server, client):
                if moves == "derived":
                    client = client.with_options(base_url=dear.url)
                else:
                    client.base_url = dear.url
                client.messages.create(**ASKED)
        assert (server.posts, dear.posts) == ([], [])
    assert "intent" not in kinds(ledger)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_attempt_is_one(ledger, status):
    with AnthropicServer(["elsewhere"]) as other:
        away = Fault.status(status, headers={"location": f"{other.url}/v1/messages"})
        with pytest.raises(Exception, match=f"{status}|could not be used"):
            with governed(ledger, [away, "hi"]) as (server, client):
                client.messages.create(**ASKED)
        assert (len(server.posts), other.posts) == (1, [])
    assert kinds(ledger).count("intent") == 1
    assert audited(ledger) == []
