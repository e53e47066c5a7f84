import hashlib
import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import EncodingError, NotAttested, SettingError, SignatureMismatch, VerificationError
from safeloop.ledger import Draft, Ledger, sshsig
from safeloop.ledger.keys import KeyFolder, read_pem, read_reviewer_key
from safeloop.ledger.note import Checkpoint, sign_checkpoint
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.sshsig import PublicKey
from safeloop.ledger.trust import load_trust
from safeloop.review.attesting.attestation import Digests, Statement, parse_statement, statement
from safeloop.review.attesting.eligibility import Invalid
from safeloop.review.attesting.judgement import Claim, check_attestation, check_claim
from safeloop.review.attesting.signers import sign_statement
from safeloop.review.attesting.sums import sums
from safeloop.review.record import load_record
from safeloop.review.surface import ReviewSurface
from safeloop.spec import SpecDraft, record
from tests.review import attacks
from tests.review.sessions import ANSWERS, SessionBuilder, completed

ALICE = "alice@example.org"
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30)
HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
STATEMENTS = st.builds(
    Statement, st.builds(Digests, HEX, HEX, st.none() | HEX), TEXT, st.sampled_from(["accept", "reject"]), TEXT, TEXT,
    TEXT, TEXT, HEX, st.integers(1, 2**53 - 1), st.just("2026-11-21T07:27:00.123456Z"),
)


def a_statement() -> Statement:
    digests = Digests("ab" * 32, "cd" * 32, "ef" * 32)
    return Statement(digests, "note", "accept", "safeloop.local/6f", "", ALICE, "s", "0" * 64, 9,
                     "2026-11-21T07:27:00.123456Z")


# --- the statement's bytes ----------------------------------------------------------------------------------------

def test_a_statement_has_exactly_the_bytes_of_the_design():
    expected = (
        '{"_type":"https://in-toto.io/Statement/v1","predicate":{"checkpoint":"note","decision":"accept","ledger":'
        '"safeloop.local/6f","notes":"","reviewer":"alice@example.org","session":"s","session_head":"' + "0" * 64 + '",'
        '"session_rows":9,"stated_at":"2026-11-21T07:27:00.123456Z"},"predicateType":"urn:safeloop:human-review:v1",'
        '"subject":[{"digest":{"sha256":"' + "ab" * 32 + '"},"name":"frame.txt"},'
        '{"digest":{"sha256":"' + "cd" * 32 + '"},"name":"SHA256SUMS"},'
        '{"digest":{"sha256":"' + "ef" * 32 + '"},"name":"output.txt"}]}'
    )
    assert statement(a_statement()).decode() == expected


@given(STATEMENTS)
def test_statements_are_jcs_by_another_implementation_and_are_read_back(stated: Statement):
    data = statement(stated)
    assert data == rfc8785.dumps(json.loads(data))
    assert parse_statement(data) == stated


@given(STATEMENTS, STATEMENTS)
def test_two_statements_never_have_the_same_bytes(one: Statement, other: Statement):
    assert (statement(one) == statement(other)) == (one == other)


def changed(**paths) -> bytes:
    value = json.loads(statement(a_statement()))
    for path, new in paths.items():
        *inner, last = path.split("__")
        target = value
        for key in inner:
            target = target[int(key) if key.isdigit() else key]
        target[int(last) if last.isdigit() else last] = new
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("data", [
    b"", b"null", b"[]", b"{}", b"\xff", b"1", b"[" * 100_000, b" " * 60_001,
    statement(a_statement()) + b"\n", b" " + statement(a_statement()),
    statement(a_statement()).replace(b'"session_rows":9', b'"session_rows":9.0'),
    statement(a_statement()).replace(b'"notes":""', b'"notes":"x","notes":""'),
    statement(a_statement()).replace(b"alice", b"\\u0061lice"),
    changed(_type="https://in-toto.io/Statement/v0.1"), changed(predicateType="urn:other"), changed(extra=1),
    changed(predicate__decision="maybe"), changed(predicate__decision=["accept"]), changed(predicate__notes=None),
    changed(predicate__extra="x"), changed(predicate__session_rows="9"), changed(predicate__session_rows=True),
    changed(predicate__session_rows=0), changed(predicate__session_rows=2**53),
    changed(predicate__session_head="0" * 63), changed(predicate__session_head="A" * 64),
    changed(predicate__stated_at="yesterday"), changed(predicate__notes="\ud800"), changed(predicate__notes="a\0"),
    changed(predicate=[]), changed(subject=[]), changed(subject={}), changed(subject=7),
    changed(subject__0__name="Frame.txt"), changed(subject__0__digest={"sha256": "AB" * 32}),
    changed(subject__0__digest={"sha256": "ab" * 32, "sha512": "x"}), changed(subject__0__digest=[]),
    changed(subject__2__name="other.txt"),
    changed(subject=[*json.loads(statement(a_statement()))["subject"], {"digest": {"sha256": "0" * 64}, "name": "x"}]),
])
def test_bytes_that_are_not_exactly_a_statement_are_refused(data: bytes):
    with pytest.raises(EncodingError):
        parse_statement(data)


@pytest.mark.parametrize("change", [
    {"notes": "\ud800"}, {"reviewer": "a\0"}, {"session_rows": 0}, {"stated_at": "now"},
])
def test_what_no_statement_can_hold_is_not_stated(change):
    with pytest.raises(EncodingError, match=next(iter(change))):
        statement(replace(a_statement(), **change))


# --- SHA256SUMS ---------------------------------------------------------------------------------------------------

def test_sha256sum_checks_every_released_file_whatever_its_name(tmp_path: Path):
    names = ["report.md", "a b", "a\\b", "new\nline", "ret\rurn", "é", "Z", "sub/x", "*star", " lead", "frame.txt",
             "\\n", "SHA256SUMS.md", "output.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    data = sums((name, name.encode()) for name in names)
    (tmp_path / "list").write_bytes(data)
    done = subprocess.run(["sha256sum", "--strict", "-c", "list"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b": OK\n") == len(names)


@given(st.dictionaries(TEXT.filter(bool), st.binary(max_size=3), max_size=4))
def test_lines_are_in_the_order_of_the_names_bytes_and_each_is_one_line(files):
    lines = sums(files.items()).decode().split("\n")[:-1]
    assert len(lines) == len(files)
    expected = [hashlib.sha256(files[name]).hexdigest() for name in sorted(files, key=str.encode)]
    assert [line.removeprefix("\\")[:64] for line in lines] == expected


def test_sums_of_no_files_are_no_bytes():
    assert sums(()) == b""


# --- signing ------------------------------------------------------------------------------------------------------

def verify_with_ssh_keygen(folder: Path, trust: Path, reviewer: str, stated: bytes, signature: str) -> bool:
    (folder / "att.sig").write_text(signature)
    command = ["ssh-keygen", "-Y", "verify", "-f", trust / "reviewers", "-I", reviewer, "-n", "safeloop-review",
               "-s", folder / "att.sig"]
    return subprocess.run(command, input=stated, capture_output=True, check=False).returncode == 0


def test_ssh_keygen_verifies_a_recorded_attestation_with_the_trust_folders_reviewers(
    ledger, surface, reviewer, keys, tmp_path
):
    key = reviewer(ALICE)
    shown = surface.show(completed(ledger).session)
    found = surface.attest_signed(shown, "accept", ALICE, "read it", sign=lambda data: sign_statement(data, key))
    data = ledger.rows(shown.record.session)[-1].data
    stated = data["statement"].encode()
    assert found.frame_hash == shown.sha256
    assert verify_with_ssh_keygen(tmp_path, keys / "self", ALICE, stated, data["signature"])
    assert not verify_with_ssh_keygen(tmp_path, keys / "self", ALICE, stated + b"\n", data["signature"])
    subjects = {each["name"]: each["digest"]["sha256"] for each in json.loads(stated)["subject"]}
    files = {"frame.txt": shown.data, "SHA256SUMS": shown.sums, "output.txt": b"All is well."}
    assert subjects == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def judged(path: Path, keys: Path, surface: ReviewSurface, session: str, *, at: datetime | None = None) -> list:
    """Judge every attestation of a session, as gate and audit do."""
    trust = load_trust(keys / "self")
    digests = surface.show(session).digests
    with LedgerReader(path) as reader:
        record = load_record(reader, trust, session)
    moment = datetime.now(UTC) if at is None else at
    return [check_attestation(row, record, digests.frame, digests.sums, digests.output, trust, moment)
            for row in record.kinds("attestation")]


@pytest.fixture
def signed(ledger, surface, reviewer) -> SessionBuilder:
    """A session that Alice accepted."""
    key = reviewer(ALICE)
    builder = completed(ledger)
    shown = surface.show(builder.session)
    surface.attest_signed(shown, "accept", ALICE, "ok", sign=lambda data: sign_statement(data, key))
    return builder


def test_the_reviewers_key_is_what_a_valid_attestation_is_judged_to(signed, surface, path, keys, tmp_path):
    public = sshsig.parse_public_key((tmp_path / "alice_ed25519.pub").read_text())
    assert judged(path, keys, surface, signed.session) == [public]


def test_a_rejection_is_signed_and_judged_in_the_same_way(ledger, surface, reviewer, path, keys):
    key = reviewer(ALICE)
    builder = completed(ledger)
    surface.attest_signed(surface.show(builder.session), "reject", ALICE, sign=lambda data: sign_statement(data, key))
    assert ledger.rows(builder.session)[-1].data["decision"] == "reject"
    assert isinstance(judged(path, keys, surface, builder.session)[0], PublicKey)


def test_an_unsigned_attestation_counts_for_nothing(ledger, surface, path, keys):
    session = completed(ledger).session
    surface.attest(session, ALICE)
    assert judged(path, keys, surface, session) == [Invalid("it is not signed")]


def test_an_ungoverned_session_is_attested_without_output_and_without_files(ledger, surface, reviewer, path, keys):
    key = reviewer(ALICE)
    session = record(ledger, SpecDraft(*ANSWERS)).session_id
    ledger.write(session, 1, "llm", "task", 10, 5, True)
    shown = surface.show(session)
    surface.attest_signed(shown, "accept", ALICE, sign=lambda data: sign_statement(data, key))
    stated = parse_statement(ledger.rows(session)[-1].data["statement"].encode())
    assert stated.digests == Digests(shown.sha256, hashlib.sha256(b"").hexdigest(), None)
    assert stated.session_rows == 2
    assert isinstance(judged(path, keys, surface, session)[0], PublicKey)


def forged(ledger: Ledger, builder: SessionBuilder, **changes) -> None:
    """Append a copy of the newest attestation row with changes, as whoever holds the writer's key could."""
    data = ledger.rows(builder.session)[-1].data
    if "stated" in changes:
        found = parse_statement(data["statement"].encode())
        data = data | {"statement": statement(replace(found, **changes.pop("stated"))).decode()}
    ledger.append(lambda _: (Draft(builder.session, "attestation", data | changes),))


FORGERIES = {
    "its row states another decision": {"decision": "reject"},
    "its row states another reviewer": {"reviewer": "bob@example.org"},
    "its row states another notes": {"notes": "even better"},
    "its row states another frame": {"frame": "0" * 64},
    "it is not signed": {"signature": None},
    "not an armored SSH signature": {"signature": "trust me"},
    "does not verify": {"stated": {"stated_at": "2030-01-01T00:00:00.000000Z"}},
    "made for another ledger or session": {"stated": {"session": "other"}},
    "made for another ledger": {"stated": {"ledger": "safeloop.local/other"}},
    "made for other rows": {"stated": {"session_head": "0" * 64}},
    "other rows of the session": {"stated": {"session_rows": 11}},
    "its checkpoint is none": {"stated": {"checkpoint": "none"}},
    "not in its canonical form": {"statement": json.dumps(json.loads(statement(a_statement())))},
    "is not JSON": {"statement": "\u20ac"},
}


@pytest.mark.parametrize("reason", FORGERIES)
def test_a_forged_row_says_why_it_counts_for_nothing(signed, ledger, surface, path, keys, reason: str):
    forged(ledger, signed, **FORGERIES[reason])
    _, verdict = judged(path, keys, surface, signed.session)
    assert isinstance(verdict, Invalid) and reason in verdict.reason


@pytest.mark.parametrize(("place", "reason"), [
    ("frame", "its row states another frame"), ("sums", "the SHA256SUMS that was"), ("output", "the output that was"),
])
def test_a_statement_over_another_subject_counts_for_nothing(signed, ledger, surface, path, keys, place, reason):
    found = parse_statement(ledger.rows(signed.session)[-1].data["statement"].encode())
    forged(ledger, signed, stated={"digests": replace(found.digests, **{place: "0" * 64})})
    _, verdict = judged(path, keys, surface, signed.session)
    assert isinstance(verdict, Invalid) and reason in verdict.reason


def test_a_signature_over_another_frame_than_is_rendered_now_counts_for_nothing(signed, surface, path, keys):
    trust = load_trust(keys / "self")
    with LedgerReader(path) as reader:
        record = load_record(reader, trust, signed.session)
    digests = surface.show(signed.session).digests
    row, now = record.kinds("attestation")[0], datetime.now(UTC)
    for name, place, other_hash in (
        ("frame", "frame", "0" * 64), ("SHA256SUMS", "sums", "0" * 64), ("output", "output", None),
    ):
        other = replace(digests, **{place: other_hash})
        verdict = check_attestation(row, record, other.frame, other.sums, other.output, trust, now)
        assert verdict == Invalid(f"the {name} that was signed is not the session's")


@pytest.mark.parametrize(("size", "origin", "reason"), [
    (12, "safeloop.local/other", "of another ledger"), (11, None, "of size 11 was not made between the cut"),
    (99, None, "of size 99 was not made between the cut"),
])
def test_a_checkpoint_that_does_not_fit_counts_for_nothing(signed, ledger, surface, path, keys, size, origin, reason):
    note = f"{origin or ledger.origin}\n{size}\n{'A' * 43}=\n\n— x {'A' * 92}\n"
    forged(ledger, signed, stated={"checkpoint": note})
    _, verdict = judged(path, keys, surface, signed.session)
    assert isinstance(verdict, Invalid) and reason in verdict.reason


def test_the_same_statement_a_second_time_counts_for_nothing(signed, ledger, surface, path, keys):
    forged(ledger, signed)
    assert judged(path, keys, surface, signed.session)[1] == Invalid(
        "the same key signed row 13, which was stated no earlier")


def test_an_accept_from_before_cannot_be_put_behind_a_later_reject(ledger, surface, reviewer, path, keys, tmp_path):
    key = reviewer(ALICE)
    builder = completed(ledger)
    shown = surface.show(builder.session)
    accept = surface.state(shown, "accept", ALICE)
    signature = sign_statement(accept, key).encode()
    surface.attest_signed(shown, "reject", ALICE, sign=lambda data: sign_statement(data, key))
    with pytest.raises(NotAttested, match="the same key signed row 13, which was stated no earlier"):
        surface.attest_with_signature(accept, signature)
    data = ledger.rows(builder.session)[-1].data
    ledger.append(lambda _: (Draft(builder.session, "attestation", data | {
        "decision": "accept", "statement": accept.decode(), "signature": signature.decode()}),))
    first, second = judged(path, keys, surface, builder.session)
    assert isinstance(first, PublicKey) and isinstance(second, Invalid)


def test_a_reviewer_may_change_their_mind_and_an_unsigned_row_in_between_does_not_hinder_them(
    ledger, surface, reviewer, path, keys
):
    key = reviewer(ALICE)
    builder = completed(ledger)

    def sign(data: bytes) -> str:
        return sign_statement(data, key)

    surface.attest_signed(surface.show(builder.session), "reject", ALICE, sign=sign)
    late = ReviewSurface(path, path, keys=keys, create=False, clock=lambda: datetime(2099, 1, 1, tzinfo=UTC))
    late.attest(builder.session, ALICE)
    surface.attest_signed(surface.show(builder.session), "accept", ALICE, sign=sign)
    verdicts = judged(path, keys, surface, builder.session)
    assert [type(each) for each in verdicts] == [PublicKey, Invalid, PublicKey]


def test_a_row_after_the_cut_makes_every_attestation_count_for_nothing(signed, surface, path, keys):
    signed.turn()
    (verdict,) = judged(path, keys, surface, signed.session)
    assert verdict == Invalid("row 14 (intent) came after the cut and voids the frame")


def test_only_attestation_rows_of_the_record_are_judged(signed, ledger, surface, path, keys):
    trust, now = load_trust(keys / "self"), datetime.now(UTC)
    other = completed(ledger)
    with LedgerReader(path) as reader:
        record = load_record(reader, trust, signed.session)
        strange = load_record(reader, trust, other.session)
    digests = surface.show(signed.session).digests
    hashes = (digests.frame, digests.sums, digests.output)
    said = Invalid("it is no attestation of this session after its cut")
    assert check_attestation(record.rows[-1], strange, *hashes, trust, now) == said
    assert check_attestation(record.rows[0], record, *hashes, trust, now) == said


def test_an_attestation_before_the_close_counts_for_nothing(ledger, surface, path, keys):
    builder = completed(ledger)
    surface.attest(builder.session, ALICE)
    data = ledger.rows(builder.session)[-1].data
    early = SessionBuilder(ledger).spec().open().row("attestation", data)
    trust, now = load_trust(keys / "self"), datetime.now(UTC)
    with LedgerReader(path) as reader:
        record = load_record(reader, trust, early.session)
    verdict = check_attestation(early.last, record, "0" * 64, "0" * 64, None, trust, now)
    assert verdict == Invalid("it is no attestation of this session after its cut")
    claim = check_claim(Claim(data, early.last.idx), record, Digests("0" * 64, "0" * 64, None), trust, now)
    assert claim == Invalid("the session has no cut")


def test_a_claim_of_another_form_counts_for_nothing(signed, path, keys):
    trust = load_trust(keys / "self")
    with LedgerReader(path) as reader:
        record = load_record(reader, trust, signed.session)
    verdict = check_claim(Claim({"decision": "accept"}, 14), record, Digests("0" * 64, "0" * 64, None), trust,
                          datetime.now(UTC))
    assert isinstance(verdict, Invalid) and "a attestation row's" in verdict.reason


# --- whose key ----------------------------------------------------------------------------------------------------

def test_a_key_that_is_not_pinned_for_this_name_is_refused_before_anything_is_recorded(ledger, surface, reviewer):
    key = reviewer(ALICE, pinned=False)
    reviewer("bob@example.org")
    session = completed(ledger).session
    for name in (ALICE, "bob@example.org"):
        with pytest.raises(NotAttested, match=f"is not pinned as a key of {name}"):
            surface.attest_signed(surface.show(session), "accept", name, sign=lambda data: sign_statement(data, key))
    assert surface.get_attestations(session) == []


def test_the_operators_own_key_never_counts(ledger, surface, keys):
    writer = read_pem(keys / "writer.pem")
    own = PublicKey(sshsig.PLAIN, writer.public_key().public_bytes_raw())
    (keys / "self" / "reviewers").write_text(f"{ALICE} {own.openssh}\n")
    with pytest.raises(NotAttested, match="is the operator's own key"):
        surface.attest_signed(surface.show(completed(ledger).session), "accept", ALICE,
                              sign=lambda data: sshsig.sign(writer, "safeloop-review", data))


def test_a_key_counts_only_while_it_is_pinned(signed, surface, path, keys):
    reviewers = keys / "self" / "reviewers"
    line = reviewers.read_text().replace("namespaces=", 'valid-before="20300101Z",namespaces=')
    reviewers.write_text(line)
    before, after = datetime(2029, 12, 31, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC)
    assert isinstance(judged(path, keys, surface, signed.session, at=before)[0], PublicKey)
    (verdict,) = judged(path, keys, surface, signed.session, at=after)
    assert isinstance(verdict, Invalid) and "pinned, but not for reviews at this time" in verdict.reason


@pytest.mark.parametrize("namespace", ["safeloop-approval", "file"])
def test_a_signature_for_another_purpose_is_refused(ledger, surface, reviewer, namespace):
    private = read_reviewer_key(reviewer(ALICE))
    with pytest.raises(NotAttested, match="signed for namespace"):
        surface.attest_signed(surface.show(completed(ledger).session), "accept", ALICE,
                              sign=lambda data: sshsig.sign(private, namespace, data))


# --- signatures made elsewhere ------------------------------------------------------------------------------------

def signed_elsewhere(key: Path, folder: Path) -> tuple[bytes, bytes]:
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "safeloop-review", "-f", key, folder / "statement.json"],
                   check=True, capture_output=True)
    return (folder / "statement.json").read_bytes(), (folder / "statement.json.sig").read_bytes()


def test_a_statement_is_exported_signed_by_ssh_keygen_and_recorded(ledger, surface, reviewer, path, keys, tmp_path):
    key = reviewer(ALICE)
    builder = completed(ledger)
    shown = surface.show(builder.session)
    written = surface.export_statement(shown, "accept", ALICE, "from afar", to=tmp_path / "out")
    assert {each.name for each in written} == {"frame.txt", "SHA256SUMS", "statement.json", "output.txt"}
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in written)
    assert (tmp_path / "out" / "frame.txt").read_bytes() == shown.data
    completed(ledger)  # the ledger grows meanwhile
    found = surface.attest_with_signature(*signed_elsewhere(key, tmp_path / "out"))
    assert (found.reviewer, found.notes, found.frame_hash) == (ALICE, "from afar", shown.sha256)
    assert isinstance(judged(path, keys, surface, builder.session)[0], PublicKey)


def test_an_export_never_overwrites(ledger, surface, tmp_path):
    shown = surface.show(SessionBuilder(ledger).spec().open().close().session)
    names = {each.name for each in surface.export_statement(shown, "accept", ALICE, to=tmp_path / "out")}
    assert names == {"frame.txt", "SHA256SUMS", "statement.json"}
    with pytest.raises(SettingError, match="is not empty"):
        surface.export_statement(shown, "accept", ALICE, to=tmp_path / "out")


def test_a_signature_over_a_session_that_changed_since_is_refused(ledger, surface, reviewer, tmp_path):
    key = reviewer(ALICE)
    builder = completed(ledger)
    surface.export_statement(surface.show(builder.session), "accept", ALICE, to=tmp_path / "out")
    builder.turn()
    with pytest.raises(NotAttested, match="came after the cut"):
        surface.attest_with_signature(*signed_elsewhere(key, tmp_path / "out"))


def test_a_statement_about_another_frame_is_refused(ledger, surface, reviewer, tmp_path):
    key = reviewer(ALICE)
    shown = surface.show(completed(ledger).session)
    found = parse_statement(surface.state(shown, "accept", ALICE))
    (tmp_path / "statement.json").write_bytes(statement(replace(found, digests=replace(found.digests, frame="0" * 64))))
    with pytest.raises(NotAttested, match="the frame that was signed is not the session's"):
        surface.attest_with_signature(*signed_elsewhere(key, tmp_path))


def test_a_statement_with_a_checkpoint_of_another_history_is_refused(ledger, surface, reviewer, keys, tmp_path):
    key = reviewer(ALICE)
    shown = surface.show(completed(ledger).session)
    completed(ledger)
    found = parse_statement(surface.state(shown, "accept", ALICE))
    log = KeyFolder(keys).log()
    trust = load_trust(keys / "self")
    fork = sign_checkpoint(Checkpoint(ledger.origin, 12, b"\x07" * 32), trust.log_for(ledger.origin), log.sign)
    (tmp_path / "statement.json").write_bytes(statement(replace(found, checkpoint=fork)))
    with pytest.raises(VerificationError, match="one history"):
        surface.attest_with_signature(*signed_elsewhere(key, tmp_path))
    foreign = fork.replace(fork.split(" ")[-1], "A" * 91 + "=\n")
    (tmp_path / "statement.json.sig").unlink()
    (tmp_path / "statement.json").write_bytes(statement(replace(found, checkpoint=foreign)))
    with pytest.raises(SignatureMismatch):
        surface.attest_with_signature(*signed_elsewhere(key, tmp_path))


@pytest.mark.parametrize("signature", [b"", b"\xff", b"-----BEGIN PGP SIGNATURE-----\n"])
def test_a_file_that_is_no_signature_is_refused(ledger, surface, signature):
    shown = surface.show(completed(ledger).session)
    with pytest.raises(EncodingError, match="not an armored SSH signature"):
        surface.attest_with_signature(surface.state(shown, "accept", ALICE), signature)


# --- erased, and a pinned reviewer's stored frame -----------------------------------------------------------------

def test_the_stored_frame_of_a_pinned_reviewer_comes_before_anybody_elses(ledger, surface, reviewer, path):
    key = reviewer(ALICE)
    builder = completed(ledger)
    shown = surface.show(builder.session)
    lie = ledger.content(b"safeloop frame v1\nall is well\n", "text/plain")
    surface.attest(builder.session, "mallory")
    data = ledger.rows(builder.session)[-1].data
    frame = hashlib.sha256(lie.data).hexdigest()
    builder.row("attestation", data | {"frame": frame, "frame_text": lie.commitment, "statement": "none"}, lie)
    surface.attest_signed(surface.show(builder.session), "accept", ALICE, sign=lambda each: sign_statement(each, key))
    with attacks.raw(path.with_name("ledger.content.db")) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?",
                    (bytes.fromhex(data["frame_text"]["salted_sha256"]),))
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?",
                    (bytes.fromhex(builder.rows[1].data["task"]["salted_sha256"]),))
    builder.erase(builder.rows[1].data["task"])
    again = surface.show(builder.session)
    assert again.text == shown.text
    assert again.stored_in is not None and again.stored_in.data["reviewer"] == ALICE
    with pytest.raises(NotAttested, match="erased"):
        surface.attest_signed(again, "accept", ALICE, sign=lambda each: sign_statement(each, key))


def test_the_moment_of_a_statement_is_the_surfaces_clock(ledger, path, keys):
    session = completed(ledger).session
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    surface = ReviewSurface(path, path, keys=keys, create=False, clock=lambda: moment)
    stated = parse_statement(surface.state(surface.show(session), "accept", ALICE))
    assert stated.stated_at == "2026-01-02T03:04:05.000006Z"
    assert surface.attest(session, ALICE).attested_at == stated.stated_at
