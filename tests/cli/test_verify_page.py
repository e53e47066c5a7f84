"""The page `verify`, followed to the letter and in order: sqlite3, openssl, ssh-keygen and sha256sum do the judging."""

from __future__ import annotations

import re
import subprocess
from base64 import b64decode

import pytest

from tests.cli.program import ROOT, Program

Blocks = list[tuple[str, str]]


def blocks(page: str = "verify") -> Blocks:
    """Return a page's commands in order, each with the heading that it stands under."""
    text = (ROOT / "safeloop" / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found, heading = [], ""
    for title, block in re.findall(r"^#+ ([^\n]*)$|^```sh\n(.*?)^```$", text, re.M | re.S):
        heading = title or heading
        if block:
            found.append((heading, block))
    return found


def follow(program: Program, commands: Blocks) -> tuple[int, dict[str, list[str]], str]:
    """Run blocks in one shell; return its code, what each block printed by heading, and its complaints."""
    script = "set -euo pipefail\n" + "".join(f"{block}echo '--8<--'\n" for _, block in commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=program.folder, env=program.environment, capture_output=True, text=True, check=False
    )
    said: dict[str, list[str]] = {}
    for (heading, _), words in zip(commands, done.stdout.split("--8<--\n")):
        said.setdefault(heading, []).append(words)
    return done.returncode, said, done.stderr


def attest(program: Program) -> None:
    """Attest the newest session, and make the copy that the page works on."""
    key = program.reviewer("alice@example.org")
    with program.at_terminal("attest", "latest", "--as", "alice@example.org", "--key", str(key)) as terminal:
        terminal.expect("leave? ")
        terminal.type("accept")
        terminal.expect("of its hash: ")
        terminal.type(re.findall(r"^frame sha256 ([0-9a-f]{64})$", terminal.seen, re.M)[0][-4:])
        assert terminal.wait() == 0
    assert program("backup", "copy.db").code == 0


def test_every_block_of_the_page_says_what_the_page_says(program: Program) -> None:
    program.job()
    attest(program)
    rows, note = program.rows(), program("checkpoint").out
    code, said, complaints = follow(program, blocks())
    assert code == 0, complaints
    assert said["Verify it yourself"] == [""]
    taken, row, leaf = said["A row's signature"]
    assert re.fullmatch(r"\d+\|64\n", taken)
    assert row == "Signature Verified Successfully\n"
    assert leaf == f"{rows[3]['leaf']}  -\n"
    leaves, root, head = said["The whole tree"]
    assert leaves == f"{len(rows)}\n"
    assert head.endswith(f"{len(rows)}\n{root}")
    assert b64decode(root) == b64decode(note.splitlines()[2])
    assert said["The head's signature"] == ["Signature Verified Successfully\n", "the ledger continues note\n"]
    sums, signatures, contents, lost = said["An export"]
    assert sums == "the files belong together\n"
    assert signatures.split(None, 1) == [str(len(rows)), "Signature Verified Successfully\n"]
    assert re.fullmatch(r" *\d+ as committed\n", contents)
    assert lost == ""
    assert said["A receipt"] == ["Signature Verified Successfully\n", "the row is in the tree\n"]
    sums, stated_by, verdict = said["A release"]
    assert sums == "the files are those of the sums\n"
    assert stated_by.startswith('Good "safeloop-review" signature for alice@example.org')
    assert stated_by.count(" is what was signed\n") == 3
    assert verdict.startswith("bundle: release verified")
    attestation, frame = said["An attestation"]
    assert 'Good "safeloop-review" signature for alice@example.org' in attestation
    stated = next(item for item in rows if item["kind"] == "attestation")["data"]
    assert frame == f"{stated['frame']}  -\n"
    assert stated["frame"] in (program.folder / "att.json").read_text()


@pytest.mark.parametrize(("heading", "before", "harm", "lost"), [
    ("A row's signature", 1, "sed -i 's/\"turn\":1/\"turn\":2/' pae\n", "Verified Successfully"),
    ("The head's signature", 0, "sed -i '2s/./9/' note\n", "Verified Successfully"),
    ("The head's signature", 0, "sed -i '1d' leaves\n", "continues"),
])
def test_a_changed_byte_is_seen_by_the_same_commands(
    program: Program, heading: str, before: int, harm: str, lost: str
) -> None:
    """Each harm is done once the page has taken out what it changes, and the rest of that heading is followed."""
    program.job()
    assert program("backup", "copy.db").code == 0
    commands = blocks()
    at = [number for number, (name, _) in enumerate(commands) if name == heading][before]
    rest = [block for block in commands[at:] if block[0] == heading]
    _, whole, _ = follow(program, [*commands[:at], *rest])
    assert any(lost in words for words in whole[heading][before:])
    _, harmed, _ = follow(program, [*commands[:at], ("harm", harm), *rest])
    assert not any(lost in words for words in harmed.get(heading, [])[before:])


@pytest.mark.parametrize(("heading", "before", "harm", "lost"), [
    ("A receipt", 1, "sed -i 's/^index ./index 0/' row.tlog-proof\n", "the row is in the tree"),
    ("A receipt", 1, "sed -i 4d row.tlog-proof\n", "the row is in the tree"),
    ("A receipt", 1, "echo >> extra\n", "the row is in the tree"),
    ("A release", 1, "echo >> bundle/release/frame.txt\n", "frame.txt is what was signed"),
    ("A release", 1, "echo >> bundle/release/statement-1.json\n", "Good "),
    ("A release", 1, "echo >> bundle/added\n", "release verified"),
    ("A release", 1, "echo >> bundle/report.md\n", "release verified"),
])
def test_a_changed_receipt_or_release_is_seen_by_the_same_commands(
    program: Program, heading: str, before: int, harm: str, lost: str
) -> None:
    """What the commands say without harm is asked above; here every block is tried, whatever the one before said."""
    program.job()
    attest(program)
    needed = ("Verify it yourself", "A row's signature", "An attestation", heading)
    unhex = next(block for _, block in blocks() if block.startswith("unhex()")).splitlines(keepends=True)[0]
    commands = [("", unhex), *(each for each in blocks() if each[0] in needed)]
    at = [number for number, (name, _) in enumerate(commands) if name == heading][before]
    tried = [(name, f"({block}\n) || true\n") for name, block in commands[at:] if name == heading]
    code, said, complaints = follow(program, [*commands[:at], ("harm", harm), *tried])
    assert (code, len(said[heading])) == (0, before + len(tried)), complaints
    assert not any(lost in words for words in said[heading][before:])


def test_a_changed_content_and_a_lost_one_are_seen_in_an_export(program: Program) -> None:
    program.job()
    attest(program)
    commands = blocks()
    first = next(number for number, (name, _) in enumerate(commands) if name == "An export")
    harm = "cd out/content; set -- *.bytes; echo >> $1; rm $2 ${2%.bytes}.prefix; cd ../..\n"
    rest = [block for block in commands[first + 1 :] if block[0] == "An export"]
    _, said, complaints = follow(program, [*commands[: first + 1], ("harm", harm), *rest])
    _, _, contents, lost = said["An export"]
    assert "1 " in contents.splitlines()[0] and "is another" in contents, complaints
    assert lost.count("is not kept") <= 1
