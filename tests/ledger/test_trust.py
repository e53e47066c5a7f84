import base64
import hashlib
import json
import os
import resource
import stat
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import EncodingError, KeyUnusable, ProofError, SafeloopError
from safeloop.ledger import ed25519, sshsig, trust
from safeloop.ledger import policy as pinned
from safeloop.ledger.allowed_signers import AllowedSigner
from safeloop.ledger.note import Verifier, parse_vkey
from safeloop.ledger.sshsig import HARDWARE, PLAIN, PublicKey

VECTORS = Path(__file__).parent.parent / "vectors"
KEYS = json.loads((VECTORS / "small_order_keys.json").read_text())["public_keys_hex"]
SMALL_ORDER = [bytes.fromhex(key) for key in KEYS]
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALICE = "alice@example.org"
REVIEW, APPROVAL = "safeloop-review", "safeloop-approval"


def raw(seed: int) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()


def pub(seed: int) -> str:
    return PublicKey(PLAIN, raw(seed)).openssh


def log(seed: int, name: str = "example.org/log") -> Verifier:
    return Verifier(name, raw(seed))


def witness_vkey(seed: int, name: str = "witness.example", kind: bytes = b"\x04") -> str:
    typed = kind + raw(seed)
    key_hash = hashlib.sha256(name.encode() + b"\n" + typed).hexdigest()[:8]
    return f"{name}+{key_hash}+{base64.b64encode(typed).decode()}"


def ssh_line(kind: str, *fields: bytes) -> str:
    wire = b"".join(len(field).to_bytes(4, "big") + field for field in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(wire).decode()}"


def admitted(folder: Path, at: datetime = NOON, principal: str = ALICE, namespace: str = REVIEW) -> list[bytes]:
    return [key.raw for key in trust.load_trust(folder).reviewer_keys(principal, namespace, at)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trust.pin_log(tmp_path / "trust", log(1))
    trust.pin_writer(tmp_path / "trust", "worker", raw(2))
    return tmp_path / "trust"


# Policy

WITNESSED = f"""\
# logs
log {log(1).vkey}
 \tlog  {log(2, 'other.example/log')  .vkey}\thttps://log.example/

witness X1 {witness_vkey(11)}
witness X2 {witness_vkey(12)} https://x2.example/
witness Ÿ {witness_vkey(13)}
group X 2 X1 X2
group both all X Ÿ
quorum both
"""


def test_a_policy_with_witnesses_is_read_as_c2sp_writes_it():
    policy = trust.parse_policy(WITNESSED)
    assert dict(policy.logs) == {"example.org/log": (log(1),), "other.example/log": (log(2, "other.example/log"),)}
    assert [(witness.name, witness.public) for witness in policy.witnesses.values()] == [
        ("X1", raw(11)), ("X2", raw(12)), ("Ÿ", raw(13))]
    assert policy.groups == {"X": pinned.Group("X", 2, ("X1", "X2")), "both": pinned.Group("both", 2, ("X", "Ÿ"))}
    assert policy.quorum == "both"


def test_a_quorum_of_none_asks_for_no_witness():
    assert trust.parse_policy("quorum none").quorum is None


A, B = f"witness a {witness_vkey(11)}\n", f"witness b {witness_vkey(12)}\n"


def test_any_means_one():
    assert trust.parse_policy(A + B + "group g any a b\nquorum g\n").groups["g"].threshold == 1


@pytest.mark.parametrize(("lines", "line", "why"), [
    ("logs x", 1, "not a policy line"),
    ("Log " + log(1).vkey, 1, "not a policy line"),
    ("log", 1, "not a policy line"),
    (f"log {log(1).vkey} url more", 1, "not a policy line"),
    ("log example.org/log+00000000+" + log(1).vkey.split("+", 2)[2], 1, "hash"),
    ("log " + witness_vkey(1), 1, "not Ed25519"),
    (f"log {log(1).vkey}\nlog {log(1).vkey}", 2, "a second line for this key of the log"),
    (f"log {log(1).vkey}\r\n", 1, "control character"),
    (f"log\u00a0{log(1).vkey}", 1, "not a policy line"),
    (f"witness a {witness_vkey(11, kind=bytes([1]))}", 1, "not the verifier key of an Ed25519 witness"),
    (f"witness a {witness_vkey(11)[:-4]}", 1, "not the verifier key of an Ed25519 witness"),
    (f"witness a {witness_vkey(11)}=", 1, "not the verifier key of an Ed25519 witness"),
    ("witness a é+é+é", 1, "not the verifier key of an Ed25519 witness"),
    (f"witness none {witness_vkey(11)}", 1, "the name is taken"),
    (A + f"witness a {witness_vkey(12)}", 2, "the name is taken"),
    (A + f"witness b {witness_vkey(11, 'else')}", 2, "already another witness's"),
    (A + "group a any a", 2, "the name is taken"),
    ("group g any a\n" + A, 1, "no witness or group on a line before"),
    ("group g any none", 1, "no witness or group on a line before"),
    (A + "group g any g", 2, "no witness or group on a line before"),
    (A + "group g any a a", 2, "in a group already"),
    (A + B + "group g any a b\ngroup h any a", 4, "in a group already"),
    (A + "group g 0 a", 2, "wants any, all, or a number up to 1"),
    (A + "group g 2 a", 2, "wants any, all, or a number up to 1"),
    (A + "group g 01 a", 2, "wants any, all, or a number up to 1"),
    (A + "group g ١ a", 2, "wants any, all, or a number up to 1"),
    (A + f"group g {'9' * 5000} a", 2, "wants any, all, or a number up to 1"),
    (A + "group g all", 2, "wants any, all, or a number up to 0"),
    ("quorum a\n" + A, 1, "no witness or group on a line before"),
    ("quorum", 1, "not a policy line"),
    ("\ufeffquorum none", 1, "not a policy line"),
])  # fmt: skip
def test_a_policy_line_that_is_not_understood_is_named(lines, line, why):
    with pytest.raises(KeyUnusable, match=f"^pins line {line}: .*{why}"):
        trust.parse_policy(lines, "pins")


@pytest.mark.parametrize(("text", "count"), [("", 0), (f"log {log(1).vkey}\n", 0), ("quorum none\nquorum none\n", 2)])
def test_a_policy_has_exactly_one_quorum(text, count):
    with pytest.raises(KeyUnusable, match=f"has {count} quorum lines"):
        trust.parse_policy(text)


@pytest.mark.parametrize("key", SMALL_ORDER, ids=bytes.hex)
def test_no_small_order_key_enters_by_any_file(tmp_path, key):
    def vkey(kind: bytes) -> str:
        key_hash = hashlib.sha256(b"x\n" + kind + key).hexdigest()[:8]
        return f"x+{key_hash}+{base64.b64encode(kind + key).decode()}"

    for text in (f"log {vkey(bytes([1]))}\nquorum none", f"witness w {vkey(bytes([4]))}\nquorum w"):
        with pytest.raises(KeyUnusable, match=r"line 1: .*small order"):
            trust.parse_policy(text)
    for line in (ssh_line(PLAIN, key), ssh_line(HARDWARE, key, b"ssh:")):
        with pytest.raises(KeyUnusable, match=r"line 1: .*small order"):
            trust.parse_allowed_signers(f"{ALICE} {line}\n")
        with pytest.raises(KeyUnusable, match="small order"):
            trust.add_reviewer(tmp_path / "t", ALICE, line)
    with pytest.raises(KeyUnusable, match="small order"):
        trust.pin_writer(tmp_path / "t", "w", key)
    assert not (tmp_path / "t").exists()


# Allowed signers


def test_lines_are_read_as_ssh_keygen_reads_them():
    hardware = PublicKey(HARDWARE, raw(2), "ssh:")
    text = (f"# who may review\n\n{ALICE},al {pub(1)} a comment, *with* \"anything\"\n"
            '\tbob\t NAMESPACES="a,b",valid-after="20260101Z",valid-before="202612312359Z"  '
            f"{hardware.openssh}\n")
    assert trust.parse_allowed_signers(text) == (
        AllowedSigner((ALICE, "al"), PublicKey(PLAIN, raw(1))),
        AllowedSigner(("bob",), hardware, ("a", "b"), datetime(2026, 1, 1, tzinfo=UTC),
                      datetime(2026, 12, 31, 23, 59, tzinfo=UTC)),
    )


@pytest.mark.parametrize(("line", "why"), [
    (f"* {pub(1)}", "stands for itself alone"),
    (f"*@example.org {pub(1)}", "stands for itself alone"),
    (f"alic? {pub(1)}", "stands for itself alone"),
    (f"alice,!bob {pub(1)}", "stands for itself alone"),
    (f"alice,,bob {pub(1)}", "stands for itself alone"),
    (f"alice, {pub(1)}", "stands for itself alone"),
    (f'"alice" {pub(1)}', "stands for itself alone"),
    (f"ali\\ce {pub(1)}", "stands for itself alone"),
    (f"al\u202eice {pub(1)}", "stands for itself alone"),
    (f"al\u200bice {pub(1)}", "stands for itself alone"),
    (f"al\u3000ice {pub(1)}", "stands for itself alone"),
    (f"{'a' * 201} {pub(1)}", "stands for itself alone"),
    (f"al\x07ice {pub(1)}", "control character"),
    (f"alice {pub(1)}\r", "control character"),
    (f"alice\x0b{pub(1)}", "control character"),
    ("alice", "one line, a type and base64"),
    ("alice ssh-ed25519", "one line, a type and base64"),
    (f"alice cert-authority {pub(1)}", "not an accepted option"),
    (f'alice CERT-AUTHORITY,namespaces="x" {pub(1)}', "not an accepted option"),
    (f'alice namespaces="x",cert-authority {pub(1)}', "not an accepted option"),
    (f'alice verify-required="x" {pub(1)}', "not an accepted option"),
    (f'alice namespaces="x",namespaces="y" {pub(1)}', "not an accepted option"),
    (f"alice namespaces=x {pub(1)}", "not an accepted option"),
    (f'alice namespaces="x {pub(1)}', "not an accepted option"),
    (f'alice namespaces="a\\"b" {pub(1)}', "not an accepted option"),
    (f'alice namespaces="x", {pub(1)}', "not an accepted option"),
    (f'alice namespaces="x"{pub(1)}', "not an accepted option"),
    (f'alice namespaces="" {pub(1)}', "stands for itself alone"),
    (f'alice namespaces="safeloop-*" {pub(1)}', "stands for itself alone"),
    (f'alice namespaces="a, b" {pub(1)}', "stands for itself alone"),
    (f'alice namespaces="!a" {pub(1)}', "stands for itself alone"),
    (f'alice valid-after="tomorrow" {pub(1)}', "not a moment"),
    (f'alice valid-after="" {pub(1)}', "not a moment"),
    (f'alice valid-after="2026010" {pub(1)}', "not a moment"),
    (f'alice valid-after="20260101z" {pub(1)}', "not a moment"),
    (f'alice valid-after="20260230Z" {pub(1)}', "not a moment"),
    (f'alice valid-after="2026010124Z" {pub(1)}', "not a moment"),
    (f'alice valid-after="202601012400Z" {pub(1)}', "not a moment"),
    (f'alice valid-after="20260101000060Z" {pub(1)}', "not a moment"),
    (f'alice valid-after="00000101" {pub(1)}', "not a moment"),
    (f'alice valid-after="20260102Z",valid-before="20260102Z" {pub(1)}', "not later than"),
    ("alice ssh-rsa AAAAB3NzaC1yc2E", "key type 'ssh-rsa': only"),
    ("alice ecdsa-sha2-nistp256 AAAAE2Vj", "key type 'ecdsa-sha2-nistp256': only"),
    ("alice ssh-ed25519 AAAA", "cut short"),
    (f"alice {pub(1)[:-2]}", "base64"),
    (f"alice {ssh_line(PLAIN, raw(1), b'more')}", "after the end of the public key"),
    (f"alice {ssh_line(PLAIN, raw(1)[:31])}", "has 31"),
    (f"alice {ssh_line(HARDWARE, raw(1), b'ssh:').replace(HARDWARE, PLAIN)}", "announced as ssh-ed25519"),
])  # fmt: skip
def test_a_signer_line_that_is_not_understood_is_named(line, why):
    with pytest.raises(KeyUnusable, match=f"^file line 3: .*{why}"):
        trust.parse_allowed_signers(f"\n# comment\n{line}\n", "file")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_moment_without_z_is_local_as_it_is_for_ssh_keygen(tmp_path, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        ssh = Reviewer(tmp_path)
        line = f'{ALICE} valid-after="20260601120000" {ssh.public}'
        (signer,) = trust.parse_allowed_signers(line)
        assert signer.valid_after is not None
        for seconds in (-1, 0, 1):
            at = signer.valid_after + timedelta(seconds=seconds)
            assert signer.admits(ALICE, REVIEW, at) is (seconds >= 0)
            assert ssh.accepts(line, at) is (seconds >= 0)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_valid_before_is_inclusive_as_it_is_for_ssh_keygen(tmp_path, seconds):
    ssh = Reviewer(tmp_path)
    line = f'{ALICE} valid-before="{NOON:%Y%m%d%H%M%S}Z" {ssh.public}'
    at = NOON + timedelta(seconds=seconds)
    assert ssh.accepts(line, at) is (seconds <= 0)
    assert trust.parse_allowed_signers(line)[0].admits(ALICE, REVIEW, at) is (seconds <= 0)


class Reviewer:
    """A key made by ssh-keygen, one signature by it, and what `ssh-keygen -Y verify` says of that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "laptop", "-f", folder / "key"]
        subprocess.run(command, check=True)
        self.public = (folder / "key.pub").read_text()
        private = load_ssh_private_key((folder / "key").read_bytes(), None)
        assert isinstance(private, Ed25519PrivateKey)
        (folder / "att.sig").write_text(sshsig.sign(private, REVIEW, b"{}"))

    def accepts(self, signers: str, at: datetime | None = None, *, name: str = ALICE, namespace: str = REVIEW) -> bool:
        (self.folder / "signers").write_text(signers)
        moment = [] if at is None else ["-O", f"verify-time={at.astimezone(UTC):%Y%m%d%H%M%S}Z"]
        command = ["ssh-keygen", "-Y", "verify", "-f", self.folder / "signers", "-I", name, "-n", namespace,
                   "-s", self.folder / "att.sig", *moment]
        return subprocess.run(command, input=b"{}", capture_output=True, check=False).returncode == 0


def test_ssh_keygen_verifies_an_attestation_with_the_file_that_add_reviewer_writes(tmp_path, folder):
    ssh = Reviewer(tmp_path)
    trust.add_reviewer(folder, "bob@example.org", pub(9))
    key = trust.add_reviewer(folder, ALICE, ssh.public)
    text = (folder / "reviewers").read_text()
    assert ssh.accepts(text)
    assert not ssh.accepts(text, name="bob@example.org")
    assert not ssh.accepts(text.replace(REVIEW, "git"))
    assert key == sshsig.verify((tmp_path / "att.sig").read_text(), REVIEW, b"{}")
    assert trust.load_trust(folder).reviewer_keys(ALICE, REVIEW, NOON) == (key,)


# Revocations


def test_the_earliest_revocation_of_a_key_in_a_ledger_counts():
    one, two = "a" * 64, "b" * 64
    revoked = trust.parse_revoked(
        f"# lost\n{one} safeloop.local/x 40\n{one}\tsafeloop.local/x  7\n{two} safeloop.local/x 0\n")
    folder = trust.Trust(trust.parse_policy("quorum none"), {}, (), revoked, None, Path("t"), is_self=False)
    assert folder.revoked_from(one, "safeloop.local/x") == 7
    assert folder.revoked_from(two, "safeloop.local/x") == 0
    assert folder.revoked_from(one, "safeloop.local/y") is None


@pytest.mark.parametrize("line", [
    "a" * 64, "a" * 64 + " safeloop.local/x", "a" * 64 + " safeloop.local/x -1", "a" * 64 + " safeloop.local/x 01",
    "A" * 64 + " safeloop.local/x 1", "a" * 63 + " safeloop.local/x 1", "a" * 64 + " no-slash 1",
    "a" * 64 + " safeloop.local/x 1 more", "a" * 64 + " safeloop.local/x " + "9" * 5000,
    "a" * 64 + " safeloop.local/x ١",
])  # fmt: skip
def test_a_revocation_that_is_not_understood_is_never_skipped(line):
    with pytest.raises(KeyUnusable, match=r"^revoked line 2: "):
        trust.parse_revoked(f"\n{line}\n")


# The folder


def test_a_folder_is_read_as_it_was_pinned(folder):
    trust.add_reviewer(folder, ALICE, pub(3) + " laptop\n")
    (folder / "revoked").write_text(f"{ed25519.key_id(raw(2))} example.org/log 9\n")
    (folder / "release.toml").write_text("accepts = 2\n")
    read = trust.load_trust(str(folder))
    assert read.log_for("example.org/log") == log(1)
    assert read.writer(ed25519.key_id(raw(2))) == PublicKey(PLAIN, raw(2))
    assert read.writer(ed25519.key_id(raw(3))) is None
    assert read.reviewers == (AllowedSigner((ALICE,), PublicKey(PLAIN, raw(3)), (REVIEW, APPROVAL)),)
    assert read.revoked_from(ed25519.key_id(raw(2)), "example.org/log") == 9
    assert read.release_policy_text == "accepts = 2\n"
    assert (read.path, read.is_self, read.policy.quorum) == (folder, False, None)
    assert read.operator_keys == {raw(1), raw(2)}


def test_files_and_folder_are_private(tmp_path):
    folder = tmp_path / "trust" / "self"
    trust.pin_log(folder, log(1))
    trust.pin_writer(folder, "w", raw(2))
    trust.add_reviewer(folder, ALICE, pub(3))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {
        "policy": 0o600, "writers": 0o600, "reviewers": 0o600}


def test_the_folder_self_says_so_under_any_path(tmp_path, folder):
    trust.pin_log(tmp_path / "self", log(1))
    (tmp_path / "audit").symlink_to(tmp_path / "self")
    assert trust.load_trust(tmp_path / "self").is_self
    assert trust.load_trust(tmp_path / "audit").is_self
    assert not trust.load_trust(folder).is_self


def test_a_log_that_is_not_pinned_is_refused_with_a_way_on(folder):
    with pytest.raises(KeyUnusable, match=r"pins no log of this origin: 'example\.org/other'") as refused:
        trust.load_trust(folder).log_for("example.org/other")
    assert "log VKEY" in refused.value.hint


def test_a_policy_alone_trusts_nobody(tmp_path):
    trust.pin_log(tmp_path, log(1))
    read = trust.load_trust(tmp_path)
    assert (dict(read.writers), read.reviewers, read.revoked, read.release_policy_text) == ({}, (), (), None)
    assert read.reviewer_keys(ALICE, REVIEW, NOON) == ()


def test_an_unusable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("quorum none\n")
    (tmp_path / "empty").mkdir()
    for path, why in ((tmp_path / "missing", "is not a trust folder"), (tmp_path / "file", "is not a trust folder"),
                      (tmp_path / "empty", "has no file policy")):
        with pytest.raises(KeyUnusable, match=why) as refused:
            trust.load_trust(path)
        assert "safeloop trust import FILE --trust DIR" in refused.value.hint
        assert str(path) in str(refused.value)
    with pytest.raises(KeyUnusable, match="cannot be made"):
        trust.pin_log(tmp_path / "file", log(1))


def test_a_folder_that_cannot_be_opened_is_an_error_of_ours(folder):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(KeyUnusable, match="cannot be opened: Too many open files"):
            trust.pin_log(folder, log(1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


FILES = ("policy", "writers", "reviewers", "revoked", "release.toml")


@pytest.mark.parametrize("name", FILES)
def test_an_unusable_file_is_named_and_never_taken_for_a_missing_one(folder, name):
    file = folder / name
    for spoil, why in ((file.mkdir, "is a folder, not a regular file"), (lambda: os.mkfifo(file), "is not a regular file"),
                       (lambda: file.symlink_to(file), "cannot be read"),
                       (lambda: file.symlink_to("nowhere"), "cannot be read: No such file"),
                       (lambda: file.write_bytes(b"#\n#\n\xff\n"), "line 3: not UTF-8"),
                       (lambda: file.write_bytes(b"#" * 1_000_001), "more than 1000000 bytes")):
        file.unlink(missing_ok=True)
        spoil()
        with pytest.raises(KeyUnusable, match=why) as refused:
            trust.load_trust(folder)
        assert str(file) in str(refused.value)
        if file.is_dir():
            file.rmdir()


@pytest.mark.parametrize("name", FILES[:4])
def test_a_bad_line_is_named_with_its_file(folder, name):
    (folder / name).write_text("# fine\nwhat is this\n")
    with pytest.raises(KeyUnusable, match=f"^{folder / name} line 2: "):
        trust.load_trust(folder)


@pytest.mark.parametrize("line", [
    f"w {PublicKey(HARDWARE, raw(5), 'ssh:').openssh}", f'w namespaces="x" {pub(5)}',
    f'w valid-after="20260101Z" {pub(5)}', f'w valid-before="20260101Z" {pub(5)}',
])  # fmt: skip
def test_a_writer_line_that_asks_for_what_is_not_checked_is_refused(folder, line):
    (folder / "writers").write_text(line + "\n")
    with pytest.raises(KeyUnusable, match="writers line 1: a writer is a plain ssh-ed25519 key without options"):
        trust.load_trust(folder)


# Who may review


def test_a_reviewer_counts_for_their_name_namespace_and_time_only(folder):
    (folder / "reviewers").write_text(
        f'{ALICE},al namespaces="{REVIEW}",valid-after="20260101Z",valid-before="20261231Z" {pub(3)}\n')
    assert admitted(folder) == admitted(folder, principal="al") == [raw(3)]
    assert admitted(folder, principal="Alice@example.org") == admitted(folder, principal=f"{ALICE},al") == []
    assert admitted(folder, namespace=APPROVAL) == []
    for at in (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)):
        assert admitted(folder, at) == [raw(3)]
    for at in (datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2026, 12, 31, 0, 0, 0, 1, tzinfo=UTC)):
        assert admitted(folder, at) == []


def test_a_key_on_two_lines_is_one_key_and_a_person_may_have_two(folder):
    (folder / "reviewers").write_text(f"{ALICE} {pub(3)}\n{ALICE},x {pub(3)} again\n{ALICE} {pub(4)}\n")
    assert admitted(folder) == [raw(3), raw(4)]


def test_the_operators_own_keys_never_count_even_if_written_by_hand(folder):
    hidden = PublicKey(HARDWARE, raw(2), "ssh:").openssh
    (folder / "reviewers").write_text(f"{ALICE} {pub(1)}\n{ALICE} {pub(2)}\n{ALICE} {hidden}\n{ALICE} {pub(3)}\n")
    assert admitted(folder) == [raw(3)]


@pytest.mark.parametrize("seed", [1, 2], ids=["log key", "writer key"])
def test_the_operators_own_key_is_not_pinned_as_a_reviewers(folder, seed):
    for line in (pub(seed), PublicKey(HARDWARE, raw(seed), "ssh:").openssh):
        with pytest.raises(KeyUnusable, match="never counts"):
            trust.add_reviewer(folder, ALICE, line)
    assert not (folder / "reviewers").exists()


def test_a_reviewers_key_is_not_pinned_as_the_operators(folder):
    trust.add_reviewer(folder, ALICE, pub(3))
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(KeyUnusable, match=f"{ALICE} is pinned as a reviewer with this key"):
        trust.pin_writer(folder, "w2", raw(3))
    with pytest.raises(KeyUnusable, match="never counts"):
        trust.pin_log(folder, log(3, "example.org/more"))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


# Pinning


def test_pinning_twice_changes_nothing(folder):
    trust.add_reviewer(folder, ALICE, pub(3))
    before = {file.name: (file.read_bytes(), file.stat().st_ino) for file in folder.iterdir()}
    trust.pin_log(folder, log(1))
    trust.pin_writer(folder, "worker", raw(2))
    trust.add_reviewer(folder, ALICE, pub(3) + " another comment")
    assert {file.name: (file.read_bytes(), file.stat().st_ino) for file in folder.iterdir()} == before


def test_what_was_written_by_hand_stays(folder):
    hand = f"# ours\nlog {log(1).vkey} https://log.example/\nwitness w {witness_vkey(11)}\nquorum w  "
    (folder / "policy").write_text(hand)
    trust.pin_log(folder, log(5, "example.org/five"))
    assert (folder / "policy").read_text() == f"{hand}\nlog {log(5, 'example.org/five').vkey}\n"
    (folder / "reviewers").write_text("# people")
    trust.add_reviewer(folder, ALICE, pub(3))
    assert (folder / "reviewers").read_text() == f'# people\n{ALICE} namespaces="{REVIEW},{APPROVAL}" {pub(3)}\n'
    assert set(trust.load_trust(folder).policy.logs) == {"example.org/log", "example.org/five"}


def test_two_ledgers_of_one_key_folder_are_pinned_with_their_shared_key(folder):
    trust.pin_log(folder, log(1, "safeloop.local/two"))
    assert trust.load_trust(folder).log_for("safeloop.local/two").public == log(1).public


def test_an_origin_has_one_key(folder):
    with pytest.raises(KeyUnusable, match=r"another key of example\.org/log"):
        trust.pin_log(folder, log(5))
    assert trust.load_trust(folder).log_for("example.org/log") == log(1)


def test_a_second_key_of_a_name_must_be_called_an_addition(folder):
    trust.add_reviewer(folder, ALICE, pub(3))
    with pytest.raises(KeyUnusable, match=f"another key of {ALICE}"):
        trust.add_reviewer(folder, ALICE, pub(4))
    with pytest.raises(KeyUnusable, match="another key of worker"):
        trust.pin_writer(folder, "worker", raw(5))
    assert admitted(folder) == [raw(3)]
    for _ in range(2):
        trust.add_reviewer(folder, ALICE, pub(4), addition=True)
        trust.pin_writer(folder, "worker", raw(5), addition=True)
    trust.add_reviewer(folder, ALICE, pub(4))  # there already: nothing is added
    assert admitted(folder) == [raw(3), raw(4)]
    assert set(trust.load_trust(folder).writers) == {ed25519.key_id(raw(seed)) for seed in (2, 5)}


def test_a_writer_key_under_two_names_has_both(folder):
    trust.pin_writer(folder, "second", raw(2))
    assert trust.load_trust(folder).writers[ed25519.key_id(raw(2))].principals == ("worker", "second")


@pytest.mark.parametrize("options", ['namespaces="git" ', 'valid-before="20200101Z" ', ""])
def test_a_line_that_was_restricted_by_hand_is_not_widened(folder, options):
    (folder / "reviewers").write_text(f"{ALICE} {options}{pub(3)}\n")
    for addition in (False, True):
        with pytest.raises(KeyUnusable, match="with other options"):
            trust.add_reviewer(folder, ALICE, pub(3), addition=addition)


@pytest.mark.parametrize("name", [
    "", "*", "a*", "a?", "!a", "a,b", "a b", "a\tb", "a\nb", "a\0", "#a", "a#", 'a"', "a\\", "a\u00a0b", "a\u202eb",
    "\ufeffa", "é" * 101, "\ud800",
])  # fmt: skip
def test_a_name_that_the_file_would_read_as_something_else_is_refused(tmp_path, name):
    with pytest.raises(KeyUnusable, match="stands for itself alone"):
        trust.add_reviewer(tmp_path / "t", name, pub(3))
    with pytest.raises(KeyUnusable, match="stands for itself alone"):
        trust.pin_writer(tmp_path / "t", name, raw(3))
    assert not (tmp_path / "t").exists()


def test_a_log_whose_line_could_not_be_read_again_cannot_even_be_named(folder):
    with pytest.raises(ProofError, match="key name"):
        trust.pin_log(folder, log(5, "bell\x07"))
    assert trust.load_trust(folder).policy.logs.keys() == {"example.org/log"}


@pytest.mark.parametrize("line", ["", pub(3) + "\n" + pub(4), f"{ALICE} {pub(3)}", "ssh-ed25519 AAAA"])
def test_a_pub_file_holds_one_key(tmp_path, line):
    with pytest.raises((EncodingError, KeyUnusable)):
        trust.add_reviewer(tmp_path / "t", ALICE, line)
    assert not (tmp_path / "t").exists()


def test_pins_made_at_the_same_time_are_all_there(tmp_path):
    start = threading.Barrier(8)

    def pin(seed: int) -> None:
        start.wait()
        trust.pin_log(tmp_path / "t", log(seed, f"example.org/{seed}"))

    threads = [threading.Thread(target=pin, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trust.load_trust(tmp_path / "t").policy.logs) == 8


def test_the_golden_vkey_is_pinned_as_it_is(tmp_path):
    vkey = (VECTORS / "log.vkey").read_text().strip()
    trust.pin_log(tmp_path / "t", parse_vkey(vkey))
    assert f"log {vkey}\n" in (tmp_path / "t" / "policy").read_text()


# Anything at all

PIECES = st.sampled_from([
    "log ", "witness ", "group ", "quorum ", "none", "any ", "1 ", "a", " ", "\t", "\n", "#", '"', ",", "=",
    "namespaces=", 'valid-after="', "20260101", "Z", pub(1), log(1).vkey, witness_vkey(2), "cert-authority ", "*",
    "\r", "\u2028", "\ud800", "a" * 64, " x.y/z ", "+", ALICE + " "])
HOSTILE = st.one_of(st.text(st.characters(codec=None), max_size=80), st.lists(PIECES, max_size=12).map("".join))
HOSTILE_BYTES = st.one_of(st.binary(max_size=60), HOSTILE.map(lambda text: text.encode("utf-8", "replace")))


@pytest.mark.parametrize("parse", [trust.parse_policy, trust.parse_allowed_signers, trust.parse_revoked])
@given(text=HOSTILE)
def test_any_text_is_read_or_refused_with_our_error(parse, text):
    try:
        parse(text)
    except KeyUnusable as refused:
        str(refused).encode()  # and can be shown


@given(name=st.sampled_from(FILES), data=HOSTILE_BYTES)
def test_any_file_is_read_or_refused_with_our_error(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("trust")
    (folder / "policy").write_text("quorum none\n")
    (folder / name).write_bytes(data)
    try:
        trust.load_trust(folder)
    except SafeloopError as refused:
        assert isinstance(refused, KeyUnusable)
        assert str(folder / name) in str(refused)
