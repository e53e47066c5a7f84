"""Several requests in flight at once, several threads, tasks, processes and blocks: each is reserved, none is lost."""

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import safeloop
from safeloop.errors import CircuitBreakerError
from tests.governing.blocks import (
    ASKED,
    asking,
    audited,
    client_of,
    governed,
    kinds,
    limits,
    only,
    rows,
    run_async,
)
from tests.loop.playing import spec_of
from tests.servers.anthropic_server import AnthropicServer, message, text, usage
from tests.servers.faults import Fault


def slow(words="hi", seconds=0.05):
    def answer(_request):
        time.sleep(seconds)
        return words

    return answer


class Slow:
    """A script that answers everything after a moment, each answer billed as much as its request allows."""

    def __init__(self, seconds=0.03):
        self.seconds = seconds

    def __call__(self, request):
        time.sleep(self.seconds)
        return message(text("hi"), usage=usage(10, request["max_tokens"]))


def threads(count, work):
    with ThreadPoolExecutor(count) as pool:
        return [future.exception() or future.result() for future in [pool.submit(work) for _ in range(count)]]


def test_threads_on_one_client_are_each_reserved_and_numbered_without_gaps(ledger):
    with governed(ledger, lambda _: "hi") as (server, client):
        threads(8, lambda: client.messages.create(**asking(max_tokens=100)))
    assert sorted(row.data["turn"] for row in rows(ledger, "intent")) == list(range(1, 9))
    assert sum(server.billed) == only(ledger, "close")["total_tokens"]
    assert audited(ledger) == []


def test_threads_cannot_race_past_a_ceiling(ledger):
    with governed(ledger, Slow(), breaker=limits(turns=99, tokens=4000)) as (server, client):
        came = threads(12, lambda: client.messages.create(**asking(max_tokens=1000)))
    assert sum(server.billed) <= 4000
    assert {type(one) for one in came if isinstance(one, Exception)} == {CircuitBreakerError}
    assert kinds(ledger).count("breach") == 1
    assert only(ledger, "close")["outcome"] == "breached"
    assert audited(ledger) == []


def test_tasks_cannot_race_past_a_ceiling(ledger):
    async def work(client, server):
        asks = (client.messages.create(**asking(max_tokens=1000)) for _ in range(12))
        return await asyncio.gather(*asks, return_exceptions=True), server.billed

    came, billed = run_async(ledger, Slow(), work, breaker=limits(turns=99, tokens=4000))
    assert sum(billed) <= 4000
    assert {type(one) for one in came if isinstance(one, BaseException)} == {CircuitBreakerError}
    assert kinds(ledger).count("breach") == 1
    assert audited(ledger) == []


def test_what_others_of_the_session_hold_is_waited_for_and_no_breach(ledger):
    async def work(client, server):
        return await asyncio.gather(*(client.messages.create(**asking(max_tokens=1000)) for _ in range(12)))

    assert len(run_async(ledger, lambda _: "hi", work, breaker=limits(tokens=3000))) == 12
    assert only(ledger, "close")["outcome"] == "completed"


def test_a_request_inside_an_open_stream_does_not_wait_for_itself(ledger):
    started = time.monotonic()
    with pytest.raises(CircuitBreakerError):
        with governed(ledger, [Fault.stall_midway(), "hi"], breaker=limits(tokens=1500)) as (_, client):
            with client.messages.stream(**ASKED) as stream:
                next(iter(stream))
                client.messages.create(**ASKED)
    assert time.monotonic() - started < 3
    assert audited(ledger) == []


def test_what_is_in_flight_when_its_block_is_left_is_in_doubt(ledger):
    with governed(ledger, slow("late", 0.5)) as (_, client):
        with_errors = []
        thread = threading.Thread(target=lambda: with_errors.extend(threads(1, lambda: client.messages.create(**ASKED))))
        thread.start()
        time.sleep(0.2)
    thread.join()
    attempt = only(ledger, "attempt")
    assert (attempt["in_doubt"], attempt["error"]["class"]) == (True, "Unrecorded")
    assert kinds(ledger)[-1] == "close", "what comes later is not written into a closed session"
    assert audited(ledger) == []


def test_a_cancelled_task_is_in_doubt_and_the_session_is_suspended(ledger):
    async def work(client, server):
        await asyncio.wait_for(client.messages.create(**ASKED), 0.3)

    with pytest.raises(TimeoutError):
        run_async(ledger, [Fault.stall()], work)
    assert only(ledger, "attempt")["in_doubt"] is True
    assert only(ledger, "attempt")["error"]["class"] == "CancelledError"
    assert only(ledger, "close")["outcome"] == "failed", "the timeout was the code's own error"
    assert audited(ledger) == []


def test_a_cancelled_block_is_suspended(ledger):
    async def work(client, server):
        await client.messages.create(**ASKED)
        asyncio.current_task().cancel()
        await client.messages.create(**ASKED)

    with pytest.raises(asyncio.CancelledError):
        run_async(ledger, ["hi"], work)
    assert only(ledger, "close")["outcome"] == "suspended"


@pytest.mark.parametrize(("error", "outcome", "reason"), [
    (ValueError("mine"), "failed", "ValueError"), (KeyboardInterrupt(), "suspended", "interrupted"),
    (SystemExit(0), "completed", None), (SystemExit(2), "failed", "SystemExit"),
])  # fmt: skip
def test_a_block_ends_as_what_was_raised_in_it_says(ledger, error, outcome, reason):
    with pytest.raises(type(error)):
        with governed(ledger, ["hi"]) as (_, client):
            client.messages.create(**ASKED)
            raise error
    close = only(ledger, "close")
    assert (close["outcome"], close["reason"]) == (outcome, reason)
    assert audited(ledger) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_neither_asks_nor_writes_nor_closes(ledger):
    with governed(ledger, ["hi", "hi"]) as (server, client):
        opened = client.messages.create(**asking(stream=True))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                opened.close()
                client.messages.create(**ASKED)
            except RuntimeError as error:
                code = 7 if "forked child" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert kinds(ledger) == ["spec", "open", "intent"]
        list(opened)
        client.messages.create(**ASKED)
    assert kinds(ledger) == ["spec", "open", "intent", "turn", "intent", "turn", "close"]
    assert len(server.posts) == 2
    assert audited(ledger) == []


def test_two_blocks_at_once_are_two_sessions(ledger):
    with AnthropicServer(lambda _: "hi") as server, client_of(server) as mine:
        one = safeloop.govern(mine, spec=spec_of("one"), breaker=limits(), ledger=ledger)
        two = safeloop.govern(mine, spec=spec_of("two"), breaker=limits(), ledger=ledger)
        with one as first, two as second:
            first.messages.create(**ASKED)
            second.messages.create(**ASKED)
            first.messages.create(**ASKED)
    assert [kinds(ledger, name).count("turn") for name in ("one", "two")] == [2, 1]
    assert audited(ledger) == []


def test_a_childs_spend_counts_in_its_parent(ledger):
    with AnthropicServer(Slow(0)) as server, client_of(server) as mine:
        parent = safeloop.govern(mine, spec=spec_of("p"), breaker=limits(tokens=4000), ledger=ledger)
        with parent as client:
            client.messages.create(**asking(max_tokens=1000))
            child = safeloop.govern(mine, spec=spec_of("c"), breaker=limits(tokens=9000), ledger=ledger, parent="p")
            with pytest.raises(CircuitBreakerError, match="token_ceiling"), child as inner:
                for _ in range(9):
                    inner.messages.create(**asking(max_tokens=1000))
    assert sum(server.billed) <= 4000
    assert only(ledger, "breach", session="c")["scope"] == "parent"
    assert audited(ledger) == []


def test_events_are_told_in_order(ledger):
    told = []
    with governed(ledger, [Fault.status(529), "hi"], breaker=limits(turns=1), on_event=told.append) as (_, client):
        client.messages.create(**ASKED)
        with pytest.raises(CircuitBreakerError):
            client.messages.create(**ASKED)
    names = [type(event).__name__ for event in told]
    assert names == ["Started", "Reserved", "Waiting", "Reserved", "Replied", "Breached", "Closed"]
    assert [event.attempt for event in told if type(event).__name__ == "Reserved"] == [1, 2]
    assert told[-1].outcome == "breached"


def test_a_listener_that_fails_before_a_request_leaves_costs_nothing(ledger):
    def listener(event):
        if type(event).__name__ == "Reserved":
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        with governed(ledger, ["hi"], on_event=listener) as (server, client):
            client.messages.create(**ASKED)
    assert server.posts == []
    assert only(ledger, "attempt")["charged_tokens"] == 0
    assert audited(ledger) == []


def test_a_memory_ledger_will_do():
    from safeloop.ledger import Ledger

    ledger = Ledger(":memory:")
    with governed(ledger, ["hi"]) as (_, client):
        client.messages.create(**ASKED)
    assert only(ledger, "close")["outcome"] == "completed"
