"""Retries, here and nowhere else: through the real SDK, each attempt reserved, recorded and charged by the table."""

import itertools
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anthropic
import pytest

from safeloop.errors import AttemptFailed, SettingError
from safeloop.ledger import Ledger
from safeloop.loop.events import Waiting
from safeloop.models.anthropic import AnthropicClient
from safeloop.spec.suspension import suspension_of
from tests.loop.child import Child
from tests.loop.playing import Player, call, kinds, loop_of, noting, only, reply, rows_of
from tests.servers.anthropic_server import AnthropicServer, Fault, message, text

BUSY = (429, 503, 529)
IN_DOUBT = [Fault.status(500), Fault.status(504), Fault.cut(), Fault.half_event(), Fault.break_off(), Fault.bad_json(),
            Fault.error_event(), Fault.reset(), Fault.stream("")]  # fmt: skip


@pytest.fixture
def slept():
    return []


@pytest.fixture
def ask(ledger, slept):
    """Run against a server with this script, without sleeping."""

    def run(*script, **more):
        with AnthropicServer(script) as server:
            loop = loop_of(ledger, anthropic.Anthropic(api_key="k", base_url=server.url), sleep_fn=slept.append, **more)
            return loop.run("do it"), server

    return run


@pytest.mark.parametrize("status", [*BUSY, 408, 409])
def test_what_was_not_billed_is_asked_again_at_no_charge(ledger, ask, status):
    result, server = ask(Fault.status(status), Fault.status(status), "done")
    assert (result.outcome, result.turns, result.total_tokens) == ("completed", 1, sum(server.billed))
    assert kinds(ledger) == [
        "spec", "open", "intent", "attempt", "intent", "attempt", "intent", "turn", "close"
    ]
    attempts = [row.data for row in rows_of(ledger, "attempt")]
    assert [(row["turn"], row["attempt"], row["charged_tokens"], row["in_doubt"]) for row in attempts] == [
        (1, 1, 0, False), (1, 2, 0, False)
    ]
    assert [row.data["attempt"] for row in rows_of(ledger, "intent")] == [1, 2, 3]
    assert (only(ledger, "turn").data["turn"], only(ledger, "turn").data["attempt"]) == (1, 3)
    assert len(server.posts) == 3


@pytest.mark.parametrize("fault", IN_DOUBT, ids=lambda fault: f"{fault.kind} {fault.code}")
def test_what_may_have_been_billed_is_charged_in_full_and_asked_again_where_it_fits_again(ledger, ask, fault):
    result, server = ask(fault, "done")
    first = rows_of(ledger, "intent")[0].data["reserved_tokens"]
    attempt = only(ledger, "attempt").data
    assert (attempt["charged_tokens"], attempt["in_doubt"]) == (first, True)
    assert result.outcome == "completed"
    assert result.total_tokens == first + only(ledger, "turn").data["token_delta"] >= sum(server.billed)


def test_what_may_have_been_billed_is_not_asked_again_where_it_does_not_fit_again(ledger, ask):
    result, server = ask(Fault.cut(), "done", tokens=1_800)
    assert (result.outcome, result.breach_reason) == ("breached", "token_ceiling")
    assert len(server.posts) == 1
    assert only(ledger, "breach").data["spent"] == only(ledger, "attempt").data["charged_tokens"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_any_other_refusal_fails_at_once_with_its_class_and_status(ledger, ask, status):
    with pytest.raises(AttemptFailed):
        ask(Fault.status(status), "done")
    attempt, close = only(ledger, "attempt").data, only(ledger, "close").data
    assert (attempt["error"]["status"], attempt["charged_tokens"]) == (status, 0)
    assert (close["outcome"], close["reason"]) == ("failed", attempt["error"]["class"])
    assert b"on purpose" in ledger.read_content(attempt["error"]["detail"])


def test_a_connection_that_is_refused_is_tried_again_at_no_charge_until_the_error_ceiling(ledger, slept):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = loop_of(ledger, anthropic.Anthropic(api_key="k", base_url=url), sleep_fn=slept.append).run("do it")
    assert (result.outcome, result.breach_reason, result.total_tokens) == ("breached", "error_ceiling", 0)
    assert [row.data["attempt"] for row in rows_of(ledger, "attempt")] == [1, 2, 3, 4]


def test_three_errors_in_a_row_are_allowed_and_after_the_fourth_the_loop_stops(ledger, ask):
    result, server = ask(*[Fault.status(500)] * 3, "done", tokens=60_000)
    assert (result.outcome, len(server.posts)) == ("completed", 4)


def test_a_busy_server_is_no_error_however_often_it_says_so(ledger, ask):
    result, _ = ask(*itertools.chain.from_iterable(zip(*[[Fault.status(code)] * 4 for code in BUSY])), "done", max_wait_s=86_400)
    assert result.outcome == "completed"
    assert len(rows_of(ledger, "attempt")) == 12


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "7"}, 7.0), ({"retry-after": "1.5"}, 1.5), ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5)],
)
def test_a_server_that_says_how_long_is_given_that_long(ledger, ask, slept, headers, seconds):
    told = []
    ask(Fault.status(429, headers=headers), "done", on_event=told.append)
    assert slept == [seconds]
    waits = [event for event in told if isinstance(event, Waiting)]
    assert [(event.turn, event.seconds) for event in waits] == [(1, seconds)]
    assert "slow down" in waits[0].reason


def test_a_server_that_names_a_date_is_waited_for_until_then(ledger, ask, slept):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    ask(Fault.status(503, headers={"retry-after": date}), "done")
    assert 25 < slept[0] <= 30


def test_without_a_word_the_waits_grow_and_differ(ledger, ask, slept):
    ask(*[Fault.status(529)] * 6, "done", max_wait_s=3_600)
    assert len(set(slept)) == 6
    assert all(0 <= wait <= 0.5 * 2**number for number, wait in enumerate(slept))
    assert max(slept) > 0.5  # all six below would be a chance of one in thirty thousand


def test_a_wait_longer_than_allowed_suspends_and_says_until_when(ledger, ask, slept):
    before = datetime.now(UTC)
    result, server = ask(Fault.status(429, headers={"retry-after": "3600"}), "done", max_wait_s=60)
    assert (result.outcome, result.success, result.total_tokens, result.breach_reason) == ("suspended", False, 0, None)
    close = only(ledger, "close").data
    assert close["outcome"] == "suspended"
    until = suspension_of(close["reason"]).until
    assert timedelta(seconds=3_600) <= until - before < timedelta(seconds=3_700)
    assert (slept, len(server.posts)) == ([], 1)
    assert "breach" not in kinds(ledger)


def test_a_wait_longer_than_the_time_ceiling_leaves_suspends_and_does_not_wait(ledger, slept):
    from safeloop.breaker import CircuitBreaker
    from safeloop.loop import AgentLoop
    from tests.loop.playing import spec_of

    with AnthropicServer([Fault.status(429, headers={"retry-after": "30"}), "done"]) as server:
        breaker = CircuitBreaker(5, 15_000, time_limit_s=20, output_fn=lambda _: None)
        loop = AgentLoop(spec_of("s"), breaker, ledger, AnthropicClient(api_key="k", base_url=server.url),
                         sleep_fn=slept.append)
        assert loop.run("do it").outcome == "suspended"
    assert slept == []


@pytest.mark.parametrize("wait", [-1, float("nan"), float("inf"), 86_401, "60", None])
def test_a_longest_wait_that_is_none_is_refused(ledger, wait):
    with pytest.raises(SettingError, match="max_wait_s"):
        loop_of(ledger, Player(reply("done")), max_wait_s=wait)


def test_every_attempt_of_every_turn_is_asked_with_the_same_conversation(ledger, ask):
    _, server = ask(message(text("hm"), stop_reason="max_tokens"), Fault.status(529), Fault.cut(), "done")
    bodies = [request.body for request in server.posts]
    assert bodies[1]["messages"] == bodies[2]["messages"] == bodies[3]["messages"] != bodies[0]["messages"]
    assert [(row.data["turn"], row.data["attempt"]) for row in rows_of(ledger, "intent")] == [
        (1, 1), (2, 1), (2, 2), (2, 3)
    ]


def test_the_sdk_never_retries_by_itself_not_even_with_the_callers_own_client(ledger, slept):
    with AnthropicServer([Fault.status(401), "done"]) as server:
        client = anthropic.Anthropic(api_key="k", base_url=server.url, max_retries=5)
        with pytest.raises(AttemptFailed):
            loop_of(ledger, client, sleep_fn=slept.append).run("do it")
        assert len(server.posts) == 1


@pytest.mark.parametrize("stop_reason", ["of a later version", "compaction", "TOOL_USE", ""])
def test_no_call_runs_on_a_stop_reason_that_is_not_known_to_carry_whole_calls(ledger, stop_reason):
    ran = []
    client = Player(reply(call("note"), stop_reason=stop_reason), reply("done"))
    result = loop_of(ledger, client, tools=noting(ran)).run("do it")
    assert (result.outcome, ran) == ("completed", [])
    assert only(ledger, "tool").data["error"]["class"] == "CutReply"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_wait_at_once_and_the_session_is_suspended(tmp_path, number):
    path = tmp_path / "ledger.db"
    with Child("waits", path, 50) as child:
        child.reach("waiting")
        started = time.monotonic()
        code, said = child.send(number).end()
    assert time.monotonic() - started < 5  # and not the ten seconds that a call in flight is given
    assert (code, said["raised"], said["signal"]) == (0, "Interrupted", number)
    left = Ledger(path)
    assert only(left, "close").data["reason"] == f"interrupted by {number.name}"
    assert kinds(left) == ["spec", "open", "intent", "attempt", "close"]
