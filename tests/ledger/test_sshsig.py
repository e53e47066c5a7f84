import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
import sshsig as third_party
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import EncodingError, KeyUnusable, SafeloopError, SignatureMismatch, VerificationError
from safeloop.ledger import sshsig
from safeloop.ledger.sshsig import HARDWARE, PLAIN, PublicKey

NAMESPACE = "safeloop-review"
MESSAGE = b'{"decision":"accept"}'
KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
RAW = KEY.public_key().public_bytes_raw()
NEUTRAL = (1).to_bytes(32, "little")
UNIVERSAL = NEUTRAL + bytes(32)


def ssh_keygen(*arguments: object, stdin: bytes = b"", ok: bool = True) -> str:
    done = subprocess.run(["ssh-keygen", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    assert (done.returncode == 0) is ok, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", "alice's laptop", "-f", tmp_path / "key")
    return tmp_path / "key"


def loaded(key_file: Path) -> Ed25519PrivateKey:
    private = load_ssh_private_key(key_file.read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    return private


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def blob(*, magic=b"SSHSIG", version=1, key=None, namespace=b"safeloop-review", reserved=b"", hash_name=b"sha512",
         signature=None, after=b"") -> bytes:
    """Build a signature blob by hand; what is not given is as it should be."""
    if signature is None:
        data = b"SSHSIG" + b"".join(map(string, (
            namespace, b"", hash_name, hashlib.new(hash_name.decode(), MESSAGE).digest())))
        signature = string(PLAIN.encode()) + string(KEY.sign(data))
    key = string(PLAIN.encode()) + string(RAW) if key is None else key
    return (magic + version.to_bytes(4, "big") + string(key) + string(namespace) + string(reserved)
            + string(hash_name) + string(signature) + after)


def hardware_blob(*, flags=0x01, counter=7, application=b"ssh:", signed_application=None, plain_data=False) -> bytes:
    """Sign as an authenticator does (PROTOCOL.u2f), with a key that is none."""
    data = sshsig.signed_data(NAMESPACE, MESSAGE)
    framed = (hashlib.sha256(application if signed_application is None else signed_application).digest()
              + bytes([flags]) + counter.to_bytes(4, "big") + hashlib.sha256(data).digest())
    signature = KEY.sign(data if plain_data else framed)
    return blob(
        key=string(HARDWARE.encode()) + string(RAW) + string(application),
        signature=string(HARDWARE.encode()) + string(signature) + bytes([flags]) + counter.to_bytes(4, "big"))


def verify(signature_blob: bytes) -> PublicKey:
    return sshsig.verify(sshsig.render_armor(signature_blob), NAMESPACE, MESSAGE)


def ssh_keygen_accepts(tmp_path: Path, signature_blob: bytes, key: PublicKey) -> bool:
    (tmp_path / "allowed").write_text(f"alice {key.openssh}\n")
    (tmp_path / "sig").write_text(sshsig.render_armor(signature_blob))
    done = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "alice", "-n", NAMESPACE,
         "-s", tmp_path / "sig"], input=MESSAGE, capture_output=True, check=False)
    return done.returncode == 0


# With ssh-keygen, both ways


def test_what_ssh_keygen_signs_verifies_here_and_names_its_key(key_file):
    armored = ssh_keygen("-Y", "sign", "-n", NAMESPACE, "-f", key_file, stdin=MESSAGE)
    key = sshsig.verify(armored, NAMESPACE, MESSAGE)
    assert key == sshsig.parse_public_key(key_file.with_suffix(".pub").read_text())
    assert key.fingerprint in ssh_keygen("-l", "-f", key_file)
    assert key_file.with_suffix(".pub").read_text().startswith(key.openssh + " ")


def test_what_we_sign_verifies_with_ssh_keygen(key_file, tmp_path):
    (tmp_path / "sig").write_text(sshsig.sign(loaded(key_file), NAMESPACE, MESSAGE))
    public = key_file.with_suffix(".pub").read_text()
    (tmp_path / "allowed").write_text(f"alice {public}")
    arguments = ("-Y", "verify", "-f", tmp_path / "allowed", "-I", "alice", "-s", tmp_path / "sig")
    assert "Good" in ssh_keygen(*arguments, "-n", NAMESPACE, stdin=MESSAGE)
    ssh_keygen(*arguments, "-n", NAMESPACE, stdin=MESSAGE + b" ", ok=False)
    ssh_keygen(*arguments, "-n", "file", stdin=MESSAGE, ok=False)


@pytest.mark.parametrize("namespace", ["n", "safeloop-review", "safeloop-approval@" + "é" * 40])
@pytest.mark.parametrize("message", [b"", MESSAGE, bytes(100_000)], ids=["empty", "short", "long"])
def test_our_signature_is_byte_identical_to_the_one_of_ssh_keygen(key_file, namespace, message):
    theirs = ssh_keygen("-Y", "sign", "-n", namespace, "-f", key_file, stdin=message)
    assert sshsig.sign(loaded(key_file), namespace, message) == theirs
    assert sshsig.render_armor(sshsig.parse_armor(theirs)) == theirs


def test_a_sha256_signature_by_ssh_keygen_verifies(key_file):
    armored = ssh_keygen("-Y", "sign", "-O", "hashalg=sha256", "-n", NAMESPACE, "-f", key_file, stdin=MESSAGE)
    assert b"sha256" in sshsig.parse_armor(armored)
    assert sshsig.verify(armored, NAMESPACE, MESSAGE).type == PLAIN


def test_a_third_implementation_agrees(key_file):
    ours = sshsig.sign(loaded(key_file), NAMESPACE, MESSAGE)
    theirs = third_party.check_signature(MESSAGE, ours, NAMESPACE)
    assert theirs.openssh_str() == sshsig.verify(ours, NAMESPACE, MESSAGE).openssh
    with pytest.raises(third_party.InvalidSignature):
        third_party.check_signature(MESSAGE + b"!", ours, NAMESPACE)


@pytest.mark.parametrize("kind", [("rsa", "-b", "2048"), ("ecdsa",)], ids=["rsa", "ecdsa"])
def test_a_true_signature_by_another_kind_of_key_is_refused_by_its_type(tmp_path, kind):
    ssh_keygen("-q", "-t", *kind, "-N", "", "-f", tmp_path / "key")
    armored = ssh_keygen("-Y", "sign", "-n", NAMESPACE, "-f", tmp_path / "key", stdin=MESSAGE)
    with pytest.raises(EncodingError, match=f"key of type '{'ssh-rsa' if kind[0] == 'rsa' else 'ecdsa'}"):
        sshsig.verify(armored, NAMESPACE, MESSAGE)
    with pytest.raises(KeyUnusable, match=r"only ssh-ed25519 and sk-ssh-ed25519@openssh\.com are accepted"):
        sshsig.parse_public_key((tmp_path / "key.pub").read_text())


def test_a_certificate_is_not_taken_for_the_key_inside(key_file, tmp_path):
    ssh_keygen("-q", "-s", key_file, "-I", "id", "-n", "alice", key_file.with_suffix(".pub"))
    with pytest.raises(KeyUnusable, match=r"ssh-ed25519-cert-v01@openssh\.com"):
        sshsig.parse_public_key((tmp_path / "key-cert.pub").read_text())


# Wrong in one place


def test_the_blob_built_by_hand_is_good_or_these_tests_prove_nothing():
    assert verify(blob()) == PublicKey(PLAIN, RAW)
    assert sshsig.render_armor(blob()) == sshsig.sign(KEY, NAMESPACE, MESSAGE)


@pytest.mark.parametrize("good", [blob(), hardware_blob()], ids=["plain", "hardware"])
def test_no_byte_of_a_signature_can_be_changed(good):
    for at in range(len(good)):
        for mask in (0x01, 0x80, 0xFF):
            with pytest.raises(VerificationError):
                verify(good[:at] + bytes([good[at] ^ mask]) + good[at + 1:])


@pytest.mark.parametrize("good", [blob(), hardware_blob()], ids=["plain", "hardware"])
def test_a_signature_cut_short_or_drawn_out_is_refused(good):
    for size in range(1, len(good)):
        with pytest.raises(EncodingError):
            verify(good[:size])
    with pytest.raises(EncodingError, match="1 bytes after the end of the SSH signature"):
        verify(good + b"\0")


@pytest.mark.parametrize("wrong", ["safeloop-approval", "safeloop-review ", "SAFELOOP-REVIEW", "safeloop-revie"])
def test_a_signature_for_another_namespace_is_refused(wrong):
    with pytest.raises(SignatureMismatch, match="signed for namespace"):
        sshsig.verify(sshsig.sign(KEY, wrong, MESSAGE), NAMESPACE, MESSAGE)


@pytest.mark.parametrize("nothing", ["", "a\0b", "line\nbreak", "\ud800"])
def test_a_namespace_is_text_and_never_empty(nothing):
    for call in (lambda: sshsig.sign(KEY, nothing, MESSAGE), lambda: sshsig.signed_data(nothing, MESSAGE),
                 lambda: sshsig.verify(sshsig.sign(KEY, NAMESPACE, MESSAGE), nothing, MESSAGE)):
        with pytest.raises(EncodingError, match="namespace is plain text and never empty"):
            call()


def test_a_signature_without_a_namespace_is_refused():
    with pytest.raises(SignatureMismatch, match="signed for namespace b''"):
        verify(blob(namespace=b""))


def test_another_message_is_refused():
    with pytest.raises(SignatureMismatch, match="does not verify under SHA256:"):
        sshsig.verify(sshsig.sign(KEY, NAMESPACE, MESSAGE), NAMESPACE, MESSAGE + b"\n")


@pytest.mark.parametrize("version", [0, 2, 2**32 - 1])
def test_another_version_is_refused(version):
    with pytest.raises(EncodingError, match=f"version {version}, only 1"):
        verify(blob(version=version))


def test_another_preamble_is_refused():
    with pytest.raises(EncodingError, match="does not begin with SSHSIG"):
        verify(blob(magic=b"sshsig"))


@pytest.mark.parametrize("hash_name", [b"sha1", b"md5", b"sha384"])
def test_another_hash_is_refused_although_it_would_verify(hash_name):
    with pytest.raises(EncodingError, match="only sha256 and sha512"):
        verify(blob(hash_name=hash_name))


def test_a_hash_name_that_is_not_text_is_refused():
    with pytest.raises(EncodingError, match="hash algorithm in SSH data is not text"):
        verify(blob(hash_name=b"\xff", signature=b""))


def test_the_reserved_field_is_ignored_as_ssh_keygen_ignores_it(tmp_path):
    stuffed = blob(reserved=b"for later")
    assert ssh_keygen_accepts(tmp_path, stuffed, PublicKey(PLAIN, RAW))
    assert verify(stuffed) == PublicKey(PLAIN, RAW)


def test_a_signature_over_the_reserved_field_is_refused_as_ssh_keygen_refuses_it(tmp_path):
    data = b"SSHSIG" + b"".join(map(string, (
        NAMESPACE.encode(), b"for later", b"sha512", hashlib.sha512(MESSAGE).digest())))
    signed = blob(reserved=b"for later", signature=string(PLAIN.encode()) + string(KEY.sign(data)))
    assert not ssh_keygen_accepts(tmp_path, signed, PublicKey(PLAIN, RAW))
    with pytest.raises(SignatureMismatch):
        verify(signed)


def test_the_signature_that_verifies_for_any_message_is_refused_with_its_key():
    universal = blob(key=string(PLAIN.encode()) + string(NEUTRAL), signature=string(PLAIN.encode()) + string(UNIVERSAL))
    with pytest.raises(SignatureMismatch, match="small order"):
        verify(universal)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_refused(size):
    with pytest.raises(SignatureMismatch, match=f"this one has {size}"):
        verify(blob(key=string(PLAIN.encode()) + string(bytes(size))))


@pytest.mark.parametrize("size", [0, 63, 65])
def test_an_ed25519_signature_of_another_length_is_refused(size):
    with pytest.raises(EncodingError, match=f"has 64 bytes, this one {size}"):
        verify(blob(signature=string(PLAIN.encode()) + string(bytes(size))))


def test_bytes_hidden_after_the_key_or_after_the_signature_are_refused():
    key = string(PLAIN.encode()) + string(RAW)
    with pytest.raises(EncodingError, match="3 bytes after the end of the public key"):
        verify(blob(key=key + b"abc"))
    with pytest.raises(EncodingError, match="3 bytes after the end of the signature"):
        verify(blob(signature=string(PLAIN.encode()) + string(bytes(64)) + b"abc"))


# Hardware keys


def test_a_hardware_signature_verifies_here_and_with_ssh_keygen(tmp_path):
    key = PublicKey(HARDWARE, RAW, "ssh:")
    assert verify(hardware_blob()) == key
    assert ssh_keygen_accepts(tmp_path, hardware_blob(), key)
    assert verify(hardware_blob(flags=0x05, counter=2**32 - 1)) == key
    (tmp_path / "key.pub").write_text(key.openssh + "\n")
    assert key.fingerprint in ssh_keygen("-l", "-f", tmp_path / "key.pub")
    assert sshsig.parse_public_key(key.openssh) == key


@pytest.mark.parametrize("flags", [0x00, 0x04, 0xFE])
def test_a_hardware_key_that_nobody_touched_does_not_count(flags):
    with pytest.raises(SignatureMismatch, match="without being touched"):
        verify(hardware_blob(flags=flags))


def test_a_hardware_key_is_not_read_as_a_plain_one_although_the_library_does():
    key = PublicKey(HARDWARE, RAW, "ssh:")
    careless = load_ssh_public_key(key.openssh.encode())
    careless.verify(KEY.sign(b"data"), b"data")  # no exception: the loader drops the type
    with pytest.raises(SignatureMismatch):
        verify(hardware_blob(plain_data=True))


def test_a_signature_made_for_another_application_is_refused():
    with pytest.raises(SignatureMismatch):
        verify(hardware_blob(signed_application=b"ssh:other"))


def test_a_plain_signature_under_a_hardware_key_and_the_reverse_are_refused():
    plain, hardware = (string(name.encode()) for name in (PLAIN, HARDWARE))
    good = KEY.sign(sshsig.signed_data(NAMESPACE, MESSAGE))
    for key, signature in (
        (hardware + string(RAW) + string(b"ssh:"), plain + string(good)),
        (plain + string(RAW), hardware + string(good) + b"\x01" + bytes(4)),
    ):
        with pytest.raises(EncodingError, match="made a signature of another type"):
            verify(blob(key=key, signature=signature))


@pytest.mark.parametrize("application", ["", "ssh:\0", "ssh:\x1b[2J", "ssh:\ud800"])
def test_a_hardware_key_has_an_application_in_plain_text(application):
    with pytest.raises(KeyUnusable, match="application is plain text"):
        PublicKey(HARDWARE, RAW, application)


def test_only_hardware_keys_have_an_application():
    for build in (lambda: PublicKey(HARDWARE, RAW), lambda: PublicKey(PLAIN, RAW, "ssh:")):
        with pytest.raises(KeyUnusable, match="application belongs to a hardware key"):
            build()


# Armor


def test_signatures_with_other_line_widths_and_without_the_last_newline_are_read(key_file):
    armored = sshsig.sign(KEY, NAMESPACE, MESSAGE)
    text = base64.b64encode(sshsig.parse_armor(armored)).decode()
    for width in (4, 64, 76):
        lines = "\n".join(text[at:at + width] for at in range(0, len(text), width))
        other = f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----"
        assert sshsig.verify(other, NAMESPACE, MESSAGE).raw == RAW
        assert sshsig.render_armor(sshsig.parse_armor(other)) == armored


ARMORED = sshsig.sign(KEY, NAMESPACE, MESSAGE)


@pytest.mark.parametrize("armored", [
    "", "\n" + ARMORED, ARMORED + "\n", ARMORED + "trailing\n", "hello\n" + ARMORED, ARMORED * 2,
    ARMORED.replace("\n", "\r\n"), ARMORED.replace("\n", " \n"), ARMORED.replace("\n", "\n\n", 1),
    ARMORED.replace("SSH SIGNATURE", "PGP SIGNATURE"), ARMORED.replace("-----END", "----END"),
    ARMORED.replace("-----\nU1", "-----U1"), ARMORED.replace("\nU1N", "\nU1\u212a"), "\ufeff" + ARMORED,
    "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", ARMORED.replace("\n", "", 3),
])  # fmt: skip
def test_text_that_is_not_exactly_an_armored_signature_is_refused(armored):
    with pytest.raises(EncodingError):
        sshsig.verify(armored, NAMESPACE, MESSAGE)


@pytest.mark.parametrize("text", ["QUI", "QUI==", "QUJ=", "=QUI", "QQ=Q"])
def test_base64_that_is_not_canonical_is_refused(text):
    with pytest.raises(EncodingError, match="base64"):
        sshsig.parse_armor(f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n")


def test_an_oversized_signature_is_refused_before_it_is_read():
    with pytest.raises(EncodingError, match="at most 8192"):
        verify(blob(reserved=bytes(8192)))


# Public key lines


@pytest.mark.parametrize("line", [
    "", "ssh-ed25519", "ssh-ed25519 \n", "ssh-ed25519 !!!!", "ssh-ed25519 AAAA",
    PublicKey(PLAIN, RAW).openssh + "\n" + PublicKey(PLAIN, RAW).openssh,
    PublicKey(HARDWARE, RAW, "ssh:").openssh.replace("sk-ssh-ed25519@openssh.com", "ssh-ed25519"),
    PublicKey(PLAIN, RAW).openssh.replace("ssh-ed25519", "sk-ssh-ed25519@openssh.com"),
])  # fmt: skip
def test_a_line_that_is_not_one_public_key_is_refused(line):
    with pytest.raises(EncodingError):
        sshsig.parse_public_key(line)


def test_a_small_order_key_in_a_pub_file_is_refused():
    wire = base64.b64encode(string(PLAIN.encode()) + string(NEUTRAL)).decode()
    with pytest.raises(KeyUnusable, match="small order"):
        sshsig.parse_public_key(f"ssh-ed25519 {wire} nice key")


# Anything at all


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_as_signature_or_key_gives_one_of_our_errors(text):
    with pytest.raises(VerificationError):
        sshsig.verify(text, NAMESPACE, MESSAGE)
    with pytest.raises(SafeloopError):
        sshsig.parse_public_key(text)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_blob_and_any_splice_of_a_good_one_gives_one_of_our_errors(data, at):
    for hostile in (b"\0" + data, b"SSHSIG\0\0\0\1" + data, blob()[:at] + b"\xff" + data):
        with pytest.raises(VerificationError):
            verify(hostile)


@given(st.binary(max_size=200))
def test_any_key_inside_a_signature_gives_one_of_our_errors(data):
    for key in (data, string(PLAIN.encode()) + data, string(HARDWARE.encode()) + string(RAW) + data):
        with pytest.raises(VerificationError):
            verify(blob(key=key))


@given(st.binary(max_size=200))
def test_any_signature_part_gives_one_of_our_errors(data):
    for part in (data, string(PLAIN.encode()) + data, string(PLAIN.encode()) + string(data)):
        with pytest.raises(VerificationError):
            verify(blob(signature=part))
