"""The key folder: made once, private, and refused as soon as it is anything else."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from safeloop.errors import ExitCode, KeyUnusable
from safeloop.ledger import durable, ed25519
from safeloop.ledger.keys import KeyFolder, SigningKey, default_folder, make_reviewer_key, read_reviewer_key
from tests.ledger.making import python, run

PLAIN = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
OPENSSH = (Encoding.PEM, PrivateFormat.OpenSSH)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_has_two_different_private_keys_and_nobody_else_can_look(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "a" / "b" / "keys")
    assert not folder.has_keys()
    folder.create()
    assert folder.has_keys()
    assert folder.writer().public != folder.log().public
    assert [mode(tmp_path / part) for part in ("a", "a/b", "a/b/keys")] == [0o700] * 3
    assert [mode(path) for path in sorted(folder.path.iterdir())] == [0o600] * 2
    assert folder.self_trust == folder.path / "self"


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KeyFolder(tmp_path / "keys").create()
    finally:
        os.umask(before)
    assert mode(tmp_path / "keys") == 0o700
    assert mode(tmp_path / "keys" / "writer.pem") == mode(tmp_path / "keys" / "log.pem") == 0o600


def test_keys_that_are_there_are_kept_and_only_the_missing_one_is_made(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path)
    folder.create()
    writer, log = folder.writer().key_id, folder.log().key_id
    folder.create()
    assert (folder.writer().key_id, folder.log().key_id) == (writer, log)
    (tmp_path / "log.pem").unlink()
    assert not folder.has_keys()
    folder.create()
    assert folder.writer().key_id == writer
    assert folder.log().key_id != log


def test_processes_that_make_keys_at_once_end_with_the_same_ones(tmp_path: Path) -> None:
    code = (
        "import sys; from safeloop.ledger.keys import KeyFolder; f = KeyFolder(sys.argv[1]); sys.stdin.read();"
        "f.create(); print(f.writer().key_id, f.log().key_id)"
    )
    processes = [python(code, tmp_path / "keys") for _ in range(4)]
    printed = {process.communicate("", timeout=60)[0] for process in processes}
    assert len(printed) == 1
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["log.pem", "writer.pem"]


def test_openssl_and_ssh_read_what_was_made(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path)
    folder.create()
    shown = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "writer.pem", "-pubout", "-outform", "DER"], capture_output=True, check=True
    ).stdout
    assert shown.endswith(folder.writer().public)


def test_a_signature_is_ed25519_over_the_bytes() -> None:
    key = SigningKey.ephemeral()
    assert ed25519.verify(key.public, key.sign(b"message"), b"message")
    assert not ed25519.verify(key.public, key.sign(b"message"), b"massage")
    assert "PrivateKey" not in str(key.public)


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o777])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, bits: int) -> None:
    folder = KeyFolder(tmp_path)
    folder.create()
    (tmp_path / "writer.pem").chmod(bits)
    with pytest.raises(KeyUnusable, match=f"can be read by others \\(mode {bits:04o}\\)") as caught:
        folder.writer()
    assert caught.value.hint == f"chmod 600 {tmp_path}/writer.pem"
    assert caught.value.exit_code == ExitCode.UNUSABLE
    folder.log()


def _refused(tmp_path: Path, data: bytes, reason: str) -> KeyUnusable:
    path = tmp_path / "writer.pem"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(KeyUnusable, match=reason) as caught:
        KeyFolder(tmp_path).writer()
    assert caught.value.hint
    return caught.value


def test_an_encrypted_key_is_refused_where_no_passphrase_is_known(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))
    assert "SAFELOOP_KEY_PASSPHRASE_FILE" in _refused(tmp_path, pem, "encrypted, and no passphrase is set").hint
    assert KeyFolder(tmp_path, lambda: b"pw").writer().public == private.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    "private",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1()), x25519.X25519PrivateKey.generate()],
    ids=["rsa", "ecdsa", "x25519"],
)
def test_a_key_of_another_kind_is_refused(tmp_path: Path, private: rsa.RSAPrivateKey) -> None:
    _refused(tmp_path, private.private_bytes(*PLAIN), "not Ed25519")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\n", b"\0" * 200_000,
        Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        Ed25519PrivateKey.generate().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        Ed25519PrivateKey.generate().private_bytes(*PLAIN)[:60],
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
    ids=["empty", "garbage", "header", "zeros", "public", "der", "cut", "short"],
)
def test_a_file_that_is_no_private_key_is_refused(tmp_path: Path, data: bytes) -> None:
    _refused(tmp_path, data, "not a private key in PEM form")


def test_a_missing_key_and_a_folder_in_its_place_are_said_to_be_that(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="there is no key at"):
        KeyFolder(tmp_path).writer()
    (tmp_path / "log.pem").mkdir()
    with pytest.raises(KeyUnusable, match="cannot be read: it is a folder, not a regular file"):
        KeyFolder(tmp_path).log()
    (tmp_path / "writer.pem").symlink_to(tmp_path / "nowhere")
    KeyFolder(tmp_path).create()
    with pytest.raises(KeyUnusable, match="there is no key at"):
        KeyFolder(tmp_path).writer()


def test_a_file_in_the_place_of_the_folder_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("mine")
    for place in ("keys", "keys/below"):
        with pytest.raises(KeyUnusable, match="cannot be made") as caught:
            KeyFolder(tmp_path / place).create()
        assert caught.value.hint.startswith("ls -ld")
    assert (tmp_path / "keys").read_text() == "mine"


def test_the_folder_is_found_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAFELOOP_KEYS", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_folder() == KeyFolder().path == tmp_path / "named"
    monkeypatch.setenv("SAFELOOP_KEYS", "")
    assert default_folder() == tmp_path / "xdg" / "safeloop" / "keys"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/invalid")
    assert default_folder() == tmp_path / "home" / ".config" / "safeloop" / "keys"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert default_folder() == tmp_path / "home" / ".config" / "safeloop" / "keys"


def _reviewer(tmp_path: Path, data: bytes, bits: int = 0o600) -> Path:
    path = tmp_path / "id"
    path.write_bytes(data)
    path.chmod(bits)
    return path


def test_a_reviewer_s_plain_key_is_read(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    found = read_reviewer_key(_reviewer(tmp_path, private.private_bytes(*OPENSSH, NoEncryption())))
    assert found is not None
    assert found.public_key() == private.public_key()


@pytest.mark.parametrize(
    "data",
    [
        ec.generate_private_key(ec.SECP256R1()).private_bytes(*OPENSSH, NoEncryption()),
        Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        Ed25519PrivateKey.generate().private_bytes(*PLAIN),
        b"garbage",
        b"",
    ],
    ids=["ecdsa", "public", "pkcs8", "garbage", "empty"],
)
def test_what_only_ssh_keygen_can_sign_with_is_left_to_it(tmp_path: Path, data: bytes) -> None:
    assert read_reviewer_key(_reviewer(tmp_path, data)) is None


@pytest.mark.parametrize(("passphrase", "comment", "is_read"), [("", "plain", True), ("pw", "x", False), ("", "sk-ssh-", False)])
def test_an_encrypted_key_and_whatever_speaks_of_hardware_is_left_to_ssh_keygen(
    tmp_path: Path, passphrase: str, comment: str, is_read: bool
) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", comment, "-f", tmp_path / "id"]
    subprocess.run(command, check=True)
    assert (read_reviewer_key(tmp_path / "id") is not None) == is_read


def test_a_reviewer_s_key_is_made_once_and_ssh_keygen_takes_it(tmp_path: Path) -> None:
    make_reviewer_key(tmp_path / "id", "alice@example.org")
    assert (mode(tmp_path / "id"), mode(tmp_path / "id.pub")) == (0o600, 0o600)
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "id"], capture_output=True, check=True, text=True
    ).stdout.split()
    assert (tmp_path / "id.pub").read_text().split() == [*shown[:2], "alice@example.org"]
    assert read_reviewer_key(tmp_path / "id") is not None
    before = (tmp_path / "id").read_bytes()
    with pytest.raises(KeyUnusable, match="there is a file at .*id already"):
        make_reviewer_key(tmp_path / "id", "mallory")
    (tmp_path / "id").rename(tmp_path / "kept")
    with pytest.raises(KeyUnusable, match=r"there is a file at .*id\.pub already"):
        make_reviewer_key(tmp_path / "id", "mallory")
    assert (tmp_path / "kept").read_bytes() == before


def test_a_reviewer_s_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    data = Ed25519PrivateKey.generate().private_bytes(*OPENSSH, NoEncryption())
    with pytest.raises(KeyUnusable, match="can be read by others"):
        read_reviewer_key(_reviewer(tmp_path, data, 0o644))
    with pytest.raises(KeyUnusable, match="there is no key"):
        read_reviewer_key(tmp_path / "none")


def test_a_small_file_is_created_once_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert durable.create_file(path, b"one")
    assert not durable.create_file(path, b"two")
    assert path.read_bytes() == b"one"
    durable.replace_file(path, b"three" * 100_000)
    assert path.read_bytes() == b"three" * 100_000
    assert mode(path) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_small_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in it").write_text("x")
    with pytest.raises(KeyUnusable, match="cannot be written") as caught:
        durable.replace_file(tmp_path / "folder", b"data")
    assert "df " in caught.value.hint
    with pytest.raises(KeyUnusable, match="cannot be written: No such file"):
        durable.create_file(tmp_path / "nowhere" / "file", b"data")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["folder"]


def test_a_disk_that_fills_in_the_middle_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from safeloop.errors import KeyUnusable
from safeloop.ledger import durable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
durable.create_file(path, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    durable.replace_file(path, b"n" * 5000)
except KeyUnusable as error:
    print(error)
print(path.read_bytes(), [found.name for found in path.parent.iterdir()])
"""
    out = run(code, tmp_path / "file", measured=False)  # coverage could not write its own file either
    assert "cannot be written: File too large" in out
    assert "b'old' ['file']" in out


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702, 0o1777])
def test_a_folder_that_others_can_write_signs_nothing(tmp_path: Path, mode: int) -> None:
    folder = KeyFolder(tmp_path / "keys")
    folder.create()
    folder.make_successor("writer")
    folder.path.chmod(mode)
    for sign in (folder.writer, folder.log, folder.create, lambda: folder.successor("writer"),
                 lambda: folder.find("log", "0" * 64), lambda: folder.make_successor("log")):
        with pytest.raises(KeyUnusable, match=rf"can be written by others \(mode {mode:04o}\)") as caught:
            sign()
        assert caught.value.hint == f"chmod 700 {folder.path}"
    assert not (folder.path / "log.next.pem").exists()
    for harmless in (0o700, 0o755, 0o711):
        folder.path.chmod(harmless)
        folder.writer()


def test_no_keys_are_made_in_a_folder_that_others_can_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(KeyUnusable, match="can be written by others"):
        KeyFolder(tmp_path).create()
    assert list(tmp_path.iterdir()) == []
