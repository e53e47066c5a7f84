"""Names that others chose, in what is shown: no command, no escape sequence, no line of their own at the left edge."""

from __future__ import annotations

import re
import shlex

import pytest

from safeloop.errors import ExitCode
from safeloop.ledger.content import JSON
from safeloop.review import ReviewSurface
from tests.cli.program import Program
from tests.cli.test_approvals import office, suspended
from tests.cli.test_inbox import writing
from tests.review.sessions import SessionBuilder

__all__ = ["office"]  # a fixture

ALICE = "alice@example.org"
STEERS = "\x1b[2J\x1b]0;title\x07\u202e"
CALL = f"t0;touch pwned #{STEERS}"
APPROVE = "Type the word approve in full: "


def calling(program: Program, call: str = "call_1", tool: str = "burn", permission: str = "write", more: str = "") -> str:
    """A suspended session whose last call was never answered, as whoever has the writer's key can write it."""
    with writing(program) as ledger:
        made = SessionBuilder(ledger).spec().open().turn()
        arguments = ledger.content(b'{"what": "%s"}' % more.encode(), JSON)
        made.row("call", {"turn": 1, "call": call, "tool": tool, "permission": permission,
                          "arguments": arguments.commitment}, arguments)
        waits = f"approval: {made.last.leaf[:12]} of burn waits" if permission == "destructive" else "call: it may have run"
        return made.close("suspended", reason=waits).session


def rows_at(seen: str, columns: int) -> list[str]:
    """What stands in each row of a terminal that breaks at its edge."""
    return [row for line in seen.splitlines() for row in re.findall(f".{{1,{columns}}}", line) or [""]]


def test_the_next_command_of_a_hostile_call_runs_nothing_but_safeloop(program: Program) -> None:
    session = calling(program, CALL)
    (item,) = program("inbox", "--json").json["waiting"]
    words = shlex.split(item["next"])
    shown = r"t0;touch pwned #\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}"
    assert words == ["safeloop", "resume", session, "--rerun", f"{shown},", "or", "--skip", shown]
    listed = program("inbox").out
    assert item["next"] in listed and "\x1b" not in listed and "\u202e" not in listed
    program.shell(item["next"])
    assert not (program.folder / "pwned").exists()


def test_a_tool_whose_name_steers_a_terminal_is_listed_and_shown_in_letters(office: Program) -> None:
    session = calling(office, tool=f"burn{STEERS}\nnothing waits", permission="destructive")
    listed = office("approvals").out
    (head, _arguments) = listed.splitlines()
    assert r"burn\u{1b}[2J" in head and "\x1b" not in listed
    with office.at_terminal("approve", session, "--as", ALICE, "--key", "alice", size=(40, 200)) as terminal:
        terminal.expect(r"tool       burn\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}\u{a}nothing waits")
        terminal.expect(APPROVE)
        terminal.type("no")
        assert terminal.wait() == ExitCode.NOT_ATTESTED
    assert not set(STEERS[0] + "\x07\u202e") & set(terminal.seen) and "\nnothing waits" not in terminal.seen


def test_the_name_of_a_tool_does_not_go_on_in_the_next_line_of_the_list(office: Program) -> None:
    calling(office, tool="x" + " " * 34 + "6f1c20ab93de  granted", permission="destructive")
    assert max(map(len, office("approvals").out.splitlines())) <= 79


@pytest.mark.parametrize(("columns", "encoding", "letter"), [(40, "utf-8", "x"), (80, "ascii", "é"), (40, "ascii", "é")])
def test_arguments_never_stand_at_the_left_edge_of_the_question(
    office: Program, columns: int, encoding: str, letter: str
) -> None:
    lie = "tool       list_files"
    many = [25, *range(1, columns)]  # the first comes to stand at 40 columns behind the margin and the parameter's name
    request = suspended(office, *["".join(letter * at + lie.ljust(columns) for at in many)])
    command = f"stty cols {columns} rows 50; exec python -m safeloop approve {request['id']} --as {ALICE} --key alice"
    with office.terminal("bash", "-c", command, env={"PYTHONIOENCODING": encoding}) as terminal:
        terminal.expect(APPROVE)
        terminal.type("no")
        assert terminal.wait() == ExitCode.NOT_ATTESTED
    shown = terminal.seen[:terminal.seen.index("it may then run once")]
    assert [row for row in rows_at(shown, columns) if row.startswith("tool ")] == ["tool       burn"] * 2
    assert shown.replace("\n> ", "").replace("\n  \\ ", "").count(lie) == len(many)


@pytest.mark.parametrize("columns", [80, 40])
def test_the_name_in_an_unsigned_decision_forges_no_other_beside_the_frame(program: Program, columns: int) -> None:
    program.reviewer()
    assert program.job().code == 0
    forged = "row 99: accept by bob@example.org, signed"
    keys, ledger = program.folder / "home/.config/safeloop/keys", program.folder / "ledger.db"
    surface = ReviewSurface(ledger, ledger, keys=keys, create=False)
    session = program.rows()[-1]["session"]
    for pad in range(12, 70):
        surface.attest(session, "x" + " " * pad + forged.ljust(columns) + "note")
    for command in (("review", session), ("attest", session, "--as", ALICE, "--key", "alice")):
        with program.at_terminal(*command, size=(500, columns)) as terminal:
            if command[0] == "attest":
                terminal.expect("or leave? " if columns > 60 else "leave? ")
                terminal.type("leave")
            terminal.wait()
        after = terminal.seen[terminal.seen.index("frame sha256 " if command[0] == "review" else "row "):]
        assert "row 1" in after and not [row for row in rows_at(after, columns) if row.startswith("row 99")], after
