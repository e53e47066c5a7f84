"""The page `reviewers`, followed to the letter and in order."""

from __future__ import annotations

import hashlib
import re

from tests.cli.program import ROOT, Program
from tests.cli.test_verify_page import blocks, follow

PAGE = (ROOT / "safeloop/docs/reviewers.md").read_text(encoding="utf-8")


def test_every_command_of_the_page_does_what_the_page_says(program: Program) -> None:
    assert program.job().code == 0
    commands = blocks("reviewers")
    code, said, complaints = follow(program, commands)
    assert code == 0, complaints
    assert "alice@example.org may review with SHA256:" in said["Once: your key"][0]
    (shown,) = said["Each time"]
    frame = shown[shown.index("safeloop frame v1"):]
    (exported,) = said["Signing on another machine"]
    assert f"{hashlib.sha256(frame.encode()).hexdigest()}  frame.txt\n" in exported
    assert "attested, row " in exported
    (row,) = [row for row in program.rows() if row["kind"] == "attestation"]
    assert row["data"]["frame"] == hashlib.sha256(frame.encode()).hexdigest()
    assert row["data"]["notes"] == "compared on my own machine"
    assert program.shell("safeloop review latest | sha256sum").out.startswith(row["data"]["frame"])


def test_the_dialogue_of_the_page_is_that_of_the_program(program: Program) -> None:
    program.reviewer()
    assert program.job().code == 0
    with program.at_terminal(*re.findall(r"^\$ safeloop (attest .*)$", PAGE, re.M)[0].split()) as terminal:
        terminal.expect("\naccept, reject, or leave? ")
        terminal.type("accept")
        question = re.findall(r"^(you sign that .*: )88d0$", PAGE, re.M)[0]
        terminal.expect(question)
        terminal.type(re.findall(r"^frame sha256 ([0-9a-f]{64})$", terminal.seen, re.M)[0][-4:])
        assert terminal.wait() == 0
    assert re.search(r"^attested, row \d+$", terminal.seen, re.M)


def test_without_a_terminal_you_are_told_what_the_page_says(program: Program) -> None:
    program.reviewer()
    assert program.job().code == 0
    done = program("attest", "latest", "--as", "alice@example.org", "--key", "alice")
    (words,) = re.findall(r"^\| `([^`]*)` \(exit 13\) \|", PAGE, re.M)
    assert (done.code, words in done.err) == (13, True), done.err


def test_what_the_page_quotes_is_what_the_program_says() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "safeloop").rglob("*.py"))
    quoted = [words for line in PAGE.split("## When you are refused")[1].splitlines() if line.startswith("| `")
              for words in re.findall("`([^`]*)`", line.split("|")[1])]
    assert len(quoted) >= 8
    for words in quoted:
        assert words.removesuffix(" …") in source, words
    for words in re.findall(r"\*([a-z][^*]+)\*", PAGE.split("Lines under [5]")[1].split("##")[0]):
        sought = re.sub(r"\s+", " ", words).replace("staged files not watched", "staged files were not watched")
        sought = {"another session": "the work of session", "last checked": "was last checked"}.get(sought, sought)
        assert sought.replace("ran as read", "ran as") in source or sought == "ran as read on the word of the spec", words
