import base64
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from safeloop.errors import EncodingError, KeyUnusable
from safeloop.ledger import signers, sshsig
from safeloop.ledger.keys import read_reviewer_key
from safeloop.ledger.signers import as_armor, require_signer
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


@pytest.fixture
def hurry() -> Iterator[None]:
    """Whoever waits for a pipe is woken after ten seconds, and fails."""

    def wake(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


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
    with pytest.raises(KeyUnusable, match="no ssh-agent answers") as caught:
        sign_statement(STATEMENT, key.with_suffix(".pub"))
    assert f"ssh-add {key}" in caught.value.hint
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


# --- what can be seen before anything is signed -------------------------------------------------------------------

def test_the_public_half_is_known_without_passphrase_agent_or_signature(reviewer, tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    for person, passphrase in (("alice@example.org", ""), ("bob@example.org", "battery staple")):
        key = reviewer(person, passphrase=passphrase)
        public = sshsig.parse_public_key(key.with_suffix(".pub").read_text())
        assert require_signer(key) == require_signer(key.with_suffix(".pub")) == public


def test_a_key_in_another_form_is_known_by_the_public_file_beside_it(reviewer):
    key = reviewer(ALICE)
    public = require_signer(key)
    private = read_reviewer_key(key)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert require_signer(key) == public
    key.with_suffix(".pub").unlink()
    with pytest.raises(KeyUnusable, match="is not an SSH key: not an OpenSSH private key"):
        require_signer(key)


@pytest.mark.parametrize(("folder", "said"), [("/nonexistent", "there is no ssh-add here"), (None, "has not answered for")])
def test_an_agent_that_cannot_be_asked_is_told_from_one_that_does_not_hold_the_key(
    reviewer, tmp_path, monkeypatch, folder, said
):
    key = reviewer(ALICE)
    key.rename(tmp_path / "elsewhere")
    if folder is None:
        (tmp_path / "ssh-add").write_text("#!/bin/sh\nexec sleep 5\n")
        (tmp_path / "ssh-add").chmod(0o700)
        monkeypatch.setattr(signers, "_PATIENCE_S", 0.2)
    monkeypatch.setenv("PATH", folder or f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(KeyUnusable, match=said):
        require_signer(key.with_suffix(".pub"))


@pytest.mark.parametrize("name", ["key", "key.pub"])
@pytest.mark.parametrize(("make", "what"), [
    (Path.mkdir, "a folder, not a"), (os.mkfifo, "not a"), (lambda path: path.symlink_to("/dev/zero"), "not a"),
])
def test_a_key_that_is_no_file_is_refused_and_nobody_waits_for_it(hurry, tmp_path, make, what, name):
    make(tmp_path / name)
    for sign in (require_signer, lambda key: sign_statement(STATEMENT, key)):
        with pytest.raises(KeyUnusable, match=f"key .*{name} cannot be read: it is {what} regular file"):
            sign(tmp_path / name)


def test_a_pipe_beside_a_public_file_is_no_private_key(hurry, reviewer, tmp_path, agent, capfd):
    key = reviewer(ALICE)
    key.rename(tmp_path / "elsewhere")
    os.mkfifo(key)
    for sign in (require_signer, lambda public: sign_statement(STATEMENT, public)):
        with pytest.raises(KeyUnusable, match="the ssh-agent does not hold SHA256:"):
            sign(key.with_suffix(".pub"))


def test_what_becomes_a_pipe_between_two_looks_is_refused_too(hurry, tmp_path, monkeypatch):
    """Somebody swaps the file for a pipe after it was looked at: opening and reading must not wait either."""
    file, pipe = tmp_path / "key.pub", tmp_path / "pipe"
    file.write_text("x")
    os.mkfifo(pipe)
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *flags: real(pipe if Path(path) == file else path, *flags))
    with pytest.raises(KeyUnusable, match="it is not a regular file"):
        require_signer(file)


def packed(*, magic: bytes = b"openssh-key-v1\0", keys: int = 1, blob: bytes | None = None) -> bytes:
    def string(data: bytes) -> bytes:
        return len(data).to_bytes(4) + data

    inner = magic + string(b"none") * 2 + string(b"") + keys.to_bytes(4) + string(PUBLIC.blob if blob is None else blob)
    text = base64.b64encode(inner + string(b"")).decode()
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n".encode()


PUBLIC = sshsig.PublicKey(sshsig.PLAIN, base64.b64decode("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="))


def test_the_public_half_of_a_private_file_is_read_to_the_last_byte():
    assert sshsig.parse_private_file(packed()) == PUBLIC
    for data, said in ((packed(magic=b"openssh-key-v2\0"), "does not begin with openssh-key-v1"),
                       (packed(keys=2), "holds one key"), (packed(blob=PUBLIC.blob + b"x"), "after the end"),
                       (packed(blob=b""), "cut short"), (b"x" + packed(), "not an OpenSSH private key"),
                       (packed().replace(b"\n-", b"=\n-"), "not base64"), (b"", "not an OpenSSH private key")):
        with pytest.raises(EncodingError, match=said):
            sshsig.parse_private_file(data)


def test_an_agent_that_does_not_sign_is_told_from_one_that_went_away(reviewer, tmp_path, agent, capfd, monkeypatch):
    key = reviewer(ALICE)
    subprocess.run(["ssh-add", "-q", "-c", key], check=True)  # asks its owner, and nobody is there
    key.rename(tmp_path / "elsewhere")
    public = key.with_suffix(".pub")
    assert require_signer(public) == sshsig.parse_public_key(public.read_text())
    with pytest.raises(KeyUnusable, match="the ssh-agent holds SHA256:.* and did not sign with it"):
        sign_statement(STATEMENT, public)
    subprocess.run(["ssh-add", "-q", "-D"], check=True, capture_output=True)
    with pytest.raises(KeyUnusable, match="the ssh-agent does not hold SHA256:"):
        sign_statement(STATEMENT, public)
    capfd.readouterr()


def test_a_hardware_key_whose_hardware_is_missing_is_told_from_a_wrong_passphrase(tmp_path, capfd):
    handle = tmp_path / "token"
    handle.write_bytes(packed(blob=sshsig.PublicKey(sshsig.HARDWARE, PUBLIC.raw, "ssh:").blob))
    handle.chmod(0o600)
    with pytest.raises(KeyUnusable, match="could not sign with the hardware key of .*token") as caught:
        sign_statement(STATEMENT, handle)
    assert "plug it in" in caught.value.hint
    capfd.readouterr()


def test_a_private_key_of_another_type_is_refused_by_its_name(tmp_path):
    key = tmp_path / "rsa"
    key.write_bytes(packed(blob=(7).to_bytes(4) + b"ssh-rsa" + b"rest"))
    key.chmod(0o600)
    with pytest.raises(KeyUnusable, match="key type 'ssh-rsa'"):
        require_signer(key)
    with pytest.raises(KeyUnusable, match="there is no key at"):
        require_signer(tmp_path / "none.pub")
