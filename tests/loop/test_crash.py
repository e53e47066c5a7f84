"""kill -9 anywhere: the ledger opens, the session is open without close, and nothing that was paid is forgotten."""

import signal
import time

import pytest

from safeloop.errors import LedgerError, LedgerLocked
from safeloop.ledger import Ledger
from safeloop.loop import abandon_session
from safeloop.loop.lock import held, is_held
from safeloop.loop.place import lock_path
from safeloop.spec import spend_of
from tests.loop.child import Child
from tests.loop.playing import Player, content_of, kinds, loop_of, only, reply, rows_of, spec_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def died(path, place):
    with Child("dies", path, place) as child:
        assert child.process.wait(30) == -signal.SIGKILL
    return Ledger(path)


@pytest.mark.parametrize(("place", "last"), [("call", "intent"), ("turn", "turn"), ("tool", "call")])
def test_a_session_whose_process_is_gone_is_not_run_again_from_the_start_and_the_way_on_is_named(path, place, last):
    left = died(path, place)
    assert kinds(left)[-1] == last
    client = Player(reply("done"))
    with pytest.raises(LedgerError, match="the process that ran it is gone") as refused:
        loop_of(left, client).run("do it")
    assert (refused.value.hint, client.asked, kinds(left)[-1]) == ("safeloop resume s", [], last)


def test_closing_what_died_in_a_call_charges_the_call_in_full(path):
    left = died(path, "call")
    assert kinds(left) == ["spec", "open", "intent", "turn", "intent"]
    reserved = rows_of(left, "intent")[1]
    row = abandon_session(left, "s")
    attempt = only(left, "attempt").data
    assert (attempt["intent"], attempt["charged_tokens"]) == (reserved.n, reserved.data["reserved_tokens"])
    assert (attempt["in_doubt"], attempt["error"]["class"], attempt["turn"]) == (True, "ProcessGone", 2)
    assert (row.data["outcome"], row.data["reason"], row.data["turns"]) == ("failed", "closed by the operator", 1)
    assert row.data["total_tokens"] == 111 + reserved.data["reserved_tokens"] == spend_of(left.rows("s")).tokens
    assert (row.data["cost_microusd"], row.data["elapsed_ms"]) == (None, reserved.data["elapsed_ms"])
    assert content_of(left, row.data["files"]) == b"[]"


def test_closing_what_died_between_two_steps_charges_what_was_billed_and_no_more(path):
    left = died(path, "tool")
    row = abandon_session(left, "s")
    assert (row.data["total_tokens"], row.data["turns"], rows_of(left, "attempt")) == (126, 2, [])


def test_a_run_killed_at_any_moment_leaves_a_ledger_that_says_what_it_knows(path):
    """Many sessions of one ledger, each killed a little later than the one before."""
    open_ends = 0
    for number in range(10):
        session = f"s{number}"
        with Child("works", path, session, 1_000, 0.001, "tell") as child:
            child.reach("begun")
            for _ in range(number):
                child.reach("turn")
            time.sleep(0.0007 * number)
            child.process.kill()
        left = Ledger(path)
        rows = left.rows(session)
        assert not is_held(lock_path(path, session), session)
        if not any(row.kind == "open" for row in rows):
            assert kinds(left, session) in ([], ["spec"])
            continue
        open_ends += 1
        assert "close" not in kinds(left, session)
        for row in rows_of(left, "turn", session):
            assert left.read_content(row.data["response"])
        with pytest.raises(LedgerError) as refused:
            loop_of(left, Player(reply("done")), spec=spec_of(session)).run("do it")
        assert refused.value.hint == f"safeloop resume {session}"
        before = spend_of(rows).tokens
        with held(lock_path(path, session), session):
            row = abandon_session(left, session)
        settled = [row.data["intent"] for row in left.rows(session) if row.kind in ("turn", "attempt")]
        assert settled == [row.n for row in rows_of(left, "intent", session)]
        assert row.data["total_tokens"] == before == spend_of(left.rows(session)).tokens
        left.close()
    assert open_ends >= 9


def test_while_it_lives_nobody_else_can_run_or_close_its_session_and_after_its_death_somebody_can(path):
    with Child("call_takes", path, 30, 30) as child:
        child.reach("calling")
        left = Ledger(path)
        assert is_held(lock_path(path, "s"), "session s")
        client = Player(reply("done"))
        with pytest.raises(LedgerLocked, match="session s is running in another process"):
            loop_of(left, client).run("do it")
        with pytest.raises(LedgerLocked), held(lock_path(path, "s"), "session s"):
            abandon_session(left, "s")
        assert client.asked == []
        child.process.kill()
        child.process.wait()
    assert not is_held(lock_path(path, "s"), "session s")
    with held(lock_path(path, "s"), "session s"):
        assert abandon_session(left, "s").data["outcome"] == "failed"


def test_two_processes_run_two_sessions_of_one_ledger_at_once(path):
    Ledger(path).close()
    with Child("works", path, "a", 15, 0.001) as one, Child("works", path, "b", 15, 0.001) as other:
        one.reach("begun")
        other.reach("begun")
        assert (one.end(), other.end()) == ((0, {"outcome": "completed"}),) * 2
    left = Ledger(path)
    for session in ("a", "b"):
        assert kinds(left, session).count("turn") == 16
        assert only(left, "close", session).data["total_tokens"] == 16 * 15
        assert [row.n for row in left.rows(session)] == list(range(len(left.rows(session))))


def test_two_processes_that_start_one_session_at_once_run_it_once(path):
    Ledger(path).close()
    with Child("works", path, "same", 5, 0.05) as one, Child("works", path, "same", 5, 0.05) as other:
        one.reach("begun")
        other.reach("begun")
        ends = sorted((one.end()[1], other.end()[1]), key=str)
    assert {"outcome": "completed"} in ends
    refused = next(end for end in ends if "raised" in end)
    assert refused["raised"] in ("LedgerLocked", "RuntimeError")
    assert kinds(Ledger(path), "same").count("open") == 1
