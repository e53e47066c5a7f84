"""What is typed or pasted before a question answers none, however much it is and however it comes."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator

import pytest

from safeloop.errors import ExitCode
from tests.cli.program import Program, Terminal
from tests.cli.test_approvals import ASKED, burnt, office, run_of, suspended
from tests.cli.test_approvals import QUESTION as IN_A_RUN

__all__ = ["office"]  # a fixture

ALICE = "alice@example.org"
WORD = "accept, reject, or leave? "
HASH = "Type the last four characters of its hash: "
APPROVE = "Type the word approve in full: "
LOUD = "keys kept coming for 5 s, and nothing is asked meanwhile: nothing was recorded"


def attest(program: Program, **more: str) -> object:
    return program.at_terminal("attest", "latest", "--as", ALICE, "--key", "alice", size=(500, 80), env=more)


def paste(terminal: Terminal, data: bytes, seconds: float = 3.0) -> None:
    """Paste blindly, as fast as the terminal takes it, reading what is shown; for so long at most."""
    os.set_blocking(terminal.descriptor, False)
    until = time.monotonic() + seconds
    while data and time.monotonic() < until and terminal.process.poll() is None:
        can_read, can_write, _ = select.select([terminal.descriptor], [terminal.descriptor], [], 0.1)
        if can_write:
            try:
                data = data[os.write(terminal.descriptor, data[:4_096]):]
            except BlockingIOError:
                time.sleep(0.01)
        if can_read and not terminal._read(until + 1):
            break
    os.set_blocking(terminal.descriptor, True)


def decisions(program: Program) -> list[str]:
    return [row["data"]["decision"] for row in program.rows() if row["kind"] in ("attestation", "approval")]


def test_a_paste_that_the_terminal_does_not_hold_at_once_approves_nothing(office: Program) -> None:
    request = suspended(office)
    with office.at_terminal("approve", request["id"], "--as", ALICE, "--key", "alice", size=(24, 80)) as terminal:
        paste(terminal, (b" " * 200 + b"approve\n") * 500)
        terminal.expect(APPROVE)
        time.sleep(0.3)
        assert terminal.process.poll() is None, terminal.seen
        terminal.type("no")
        assert terminal.wait() == ExitCode.NOT_ATTESTED
    assert decisions(office) == []


def test_a_paste_of_words_and_the_hash_attests_nothing(closed: Program) -> None:
    last = closed("review", "latest", "--json").json["frame_sha256"][-4:]
    with attest(closed) as terminal:
        paste(terminal, (" " * 200 + "accept\n" + " " * 200 + f"{last}\n").encode() * 500)
        terminal.expect(WORD)
        time.sleep(0.3)
        assert HASH not in terminal.seen and terminal.process.poll() is None, terminal.seen[-500:]
        terminal.type("leave")
        assert terminal.wait() == ExitCode.NOT_ATTESTED
    assert decisions(closed) == []


def test_a_paste_at_a_run_neither_approves_nor_refuses(office: Program) -> None:
    with office.at_terminal(*run_of(office), env=ASKED) as terminal:
        paste(terminal, (b" " * 200 + b"approve\n") * 500)
        terminal.expect(IN_A_RUN)
        terminal.type("leave")
        assert terminal.wait() == ExitCode.SUSPENDED
    assert burnt(office) == [] and decisions(office) == []


@pytest.mark.parametrize("behind", ["accept\n", "x", "\n"])
def test_an_answer_with_more_behind_it_is_none_and_is_asked_for_again(closed: Program, behind: str) -> None:
    with attest(closed) as terminal:
        terminal.expect(WORD)
        os.write(terminal.descriptor, f"accept\n{behind}".encode())
        terminal.expect("more was typed behind that answer, so it does not count. Once more:\n")
        terminal.expect(WORD)
        assert HASH not in terminal.seen
        terminal.type("accept")
        terminal.expect(HASH)
        terminal.type("")
        assert terminal.wait() == ExitCode.NOT_ATTESTED
    assert decisions(closed) == []


@pytest.fixture
def held_down() -> Iterator[list[threading.Thread]]:
    running: list[threading.Thread] = []
    yield running
    for each in running:
        each.join(30)


def hold_down(terminal: Terminal, key: bytes, running: list[threading.Thread]) -> None:
    """Have a key repeat as terminals do, until the program ends."""
    def repeat() -> None:
        while terminal.process.poll() is None:
            try:
                os.write(terminal.descriptor, key)
            except OSError:
                return
            time.sleep(0.03)

    running.append(threading.Thread(target=repeat, daemon=True))
    running[-1].start()


def test_while_keys_keep_coming_nothing_is_asked_and_in_the_end_it_is_said_why(
    closed: Program, held_down: list[threading.Thread]
) -> None:
    with attest(closed) as terminal:
        hold_down(terminal, b"a", held_down)  # no line of which ends
        assert terminal.wait() == ExitCode.NOT_ATTESTED
    assert LOUD in terminal.seen and WORD not in terminal.seen
    assert decisions(closed) == []


def test_a_run_whose_keyboard_is_never_quiet_waits_for_another_day(
    office: Program, held_down: list[threading.Thread]
) -> None:
    with office.at_terminal(*run_of(office), env=ASKED) as terminal:
        hold_down(terminal, b"approve\n", held_down)
        assert terminal.wait() == ExitCode.SUSPENDED
    assert LOUD in terminal.seen and IN_A_RUN not in terminal.seen
    assert burnt(office) == [] and decisions(office) == []


def test_the_terminal_echoes_again_after_each_question(closed: Program) -> None:
    command = f"safeloop attest latest --as {ALICE} --key alice; echo code $?; stty -a | tr ' ' '\\n' | grep -wE 'echo|icanon'"
    with closed.terminal("bash", "-c", command) as terminal:
        terminal.expect(WORD)
        terminal.type("leave")
        terminal.wait()
    assert "code 12\nicanon\necho\n" in terminal.seen
