"""A block that is entered again goes on where it stopped, and no counter is back at zero."""

import os
import textwrap
import time

import pytest

import safeloop
from safeloop.errors import CircuitBreakerError, LedgerError, SettingError, Suspended
from safeloop.loop import AgentLoop, left_behind
from tests.governing.blocks import ASKED, asking, audited, begun, client_of, governed, kinds, limits, only, rows
from tests.loop.playing import Player, breaker, reply, spec_of
from tests.servers.anthropic_server import AnthropicServer, message, text, usage
from tests.servers.faults import Fault

LATER = Fault.status(429, headers={"retry-after": "3600"})
DEAR = message(text("hi"), usage=usage(10, 900))


def suspended(ledger, *script, **more):
    with pytest.raises(Suspended):
        with governed(ledger, [*script, LATER], **more) as (_, client):
            for _ in range(len(script) + 1):
                client.messages.create(**ASKED)


def test_what_was_spent_stays_spent(ledger):
    suspended(ledger, DEAR, DEAR, breaker=limits(tokens=4000))
    with pytest.raises(CircuitBreakerError, match="token_ceiling"):
        with governed(ledger, [DEAR] * 9, breaker=limits(tokens=4000)) as (server, client):
            for _ in range(9):
                client.messages.create(**ASKED)
    assert len(server.posts) == 2
    assert only_last(ledger, "close")["outcome"] == "breached"
    assert kinds(ledger).count("resume") == kinds(ledger).count("open") == 1
    assert [row.data["turn"] for row in rows(ledger, "turn")] == [1, 2, 4, 5]
    assert audited(ledger) == []


def only_last(ledger, kind):
    return rows(ledger, kind)[-1].data


def test_time_goes_on_where_it_stopped(ledger):
    with pytest.raises(Suspended):
        with governed(ledger, [LATER], breaker=limits(time_limit_s=100)) as (_, client):
            time.sleep(0.4)
            client.messages.create(**ASKED)
    with governed(ledger, ["hi"], breaker=limits(time_limit_s=100)) as (_, client):
        client.messages.create(**ASKED)
    assert rows(ledger, "intent")[-1].data["elapsed_ms"] >= 400
    assert audited(ledger) == []


def test_looser_ceilings_do_not_loosen_what_was_opened(ledger):
    suspended(ledger, breaker=limits(turns=2))
    with pytest.raises(CircuitBreakerError, match="turn_ceiling"):
        with governed(ledger, ["hi"] * 9, breaker=limits(turns=99)) as (_, client):
            for _ in range(9):
                client.messages.create(**ASKED)
    assert len(rows(ledger, "turn")) == 1
    assert audited(ledger) == []


def test_a_killed_process_leaves_what_is_in_doubt_charged(ledger, tmp_path):
    """kill -9 with a request in flight: its program, started again, goes on under what is left."""
    program = textwrap.dedent("""
        import sys, anthropic, safeloop
        from safeloop.ledger import Ledger
        from tests.governing.blocks import ASKED, limits
        from tests.loop.playing import spec_of
        client = anthropic.Anthropic(api_key="k", base_url=sys.argv[1])
        with safeloop.govern(client, spec=spec_of("s"), breaker=limits(), ledger=Ledger(sys.argv[2])) as inside:
            inside.messages.create(**ASKED)
            inside.messages.create(**ASKED)
    """)
    with AnthropicServer(["hi", Fault.stall()]) as server:
        (tmp_path / "program.py").write_text(program)
        with begun(tmp_path / "program.py", tmp_path, os.environ, server.url, str(ledger.db_path)) as process:
            while len(server.posts) < 2:
                assert process.poll() is None
                time.sleep(0.02)
            process.kill()
    assert kinds(ledger)[-1] == "intent"
    with governed(ledger, ["hi"]) as (_, client):
        client.messages.create(**ASKED)
    attempt = only(ledger, "attempt")
    assert (attempt["in_doubt"], attempt["error"]["class"]) == (True, "ProcessGone")
    assert [row.data["turn"] for row in rows(ledger, "turn")] == [1, 3]
    assert only(ledger, "close")["outcome"] == "completed"
    assert audited(ledger) == []


def test_it_goes_on_only_as_it_was_promised(ledger):
    suspended(ledger, DEAR)
    other = safeloop.SpecResult("something else", "x", "y is there", "s")
    with pytest.raises(LedgerError, match="promised otherwise"):
        with governed(ledger, [], spec=other):
            pass
    with pytest.raises(SettingError, match="was opened for claude-sonnet-5-5, not claude-haiku-5-5"):
        with governed(ledger, [], model="claude-haiku-5-5"):
            pass
    with pytest.raises(SettingError, match="was opened for claude-sonnet-5-5"):
        with governed(ledger, []) as (_, client):
            client.messages.create(**asking(model="claude-haiku-5-5"))


def test_a_block_that_was_left_before_it_asked_anything_has_not_begun(ledger):
    with pytest.raises(KeyboardInterrupt):
        with governed(ledger, []):
            raise KeyboardInterrupt
    assert kinds(ledger) == []
    with governed(ledger, ["hi"]) as (_, client):
        client.messages.create(**ASKED)
    assert only(ledger, "close")["outcome"] == "completed"


def test_no_loop_goes_on_with_a_programs_session_and_no_program_with_a_loops(ledger):
    suspended(ledger, DEAR)
    loop = AgentLoop(spec_of("s"), breaker(), ledger, Player(reply("done")), "claude-sonnet-5-5")
    for going_on in (loop.resume, lambda: left_behind(ledger, "s")):
        with pytest.raises(LedgerError, match="led by a program of its own") as refused:
            going_on()
        assert refused.value.hint == "run that program again, or end it: safeloop close s"
    looped = AgentLoop(spec_of("l"), breaker(), ledger, Player(KeyboardInterrupt()), "claude-sonnet-5-5")
    with pytest.raises(KeyboardInterrupt):
        looped.run("x")
    with pytest.raises(LedgerError, match="is suspended") as refused:
        with governed(ledger, [], session="l"):
            pass
    assert refused.value.hint == "safeloop resume l"


def test_no_loop_continues_a_programs_session(ledger):
    with pytest.raises(CircuitBreakerError):
        with governed(ledger, ["hi"], breaker=limits(turns=1)) as (_, client):
            client.messages.create(**ASKED)
            client.messages.create(**ASKED)
    with pytest.raises(LedgerError, match="led by a program of its own") as refused:
        AgentLoop(spec_of("n"), breaker(), ledger, Player(reply("done")), "m").continue_from("s")
    assert refused.value.hint == "run that program again", "it is closed already"


def test_a_session_that_a_ceiling_stopped_and_nobody_closed_does_not_go_on(ledger):
    """The breach is a row before the error is raised; a crash may fall between."""
    with governed(ledger, ["hi"], breaker=limits(turns=0)) as (server, client), client_of(server) as mine:
        with pytest.raises(CircuitBreakerError):
            client.messages.create(**ASKED)
        copy = ledger.rows("s")
        from safeloop.loop.governing.returning import standing_of

        with pytest.raises(LedgerError, match="stopped by a ceiling") as refused:
            standing_of(copy, spec_of("s"))
        assert refused.value.hint == "safeloop close s"
        assert mine.max_retries == 2
