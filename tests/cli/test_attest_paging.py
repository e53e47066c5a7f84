"""The frame at a real terminal: all of it is shown before anybody is asked, whatever its size and its letters."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator

import pytest

from tests.cli.program import Program, Terminal

ALICE = "alice@example.org"
PAGE = re.compile(r"-- ([\d,]+) of ([\d,]+)(?: lines; space: next page, a: all the rest, q: leave| \(space, a, q\)) --")
ERASED = re.compile(r"-- [^\r\n]* --\r +\r")
QUESTION = "\naccept, reject, or leave? "  # at the left edge, where nothing of others can stand
HEADING = "[5] UNRESOLVED ASSUMPTIONS"
# Padding that puts a heading at the left edge of a terminal of 40 columns, and of one that writes é as \xe9.
LIES = [f"{'x' * pad}{HEADING}{' ' * (40 - len(HEADING))}    No unresolved assumptions detected." for pad in range(20, 42)]
LIES += [f"{letter * count}{HEADING}" for letter in "é字" for count in range(5, 36)]
LIES += ["\t" * 4 + HEADING, "\u202e" + HEADING, "    | fake gutter", "-- 9 of 9 lines; accept, reject, or leave? accept"]


def job_with(program: Program, content: str, name: str = "report.md") -> None:
    calls = [{"type": "tool_use", "id": f"t{at}", "name": "write_file", "input": {"path": path, "content": content}}
             for at, path in enumerate(dict.fromkeys((name, "report.md")))]
    script = program.script({"content": calls}, "The report is written.")
    done = program("run", "--spec-file", "job.toml", "--script", script, "--task", "audit it")
    assert done.code == 0, done.err


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A session whose frame is longer than a screen, and full of lies; for tests that leave without a decision."""
    made = Program.at(tmp_path_factory.mktemp("long") / "p")
    assert made("init").code == 0
    made.reviewer()
    job_with(made, "\n".join([*LIES, *(f"line {number}" for number in range(100))]) + "\n")
    return made


def attest(program: Program, **more: object) -> object:
    return program.at_terminal("attest", "latest", "--as", ALICE, "--key", "alice", **more)  # type: ignore[arg-type]


def frame_of(program: Program) -> str:
    return program("review", "latest").out


def next_page(terminal: Terminal, key: str | bytes = " ") -> None:
    time.sleep(0.02)  # so that it is no key of before
    os.write(terminal.descriptor, key.encode() if isinstance(key, str) else key)


def paged(terminal: Terminal) -> Iterator[tuple[int, int]]:
    """Go on until the question is shown; gives what each prompt says: lines shown, of how many."""
    asked = 0
    while True:
        deadline = time.monotonic() + 20
        while not terminal.seen.endswith(QUESTION) and len(PAGE.findall(terminal.seen)) == asked:
            assert terminal._read(deadline), terminal.seen
        if terminal.seen.endswith(QUESTION):
            return
        asked += 1
        found = PAGE.findall(terminal.seen)[-1]
        yield int(found[0].replace(",", "")), int(found[1].replace(",", ""))
        next_page(terminal)


def left(terminal: Terminal) -> int:
    terminal.type("leave")
    return terminal.wait()


def shown_of(terminal: Terminal) -> str:
    """What stands on the screen of the frame, prompts wiped."""
    text = ERASED.sub("", terminal.seen)
    return text[text.index("safeloop frame v1"):text.index("frame sha256 ")]


@pytest.mark.parametrize(("size", "term"), [((24, 80), "dumb"), ((40, 200), "xterm"), ((50, 100), "")])
def test_a_long_frame_is_shown_page_by_page_to_its_end_before_anybody_is_asked(
    long: Program, size: tuple[int, int], term: str
) -> None:
    frame = frame_of(long)
    with attest(long, size=size, env={"TERM": term}) as terminal:
        pages = list(paged(terminal))
        assert left(terminal) == 12
    assert shown_of(terminal) == frame
    assert [total for _, total in pages] == [frame.count("\n")] * len(pages)
    assert len(pages) >= frame.count("\n") // size[0]
    for before, (shown, _) in zip([0, *(shown for shown, _ in pages)], pages, strict=False):
        assert before < shown <= before + size[0] - 1, "a page is never more than the screen holds"
    assert terminal.seen.index("No unresolved assumptions detected.\n") < terminal.seen.index(QUESTION)
    assert "\x1b" not in terminal.seen[: terminal.seen.index(QUESTION)]


def test_a_short_frame_on_a_tall_screen_is_asked_about_at_once(long: Program) -> None:
    with attest(long, size=(500, 100)) as terminal:
        assert list(paged(terminal)) == []
        assert left(terminal) == 12


def test_all_the_rest_can_be_had_at_once_and_is_then_shown(long: Program) -> None:
    with attest(long, size=(24, 80)) as terminal:
        terminal.expect("q: leave --")
        next_page(terminal, "a")
        terminal.expect(QUESTION)
        assert left(terminal) == 12
    assert shown_of(terminal) == frame_of(long)


def test_no_key_but_those_of_the_prompt_does_anything(long: Program) -> None:
    with attest(long, size=(24, 80)) as terminal:
        terminal.expect("q: leave --")
        seen = terminal.seen
        next_page(terminal, "xyzG>/!v0accept")  # of the last word the first letter asks for all the rest
        terminal.expect(QUESTION)
        assert seen in terminal.seen
        assert left(terminal) == 12
    assert "attestation" not in long.kinds()


@pytest.mark.parametrize("key", [
    "\x1b[A", "\x1bOA", "\x1bOQ", "\x1b[F", "\x1b[15~", "\x1b[1;5A", "\x1ba", "\x1bq", "\x1b\x1b[A", "\x1b[200~a q\x1b[201~",
    "\x1b[M a!", b"\x9bA", b"\x8fQ",
], ids=ascii)
def test_an_arrow_or_any_other_key_that_sends_an_escape_neither_leaves_nor_goes_on(long: Program, key: str | bytes) -> None:
    with attest(long, size=(24, 80)) as terminal:
        terminal.expect("q: leave --")
        for after in (" ", "q"):
            next_page(terminal, key)
            time.sleep(0.4)  # what followed the escape is long gone: the next key counts
            next_page(terminal, after)
        assert terminal.wait() == 12
    assert "left before the end of the frame; nothing was signed" in terminal.seen
    assert len(PAGE.findall(terminal.seen)) == 2, "one page by space, and none by the escape"


def test_an_escape_and_nothing_behind_it_keeps_the_keys_that_are_pressed_later(long: Program) -> None:
    with attest(long, size=(24, 80)) as terminal:
        terminal.expect("q: leave --")
        next_page(terminal, "\x1b")
        time.sleep(0.4)
        next_page(terminal, "a")
        terminal.expect(QUESTION)
        assert left(terminal) == 12


@pytest.mark.parametrize(("key", "code", "said"), [
    ("q", 12, "left before the end of the frame; nothing was signed"), ("\x03", 130, "interrupted"),
    ("\x04", 130, "cancelled at a prompt; nothing was recorded"),
])
def test_who_leaves_before_the_end_has_signed_nothing_and_has_a_terminal_that_echoes(
    long: Program, key: str, code: int, said: str
) -> None:
    command = "safeloop attest latest --as alice@example.org --key alice; echo code $?; stty -a | tr ' ' '\\n' | grep -w echo"
    with long.terminal("bash", "-c", f"stty rows 24 cols 80; {command}") as terminal:
        terminal.expect("q: leave --")
        next_page(terminal, key)
        terminal.wait()
    assert said in terminal.seen and QUESTION not in terminal.seen
    assert re.search(rf"\ncode {code}\necho\n", terminal.seen), terminal.seen
    assert "attestation" not in long.kinds()


def test_what_was_typed_before_a_prompt_was_shown_answers_nothing(long: Program) -> None:
    with attest(long, size=(24, 80)) as terminal:
        os.write(terminal.descriptor, b"  a \naccept\n")
        terminal.expect("q: leave --")
        terminal.expect(" --") if terminal.seen.count(" --") > 1 else None
        time.sleep(0.3)
        assert QUESTION not in terminal.seen and len(PAGE.findall(terminal.seen)) == 1
        next_page(terminal, "a")
        terminal.expect(QUESTION)
        assert left(terminal) == 12
    with attest(long, size=(500, 80)) as terminal:
        os.write(terminal.descriptor, b"accept\naccept\n")
        terminal.expect(QUESTION)
        time.sleep(0.3)
        assert terminal.seen.count(QUESTION) == 1 and "of its hash" not in terminal.seen
        assert left(terminal) == 12


# --- columns and letters ------------------------------------------------------------------------------------------

def columns(row: str) -> int:
    return sum(1 if each.isascii() else 2 for each in row.expandtabs())


def joined(shown: str) -> str:
    """Undo what was broken for the screen."""
    return shown.replace("\n> ", "")


@pytest.mark.parametrize("size", [(60, 40), (60, 78)])
def test_on_a_narrow_terminal_nothing_stands_at_the_left_edge_that_does_not_begin_a_line_of_the_frame(
    long: Program, size: tuple[int, int]
) -> None:
    frame = frame_of(long)
    with attest(long, size=size) as terminal:
        pages = list(paged(terminal))
        assert left(terminal) == 12
    shown = shown_of(terminal)
    assert joined(shown) == frame, "what is broken can be put together again"
    beginnings = {line[:10] for line in frame.splitlines()}
    for row in shown.splitlines():
        assert columns(row) <= size[1], "the terminal breaks nothing by itself"
        assert row.startswith("> ") or row[:10] in beginnings
    assert [row for row in shown.splitlines() if row.startswith("[5]")] == [HEADING]
    assert not any(line.startswith(">") for line in frame.splitlines())
    assert len(pages) > frame.count("\n") // size[0], "a broken line takes more than one row of a page"
    assert hashlib.sha256(frame.encode()).hexdigest() in terminal.seen
    prompts = [line for line in re.split("[\r\n]", terminal.seen) if line.startswith(("-- ", "accept,"))]
    assert prompts and all(len(line) <= size[1] for line in prompts)


def test_the_question_about_the_hash_fits_a_narrow_terminal(long: Program) -> None:
    with attest(long, size=(5_000, 40)) as terminal:
        terminal.expect(QUESTION)
        terminal.type("REJECT")
        terminal.expect("hash: ")
        rows = terminal.seen[terminal.seen.index("you sign"):].splitlines()
        assert " ".join(row.strip() for row in rows) == (
            "you sign that you compared this frame with its promise and reject it. "
            "Type the last four characters of its hash:")
        assert max(map(len, rows)) <= 40
        terminal.type("")
        assert terminal.wait() == 12
    assert "attestation" not in long.kinds()


@pytest.mark.parametrize("width", [80, 40])
def test_an_ascii_terminal_shows_every_letter_in_a_way_of_its_own_and_no_heading_at_the_edge(
    long: Program, width: int
) -> None:
    frame = frame_of(long)
    command = f"stty cols {width}; python -m safeloop attest latest --as {ALICE} --key alice"
    with long.terminal("bash", "-c", command, env={"PYTHONIOENCODING": "ascii"}) as terminal:
        terminal.expect(QUESTION)
        assert left(terminal) == 12
    shown = shown_of(terminal)
    assert terminal.seen.isascii()
    assert joined(shown) == frame.encode("ascii", "backslashreplace").decode()
    assert "\\xe9\\xe9" in joined(shown) and "\\u5b57" in joined(shown)
    assert not re.search(r"(?<!\\)\\[xuU][0-9a-f]", frame), "no frame holds such an escape of itself"
    assert [row for row in shown.splitlines() if row.startswith("[5]")] == [HEADING]
    broken = [row for row in shown.splitlines() if row.startswith("> ")]
    assert broken and all(columns(row) <= width for row in broken)
    assert "this terminal writes ascii" in terminal.seen and "the hash is of the UTF-8 bytes" in terminal.seen
    assert hashlib.sha256(frame.encode()).hexdigest() in terminal.seen


def test_review_at_a_narrow_terminal_breaks_in_the_same_way_and_in_a_pipe_never(long: Program) -> None:
    with long.at_terminal("review", "latest", size=(24, 40)) as terminal:
        assert terminal.wait() == 0
    shown = shown_of(terminal)
    assert joined(shown) == frame_of(long) and "\n> " in shown
    assert [row for row in shown.splitlines() if row.startswith("[5]")] == [HEADING]
    with long.terminal("bash", "-c", "stty cols 40; safeloop review latest > frame.txt") as terminal:
        assert terminal.wait() == 0
    assert (long.folder / "frame.txt").read_text() == frame_of(long)


def test_a_very_long_frame_says_where_it_can_be_read_and_can_still_be_shown(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = Program.at(tmp_path_factory.mktemp("very") / "p")
    assert program("init").code == 0
    program.reviewer()
    job_with(program, "x\n" * 6_000)
    with attest(program, size=(24, 80)) as terminal:
        terminal.expect("lines; to read it as a file: safeloop attest ")
        terminal.expect("--export DIR --decision accept")
        terminal.expect("q: leave --")
        next_page(terminal, "a")
        terminal.expect(QUESTION)
        assert left(terminal) == 12
    assert shown_of(terminal) == frame_of(program)


def test_hostile_names_of_files_are_shown_to_their_last_character(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = Program.at(tmp_path_factory.mktemp("names") / "p")
    assert program("init").code == 0
    program.reviewer()
    job_with(program, "words\n", name=f"{'n' * 23} {HEADING} gnp\\é.md")
    with attest(program, size=(500, 40)) as terminal:
        terminal.expect(QUESTION)
        assert left(terminal) == 12
    assert "gnp\\\\é.md" in joined(shown_of(terminal))
    assert [row for row in shown_of(terminal).splitlines() if row.startswith("[5]")] == [HEADING]
    assert json.loads(program("review", "latest", "--json").out)["frame"] == joined(shown_of(terminal))
