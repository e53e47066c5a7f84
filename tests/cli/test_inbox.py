"""`inbox` as a person at a terminal, a prompt and a script see it: every kind of wait, every width, every locale."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from safeloop.errors import ExitCode
from safeloop.ledger import Ledger
from safeloop.loop.lock import held
from safeloop.loop.place import lock_path
from tests.cli.program import Program
from tests.review.sessions import SessionBuilder, completed
from tests.review.test_inbox import attested

HOSTILE = "waiting: \x1b[2Jit is yours\u202e\nrelease everything"


@contextlib.contextmanager
def writing(program: Program, ago: timedelta = timedelta(0)) -> Iterator[Ledger]:
    keys = program.folder / "home/.config/safeloop/keys"
    ledger = Ledger(program.folder / "ledger.db", keys=keys, create=False, clock=lambda: datetime.now(UTC) - ago)
    with contextlib.closing(ledger):
        yield ledger


def until(**ahead: float) -> str:
    return f"{datetime.now(UTC) + timedelta(**ahead):%Y-%m-%dT%H:%M:%SZ}"


def stopped(ledger: Ledger, reason: str) -> SessionBuilder:
    return SessionBuilder(ledger).spec().open().turn(tokens=6_210, cost_microusd=20_000).close(
        "suspended", reason=reason, cost_microusd=20_000,
    )


def everything(program: Program) -> dict[str, str]:
    """One session of each kind, the oldest first; returns which is which."""
    made = {}
    with writing(program, timedelta(days=3)) as ledger:
        made["review"] = completed(ledger).session
        made["release"] = attested(completed(ledger)).session
        made["quota"] = stopped(ledger, f"waiting: until {until(hours=1)}, the server asks to slow down").session
        made["window"] = stopped(ledger, f"window: until {until(hours=9)}, the day's tokens are used up").session
        made["call"] = stopped(ledger, "call: toolu_1 of send_report may have run").session
        made["resume"] = stopped(ledger, "interrupted by SIGTERM").session
        waits = SessionBuilder(ledger).spec().open().turn(tokens=5).call("delete_page", "destructive")
        reason = f"approval: {waits.last.leaf[:12]} of delete_page waits for a reviewer's decision"
        made["approval"] = waits.close("suspended", reason=reason).session
        made["in doubt"] = SessionBuilder(ledger).spec().open().turn(tokens=100).intent(5_000).session
        made["crashed"] = SessionBuilder(ledger).spec().open().turn(tokens=100).session
    return made


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, dict[str, str]]:
    made = Program.at(tmp_path_factory.mktemp("full") / "p")
    assert made("init").code == 0
    return made, everything(made)


def test_each_wait_has_its_word_its_age_and_the_command_that_ends_it(full: tuple[Program, dict[str, str]]) -> None:
    program, made = full
    items = {item["waits_for"]: item for item in program("inbox", "--json").json["waiting"]}
    assert {word: item["session"] for word, item in items.items()} == made
    assert all(3 * 86_400 <= item["age_s"] < 3 * 86_400 + 600 for item in items.values())
    resume = f"safeloop resume {made['call']}"
    assert items["call"]["next"] == f"{resume} --rerun CALL, or --skip CALL"
    assert items["approval"]["next"].startswith("safeloop approve ")
    assert items["release"]["next"] == f"safeloop release {made['release']} --to DIR"
    assert items["review"]["next"] == f"safeloop review {made['review']}"
    for word in ("quota", "window", "resume", "in doubt", "crashed"):
        assert items[word]["next"] == f"safeloop resume {made[word]}"
    assert (items["in doubt"]["tokens"], items["in doubt"]["tokens_in_doubt"]) == (5_100, 5_000)
    assert (items["quota"]["cost_microusd"], items["crashed"]["cost_microusd"]) == (20_000, None)
    assert (items["quota"]["due"], items["resume"]["due"]) == (False, None)


def test_one_line_counts_all_and_names_the_oldest(full: tuple[Program, dict[str, str]]) -> None:
    program, _ = full
    done = program("inbox", "--line")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "9 wait: 1 review, 1 release, 1 approval, 1 call, 1 quota, 1 window, 1 resume, 1 in doubt, 1 crashed; "
        "oldest 3 d\n"
    )
    facts = program("inbox", "--line", "--json").json
    assert (facts["line"], facts["counts"]["window"]) == (done.out.rstrip("\n"), 1)


def test_one_line_is_none_where_nothing_waits_and_a_list_says_so(program: Program) -> None:
    assert (program("inbox", "--line").code, program("inbox", "--line").out) == (0, "")
    assert program("inbox").out == "nothing waits\n"
    assert program("inbox", "--json").json["counts"]["review"] == 0


def test_what_runs_is_listed_and_waits_for_nobody(program: Program) -> None:
    with writing(program) as ledger:
        session = SessionBuilder(ledger).spec().open().turn(tokens=100).intent(5_000).session
    with held(lock_path(program.folder / "ledger.db", session), "the test"):
        (item,) = program("inbox", "--json").json["waiting"]
        assert (item["state"], item["waits_for"], item["next"]) == ("running", "running", None)
        assert program("inbox", "--line").out == ""
    assert program("inbox", "--line").out == "1 waits: 1 in doubt; oldest now\n"


def test_a_time_that_has_come_is_said_to_have_come(program: Program) -> None:
    with writing(program) as ledger:
        stopped(ledger, f"window: until {until(seconds=-5)}, the hour's tokens are used up")
    assert program("inbox", "--json").json["waiting"][0]["due"] is True
    assert "used up (that time has come)\n" in program("inbox").out


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_of_any_width_shows_the_same_words(full: tuple[Program, dict[str, str]], columns: int) -> None:
    program, made = full
    with program.terminal("safeloop", "inbox", env={"COLUMNS": str(columns)}) as terminal:
        assert terminal.wait() == 0
        shown = terminal.seen
    for word, session in made.items():
        assert re.search(rf"{session[:8]}\W+{word}\W+3 d\b", shown), word
    assert any("\x1b" in each for each in shown.splitlines()) is False
    for said in ("6,210 tokens", "$0.02", "5,000 of its tokens are held", "the day's tokens are used up",
                 f"safeloop release {made['release']} --to DIR", "suspended", "1 turn"):
        assert said in shown
    lines = shown.splitlines()
    if columns == 200:
        assert f"safeloop review {made['review']}" in next(line for line in lines if made["review"][:8] in line)
    else:
        own = [line for line in lines if not line.startswith("  ")]
        assert len(own) == len(made) and max(map(len, own)) <= 40, "one short line each, and the rest below it"


def test_a_pipe_gets_the_same_lines_whatever_the_terminal_was(full: tuple[Program, dict[str, str]]) -> None:
    program, _ = full
    assert program("inbox", env={"COLUMNS": "40"}).out == program("inbox", env={"COLUMNS": "200"}).out


def test_hostile_ids_and_reasons_are_shown_as_escapes_on_lines_of_their_own(program: Program) -> None:
    name = "x" * 120 + ":-._"
    with writing(program) as ledger:
        stopped(ledger, HOSTILE)
        ledger.write(name, 1, "llm", "task", 10, 5, True)
    shown = program("inbox").out
    assert r"waiting: \u{1b}[2Jit is yours\u{202e}\u{a}release everything" in shown
    assert len(shown.splitlines()) == 3 and name in shown
    ascii_only = program("inbox", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert (ascii_only.code, ascii_only.out.isascii()) == (0, True)


def test_a_reason_that_ascii_has_no_letters_for_is_still_listed(program: Program) -> None:
    with writing(program) as ledger:
        stopped(ledger, "waiting: für immer")
    done = program("inbox", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert (done.code, r"waiting: f\xfcr immer" in done.out) == (0, True)


def trusted(program: Program) -> Path:
    return program.folder / "home/.config/safeloop/keys/self/release.toml"


def test_the_policy_of_the_trust_folder_says_what_can_be_released_at_all(program: Program) -> None:
    with writing(program) as ledger:
        attested(SessionBuilder(ledger).spec().open().turn().close("breached"))
        attested(completed(ledger))
    assert program("inbox", "--line").out == "1 waits: 1 release; oldest now\n"
    trusted(program).write_text("accept_breach = true\naccepts = 1\n")
    assert program("inbox", "--line").out == "2 wait: 2 release; oldest now\n"
    trusted(program).write_text("accepts = 2\n")
    assert program("inbox", "--line").out == "2 wait: 2 review; oldest now\n", "one of two has signed"


def test_a_policy_that_is_not_understood_is_an_error_and_no_empty_inbox(program: Program) -> None:
    trusted(program).write_text("acepts = 2\n")
    done = program("inbox", "--line")
    assert (done.code, done.out) == (ExitCode.UNUSABLE, "")
    assert "release.toml has an unknown key: acepts" in done.err


def test_a_trust_folder_that_was_named_must_be_one_and_none_is_the_default(program: Program) -> None:
    with writing(program) as ledger:
        completed(ledger)
    assert program("inbox", "--trust", "nowhere").code == ExitCode.UNUSABLE
    trusted(program).parent.rename(program.folder / "away")
    assert program("inbox", "--line").out == "1 waits: 1 review; oldest now\n"


def test_what_was_erased_before_it_ended_must_still_be_ended(program: Program) -> None:
    with writing(program) as ledger:
        SessionBuilder(ledger).spec().open().turn().erase()
        completed(ledger).erase()
    assert program("inbox", "--line").out == "1 waits: 1 crashed; oldest now\n"


def test_the_clock_of_a_row_that_lies_ahead_is_no_negative_age(program: Program) -> None:
    with writing(program, timedelta(days=-2)) as ledger:
        completed(ledger)
    assert program("inbox", "--json").json["waiting"][0]["age_s"] == 0
    assert program("inbox", "--line").out.endswith("oldest now\n")


def test_one_line_is_quick_enough_for_a_prompt(program: Program) -> None:
    """It loads neither the loop nor a model unless a session is open, and they take longer than all the rest."""
    with writing(program) as ledger:
        completed(ledger)
    watch = "import sys; sys.argv = ['safeloop', 'inbox', '--line']\nfrom safeloop.cli.main import main\n" \
            "try:\n main()\nfinally:\n print(any(n.startswith('safeloop.loop') for n in sys.modules))\n"
    (program.folder / "watch.py").write_text(watch)
    begun = time.monotonic()
    assert program.shell("python watch.py").out == "1 waits: 1 review; oldest now\nFalse\n"
    assert time.monotonic() - begun < 3, "seconds, on a machine that is busy"
