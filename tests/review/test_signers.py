import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeloop.errors import EncodingError, KeyUnusable
from safeloop.ledger import signers, sshsig
from safeloop.ledger.signers import as_armor
from safeloop.review.attesting.signers import sign_statement

STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1"}'
ALICE = "alice@example.org"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An ssh-agent of this test's own."""
    socket = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture
def passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who answers ssh-keygen's question, in a session without terminal."""
    program = tmp_path / "askpass"
    program.write_text("#!/bin/sh\necho 'correct horse'\n")
    program.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")


def signed_by_hand(key: Path, tmp_path: Path) -> str:
    (tmp_path / "message").write_bytes(STATEMENT)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "safeloop-review", tmp_path / "message"],
                   check=True, capture_output=True)
    return (tmp_path / "message.sig").read_bytes().decode()


def test_a_plain_key_signs_in_process_with_the_bytes_of_ssh_keygen(reviewer, tmp_path, monkeypatch):
    key = reviewer(ALICE)
    by_hand = signed_by_hand(key, tmp_path)
    monkeypatch.setenv("PATH", "")  # no ssh-keygen to be found
    assert sign_statement(STATEMENT, key) == by_hand
    assert "\r" not in by_hand and by_hand.endswith("-----END SSH SIGNATURE-----\n")


def test_a_key_of_the_agent_signs_given_its_public_file_with_the_same_bytes(reviewer, tmp_path, agent, capfd):
    key = reviewer(ALICE)
    by_hand = signed_by_hand(key, tmp_path)
    subprocess.run(["ssh-add", "-q", key], check=True)
    key.rename(tmp_path / "elsewhere")
    capfd.readouterr()
    assert sign_statement(STATEMENT, key.with_suffix(".pub")) == by_hand
    assert capfd.readouterr().out == ""


def test_an_encrypted_key_is_opened_by_ssh_keygen_which_asks_for_itself(reviewer, passphrase):
    key = reviewer(ALICE, passphrase="correct horse")
    signer = sshsig.verify(sign_statement(STATEMENT, key), "safeloop-review", STATEMENT)
    assert signer == sshsig.parse_public_key(key.with_suffix(".pub").read_text())


def test_a_wrong_passphrase_is_an_error_that_says_what_to_look_at(reviewer, passphrase, capfd):
    key = reviewer(ALICE, passphrase="battery staple")
    with pytest.raises(KeyUnusable, match=r"ssh-keygen could not sign with .*alice_ed25519 \(exit 255\)") as caught:
        sign_statement(STATEMENT, key)
    assert "passphrase" in caught.value.hint
    capfd.readouterr()


def test_without_ssh_keygen_the_error_says_what_to_install(reviewer, monkeypatch):
    key = reviewer(ALICE, passphrase="correct horse")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(KeyUnusable, match="no ssh-keygen here") as caught:
        sign_statement(STATEMENT, key)
    assert "openssh-client" in caught.value.hint


def test_a_key_that_others_can_read_or_that_is_not_there_is_refused(reviewer, tmp_path):
    key = reviewer(ALICE)
    key.chmod(0o644)
    with pytest.raises(KeyUnusable, match="can be read by others"):
        sign_statement(STATEMENT, key)
    with pytest.raises(KeyUnusable, match="there is no key at"):
        sign_statement(STATEMENT, tmp_path / "none")


def test_a_public_file_whose_key_no_agent_holds_is_an_error(reviewer, tmp_path, monkeypatch, capfd):
    key = reviewer(ALICE)
    key.rename(tmp_path / "elsewhere")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(KeyUnusable, match="could not sign"):
        sign_statement(STATEMENT, key.with_suffix(".pub"))
    capfd.readouterr()


def test_nothing_of_the_statement_is_left_on_disk(reviewer, passphrase, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(signers.tempfile, "tempdir", str(folder))
    sign_statement(STATEMENT, reviewer(ALICE, passphrase="correct horse"))
    assert list(folder.iterdir()) == []


def test_armor_is_brought_into_the_one_form_and_crlf_is_refused(reviewer):
    armored = sign_statement(STATEMENT, reviewer(ALICE))
    assert as_armor(armored.rstrip("\n").encode()) == armored
    with pytest.raises(EncodingError):
        as_armor(armored.replace("\n", "\r\n").encode())
    with pytest.raises(EncodingError, match="not ASCII"):
        as_armor(armored.replace("SSH", "SSĦ").encode())
