"""Whose key signs, at a real terminal: what can never count is refused before anything is shown, and what can signs."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.keys import read_pem
from safeloop.ledger.sshsig import HARDWARE, PLAIN, PublicKey, parse_public_key
from tests.cli.program import Program, Terminal

ALICE = "alice@example.org"
SELF = "home/.config/safeloop/keys/self"


def keygen(folder: Path, name: str, *more: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name, *more], check=True)
    return folder / name


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A closed session, a reviewer, and some keys that must not count; for tests that record nothing."""
    made = Program.at(tmp_path_factory.mktemp("office") / "p")
    assert made("init").code == 0
    made.reviewer()
    for name in ("stranger", "bob", "expired", "future", "approver", "gone"):
        keygen(made.folder, name)
    keygen(made.folder, "rsa", "-t", "rsa")
    reviewers = made.folder / SELF / "reviewers"
    lines = {"bob": "", "expired": 'valid-before="20200101Z" ', "future": 'valid-after="20990101Z" ',
             "approver": 'namespaces="safeloop-approval" ', "gone": ""}
    with reviewers.open("a") as file:
        for name, options in lines.items():
            file.write(f"{name}@example.org {options}{(made.folder / f'{name}.pub').read_text()}")
    assert made.job().code == 0
    origin = re.findall(r"safeloop\.local/\w+", made("checkpoint").out)[0]
    gone = key_id(parse_public_key((made.folder / "gone.pub").read_text()).raw)
    (made.folder / SELF / "revoked").write_text(f"{gone} {origin} 3\n")
    shutil.copy(made.folder / "stranger", made.folder / "open")
    (made.folder / "open").chmod(0o644)
    (made.folder / "words").write_text("not a key\n")
    (made.folder / "words").chmod(0o600)
    hardware_handle(made.folder / "token")
    return made


def own_key(program: Program) -> Path:
    """The operator's own key, as a reviewer's .pub."""
    raw = read_pem(program.folder / SELF / "../writer.pem").public_key().public_bytes_raw()
    path = program.folder / "own.pub"
    path.write_text(f"{PublicKey(PLAIN, raw).openssh}\n")
    return path


def hardware_handle(path: Path) -> PublicKey:
    """A handle of a hardware key that is not there, as `ssh-keygen -t ed25519-sk` writes it."""
    def string(data: bytes) -> bytes:
        return len(data).to_bytes(4) + data

    key = PublicKey(HARDWARE, read_any_point(), "ssh:")
    inner = b"\1\2\3\4\1\2\3\4" + key.blob + b"\1" + string(b"handle" * 10) + string(b"") + string(b"token")
    inner += bytes(range(1, 1 + -len(inner) % 8))
    data = b"openssh-key-v1\0" + string(b"none") * 2 + string(b"") + (1).to_bytes(4) + string(key.blob) + string(inner)
    text = base64.encodebytes(data).decode()
    path.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n")
    path.chmod(0o600)
    path.with_suffix(".pub").write_text(f"{key.openssh} token\n")
    return key


def read_any_point() -> bytes:
    return base64.b64decode("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")  # RFC 8032, test 1


def attest(program: Program, key: str, reviewer: str = ALICE, env: dict[str, str] | None = None) -> object:
    return program.at_terminal("attest", "latest", "--as", reviewer, "--key", key, env=env)


def decide(terminal: Terminal, word: str = "accept") -> None:
    terminal.expect("leave? ")
    terminal.type(word)
    terminal.expect("of its hash: ")
    terminal.type(re.findall(r"frame sha256 ([0-9a-f]{64})", terminal.seen)[-1][-4:])


# --- refused before the frame is shown ----------------------------------------------------------------------------

REFUSED = {
    "unknown name": ("stranger", "carol@example.org", 12, "which has no such name",
                     "hint: safeloop trust add-reviewer carol@example.org KEY.pub\n"),
    "unknown key": ("stranger", ALICE, 12, f"is not pinned as a key of {ALICE}",
                    f"hint: safeloop trust add-reviewer {ALICE} KEY.pub --another"),
    "another's key": ("bob", ALICE, 12, f"is not pinned as a key of {ALICE}",
                      "hint: it is pinned as a key of bob@example.org: name its owner with --as"),
    "operator": ("own.pub", ALICE, 14, "no ssh-agent answers", "ssh-add"),
    "expired": ("expired", "expired@example.org", 12, "it expired at 2020-01-01T00:00:00Z",
                "safeloop trust add-reviewer expired@example.org KEY.pub --another"),
    "not yet": ("future", "future@example.org", 12, "it is valid from 2099-01-01T00:00:00Z on", "hint: wait"),
    "approvals only": ("approver", "approver@example.org", 12, "its line is for safeloop-approval only",
                       'namespaces="safeloop-review"'),
    "revoked": ("gone", "gone@example.org", 12, "is revoked for all rows after the first 3",
                "safeloop trust add-reviewer gone@example.org KEY.pub --another"),
    "no file": ("nowhere", ALICE, 14, "there is no key at nowhere", "ssh-keygen -t ed25519"),
    "no public file": ("nowhere.pub", ALICE, 14, "there is no key at nowhere.pub", "ssh-add -L"),
    "open to others": ("open", ALICE, 14, "can be read by others", "chmod 600 open"),
    "a folder": ("bin", ALICE, 14, "it is a folder, not a regular file", "ls -l bin"),
    "no key": ("words", ALICE, 14, "words is not an SSH key: not an OpenSSH private key", "ssh-keygen -l -f words"),
    "rsa": ("rsa", ALICE, 14, "key type 'ssh-rsa': only ssh-ed25519", "ssh-keygen -t ed25519"),
    "rsa, public": ("rsa.pub", ALICE, 14, "key type 'ssh-rsa': only ssh-ed25519", "ssh-keygen -t ed25519"),
    "hardware, unknown": ("token", ALICE, 12, f"is not pinned as a key of {ALICE}", "safeloop trust add-reviewer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_never_count_is_refused_with_its_reason_before_anything_is_shown(office: Program, case: str) -> None:
    key, reviewer, code, reason, hint = REFUSED[case]
    own_key(office)
    with attest(office, key, reviewer) as terminal:
        assert terminal.wait() == code, terminal.seen
    assert reason in terminal.seen and hint in terminal.seen, terminal.seen
    assert "safeloop frame v1" not in terminal.seen and "leave?" not in terminal.seen
    assert "Traceback" not in terminal.seen
    assert "attestation" not in office.kinds()


def test_the_operators_own_key_is_refused_before_anything_is_shown_although_an_agent_holds_it(
    office: Program, agent: dict[str, str]
) -> None:
    own, pem = own_key(office), office.folder / "own.pem"
    private = read_pem(office.folder / SELF / "../writer.pem")
    pem.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    pem.chmod(0o600)
    add(agent, pem)
    with attest(office, str(own), env=agent) as terminal:
        assert terminal.wait() == 12
    assert "is the operator's own key, which never counts as a reviewer's" in terminal.seen
    assert f"safeloop trust add-reviewer {ALICE} KEY.pub pins it" in terminal.seen
    assert "safeloop frame v1" not in terminal.seen


def test_a_folder_of_trust_that_was_named_is_named_in_the_hint(office: Program) -> None:
    shutil.copytree(office.folder / SELF, office.folder / "pins", dirs_exist_ok=True)
    with office.at_terminal("attest", "latest", "--as", "c@example.org", "--key", "stranger", "--trust", "pins") as terminal:
        assert terminal.wait() == 12
    assert "hint: safeloop trust add-reviewer c@example.org KEY.pub --trust pins\n" in terminal.seen


# --- what signs ---------------------------------------------------------------------------------------------------

@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An ssh-agent of this test's own; gives the environment that leads to it."""
    socket = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield {"SSH_AUTH_SOCK": str(socket), "AGENT": str(process.pid)}
    process.terminate()
    process.wait()
    process.stdout.close()


def add(agent: dict[str, str], key: Path, *more: str) -> None:
    subprocess.run(["ssh-add", "-q", *more, key], check=True, env={**os.environ, **agent}, capture_output=True)


def lone_public(program: Program, name: str = "alice") -> str:
    """The public half alone, with no private file beside it."""
    folder = program.folder / "apart"
    folder.mkdir(exist_ok=True)
    shutil.copy(program.folder / f"{name}.pub", folder)
    return f"apart/{name}.pub"


def test_six_commands_with_a_fresh_key_in_an_agent_lead_from_the_pin_to_a_release_that_verifies(
    program: Program, agent: dict[str, str]
) -> None:
    """As a new user would; each command that is shown next is the one that is then run."""
    key = keygen(program.folder, "alice")
    add(agent, key)
    key.unlink()
    assert program.job().code == 0
    assert program("trust", "add-reviewer", ALICE, "alice.pub").code == 0
    assert "safeloop review" in program("inbox").out
    assert "next: safeloop attest" in program("review", "latest").err
    with attest(program, "alice.pub", env=agent) as terminal:
        decide(terminal)
        assert terminal.wait() == 0, terminal.seen
    assert program("release", "latest", "--to", "out").code == 0
    assert program("verify", "out", "--trust", str(program.folder / SELF)).code == 0


def test_an_encrypted_key_file_is_opened_by_the_passphrase_that_is_typed(closed: Program) -> None:
    keygen(closed.folder, "locked", "-N", "correct horse battery")
    assert closed("trust", "add-reviewer", "dora@example.org", "locked.pub").code == 0
    with attest(closed, "locked", "dora@example.org") as terminal:
        decide(terminal)
        terminal.expect("passphrase")
        os.write(terminal.descriptor, b"wrong\n")
        assert terminal.wait() == 14
    assert "ssh-keygen could not sign with locked (exit 255)" in terminal.seen and "passphrase" in terminal.seen
    assert "attestation" not in closed.kinds()
    with attest(closed, "locked", "dora@example.org") as terminal:
        decide(terminal, "Reject")
        assert "with its promise and reject it. Type" in terminal.seen
        terminal.expect("passphrase")
        os.write(terminal.descriptor, b"correct horse battery\n")
        assert terminal.wait() == 0, terminal.seen
    assert "correct horse" not in terminal.seen
    assert [row["data"]["decision"] for row in closed.rows() if row["kind"] == "attestation"] == ["reject"]


def test_a_key_that_no_agent_holds_is_refused_before_anything_is_shown(closed: Program, agent: dict[str, str]) -> None:
    key = lone_public(closed)
    for env, said in (({}, "no ssh-agent answers"), ({"SSH_AUTH_SOCK": "/nonexistent"}, "no ssh-agent answers"),
                      (agent, "the ssh-agent does not hold SHA256:")):
        with attest(closed, key, env=env) as terminal:
            assert terminal.wait() == 14
        assert said in terminal.seen and "ssh-add apart/alice" in terminal.seen
        assert "safeloop frame v1" not in terminal.seen


def test_an_agent_that_refuses_to_sign_leaves_nothing_behind_and_is_told_from_one_that_is_gone(
    closed: Program, agent: dict[str, str]
) -> None:
    add(agent, closed.folder / "alice", "-c")  # asks its owner, and here nobody answers
    with attest(closed, lone_public(closed), env=agent) as terminal:
        decide(terminal)
        assert terminal.wait() == 14
    assert re.search("the ssh-agent holds SHA256:.* and did not sign with it", terminal.seen)
    assert "ssh-add -c" in terminal.seen
    with attest(closed, lone_public(closed), env=agent) as terminal:
        terminal.expect("leave? ")
        os.kill(int(agent["AGENT"]), signal.SIGKILL)
        decide_now(terminal)
        assert terminal.wait() == 14
    assert "no ssh-agent answers" in terminal.seen
    assert "attestation" not in closed.kinds()


def decide_now(terminal: Terminal) -> None:
    terminal.type("accept")
    terminal.expect("of its hash: ")
    terminal.type(re.findall(r"frame sha256 ([0-9a-f]{64})", terminal.seen)[-1][-4:])


def test_a_hardware_key_is_taken_up_to_the_missing_hardware(closed: Program) -> None:
    hardware_handle(closed.folder / "token")
    assert closed("trust", "add-reviewer", "hana@example.org", "token.pub").code == 0
    with attest(closed, "token", "hana@example.org") as terminal:
        decide(terminal)
        assert terminal.wait() == 14
    assert "ssh-keygen could not sign with the hardware key of token (exit 255)" in terminal.seen
    assert "plug it in" in terminal.seen
    assert "attestation" not in closed.kinds()


def test_four_characters_may_be_mistyped_twice_and_no_more(closed: Program) -> None:
    with attest(closed, "alice") as terminal:
        terminal.expect("leave? ")
        terminal.type("accept")
        for _ in range(3):
            terminal.expect(": ")
            terminal.type("zzzz")
        assert terminal.wait() == 12
    assert "those are not the last four characters of the hash; nothing was signed" in terminal.seen
    again = f"hint: safeloop attest {closed.rows()[0]['session']} --as alice@example.org --key alice"
    assert again in " ".join(terminal.seen.split()), "and the command that asks again"
    with attest(closed, "alice") as terminal:
        terminal.expect("leave? ")
        terminal.type("accept")
        terminal.expect("of its hash: ")
        terminal.type("zzzz")
        terminal.expect("Type them: ")
        terminal.type(re.findall(r"frame sha256 ([0-9a-f]{64})", terminal.seen)[-1][-4:].upper())
        assert terminal.wait() == 0, terminal.seen


def test_two_reviewers_who_decide_at_once_are_both_recorded(closed: Program) -> None:
    closed.reviewer("bob@example.org")
    with attest(closed, "alice") as one, attest(closed, "bob", "bob@example.org") as other:
        one.expect("leave? ")
        other.expect("leave? ")
        decide_now(one)
        decide_now(other)
        assert (one.wait(), other.wait()) == (0, 0)
    rows = [row["data"] for row in closed.rows() if row["kind"] == "attestation"]
    assert sorted(row["reviewer"] for row in rows) == [ALICE, "bob@example.org"]
    assert rows[0]["frame"] == rows[1]["frame"]
    assert closed("release", "latest", "--to", "out").code == 0


def test_who_decides_later_is_told_what_others_decided_before_and_a_stranger_what_to_do_next(closed: Program) -> None:
    closed.reviewer("bob@example.org")
    with attest(closed, "bob", "bob@example.org") as terminal:
        decide(terminal, "reject")
        assert terminal.wait() == 0
    with attest(closed, "alice") as terminal:
        terminal.expect(": reject by bob@example.org, signed\n")
        terminal.expect("\naccept, reject, or leave? ")
        terminal.type("leave")
        assert terminal.wait() == 12
    export = closed("attest", "latest", "--as", "carol@example.org", "--export", "e", "--decision", "accept")
    assert export.code == 0 and "no key of carol@example.org is pinned here" in export.err
    assert "safeloop trust add-reviewer carol@example.org KEY.pub" in export.err


def test_a_session_that_changes_between_showing_and_signing_is_not_attested(closed: Program) -> None:
    name = closed.rows()[0]["session"]
    with attest(closed, "alice") as terminal:
        terminal.expect("leave? ")
        erased = closed("erase", name, "--reason", "asked for", "--yes")
        assert erased.code == 0, erased.err
        decide_now(terminal)
        assert terminal.wait() == 11
    assert "changed while it was read: nothing was attested" in terminal.seen and "hint: safeloop review" in terminal.seen
    assert "attestation" not in closed.kinds()
