"""What a reviewer is told: the notes of others, what was decided, and a command that goes on from there."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.cli.program import Program, Terminal
from tests.cli.test_attest_keys import ALICE, SELF, attest, decide, keygen, own_key

BOB = "bob@example.org"


def hint(text: str) -> str:
    return text.partition("hint: ")[2].strip()


def decided(program: Program, word: str, *more: str) -> Terminal:
    with program.at_terminal("attest", "latest", "--as", ALICE, "--key", "alice", *more) as terminal:
        decide(terminal, word)
        assert terminal.wait() == 0, terminal.seen
    return terminal


def test_the_hint_of_a_refusal_leads_to_the_notes_of_who_rejected(closed: Program) -> None:
    hostile = "meta missing\nrow 99: accept by the owner, signed\x1b[2J"
    decided(closed, "reject", "--notes", hostile)
    refused = closed("release", "latest", "--to", "out")
    assert refused.code == 12 and hint(refused.err).count("safeloop attest") == 1
    (command,) = re.findall(r"safeloop (review [\w-]+)", hint(refused.err))
    told = closed(*command.split())
    joined = told.err.replace("\n    \\ ", "")
    assert re.search(r'^row \d+: reject by alice@example\.org, signed\n    notes="meta missing\\u\{a\}row 99:', joined, re.M)
    assert "\x1b" not in told.err and not re.search("^row 99", told.err, re.M)
    assert max(map(len, told.err.splitlines())) <= 100


def test_a_reject_is_said_to_be_one_and_does_not_lead_to_a_release(closed: Program) -> None:
    terminal = decided(closed, "reject")
    assert re.search(r"^rejected, row \d+$", terminal.seen, re.M) and "attested, row" not in terminal.seen
    assert "next: safeloop inbox" in terminal.seen and "safeloop release" not in terminal.seen


def test_an_accept_that_opens_the_gate_leads_through_it_and_one_that_does_not_does_not(closed: Program) -> None:
    terminal = decided(closed, "accept")
    (command,) = re.findall(r"next: safeloop (release \S+ --to )DIR", terminal.seen)
    assert closed(*command.split(), "out").code == 0
    assert closed.job().code == 0
    (closed.folder / SELF / "release.toml").write_text("accepts = 2\n")
    terminal = decided(closed, "accept")
    assert "next: safeloop inbox" in terminal.seen and "safeloop release" not in terminal.seen


@pytest.mark.parametrize("key", ["C", "D"])
def test_leaving_the_decision_names_a_command(closed: Program, key: str) -> None:
    with attest(closed, "alice") as terminal:
        terminal.expect("leave? ")
        assert terminal.leave(key) == 130
    assert hint(terminal.seen).startswith("safeloop inbox"), terminal.seen


def test_the_operators_key_as_a_reviewers_leads_to_a_key_of_their_own(closed: Program) -> None:
    refused = closed("trust", "add-reviewer", BOB, str(own_key(closed)))
    assert refused.code == 14 and "never counts as a reviewer's" in refused.err
    make, _, add = hint(refused.err).partition(", then safeloop ")
    closed.shell(f"{make} -q -N ''")
    assert closed(*add.split()).code == 0, refused.err


@pytest.mark.parametrize(("command", "names"), [
    (("attest", "latest"), "safeloop attest latest --as NAME --key FILE"),
    (("attest", "latest", "--as", ALICE), f"safeloop attest latest --as {ALICE} --key FILE"),
    (("release", "latest"), "safeloop release latest --to DIR"),
    (("report",), "safeloop report --out FILE"),
    (("release", "a b"), "safeloop release 'a b' --to DIR"),
])
def test_what_lacks_an_option_is_told_with_it(kept: Program, command: tuple[str, ...], names: str) -> None:
    if command[0] == "attest":
        with kept.at_terminal(*command) as terminal:
            assert terminal.wait() == 2
        said = terminal.seen
    else:
        done = kept(*command)
        assert done.code == 2
        said = done.err
    assert hint(said).startswith(names), said


def test_a_key_whose_private_half_is_in_an_agent_only_is_named_by_its_public_file(closed: Program) -> None:
    (closed.folder / "alice").unlink()
    with attest(closed, "alice") as terminal:
        assert terminal.wait() == 14
    assert "there is no key at alice" in terminal.seen
    assert hint(terminal.seen).startswith("--key alice.pub") and "backup" not in terminal.seen
    (closed.folder / "alice.pub").unlink()
    with attest(closed, "alice") as terminal:
        assert terminal.wait() == 14
    assert "ssh-keygen -t ed25519" in hint(terminal.seen) and "safeloop init" not in terminal.seen


def test_a_statement_that_was_imported_before_is_told_with_its_row(closed: Program) -> None:
    assert closed("attest", "latest", "--as", ALICE, "--export", "e", "--decision", "accept").code == 0
    statement = closed.folder / "e/statement.json"
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", closed.folder / "alice", "-n", "safeloop-review", statement],
                   check=True, capture_output=True)
    command = ("attest", "--statement", str(statement), "--signature", f"{statement}.sig")
    first = closed(*command)
    row = re.findall(r"attested, row (\d+)", first.out)[0]
    again = closed(*command)
    assert again.code == 12 and f"recorded already, as row {row}" in again.err
    assert re.match(r"safeloop review [\w-]+ shows", hint(again.err)), again.err
    assert closed.kinds().count("attestation") == 1


def test_one_key_under_two_names_is_told_when_it_is_pinned(closed: Program) -> None:
    keygen(closed.folder, "carol")
    first = closed("trust", "add-reviewer", "carol@example.org", "carol.pub")
    assert (first.code, first.err) == (0, "")
    assert closed("trust", "add-reviewer", "carol@example.org", "carol.pub").err == "", "the same again is no other name"
    shutil.copy(closed.folder / "carol.pub", closed.folder / "zed.pub")
    second = closed("trust", "add-reviewer", "zed@example.org", "zed.pub")
    assert second.code == 0
    assert "carol@example.org has this key too: it counts once" in second.err


def test_a_page_says_what_a_rejected_session_is_and_where_it_is_counted(kept: Program) -> None:
    page = kept("help", "on-call").out
    assert "rejected" in page.partition("## What waits")[2].partition("## At night")[0]
    assert "130" in kept("help", "reviewers").out.partition("Exit codes:")[2]
