"""Signals, sent to real processes: no paid reply is lost, and the session is closed as suspended."""

import contextlib
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from safeloop.ledger import Ledger
from safeloop.loop import AgentLoop, Interrupted
from tests.loop.child import Child
from tests.loop.playing import Player, kinds, loop_of, only, reply, rows_of
from tests.servers.anthropic_server import AnthropicServer, Fault

ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def assert_suspended(path, ended, number):
    code, said = ended
    assert (code, said["raised"], said["signal"]) == (0, "Interrupted", number)
    assert said["notes"] == []
    left = Ledger(path)
    close = only(left, "close")
    assert close.data["outcome"] == "suspended"
    assert close.data["reason"] == f"interrupted by {signal.Signals(number).name}"
    assert left.rows("s")[-1] == close
    settled = {row.data["intent"] for row in left.rows("s") if row.kind in ("turn", "attempt")}
    assert settled == {row.n for row in rows_of(left, "intent")}
    return left


@pytest.mark.parametrize("number", ALL)
def test_the_first_signal_lets_the_call_finish_and_its_turn_is_a_row(path, number):
    with Child("call_takes", path, 0.4, 10) as child:
        left = assert_suspended(path, child.reach("calling").send(number).end(), number)
    assert kinds(left) == ["spec", "open", "intent", "turn", "close"]
    assert only(left, "close").data["total_tokens"] == 15


def test_a_signal_in_the_last_call_suspends_too_and_the_reply_is_kept(path):
    with Child("call_takes", path, 0.4, 10, "end_turn") as child:
        left = assert_suspended(path, child.reach("calling").send(signal.SIGTERM).end(), signal.SIGTERM)
    assert left.read_content(only(left, "close").data["output"]) == b"hm"


def test_a_second_signal_ends_the_call_at_once_in_doubt_and_the_first_is_the_one_that_counts(path):
    with Child("call_takes", path, 30, 30) as child:
        child.reach("calling").send(signal.SIGTERM)
        time.sleep(0.1)
        started = time.monotonic()
        left = assert_suspended(path, child.send(signal.SIGINT).end(), signal.SIGTERM)
    assert time.monotonic() - started < 15
    attempt = only(left, "attempt").data
    assert (attempt["error"]["class"], attempt["in_doubt"]) == ("Interrupted", True)
    assert attempt["charged_tokens"] == only(left, "intent").data["reserved_tokens"]


def test_the_end_of_the_grace_ends_the_call_in_doubt(path):
    with Child("call_takes", path, 30, 0.3) as child:
        child.reach("calling").send(signal.SIGINT)
        started = time.monotonic()
        left = assert_suspended(path, child.end(), signal.SIGINT)
    assert 0.2 < time.monotonic() - started < 15
    assert only(left, "attempt").data["in_doubt"] is True


@pytest.mark.parametrize("fault", [Fault.stall(), Fault.stall_midway()], ids=lambda fault: fault.kind)
def test_a_request_of_the_real_sdk_is_ended_with_the_grace(path, fault):
    with AnthropicServer([fault]) as server, Child("sdk_call", path, server.url, 0.3) as child:
        child.reach("calling")
        while not server.posts:
            time.sleep(0.01)
        time.sleep(0.05)
        left = assert_suspended(path, child.send(signal.SIGTERM).end(), signal.SIGTERM)
    assert only(left, "attempt").data["in_doubt"] is True


def test_a_client_that_swallows_the_interrupt_does_not_keep_the_run_alive(path):
    with Child("call_swallows", path) as child:
        left = assert_suspended(path, child.reach("calling").send(signal.SIGINT).end(), signal.SIGINT)
    assert kinds(left) == ["spec", "open", "intent", "turn", "close"]


def test_a_call_that_fails_of_the_same_signal_was_stopped_and_did_not_fail(path):
    with Child("call_fails", path) as child:
        left = assert_suspended(path, child.reach("calling").send(signal.SIGINT).end(), signal.SIGINT)
    assert only(left, "attempt").data["error"]["class"] == "ConnectionResetError"


def test_a_tool_may_finish_and_is_recorded_and_the_next_one_does_not_begin(path):
    with Child("tool_takes", path, 0.4, 10, "write") as child:
        left = assert_suspended(path, child.reach("working").send(signal.SIGINT).end(), signal.SIGINT)
    assert kinds(left) == ["spec", "open", "intent", "turn", "call", "tool", "close"]


def test_a_tool_that_outlasts_the_grace_leaves_its_call_row_as_proof_that_it_began(path):
    with Child("tool_takes", path, 30, 0.2, "write") as child:
        left = assert_suspended(path, child.reach("working").send(signal.SIGINT).end(), signal.SIGINT)
    assert kinds(left) == ["spec", "open", "intent", "turn", "call", "close"]


def test_a_signal_between_two_turns_ends_the_run_before_the_next_request(path):
    with Child("listener_takes", path, "Replied", "max_tokens") as child:
        left = assert_suspended(path, child.reach("listening").send(signal.SIGHUP).end(), signal.SIGHUP)
    assert kinds(left) == ["spec", "open", "intent", "turn", "close"]


def test_signals_between_two_steps_do_nothing_until_the_step_is_recorded(path):
    with Child("listener_takes", path, "Replied", "max_tokens") as child:
        child.reach("listening")
        for _ in range(5):
            child.send(signal.SIGINT)
            time.sleep(0.02)
        assert_suspended(path, child.end(), signal.SIGINT)


def test_an_interrupt_that_came_too_late_to_stop_anything_is_handed_on(path):
    with Child("listener_takes", path, "Closed", "end_turn") as child:
        code, said = child.reach("listening").send(signal.SIGINT).end()
    assert (code, said["raised"], said["signal"]) == (0, "KeyboardInterrupt", None)
    assert only(Ledger(path), "close").data["outcome"] == "completed"


def test_a_termination_that_came_too_late_still_ends_the_process(path):
    with Child("listener_takes", path, "Closed", "end_turn") as child:
        code, said = child.reach("listening").send(signal.SIGTERM).end()
    assert (code, said) == (-signal.SIGTERM, None)
    assert only(Ledger(path), "close").data["outcome"] == "completed"


def test_handlers_and_ignored_signals_of_the_application_are_left_alone(path):
    with Child("own_handlers", path) as child:
        child.reach("calling").send(signal.SIGHUP).send(signal.SIGTERM).reach("mine")
        assert child.end() == (0, {"outcome": "completed"})


def test_a_run_under_nohup_survives_the_terminal(path):
    ignoring = subprocess.Popen(
        ["nohup", sys.executable, "-m", "tests.loop.child", "call_takes", str(path), "0.4", "5", "end_turn"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
    )
    with ignoring:
        assert ignoring.stdout.readline() == "calling\n"
        ignoring.send_signal(signal.SIGHUP)
        assert ignoring.stdout.read() == '{"outcome": "completed"}\n'


def test_a_run_in_a_thread_leaves_signals_to_the_main_thread(path):
    with Child("in_thread", path) as child:
        child.reach("calling").send(signal.SIGINT).reach("main")
        assert child.end() == (0, {"outcome": "completed"})


def test_a_signal_cannot_deadlock_with_a_thread_that_is_being_started(path):
    with Child("signalled_while_a_thread_starts", path) as child:
        assert_suspended(path, child.end(), signal.SIGINT)


def test_a_child_that_a_tool_forked_and_left_behind_does_not_hold_up_the_end(path):
    with Child("forked_in_tool", path) as child:
        left_behind = int(child.process.stdout.readline())
        try:
            assert child.end() == (0, {"outcome": "completed"})
        finally:
            os.kill(left_behind, signal.SIGKILL)


def test_a_child_that_a_tool_forked_can_be_ended_and_does_not_use_up_the_grace_of_the_run(path):
    with Child("ends_its_fork", path) as child:
        child.reach(str(-signal.SIGTERM))
        started = time.monotonic()
        assert_suspended(path, child.send(signal.SIGTERM).end(), signal.SIGTERM)
    assert time.monotonic() - started < 15


def test_an_interrupt_that_the_client_itself_raises_suspends_the_session(ledger):
    with pytest.raises(KeyboardInterrupt) as raised:
        loop_of(ledger, Player(KeyboardInterrupt())).run("do it")
    assert not isinstance(raised.value, Interrupted)
    close, attempt = only(ledger, "close").data, only(ledger, "attempt").data
    assert (close["outcome"], close["reason"]) == ("suspended", "interrupted")
    assert (attempt["in_doubt"], attempt["error"]["class"]) == (True, "KeyboardInterrupt")


def what_a_run_could_leave():
    gc.collect()  # files of earlier tests
    handlers = [signal.getsignal(number) for number in ALL]
    return handlers, threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("script", [(reply("done"),), (TimeoutError(),)])
def test_after_a_run_the_handlers_are_what_they_were_and_no_thread_or_descriptor_is_left(ledger, script):
    before = what_a_run_could_leave()
    with contextlib.suppress(TimeoutError):
        loop_of(ledger, Player(*script)).run("do it")
    assert what_a_run_could_leave() == before


def test_a_signal_before_the_request_leaves_costs_nothing(ledger):
    def interrupt(event):
        if type(event).__name__ == "Reserved":
            signal.raise_signal(signal.SIGINT)

    client = Player(reply("done"))
    with pytest.raises(Interrupted) as raised:
        loop_of(ledger, client, on_event=interrupt).run("do it")
    assert (raised.value.signal, client.asked) == (signal.SIGINT, [])
    attempt = only(ledger, "attempt").data
    assert (attempt["in_doubt"], attempt["charged_tokens"], attempt["error"]["class"]) == (False, 0, "Interrupted")


def test_the_call_in_flight_has_ten_seconds_unless_somebody_says_otherwise():
    assert inspect.signature(AgentLoop).parameters["grace_s"].default == 10
