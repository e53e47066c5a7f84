"""What a command line names and is not what it should be: one error with a hint, exit code 2, and nothing recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import JOB, Done, Program

SCRIPT = ("--script", "writes.json")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    made = Program.at(tmp_path / "p")
    assert made("init").code == 0
    return made


def refused(program: Program, done: Done, *said: str) -> None:
    assert (done.code, done.out) == (2, ""), done
    assert done.err.startswith("error: ") and done.err.count("error:") == 1, done.err
    assert "Traceback" not in done.err
    for words in said:
        assert words in done.err, done.err
    assert program.kinds() == []


SPECS: list[tuple[str, bytes, str]] = [
    ("no TOML", b"Dear model, please audit.", "is not TOML"),
    ("binary", b"\x7fELF\x02\x01\x01\0\xff\xfe", "is not UTF-8"),
    ("huge", b"# " + b"x" * 1_000_001, "has more than 1000000 bytes"),
    ("deep", b"a = " + b"[" * 100_000, "nested too deeply"),
    ("unknown key", JOB.encode() + b"\n[ceiling]\nturns = 1\n", '"ceiling" is unknown'),
    ("unknown ceiling", JOB.encode() + b"\n[ceilings]\nturn = 1\n", '"turn" is unknown'),
    ("a cost of nothing written", JOB.encode() + b"\n[ceilings]\ncost_usd = \"\"\n", "cost_usd"),
    ("wrong type", JOB.encode() + b"\n[ceilings]\nturns = \"8\"\n", "turns"),
    ("a number of 5000 digits", JOB.encode() + b"\n[ceilings]\nturns = " + b"9" * 5000, ""),
    ("not an answer", JOB.replace('"Audit one page for SEO faults"', "5").encode(), "what_it_does must be a text"),
    ("repeats", JOB.replace("report.md lists every fault with a fix", "audit one page for SEO faults!").encode(),
     "only repeats what it does"),
    ("a bad pattern", JOB.replace("min_chars = 5", 'matches = ["("]').encode(), ""),
    ("controls", b'\x1b]0;owned\x07 = "\\u001b[31m"', ""),
]


@pytest.mark.parametrize(("what", "data", "said"), SPECS, ids=[what for what, _, _ in SPECS])
def test_a_spec_file_that_is_none_is_refused(program: Program, what: str, data: bytes, said: str) -> None:
    (program.folder / "bad.toml").write_bytes(data)
    done = program("run", "--spec-file", "bad.toml", "--task", "x", *SCRIPT)
    refused(program, done, "bad.toml", said)
    assert "\nhint: " in done.err
    assert "\x1b" not in done.err


NAMED = [
    ("run", "--spec-file", "FILE", "--task", "x", *SCRIPT), ("spec", "--file", "FILE"),
    ("run", "--spec-file", "job.toml", "--task-file", "FILE", *SCRIPT),
    ("run", "--spec-file", "job.toml", "--task", "x", "--script", "FILE"),
    ("audit", "--checkpoint", "FILE"), ("trust", "add-reviewer", "a", "FILE"),
    ("attest", "--statement", "FILE", "--signature", "job.toml"),
    ("attest", "--statement", "job.toml", "--signature", "FILE"),
]


def test_a_file_that_is_not_there_is_named(program: Program) -> None:
    (program.folder / "folder").mkdir()
    (program.folder / "link").symlink_to("link")
    for command, name in zip(NAMED, ["gone", "folder", "link"] * 3, strict=False):
        refused(program, program(*(name if word == "FILE" else word for word in command)), name)


def test_a_task_is_text(program: Program) -> None:
    task = program.folder / "task"
    for data, said in ((b"\x89PNG\r\n\x1a\n\0\xff", "is not UTF-8 text (byte 0)"), (b"x" * 10_000_001, "is larger than"),
                       (b"", "the task is empty"), (b" \n\t", "the task is empty")):  # fmt: skip
        task.write_bytes(data)
        refused(program, program("run", "--spec-file", "job.toml", "--task-file", "task", *SCRIPT), said, "hint: ")
    done = program("run", "--spec-file", "job.toml", "--task-file", "-", *SCRIPT, stdin=b"\xff")
    refused(program, done, "task file - is not UTF-8 text")
    for arguments in ((), ("--task", "x", "--task-file", "task"), ("--task", "")):
        refused(program, program("run", "--spec-file", "job.toml", *arguments, *SCRIPT), "task")


def test_a_task_that_no_reply_can_fit_beside_is_a_breach_and_not_sent(program: Program) -> None:
    (program.folder / "task").write_text("x" * 2_000_000)
    done = program("run", "--spec-file", "job.toml", "--task-file", "task", *SCRIPT)
    assert done.code == 10
    assert program.kinds() == ["spec", "open", "breach", "check", "close"]


def test_a_task_can_come_through_a_pipe(program: Program) -> None:
    done = program("run", "--spec-file", "job.toml", "--task-file", "-", *SCRIPT, stdin="größe".encode())
    assert done.code == 0
    assert "größe" in program("review", "latest").out


def test_a_workspace_is_a_folder(program: Program) -> None:
    (program.folder / "loop").symlink_to("loop")
    for name in ("nowhere", "job.toml", "loop", "job.toml/x"):
        done = program("run", "--spec-file", "job.toml", "--task", "x", *SCRIPT, "--workspace", name)
        refused(program, done, f"workspace {name}", "hint: name a folder that the tools may read")


def test_a_workspace_around_the_ledger_is_refused_and_one_beside_it_is_not(program: Program) -> None:
    (program.folder / "ws").mkdir()
    arguments = ("run", "--spec-file", "job.toml", "--task", "x", *SCRIPT, "--workspace")
    refused(program, program(*arguments, "."), "ledger.db, which no tool may reach", "hint: name a folder of its own")
    assert program(*arguments, "ws").code == 0


@pytest.mark.parametrize(
    "data", [b"{}", b"[5]", b"\xff", b"[" * 100_000], ids=lambda data: repr(data[:9])
)
def test_a_script_is_a_list_of_replies(program: Program, data: bytes) -> None:
    (program.folder / "bad.json").write_bytes(data)
    refused(program, program("run", "--spec-file", "job.toml", "--task", "x", "--script", "bad.json"), "the script bad.json")


def test_a_script_that_ends_too_soon_loses_no_row(program: Program) -> None:
    replies = json.loads((program.folder / "writes.json").read_text())[:1]
    done = program("run", "--spec-file", "job.toml", "--task", "x", "--script", program.script(*replies))
    assert done.code == 2
    assert "the script has 1 replies, and this is request 2" in done.err
    kinds = program.kinds()
    assert kinds[:4] == ["spec", "open", "intent", "turn"] and kinds[-1] == "close"
    assert program("audit").code == 0


def test_a_checkpoint_that_is_none_is_refused(program: Program) -> None:
    program.job()
    note = program("checkpoint").out
    for text in ("", note.replace("\n", "\r\n"), note[:-5], note * 2, "x" * 1_000_001):
        (program.folder / "kept.txt").write_text(text, newline="")
        done = program("audit", "--checkpoint", "kept.txt")
        assert done.code in (2, 11), (text[:20], done)
        assert "Traceback" not in done.err
    done = program("ledger", "adopt", "--checkpoint", "kept.txt")
    assert done.code == 2
    assert program("audit").code == 0


def test_a_strict_run_refuses_what_draws_a_warning(program: Program) -> None:
    vague = JOB.replace("report.md lists every fault with a fix", "It is all good")
    (program.folder / "vague.toml").write_text(vague)
    refused(program, program("run", "--spec-file", "vague.toml", "--task", "x", *SCRIPT, "--strict"), "names nothing to be seen")
    done = program("run", "--spec-file", "vague.toml", "--task", "x", *SCRIPT)
    assert done.code == 0
    assert "warning: done_looks_like names nothing to be seen" in done.err


def test_a_release_never_replaces_what_is_not_a_release(program: Program) -> None:
    program.job()
    key = program.reviewer()
    assert program("attest", "latest", "--as", "alice@example.org", "--export", "sign", "--decision", "accept").code == 0
    assert program.shell(f"ssh-keygen -q -Y sign -f {key} -n safeloop-review sign/statement.json").code == 0
    signed = ("--statement", "sign/statement.json", "--signature", "sign/statement.json.sig")
    assert program("attest", *signed).code == 0
    (program.folder / "mine").mkdir()
    (program.folder / "mine" / "thesis.tex").write_text("years of work")
    for more in ((), ("--force",)):
        done = program("release", "latest", "--to", "mine", *more)
        assert done.code == 2, done
        assert "hint:" in done.err
    assert (program.folder / "mine" / "thesis.tex").read_text() == "years of work"
    assert program("release", "latest", "--to", "no/such/folder").code == 2
    assert program("release", "latest", "--to", "out").code == 0
    assert program("release", "latest", "--to", "out").code == 2
    assert program("release", "latest", "--to", "out", "--force").code == 0
    assert program("audit").code == 0
