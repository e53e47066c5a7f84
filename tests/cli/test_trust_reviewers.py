"""`trust add-reviewer` and `trust show`: keys in every form in which people have them, and in none that restricts them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.program import Program

ALICE = "alice@example.org"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7"
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY="


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ssh") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice at work", "-f", made], check=True)
    return made


@pytest.fixture
def public(key: Path) -> str:
    """A public key as ssh-keygen writes it, comment and newline included."""
    return key.with_suffix(".pub").read_text()


@pytest.fixture(scope="module")
def pinning(tmp_path_factory: pytest.TempPathFactory) -> Program:
    made = Program.at(tmp_path_factory.mktemp("pinning") / "p")
    assert made("init").code == 0
    return made


@pytest.fixture
def program(pinning: Program) -> Program:
    """The program beside a trust folder that pins no reviewer yet."""
    for name in ("reviewers", "revoked"):
        (folder(pinning) / name).unlink(missing_ok=True)
    return pinning


def folder(program: Program) -> Path:
    return program.folder / "home/.config/safeloop/keys/self"


def bare(public: str) -> str:
    return " ".join(public.split()[:2])


def pin(program: Program, text: str, *more: str, name: str = ALICE) -> tuple[int, str]:
    (program.folder / "key").write_text(text)
    done = program("trust", "add-reviewer", name, "key", *more)
    assert "Traceback" not in done.err
    return done.code, done.out + done.err


@pytest.mark.parametrize("form", [
    lambda public: public, bare, lambda public: f"{bare(public)}\n", lambda public: f"\n# my key\n\n{public}",
    lambda public: f"{bare(public)} alice@host\r\n", lambda public: f"{bare(public)}\r\n",
    lambda public: f"  {bare(public)} (none)  \n",
], ids=["pub", "bare", "as a web page lists it", "commented", "crlf", "crlf and bare", "as an agent lists it"])
def test_a_key_is_taken_as_files_agents_and_pages_have_it(program: Program, public: str, form) -> None:
    code, said = pin(program, form(public))
    assert (code, said.startswith(f"{ALICE} may review with SHA256:")) == (0, True), said
    line = (folder(program) / "reviewers").read_text()
    assert line == f'{ALICE} namespaces="safeloop-review,safeloop-approval" {bare(public)}\n'


@pytest.mark.parametrize(("form", "words", "hint"), [
    (lambda key: f'command="sh",no-pty {key}', "options, or a name, before the key", "give the key alone"),
    (lambda key: f'restrict,from="10.0.0.0/8" {key}', "options, or a name, before the key", "give the key alone"),
    (lambda key: f'{ALICE} namespaces="git" {key}', "options, or a name, before the key", "give the key alone"),
    (lambda key: f"cert-authority {key}", "options, or a name, before the key", "give the key alone"),
    (lambda key: f"{RSA}\n{key}\n", "2 lines", "grep ed25519 key"),
    (lambda key: f"{key}\n{key}\n", "2 lines", "grep ed25519 key"),
    (lambda key: RSA, "key type 'ssh-rsa'", "ssh-keygen -t ed25519"),
    (lambda key: ECDSA, "key type 'ecdsa-sha2-nistp256'", "ssh-keygen -t ed25519"),
    (lambda key: "", "not an OpenSSH public key", "ssh-keygen -l -f key"),
    (lambda key: "# nothing\n\n", "not an OpenSSH public key", "ssh-keygen -l -f key"),
    (lambda key: key[:40], "key: ", "ssh-keygen -l -f key"),
    (lambda key: "-----BEGIN OPENSSH PRIVATE KEY-----\n", "a private key", "key.pub"),
    (lambda key: f"\x1b[2J {key}", "options, or a name, before the key", "give the key alone"),
])
def test_what_is_not_one_key_without_restrictions_pins_nobody(program: Program, public: str, form, words, hint) -> None:
    code, said = pin(program, form(bare(public)))
    assert code in (2, 14)
    assert words in said and hint in said.partition("hint: ")[2]
    assert "\x1b" not in said
    assert not (folder(program) / "reviewers").exists()


@pytest.mark.parametrize("name", ["", "two words", "*", "a,b", 'a"b', "#a", "!a", "a\nb", "\u202ealice", "\x1b[2J", "x" * 201])
def test_a_name_that_could_be_read_as_another_is_refused_with_the_rule(program: Program, public: str, name: str) -> None:
    code, said = pin(program, public, name=name)
    assert code == 14 and "no wildcards, commas, quotes, spaces" in said
    assert "\x1b" not in said and "\u202e" not in said
    assert not (folder(program) / "reviewers").exists()


def test_a_limit_in_time_is_pinned_as_ssh_keygen_reads_it_and_shown(program: Program, key: Path, public: str) -> None:
    code, _ = pin(program, public, "--valid-after", "20200101Z", "--valid-before", "209912312359Z")
    assert code == 0
    shown = program("trust", "show").out
    assert f"reviewer  {ALICE} SHA256:" in shown
    assert shown.rstrip().endswith(", from 2020-01-01T00:00:00Z, until 2099-12-31T23:59:00Z")
    file = folder(program) / "reviewers"
    signed = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "safeloop-review"], input=b"words",
                            capture_output=True, check=True).stdout
    (program.folder / "words.sig").write_bytes(signed)
    for moment, code in (("20191231Z", 255), ("20250101Z", 0), ("21000101Z", 255)):
        found = subprocess.run(["ssh-keygen", "-q", "-Y", "verify", "-f", file, "-I", ALICE, "-n", "safeloop-review",
                                "-s", program.folder / "words.sig", f"-Overify-time={moment}"], input=b"words",
                               capture_output=True, check=False)
        assert found.returncode == code, (moment, found.stderr)
    code, said = pin(program, public)
    assert code == 14 and "with other options" in said and f"edit that line of {file}" in said


def test_a_key_that_is_not_valid_now_or_revoked_is_shown_as_such(program: Program, public: str) -> None:
    assert pin(program, public, "--valid-before", "20200101Z")[0] == 0
    assert program("trust", "show").out.rstrip().endswith("until 2020-01-01T00:00:00Z, EXPIRED")
    (folder(program) / "reviewers").unlink()
    (program.folder / "key").write_text(public)
    pinned = program("trust", "add-reviewer", ALICE, "key", "--valid-after", "20990101Z", "--json").json
    origin = program("checkpoint").out.splitlines()[0]
    (folder(program) / "revoked").write_text(f"{pinned['key_id']} {origin} 7\n")
    (line,) = program("trust", "show", "--json").json["reviewers"]
    assert line.endswith(f"from 2099-01-01T00:00:00Z, not valid yet, REVOKED in {origin} from row 8 on")


@pytest.mark.parametrize("moment", ["20200101", "tomorrow", "2020-01-01Z", "20209901Z", 'x"Z', '20200101Z",valid-after="20200101Z', "Z", ""])
def test_a_moment_that_is_not_one_in_utc_is_refused(program: Program, public: str, moment: str) -> None:
    code, said = pin(program, public, "--valid-before", moment)
    assert code == 14 and "YYYYMMDD" in said
    assert not (folder(program) / "reviewers").exists()


def test_an_end_before_its_beginning_is_refused(program: Program, public: str) -> None:
    code, said = pin(program, public, "--valid-after", "20210101Z", "--valid-before", "20200101Z")
    assert code == 14 and "not later than" in said


def test_the_same_key_twice_is_one_line_and_under_another_name_another(program: Program, public: str) -> None:
    for name in (ALICE, ALICE, "bob@example.org"):
        assert pin(program, public, name=name)[0] == 0
    assert len(program("trust", "show", "--json").json["reviewers"]) == 2


def test_without_a_trust_folder_both_ways_to_one_are_named(program: Program, public: str, tmp_path: Path) -> None:
    code, said = pin(program, public, "--trust", str(tmp_path / "none"))
    assert code == 14 and "safeloop init" in said and "safeloop trust import FILE --trust DIR" in said
