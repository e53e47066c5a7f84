"""A released bundle in the hands of somebody who may change it, and of an operator who has the ledger's keys."""

from __future__ import annotations

import hashlib
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from safeloop.ledger import seal
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.merkle import root as root_of
from safeloop.ledger.note import Checkpoint, Verifier, parse_checkpoint, sign_checkpoint
from safeloop.ledger.policy import Revocation
from safeloop.ledger.rows import parse_row
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.ledger.trust import REVIEW_NAMESPACE
from safeloop.review.attesting.sums import sums
from safeloop.review.releasing.policy import ReleasePolicy
from safeloop.review.verifying.folders import read_folder
from tests.ledger.witnessing import ONE, policy
from tests.review.attacks import Victim, rebuild
from tests.review.verifying.office import ALICE, BOB, Office

SINCE_ROW = "whether somebody rejected it since says the ledger alone"


def test_an_honest_release_is_verified_from_its_folder_alone(office: Office) -> None:
    folder = office.accepted()
    shutil.move(folder, office.out / "elsewhere")
    office.ledger.close()
    found = office.verify(office.out / "elsewhere", now=datetime.now(UTC))
    assert found.is_verified, found.faults
    assert found.exit_code == 0
    note = parse_checkpoint((office.out / "elsewhere/release/checkpoint.txt").read_text())
    assert (found.facts["ledger"], found.facts["size"], found.facts["row"]) == (note.origin, note.size, note.size)
    assert len(str(found.facts["session"])) == 36
    assert (found.facts["files"], found.facts["reviewers"]) == (["new\nline", "pages/a b.html", "report.md"], [ALICE])
    assert any("accepted this frame" in each for each in found.proved)
    assert any(SINCE_ROW in each for each in found.unproved)


def test_a_released_file_that_is_named_like_a_proof_is_a_file_like_any_other(office: Office) -> None:
    named = {"receipts/row-1.tlog-proof": (None, b"x"), "frame.txt": (None, b"y"), "checkpoint.txt": (None, b"z")}
    assert office.verify(office.accepted(files=named), now=datetime.now(UTC)).is_verified


@pytest.mark.parametrize("more", [{"output": None}, {"files": {}}, {"output": None, "files": {}}])
def test_a_release_without_files_or_without_an_answer_is_verified_too(office: Office, more: dict[str, None]) -> None:
    folder = office.accepted(**more)
    assert office.verify(folder, now=datetime.now(UTC)).is_verified


def write(path: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: ((folder / path).parent.mkdir(exist_ok=True, parents=True), (folder / path).write_bytes(data))[0]


def remove(pattern: str) -> Callable[[Path], None]:
    return lambda folder: next(iter(sorted(folder.glob(pattern)))).unlink()


def resum(folder: Path) -> None:
    """Put another file in place of a released one, and sums that are true of it."""
    (folder / "report.md").write_bytes(b"# Evil\n")
    names = ["new\nline", "pages/a b.html", "report.md"]
    (folder / "release/SHA256SUMS").write_bytes(sums((name, (folder / name).read_bytes()) for name in names))


def shorten(folder: Path) -> None:
    """Leave a file out, and out of the sums."""
    (folder / "report.md").unlink()
    names = ["new\nline", "pages/a b.html"]
    (folder / "release/SHA256SUMS").write_bytes(sums((name, (folder / name).read_bytes()) for name in names))


def swap_receipts(folder: Path) -> None:
    one, two, *_ = sorted((folder / "release/receipts").iterdir())
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


TAMPERED = [
    (write("report.md", b"# Titel\n"), "report.md is not the file that was released"),
    (remove("report.md"), "report.md was released, and is not here"),
    (write("added.sh", b"rm -rf /"), "added.sh is no part of the release"),
    (write("release/added.txt", b"x"), "release/added.txt is no part of the release"),
    (write("pages/.hidden", b"x"), "pages/.hidden is no part of the release"),
    (write("release/statement-2.json", b"{}"), "release/statement-2.json is no part of the release"),
    (write("release/receipts/row-99.tlog-proof", b"x"), "row-99.tlog-proof: not a receipt"),
    (write("release/receipts/row-1.tlog-proof", b"\xff"), "row-1.tlog-proof: it is not text"),
    (remove("release/statement-1.json"), "release/statement-1.json is missing"),
    (remove("release/statement-1.sig"), "release/statement-1.sig is missing"),
    (write("release/statement-1.json", b"{}"), "release/statement-1.json is not what its attestation row holds"),
    (write("release/statement-1.sig", b"x"), "release/statement-1.sig is not what its attestation row holds"),
    (write("release/frame.txt", b"safeloop frame v1\nall good\n"), "the frame that was signed is not the session's"),
    (remove("release/frame.txt"), "release/frame.txt is missing"),
    (write("release/output.txt", b"All is welL."), "the output that was signed is not the session's"),
    (remove("release/output.txt"), "release/output.txt is not what the session closed with"),
    (remove("release/SHA256SUMS"), "release/SHA256SUMS is missing"),
    (write("release/SHA256SUMS", b""), "the session closed with 3 files, and SHA256SUMS has 0"),
    (write("release/SHA256SUMS", b"\xff\n"), "SHA256SUMS is not UTF-8"),
    (write("release/SHA256SUMS", b"x\n"), "SHA256SUMS has a line that is not"),
    (write("release/SHA256SUMS", b"%s  ../etc/passwd\n" % (b"0" * 64)), "a name cannot hold empty parts"),
    (write("release/SHA256SUMS", b"%s  release/frame.txt\n" % (b"0" * 64)), "belongs to the proof"),
    (resum, "the SHA256SUMS that was signed is not the session's"),
    (shorten, "the session closed with 3 files, and SHA256SUMS has 2"),
    (remove("release/checkpoint.txt"), "release/checkpoint.txt is missing"),
    (write("release/checkpoint.txt", b"x"), "release/checkpoint.txt: not a signed note"),
    (swap_receipts, "is the receipt of row"),
    (lambda folder: shutil.rmtree(folder / "release/receipts"), "there is no receipt in release/receipts/"),
    (lambda folder: shutil.rmtree(folder / "release"), "there is no folder release/ with a proof in it"),
    (lambda folder: (shutil.rmtree(folder), folder.mkdir()), "there is no folder release/ with a proof in it"),
]


@pytest.mark.parametrize(("tamper", "reason"), TAMPERED, ids=[reason for _, reason in TAMPERED])
def test_a_bundle_with_anything_changed_added_or_taken_out_is_refused(
    office: Office, tamper: Callable[[Path], object], reason: str
) -> None:
    folder = office.accepted()
    tamper(folder)
    assert reason in "; ".join(office.reasons(folder))


@pytest.mark.parametrize("kind", ["spec", "open", "close", "attestation", "release"])
def test_no_receipt_can_be_left_out(office: Office, kind: str) -> None:
    session = office.session()
    office.decide(session)
    folder = office.release(session)
    (row,) = office.rows(session, kind)
    (folder / f"release/receipts/row-{row.id}.tlog-proof").unlink()
    reasons = {
        "spec": "before the session's close the bundle has receipts of open (row",
        "open": "before the session's close the bundle has receipts of spec (row",
        "close": "no receipt of the session's close", "attestation": "has no receipt: it could be a reject",
        "release": "is no release",
    }
    assert reasons[kind] in "; ".join(office.reasons(folder))


def test_the_statement_of_another_session_does_not_open_this_one(office: Office) -> None:
    first, second = office.session(), office.session()
    office.decide(first)
    office.decide(second)
    one, two = office.release(first, "one"), office.release(second, "two")
    for name in ("statement-1.json", "statement-1.sig"):
        shutil.copy(two / "release" / name, one / "release" / name)
    assert "release/statement-1.json is not what its attestation row holds" in office.reasons(one)
    # Not even with all that belongs to it, from the very same ledger.
    for name in ("frame.txt", "receipts"):
        target = one / "release" / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        source = two / "release" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    assert any("leads to another checkpoint" in each for each in office.reasons(one))


def test_receipts_of_two_sessions_do_not_mix(office: Office) -> None:
    first, second = office.session(), office.session()
    office.decide(first)
    folder = office.release(first)
    office.decide(second)
    office.put_receipts(folder, [*office.rows(first, "spec", "open"), *office.rows(second, "close"),
                                 *office.rows(first, "attestation", "release")])
    assert any(" is of session " in each for each in office.reasons(folder))


def test_a_reject_cannot_be_left_out_and_is_judged_by_the_reader_s_own_policy(office: Office) -> None:
    (office.trust_folder / "release.toml").write_text("any_reject_blocks = false\n")
    session = office.session()
    office.decide(session, "reject", BOB)
    office.decide(session)
    folder = office.release(session)
    assert office.verify(folder, now=datetime.now(UTC)).is_verified
    assert office.verify(folder, now=datetime.now(UTC), trust=office.trust(release_policy_text=None)).is_verified
    without_bob = tuple(line for line in office.trust().reviewers if BOB not in line.principals)
    found = office.verify(folder, now=datetime.now(UTC), trust=office.trust(reviewers=without_bob))
    assert found.is_verified and any("is not pinned as a key of bob@example.org" in each for each in found.unproved)
    strict = office.trust(release_policy_text="any_reject_blocks = true\n")
    assert any("bob@example.org rejected it" in each for each in office.reasons(folder, trust=strict))
    reject = office.rows(session, "attestation")[0]
    (folder / f"release/receipts/row-{reject.id}.tlog-proof").unlink()
    for trust in (strict, office.trust(), office.trust(release_policy_text=None)):
        assert any("it could be a reject" in each for each in office.reasons(folder, trust=trust))


def test_the_reader_s_own_policy_must_be_satisfied_too(office: Office) -> None:
    folder = office.accepted()
    two = office.trust(release_policy_text="accepts = 2\n")
    assert any("release.toml does not release it: 1 of 2 accepts" in each for each in office.reasons(folder, trust=two))
    assert office.verify(folder, trust=office.trust(release_policy_text="accepts = 1\n"), now=datetime.now(UTC)).is_verified


def forge(office: Office, session: str, folder: Path, **changes: object) -> None:
    """Write a second release row as the operator likes, and true receipts for it."""
    honest = office.rows(session, "release")[0]
    row = office.append(session, "release", honest.data | changes)
    rows = [each for each in office.rows(session) if each.kind in ("spec", "open") or each.n >= office.rows(session, "close")[0].n]
    assert rows[-1] == row
    office.put_receipts(folder, rows)


@pytest.mark.parametrize(("changes", "reason"), [
    ({"attestations": []}, "asks for 1 accepts, and the release rests on 0"),
    ({"attestations": ["0" * 64]}, "rests on an attestation that is not in the bundle"),
    ({"policy": "{}"}, "the policy is not an object with every key"),
    ({"policy": ReleasePolicy(accepts=2).canonical}, "1 of 2 accepts that count"),
    ({"file_count": 2}, "releases other files than the session closed with"),
    ({"policy": "[" * 40_000}, ": nested deeper than 16 levels"),
    ({"policy": '{"accepts":' + "9" * 5_000 + "}"}, "the policy of row 8: not JSON"),
])
def test_a_release_row_that_the_operator_wrote_by_hand_is_held_against_the_gate(
    office: Office, changes: dict[str, object], reason: str
) -> None:
    session = office.session()
    office.decide(session)
    folder = office.release(session)
    forge(office, session, folder, **changes)
    assert reason in "; ".join(office.reasons(folder))


def test_a_release_that_rests_on_a_signature_of_no_form_is_refused(office: Office) -> None:
    session = office.session()
    office.decide(session)
    folder = office.release(session)
    attested = office.rows(session, "attestation")[0]
    for signature in ("no armor", None):
        fake = office.append(session, "attestation", attested.data | {"signature": signature})
        forge(office, session, folder, attestations=[attested.leaf, fake.leaf])
        reasons = office.reasons(folder)
        assert any(f"rests on row {fake.id}, which is no accept that counts now" in each for each in reasons)


def test_a_statement_deeper_than_any_stack_is_no_accept(office: Office) -> None:
    session = office.session()
    office.decide(session)
    folder = office.release(session)
    attested = office.rows(session, "attestation")[0]
    deep = office.append(session, "attestation", attested.data | {"statement": "[" * 50_000})
    forge(office, session, folder, attestations=[deep.leaf])
    assert any(f"rests on row {deep.id}, which is no accept" in each for each in office.reasons(folder))


def test_names_that_share_no_folder_do_not_fill_the_memory(office: Office) -> None:
    folder = office.accepted()
    names = sorted(f"{number:06}/{'a/' * 1_400}b" for number in range(300))
    (folder / "release/SHA256SUMS").write_text("".join(f"{'0' * 64}  {name}\n" for name in names))
    tracemalloc.start()
    try:
        assert any("was released, and is not here" in each for each in office.reasons(folder))
        assert tracemalloc.get_traced_memory()[1] < 20_000_000  # every folder of every name: thirty times as much
    finally:
        tracemalloc.stop()


def test_rewritten_receipts_of_the_honest_rows_are_as_good_as_the_first(office: Office) -> None:
    session = office.session()
    office.decide(session)
    folder = office.release(session)
    forge(office, session, folder)
    assert office.verify(folder, now=datetime.now(UTC)).is_verified  # or the attacks above would prove nothing


def test_a_row_that_voids_the_session_after_its_close_voids_the_release(office: Office) -> None:
    session = office.session()
    office.decide(session)
    folder = office.release(session)
    turn = office.rows(session, "turn")[0]
    office.append(session, "turn", turn.data)
    forge(office, session, folder)
    assert any("came after the session's close" in each for each in office.reasons(folder))


def test_a_row_before_the_release_that_is_not_understood_may_be_a_reject(office: Office) -> None:
    folder = office.accepted()
    office.ledger.close()
    victim = Victim(Path(office.ledger.db_path), office.keys)
    rows, last = victim.sealed(), victim.bodies()[-1]
    unknown = victim.seal(last | {"kind": "prophecy", "data": {"says": "no"}})
    release = victim.seal(last | {"n": last["n"] + 1, "prev": seal.leaf(*unknown).hex()})
    for put in ([unknown, release], [victim.seal(last)]):  # the second time as it was: or the first would prove nothing
        rebuild(victim, [*rows[:-1], *put], log=victim.log)
        parsed = [parse_row(idx, *sealed) for idx, sealed in enumerate(victim.sealed())]
        office.put_receipts(folder, [row for row in parsed if row.kind not in ("intent", "turn")])
        if len(put) == 2:
            assert "does not know rows of kind prophecy" in "; ".join(office.reasons(folder))
    assert office.verify(folder, now=datetime.now(UTC)).is_verified


def test_an_accept_by_the_operator_s_own_key_opens_nothing(office: Office) -> None:
    folder = office.accepted()
    trust = office.trust()
    (line,) = trust.reviewers
    as_writer = replace(trust, writers=dict(trust.writers) | {key_id(line.key.raw): replace(line, namespaces=None)})
    assert any("the operator's own key" in each for each in office.reasons(folder, trust=as_writer))


@pytest.mark.parametrize(("change", "reason"), [
    (lambda line: None, "is not pinned as a key of alice"),
    (lambda line: replace(line, valid_before=datetime.now(UTC) - timedelta(seconds=1)), "not for reviews at this time"),
    (lambda line: replace(line, valid_after=datetime.now(UTC) + timedelta(days=1)), "not for reviews at this time"),
    (lambda line: replace(line, namespaces=("git",)), "not for reviews at this time"),
    (lambda line: replace(line, principals=("mallory@example.org",)), "is not pinned as a key of alice"),
    (lambda line: replace(line, key=PublicKey(PLAIN, bytes([9]) * 32)), "is not pinned as a key of alice"),
])
def test_a_reviewer_s_key_is_judged_now_and_refused_with_the_reason(
    office: Office, change: Callable[..., object], reason: str
) -> None:
    folder = office.accepted()
    trust = office.trust()
    changed = replace(trust, reviewers=tuple(filter(None, map(change, trust.reviewers))))
    assert reason in "; ".join(office.reasons(folder, trust=changed))


def test_one_key_under_two_names_is_one_accept(office: Office) -> None:
    session = office.session()
    office.decide(session)
    trust = office.trust()
    (line,) = trust.reviewers
    names = f'{BOB} namespaces="{REVIEW_NAMESPACE}" {line.key.openssh}\n'
    (office.trust_folder / "reviewers").write_text((office.trust_folder / "reviewers").read_text() + names)
    office._ssh[BOB] = office.ssh(ALICE)
    office.decide(session, person=BOB)
    folder = office.release(session)
    assert office.verify(folder, now=datetime.now(UTC)).is_verified
    two = office.trust(release_policy_text="accepts = 2\n")
    assert any("1 of 2 accepts" in each for each in office.reasons(folder, trust=two))


def test_a_writer_who_was_revoked_before_a_row_of_the_release_is_refused(office: Office) -> None:
    session = office.session()
    office.decide(session)
    folder = office.release(session)
    close = office.rows(session, "close")[0]
    writer = key_id(KeyFolder(office.keys).writer().public)
    trust = office.trust(revoked=(Revocation(writer, office.ledger.origin, close.idx),))
    assert any(f"was revoked from row {close.id} on" in each for each in office.reasons(folder, trust=trust))


def test_a_bundle_of_a_ledger_that_is_not_pinned_is_refused_with_the_line_that_is_missing(office: Office) -> None:
    folder = office.accepted()
    trust = office.trust()
    found = office.verify(folder, trust=replace(trust, policy=replace(trust.policy, logs={})))
    assert not found.is_verified
    assert "pins no log of this origin" in found.faults[0].message
    assert "log VKEY" in found.faults[0].hint
    unpinned = [each for each in found.faults if "pins no log" in each.message]
    assert len(unpinned) == 6 and all("log VKEY" in each.hint for each in unpinned)


def test_a_kept_checkpoint_of_another_history_is_held_against_the_bundle(office: Office) -> None:
    folder = office.accepted()
    note = (folder / "release/checkpoint.txt").read_text()
    size = parse_checkpoint(note).size
    log = Verifier(office.ledger.origin, KeyFolder(office.keys).log().public)
    fork = sign_checkpoint(Checkpoint(log.name, size, root_of([])), log, KeyFolder(office.keys).log().sign)
    assert any("two histories" in each for each in office.reasons(folder, fork))
    assert office.verify(folder, note, now=datetime.now(UTC)).is_verified


def test_a_kept_checkpoint_of_another_ledger_is_not_passed_over(office: Office) -> None:
    folder = office.accepted()
    log = Verifier("other.example/log", KeyFolder(office.keys).log().public)
    other = sign_checkpoint(Checkpoint(log.name, 3, bytes(32)), log, KeyFolder(office.keys).log().sign)
    trust = office.trust()
    both = replace(trust, policy=replace(trust.policy, logs={**trust.policy.logs, log.name: (log,)}))
    assert f"checkpoint 1 is of other.example/log, not of {office.ledger.origin}" in office.reasons(folder, other, trust=both)


def test_a_quorum_is_asked_of_the_bundle_s_checkpoint(office: Office) -> None:
    folder = office.accepted()
    log = Verifier(office.ledger.origin, KeyFolder(office.keys).log().public)
    trust = office.trust(policy=policy("one", log))
    assert any("demands the quorum one" in each for each in office.reasons(folder, trust=trust))
    (fault,) = office.verify(folder, trust=trust, now=datetime.now(UTC)).faults
    assert "release/checkpoint.txt" in fault.hint and "of another size does not" in fault.hint
    checkpoint = folder / "release/checkpoint.txt"
    cosigned = checkpoint.read_text() + ONE.line(checkpoint.read_text())
    assert office.verify(folder, cosigned, trust=trust, now=datetime.now(UTC)).is_verified
    checkpoint.write_text(checkpoint.read_text() + ONE.line(checkpoint.read_text()))
    assert office.verify(folder, trust=trust, now=datetime.now(UTC)).is_verified


def test_the_digest_that_is_told_is_sha256sum_s(office: Office) -> None:
    found = read_folder(office.accepted())["report.md"]
    assert (found.sha256, found.size, found.data) == (hashlib.sha256(b"# Title\n").hexdigest(), 8, None)
