"""Every way in which a release is refused: with exit code 12, a reason of its own, and the command that comes next."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from safeloop.errors import ExitCode, NotAttested, SettingError
from safeloop.ledger import Draft, Ledger, sshsig
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.policy import Revocation
from safeloop.ledger.sshsig import parse_public_key
from safeloop.ledger.trust import REVIEW_NAMESPACE, add_reviewer, load_trust, revoke
from safeloop.review import ReviewSurface
from safeloop.review.attesting.attestation import parse_statement, statement
from safeloop.review.attesting.signers import sign_statement
from safeloop.review.releasing.release import release
from safeloop.spec.dry_run import marked
from tests.review.attacks import Victim, found
from tests.review.sessions import SessionBuilder
from tests.review.verifying.office import ALICE, BOB, Office

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def office(ledger: Ledger, keys: Path, reviewer: Callable[..., Path], tmp_path: Path) -> Office:
    (tmp_path / "releases").mkdir()
    return Office(ledger, keys, reviewer, tmp_path / "releases")


def reviewers(office: Office, change: Callable[[str], str]) -> None:
    file = office.trust_folder / "reviewers"
    file.write_text(change(file.read_text()))


def limit(office: Office, option: str, moment: datetime) -> None:
    reviewers(office, lambda text: text.replace("namespaces=", f'{option}="{moment:%Y%m%d%H%M%S}Z",namespaces='))


def revoke_alice(office: Office, size: int) -> None:
    raw = parse_public_key(office.ssh(ALICE).with_suffix(".pub").read_text()).raw
    revoke(office.trust_folder, Revocation(key_id(raw), office.ledger.origin, size))


def accepted(office: Office) -> str:
    session = office.session()
    office.decide(session)
    return session


def ended(office: Office, outcome: str) -> str:
    builder = SessionBuilder(office.ledger).spec().open().turn()
    if outcome != "open":
        builder.close(outcome)
    if outcome not in ("open", "suspended"):
        office.decide(builder.session)
    return builder.session


def attest_as(office: Office, session: str, at: datetime, decision: str = "accept", person: str = ALICE) -> None:
    """Attest by a clock of one's own."""
    path, key = office.ledger.db_path, office.ssh(person)
    surface = ReviewSurface(path, path, keys=office.keys, create=False, clock=lambda: at)
    surface.attest_signed(surface.show(session), decision, person, sign=lambda data: sign_statement(data, key))


# Scenes: each makes a session that nobody may have.


def nobody_decided(office: Office) -> str:
    return office.session()


def unsigned(office: Office) -> str:
    session = office.session()
    office.surface.attest(session, ALICE, "looks fine")
    return session


def voided(office: Office) -> str:
    builder = SessionBuilder(office.ledger).spec().open().turn().close()
    office.decide(builder.session)
    return builder.turn("one more thing").session


def expired(office: Office) -> str:
    session = accepted(office)
    limit(office, "valid-before", datetime.now(UTC) - timedelta(seconds=5))
    return session


def not_valid_yet(office: Office) -> str:
    session = accepted(office)
    limit(office, "valid-after", datetime.now(UTC) + DAY)
    return session


def for_another_purpose(office: Office) -> str:
    session = accepted(office)
    reviewers(office, lambda text: text.replace("safeloop-review,", ""))
    return session


def pinned_no_longer(office: Office) -> str:
    session = accepted(office)
    reviewers(office, lambda text: "")
    return session


def pinned_as_somebody_else(office: Office) -> str:
    session = accepted(office)
    reviewers(office, lambda text: text.replace(ALICE, BOB))
    return session


def revoked_before_it_signed(office: Office) -> str:
    session = accepted(office)
    revoke_alice(office, office.rows(session, "attestation")[0].idx)
    return session


def operators_own_key(office: Office) -> str:
    session = accepted(office)
    public = office.ssh(ALICE).with_suffix(".pub").read_text()
    writers = office.trust_folder / "writers"
    writers.write_text(f"{writers.read_text()}spare-writer {' '.join(public.split()[:2])}\n")
    return session


def signed_by_the_log(office: Office) -> str:
    """The operator states what Alice stated, in Alice's name, and signs it with the ledger's own log key."""
    session = accepted(office)
    data = office.rows(session, "attestation")[0].data
    stated = replace(parse_statement(data["statement"].encode()), reviewer=BOB)
    text = statement(stated)
    log = load_pem_private_key((office.keys / "log.pem").read_bytes(), None)
    assert isinstance(log, Ed25519PrivateKey)
    signature = sshsig.sign(log, REVIEW_NAMESPACE, text)
    office.append(session, "attestation", data | {"reviewer": BOB, "statement": text.decode(), "signature": signature})
    (office.trust_folder / "release.toml").write_text("accepts = 2\n")
    return session


def two_wanted_one_key_twice(office: Office) -> str:
    session = accepted(office)
    public = office.ssh(ALICE).with_suffix(".pub").read_text()
    add_reviewer(office.trust_folder, BOB, public)
    office._ssh[BOB] = office.ssh(ALICE)
    office.decide(session, person=BOB)
    (office.trust_folder / "release.toml").write_text("accepts = 2\n")
    return session


def rejected(office: Office) -> str:
    session = accepted(office)
    office.decide(session, "reject", BOB)
    return session


def rejected_by_a_key_that_expired_since(office: Office) -> str:
    session = rejected(office)
    file = office.trust_folder / "reviewers"
    until = datetime.now(UTC) + DAY
    file.write_text("".join(
        line.replace("namespaces=", f'valid-before="{until:%Y%m%d%H%M%S}Z",namespaces=') if BOB in line else line
        for line in file.read_text().splitlines(keepends=True)
    ))
    return session


def taken_back(office: Office) -> str:
    session = accepted(office)
    office.decide(session, "reject")
    return session


def moved_from_another_session(office: Office) -> str:
    first, second = accepted(office), office.session()
    office.append(second, "attestation", office.rows(first, "attestation")[0].data)
    return second


def stated_tomorrow(office: Office) -> str:
    session = office.session()
    attest_as(office, session, datetime.now(UTC) + DAY)
    return session


def ungoverned(office: Office) -> str:
    builder = SessionBuilder(office.ledger).spec()
    office.ledger.write(builder.session, 1, "llm", "task", 10, 5, True)
    office.decide(builder.session)
    return builder.session


def dry_run(office: Office) -> str:
    builder = SessionBuilder(office.ledger).spec().open(software=marked("safeloop 0.1.0"))
    return builder.turn().close("failed", reason="dry run: completed").session


REFUSALS: list[tuple[Callable[[Office], str], str, str]] = [
    (nobody_decided, "0 of 1 accepts that count", "safeloop attest"),
    (unsigned, "it is not signed", "safeloop attest"),
    (voided, "came after the session's close", "safeloop log"),
    (expired, "it expired at 20", "safeloop trust add-reviewer alice@example.org"),
    (not_valid_yet, "it is valid from 20", "safeloop attest"),
    (for_another_purpose, "for safeloop-approval only", "safeloop attest"),
    (pinned_no_longer, "is not pinned as a key of alice", "safeloop trust add-reviewer alice@example.org KEY.pub"),
    (pinned_as_somebody_else, "is not pinned as a key of alice", "--as"),
    (revoked_before_it_signed, "is revoked for all rows after the first", "safeloop trust add-reviewer"),
    (operators_own_key, "is the operator's own key", "safeloop trust add-reviewer"),
    (signed_by_the_log, "is the operator's own key", "safeloop trust add-reviewer bob@example.org"),
    (two_wanted_one_key_twice, "alice@example.org and bob@example.org signed with one key", "safeloop attest"),
    (rejected, "bob@example.org rejected it in row", "safeloop review"),
    (rejected_by_a_key_that_expired_since, "bob@example.org rejected it in row", "safeloop review"),
    (taken_back, "alice@example.org rejected it in row", "safeloop review"),
    (moved_from_another_session, "made for another ledger or session", "safeloop attest"),
    (stated_tomorrow, "it is stated at 20", "safeloop attest"),
    (ungoverned, "is ungoverned", "safeloop run"),
    (dry_run, "was a dry run, which is never released", "safeloop run"),
    (lambda office: ended(office, "breached"), "ended as breached, which the policy does not", "accept_breach = true"),
    (lambda office: ended(office, "unmet"), "ended as unmet, which the policy does not", "accept_unmet = true"),
    (lambda office: ended(office, "failed"), "ended as failed, which is never released", "safeloop run"),
    (lambda office: ended(office, "refused"), "ended as refused, which is never released", "safeloop run"),
    (lambda office: ended(office, "open"), "opened and not closed", "safeloop "),
    (lambda office: ended(office, "suspended"), "not closed", "safeloop "),
]


@pytest.mark.parametrize(("scene", "reason", "step"), REFUSALS, ids=[reason[:40] for _, reason, _ in REFUSALS])
def test_what_may_not_leave_is_refused_with_its_own_reason_and_the_next_command(
    office: Office, scene: Callable[[Office], str], reason: str, step: str
) -> None:
    session = scene(office)
    later = datetime.now(UTC) + (2 * DAY if scene is rejected_by_a_key_that_expired_since else timedelta())
    with pytest.raises(NotAttested) as refused:
        release(office.ledger, office.trust(), session, office.out / "out", clock=lambda: later)
    assert refused.value.exit_code == ExitCode.NOT_ATTESTED == 12
    assert reason in refused.value.message
    assert step in refused.value.hint
    assert office.rows(session, "release") == []
    assert list(office.out.iterdir()) == []


def test_where_no_accept_can_help_no_attest_is_asked_for(office: Office) -> None:
    for scene in (voided, ungoverned, dry_run):
        with pytest.raises(NotAttested) as refused:
            office.release(scene(office))
        assert "safeloop attest" not in refused.value.hint


# What is not to be refused: or the refusals above would prove nothing.


def test_a_person_with_two_keys_is_two_accepts_because_keys_are_counted(office: Office, tmp_path: Path) -> None:
    session = accepted(office)
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    add_reviewer(office.trust_folder, ALICE, other.with_suffix(".pub").read_text(), addition=True)
    (office.trust_folder / "release.toml").write_text("accepts = 2\n")
    with pytest.raises(NotAttested, match="1 of 2 accepts"):
        office.release(session)
    office._ssh[ALICE] = other
    office.decide(session)
    folder = office.release(session)
    assert office.verify(folder, now=datetime.now(UTC)).is_verified


def test_a_key_that_is_revoked_from_a_later_row_on_still_speaks_for_what_it_signed(office: Office) -> None:
    session = accepted(office)
    revoke_alice(office, office.rows(session, "attestation")[0].idx + 1)
    folder = office.release(session)
    assert office.verify(folder, now=datetime.now(UTC)).is_verified
    revoke_alice(office, office.rows(session, "attestation")[0].idx)
    assert any("is revoked for all rows after" in each for each in office.reasons(folder))


def test_an_audit_finds_a_release_that_rests_on_a_key_revoked_before_it_signed(office: Office) -> None:
    session = accepted(office)
    office.release(session)
    row = office.rows(session, "release")[0]
    victim = Victim(Path(office.ledger.db_path), office.keys)
    assert ("release", row.id) not in found(victim.audit(trust=office.trust()))
    revoke_alice(office, office.rows(session, "attestation")[0].idx)
    assert ("release", row.id) in found(victim.audit(trust=office.trust()))


def test_a_reject_that_a_revoked_key_signed_after_its_revocation_stops_nobody(office: Office) -> None:
    session = office.session()
    office.decide(session, person=BOB)
    office.decide(session, "reject")
    with pytest.raises(NotAttested, match="rejected it"):
        office.release(session)
    revoke_alice(office, office.rows(session, "attestation")[1].idx)
    assert office.release(session).is_dir()


def test_a_statement_of_tomorrow_counts_tomorrow(office: Office) -> None:
    session = stated_tomorrow(office)
    tomorrow = datetime.now(UTC) + DAY
    assert release(office.ledger, office.trust(), session, office.out / "out", clock=lambda: tomorrow).row


def test_a_reviewer_whose_clock_is_minutes_ahead_is_not_from_the_future(office: Office) -> None:
    session = office.session()
    attest_as(office, session, datetime.now(UTC) + timedelta(minutes=4))
    assert office.release(session).is_dir()


def test_an_accept_dated_ahead_does_not_overrule_the_reject_that_its_reviewer_signs_afterwards(office: Office) -> None:
    """The operator holds an accept back, and puts it behind the reject: dated ahead, it would be the newer one."""
    session = office.session()
    (office.trust_folder / "release.toml").write_text("any_reject_blocks = false\n")
    key = office.ssh(ALICE)
    path = office.ledger.db_path
    surface = ReviewSurface(path, path, keys=office.keys, create=False, clock=lambda: datetime.now(UTC) + 9 * DAY)
    ahead = surface.state(surface.show(session), "accept", ALICE)
    signature = sign_statement(ahead, key)
    office.decide(session, "reject")
    with pytest.raises(NotAttested, match="would count for nothing: it is stated at 20"):
        office.surface.attest_with_signature(ahead, signature.encode())
    by_hand(office, session, ahead, signature)
    with pytest.raises(NotAttested, match="it is stated at 20"):
        office.release(session)


def by_hand(office: Office, session: str, stated: bytes, signature: str) -> None:
    """Write a row of a decision past the check that it would count, as whoever has the writer's key can."""
    said = parse_statement(stated)
    text = office.ledger.content(office.surface.show(session).data, "text/plain")
    draft = Draft(session, "attestation", {
        "decision": said.decision, "reviewer": said.reviewer, "frame": said.digests.frame, "frame_text": text.commitment,
        "notes": said.notes, "statement": stated.decode(), "signature": signature,
    }, (text,))
    office.ledger.append(lambda _: [draft])


def stated_at(office: Office, session: str, at: datetime, decision: str = "accept") -> tuple[bytes, str]:
    """Return a decision that is stated at another moment, and its signature."""
    path = office.ledger.db_path
    surface = ReviewSurface(path, path, keys=office.keys, create=False, clock=lambda: at)
    stated = surface.state(surface.show(session), decision, ALICE)
    return stated, sign_statement(stated, office.ssh(ALICE))


def test_an_accept_dated_ahead_is_refused_and_its_reviewer_signs_again(office: Office) -> None:
    session = office.session()
    stated, signature = stated_at(office, session, datetime.now(UTC) + 200 * DAY)
    before = len(office.rows(session, "attestation"))
    with pytest.raises(NotAttested, match="it is stated at 20") as refused:
        office.surface.attest_with_signature(stated, signature.encode())
    assert f"safeloop attest {session} --as {ALICE}" in refused.value.hint
    assert len(office.rows(session, "attestation")) == before
    office.decide(session)
    assert office.release(session).is_dir()


def test_an_accept_dated_ahead_that_is_a_row_already_locks_nobody_out(office: Office) -> None:
    session = office.session()
    by_hand(office, session, *stated_at(office, session, datetime.now(UTC) + DAY))
    office.decide(session)
    assert office.release(session).is_dir()


def test_a_copy_of_what_was_dated_ahead_cannot_be_put_behind_a_reject_when_its_day_has_come(office: Office) -> None:
    session = office.session()
    (office.trust_folder / "release.toml").write_text("any_reject_blocks = false\n")
    ahead = stated_at(office, session, datetime.now(UTC) + DAY)
    by_hand(office, session, *ahead)
    office.decide(session, "reject")
    by_hand(office, session, *ahead)
    late = datetime.now(UTC) + 2 * DAY
    with pytest.raises(NotAttested, match="the same key signed row"):
        release(office.ledger, office.trust(), session, office.out / "out", clock=lambda: late)


def test_a_reject_dated_ahead_is_recorded_and_says_from_when_its_reviewer_can_accept(office: Office) -> None:
    session = office.session()
    stated, signature = stated_at(office, session, datetime.now(UTC) + DAY, "reject")
    assert office.surface.attest_with_signature(stated, signature.encode()).id
    with pytest.raises(NotAttested, match="which was stated no earlier") as refused:
        office.decide(session)
    assert "sign after that, or with another pinned key" in refused.value.hint


def test_a_moment_that_is_none_is_not_before_now(office: Office) -> None:
    session = accepted(office)
    data = office.rows(session, "attestation")[0].data
    (office.trust_folder / "release.toml").write_text("accepts = 2\n")
    stated = replace(parse_statement(data["statement"].encode()), reviewer=BOB, stated_at="2026-99-99T00:00:00.000000Z")
    signature = sign_statement(statement(stated), office.ssh(BOB))
    changes = {"reviewer": BOB, "statement": statement(stated).decode(), "signature": signature}
    office.append(session, "attestation", data | changes)
    with pytest.raises(NotAttested, match="it is stated at no moment"):
        office.release(session)


def test_a_reject_that_is_no_statement_stops_nobody(office: Office) -> None:
    session = accepted(office)
    data = office.rows(session, "attestation")[0].data
    office.append(session, "attestation", data | {"decision": "reject", "statement": "no"})
    assert office.release(session).is_dir()


def test_a_clock_that_is_set_back_revives_no_key_that_has_expired(office: Office) -> None:
    session = accepted(office)
    now = datetime.now(UTC)
    limit(office, "valid-before", now - HOUR)
    with pytest.raises(NotAttested, match=f"it expired at .*, and this clock says {now - DAY:%Y-%m-%d}"):
        release(office.ledger, office.trust(), session, office.out / "out", clock=lambda: now - DAY)


def test_a_bundle_is_not_verified_with_a_key_that_had_expired_by_the_rows_though_the_clock_was_set_back(
    office: Office
) -> None:
    folder = office.release(accepted(office))
    now = datetime.now(UTC)
    limit(office, "valid-before", now - HOUR)
    for clock in (now, now - DAY):
        found = office.verify(folder, now=clock)
        assert not found.is_verified
        assert any("it expired at" in each.message for each in found.faults)


@pytest.mark.parametrize("place", ["new", "self/new", "self/release.toml"])
def test_what_a_model_wrote_never_comes_to_lie_among_keys_or_pins(office: Office, place: str) -> None:
    session = accepted(office)
    with pytest.raises(SettingError, match="lies among keys or pins") as refused:
        release(office.ledger, office.trust(), session, office.keys / place)
    assert "safeloop release SESSION --to DIR" in refused.value.hint
    assert office.rows(session, "release") == []


def test_nor_among_the_keys_whatever_pins_were_named(office: Office, tmp_path: Path) -> None:
    """A copy of the pins, in a folder of another name: the keys that write this ledger are its key folder's all the same."""
    session = accepted(office)
    shutil.copytree(office.trust_folder, tmp_path / "pins")
    for place in (office.keys / "new", office.keys / "self" / "new", tmp_path / "pins" / "new"):
        with pytest.raises(SettingError, match="lies among keys or pins"):
            release(office.ledger, load_trust(tmp_path / "pins"), session, place)
    assert office.rows(session, "release") == []


def test_beside_a_folder_of_pins_is_not_among_them_whatever_its_name_is(office: Office, tmp_path: Path) -> None:
    session = accepted(office)
    shutil.copytree(office.trust_folder, tmp_path / "home" / "self")
    trust = load_trust(tmp_path / "home" / "self")
    with pytest.raises(SettingError, match="lies among keys or pins"):
        release(office.ledger, trust, session, tmp_path / "home" / "self" / "new")
    assert release(office.ledger, trust, session, tmp_path / "home" / "new").destination.is_dir()


def test_nor_where_a_key_lies_that_is_a_link(office: Office, tmp_path: Path) -> None:
    session = accepted(office)
    (office.keys / "log.pem").rename(tmp_path / "vault.pem")
    (office.keys / "log.pem").symlink_to(tmp_path / "vault.pem")
    with contextlib.closing(Ledger(office.ledger.db_path, keys=office.keys, create=False)) as ledger:
        with pytest.raises(SettingError, match="lies among keys or pins"):
            release(ledger, office.trust(), session, tmp_path / "vault.pem")


def test_nor_among_the_pins_that_were_named_by_a_link(office: Office, tmp_path: Path) -> None:
    session = accepted(office)
    pins, link = tmp_path / "pins", tmp_path / "link"
    office.trust_folder.rename(pins)
    link.symlink_to(pins)
    for trust, to in ((link, pins), (pins, link), (pins, pins)):
        with pytest.raises(SettingError, match="lies among keys or pins"):
            release(office.ledger, load_trust(trust), session, to / "new")
