from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from safeloop.errors import (
    KeyUnusable,
    LedgerLocked,
    NotAttested,
    SessionNotFoundError,
    SettingError,
    VerificationError,
)
from safeloop.ledger import Draft, Ledger, Row, parse
from safeloop.ledger.note import parse_receipt, verify_checkpoint, verify_receipt
from safeloop.ledger.rows import parse_row
from safeloop.ledger.store.contents import content_path
from safeloop.review import ReviewSurface
from safeloop.review.attesting.signers import sign_statement
from safeloop.review.releasing.bundle import require_plain_names
from safeloop.review.releasing.placing import held, is_bundle
from safeloop.review.releasing.policy import ReleasePolicy
from safeloop.review.releasing.release import Released, release
from safeloop.review.target import target_of
from tests.review.sessions import Files, SessionBuilder, completed

ALICE, BOB = "alice@example.org", "bob@example.org"
Reviewer = Callable[..., Path]


class Office:
    """A ledger, a reviewer with a key, and a way to decide and to release."""

    def __init__(self, ledger: Ledger, surface: ReviewSurface, reviewer: Reviewer, keys: Path, out: Path) -> None:
        self.ledger, self.surface, self.reviewer, self.keys, self.out = ledger, surface, reviewer, keys, out
        self._ssh: dict[str, Path] = {}

    def decide(self, session: str, decision: str = "accept", person: str = ALICE) -> None:
        key = self._ssh.get(person) or self.reviewer(person)
        self._ssh[person] = key
        shown = self.surface.show(session)
        self.surface.attest_signed(shown, decision, person, sign=lambda data: sign_statement(data, key))

    def accepted(self, files: Files | None = None, output: str | None = "All is well.") -> str:
        """A completed session with these files, accepted by Alice."""
        builder = SessionBuilder(self.ledger).spec().open().turn().close(output=output, files=files)
        self.decide(builder.session)
        return builder.session

    def release(self, session: str, to: str | Path = "out", *, force: bool = False) -> Released:
        return release(self.ledger, self.surface.trust(), session, self.out / to, force=force)

    def rows(self, session: str, kind: str = "release") -> list[Row]:
        return [row for row in self.ledger.rows(session) if row.kind == kind]

    def policy(self, text: str) -> None:
        (self.keys / "self" / "release.toml").write_text(text)


@pytest.fixture
def office(ledger: Ledger, surface: ReviewSurface, reviewer: Reviewer, keys: Path, tmp_path: Path) -> Office:
    out = tmp_path / "releases"
    out.mkdir()
    return Office(ledger, surface, reviewer, keys, out)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FILES: Files = {"report.md": (None, b"# Title\n"), "pages/a b.html": (b"old", b"\xff\x00new"), "empty": (None, b"")}


def test_the_bundle_has_the_files_and_the_proof_and_nothing_else(office: Office) -> None:
    session = office.accepted(FILES)
    done = office.release(session)
    rows = {row.kind: row.id for row in office.ledger.rows(session)}
    receipts = {f"release/receipts/row-{rows[kind]}.tlog-proof"
                for kind in ("spec", "open", "close", "attestation", "release")}
    assert tree(done.destination).keys() == receipts | {
        "report.md", "pages/a b.html", "empty", "release/frame.txt", "release/SHA256SUMS", "release/output.txt",
        "release/statement-1.json", "release/statement-1.sig", "release/checkpoint.txt",
    }
    names = ("empty", "pages/a b.html", "report.md")
    assert done == Released(session, rows["release"], office.out / "out", names, False)
    assert done.file_count == 3
    assert (done.destination / "pages/a b.html").read_bytes() == b"\xff\x00new"
    assert (done.destination / "release/output.txt").read_text() == "All is well."
    assert [path.name for path in office.out.iterdir()] == ["out"]


def test_the_release_row_states_what_was_released_where_under_which_policy_and_on_whose_word(office: Office) -> None:
    session = office.accepted(FILES)
    office.release(session)
    (row,) = office.rows(session)
    (close,), (attested,) = office.rows(session, "close"), office.rows(session, "attestation")
    assert row.data == {
        "attestations": [attested.leaf], "policy": ReleasePolicy().canonical, "files": close.data["files"],
        "file_count": 3, "destination": str(office.out / "out"),
    }
    listing = office.ledger.read_content(row.data["files"])
    assert listing is not None
    assert [entry["name"] for entry in parse(listing)] == ["empty", "pages/a b.html", "report.md"]


def test_sha256sum_accepts_the_files_from_the_bundles_own_folder(office: Office) -> None:
    session = office.accepted(FILES | {"new\nline \\ back": (None, b"x")})
    done = office.release(session)
    command = ["sha256sum", "--check", "--strict", "release/SHA256SUMS"]
    assert subprocess.run(command, cwd=done.destination, check=True, capture_output=True).stdout.count(b": OK") == 4
    (done.destination / "report.md").write_bytes(b"# Tidle\n")
    assert subprocess.run(command, cwd=done.destination, check=False, capture_output=True).returncode == 1


def test_ssh_keygen_accepts_the_statement_and_its_subjects_are_the_bundles_documents(office: Office) -> None:
    session = office.accepted(FILES)
    proof = office.release(session).destination / "release"
    command = ["ssh-keygen", "-Y", "verify", "-f", str(office.keys / "self" / "reviewers"), "-I", ALICE, "-n",
               "safeloop-review", "-s", str(proof / "statement-1.sig")]
    stated = (proof / "statement-1.json").read_bytes()
    assert subprocess.run(command, input=stated, check=True, capture_output=True).stdout.startswith(b"Good")
    assert subprocess.run(command, input=stated + b" ", check=False, capture_output=True).returncode != 0
    for name in ("frame.txt", "SHA256SUMS", "output.txt"):
        digest = subprocess.run(["sha256sum", proof / name], check=True, capture_output=True, text=True).stdout[:64]
        assert f'{{"digest":{{"sha256":"{digest}"}},"name":"{name}"}}'.encode() in stated


def test_each_receipt_proves_its_row_under_the_checkpoint_of_the_bundle(office: Office) -> None:
    session = office.accepted(FILES)
    for _ in range(5):
        completed(office.ledger)
    done = office.release(session)
    proof, log = done.destination / "release", office.surface.trust().log_for(office.ledger.origin)
    note = (proof / "checkpoint.txt").read_text()
    assert verify_checkpoint(note, log).size == done.row
    for file in (proof / "receipts").iterdir():
        receipt = parse_receipt(file.read_text())
        assert verify_receipt(receipt, log).size == done.row
        assert receipt.note == note
        row = parse_row(receipt.index, receipt.body, receipt.signature)
        assert (row.session, file.name) == (session, f"row-{row.id}.tlog-proof")


def test_a_session_without_files_or_answer_releases_its_proof_alone(office: Office) -> None:
    done = office.release(office.accepted(output=None))
    assert done.files == ()
    assert (done.destination / "release/SHA256SUMS").read_bytes() == b""
    assert not (done.destination / "release/output.txt").exists()


def test_a_staged_file_named_like_a_document_of_the_proof_takes_no_place_of_it(office: Office) -> None:
    session = office.accepted({"output.txt": (None, b"staged"), "SHA256SUMS": (None, b"also staged")})
    folder = office.release(session).destination
    assert (folder / "output.txt").read_bytes() == b"staged"
    assert (folder / "release/output.txt").read_bytes() == b"All is well."
    assert (folder / "SHA256SUMS").read_bytes() == b"also staged"


def test_all_who_accepted_are_in_the_bundle_in_the_order_of_their_rows(office: Office) -> None:
    office.policy("accepts = 2\n")
    session = office.accepted()
    with pytest.raises(NotAttested, match="1 of 2 accepts that count"):
        office.release(session)
    office.decide(session, person=BOB)
    proof = office.release(session).destination / "release"
    assert f'"reviewer":"{ALICE}"'.encode() in (proof / "statement-1.json").read_bytes()
    assert f'"reviewer":"{BOB}"'.encode() in (proof / "statement-2.json").read_bytes()
    assert len(list((proof / "receipts").iterdir())) == 6
    assert office.rows(session)[0].data["policy"] == ReleasePolicy(accepts=2).canonical


def test_permissions_are_the_umasks_so_that_the_next_job_may_read(
    office: Office, umask: Callable[[int], int]
) -> None:
    session = office.accepted({"a/b.txt": (None, b"x")})
    for mask in (0o022, 0o077):
        umask(mask)
        folder = office.release(session, f"mask-{mask:o}").destination
        for path in (folder, *folder.rglob("*")):
            wanted = (0o755 if path.is_dir() else 0o644) & ~mask
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path


# Who may not pass.


def test_nothing_leaves_without_an_accept_and_nothing_is_written(office: Office) -> None:
    session = completed(office.ledger).session
    office.surface.attest(session, ALICE, "looks fine")
    with pytest.raises(NotAttested) as refused:
        office.release(session)
    assert "0 of 1 accepts that count" in str(refused.value)
    assert "counts for nothing: it is not signed" in str(refused.value)
    assert f"safeloop attest {session}" in refused.value.hint
    assert office.rows(session) == []
    assert list(office.out.iterdir()) == []


def test_a_reject_after_the_accept_shuts_the_gate(office: Office) -> None:
    session = office.accepted(FILES)
    office.decide(session, "reject", BOB)
    with pytest.raises(NotAttested, match=f"{BOB} rejected it"):
        office.release(session)
    assert list(office.out.iterdir()) == []


@pytest.mark.parametrize(("outcome", "policy"), [
    ("breached", "accept_breach = true"), ("unmet", "accept_unmet = true"),
])
def test_what_did_not_complete_leaves_only_by_policy(office: Office, outcome: str, policy: str) -> None:
    session = SessionBuilder(office.ledger).spec().open().turn().close(outcome, files=FILES).session
    office.decide(session)
    with pytest.raises(NotAttested, match=f"ended as {outcome}"):
        office.release(session)
    office.policy(policy)
    assert office.release(session).file_count == 3


@pytest.mark.parametrize("outcome", ["failed", "refused"])
def test_what_failed_never_leaves(office: Office, outcome: str) -> None:
    office.policy("accept_breach = true\naccept_unmet = true\nany_reject_blocks = false\n")
    session = SessionBuilder(office.ledger).spec().open().turn().close(outcome, files=FILES).session
    office.decide(session)
    with pytest.raises(NotAttested, match="never released"):
        office.release(session)


def test_a_session_that_runs_or_is_suspended_has_nothing_to_release(office: Office) -> None:
    running = SessionBuilder(office.ledger).spec().open().turn()
    with pytest.raises(NotAttested, match="opened and not closed"):
        office.release(running.session)
    with pytest.raises(NotAttested, match="opened and not closed"):
        office.release(running.close("suspended").session)


def test_rows_written_by_hand_never_leave_though_they_can_be_attested(office: Office) -> None:
    builder = SessionBuilder(office.ledger).spec()
    office.ledger.write(builder.session, 1, "llm", "task", 10, 5, True)
    office.decide(builder.session)
    with pytest.raises(NotAttested, match="is ungoverned"):
        office.release(builder.session)


def test_a_session_that_nobody_knows_is_not_found(office: Office) -> None:
    with pytest.raises(SessionNotFoundError):
        office.release("no-such-session")


def test_a_row_after_the_accept_voids_the_session(office: Office) -> None:
    builder = SessionBuilder(office.ledger).spec().open().turn().close(files=FILES)
    office.decide(builder.session)
    builder.turn("one more thing")
    with pytest.raises(NotAttested, match="voids it"):
        office.release(builder.session)


def test_a_reviewer_who_is_pinned_no_longer_does_not_count(office: Office) -> None:
    session = office.accepted(FILES)
    (office.keys / "self" / "reviewers").write_text("")
    with pytest.raises(NotAttested, match="is not pinned as a key of"):
        office.release(session)


def test_the_moment_of_release_decides_whose_key_is_valid(office: Office) -> None:
    session = office.accepted(FILES)
    file = office.keys / "self" / "reviewers"
    until = datetime.now(UTC) + timedelta(days=1)
    file.write_text(file.read_text().replace("namespaces=", f'valid-before="{until:%Y%m%d}Z",namespaces='))
    trust = office.surface.trust()
    with pytest.raises(NotAttested, match="not for reviews at this time"):
        release(office.ledger, trust, session, office.out / "late", clock=lambda: until + timedelta(days=1))
    assert release(office.ledger, trust, session, office.out / "in-time").file_count == 3


def test_a_policy_that_is_not_understood_keeps_the_gate_shut(office: Office) -> None:
    session = office.accepted(FILES)
    office.policy("accept = 0\n")
    with pytest.raises(KeyUnusable, match=r"release\.toml has an unknown key: accept"):
        office.release(session)


def test_another_ledgers_writer_cannot_record_the_release(office: Office, tmp_path: Path) -> None:
    session = office.accepted(FILES)
    other = Ledger(tmp_path / "other.db", keys=office.keys)
    other.db_path = office.ledger.db_path  # a program that mixed them up
    with pytest.raises(VerificationError, match="is of ledger"):
        release(other, office.surface.trust(), session, office.out / "out")
    other.close()
    assert list(office.out.iterdir()) == []


# What changed between judging and writing.


class Meddler:
    """A clock that does something while the release is being judged."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action

    def __call__(self) -> datetime:
        self._action()
        return datetime.now(UTC)


def test_a_reject_that_arrives_while_it_is_judged_stops_the_release(office: Office) -> None:
    session = office.accepted(FILES)
    meddler = Meddler(lambda: office.decide(session, "reject", BOB))
    with pytest.raises(NotAttested, match="changed while it was judged"):
        release(office.ledger, office.surface.trust(), session, office.out / "out", clock=meddler)
    assert office.rows(session) == []
    assert list(office.out.iterdir()) == []


def test_it_also_stops_the_repetition_of_a_release(office: Office) -> None:
    session = office.accepted(FILES)
    office.release(session)
    meddler = Meddler(lambda: office.decide(session, "reject", BOB))
    before = tree(office.out)
    with pytest.raises(NotAttested, match="changed while it was judged"):
        release(office.ledger, office.surface.trust(), session, office.out / "out", force=True, clock=meddler)
    assert tree(office.out) == before


# Content.


def overwrite(office: Office, old: bytes, new: bytes) -> None:
    with sqlite3.connect(content_path(Path(office.ledger.db_path))) as connection:
        assert connection.execute("UPDATE content SET bytes = ? WHERE bytes = ?", (new, old)).rowcount == 1
    connection.close()


def remove(office: Office, old: bytes) -> None:
    with sqlite3.connect(content_path(Path(office.ledger.db_path))) as connection:
        assert connection.execute("DELETE FROM content WHERE bytes = ?", (old,)).rowcount == 1
    connection.close()


def test_content_that_is_not_what_was_committed_is_refused(office: Office) -> None:
    session = office.accepted(FILES)
    overwrite(office, b"# Title\n", b"# Trojan\n")
    with pytest.raises(VerificationError, match="is not what the row committed to"):
        office.release(session)
    assert list(office.out.iterdir()) == []


def erased(office: Office, pick: Callable[[Row], dict[str, object]], data: bytes) -> str:
    """An accepted session of which one piece of content was erased after the accept."""
    builder = SessionBuilder(office.ledger).spec().open().turn()
    builder.close(output="All is well.", files={"report.md": (None, b"# Title\n")})
    office.decide(builder.session)
    builder.erase(pick(builder.last))
    remove(office, data)
    return builder.session


def test_an_erased_file_is_not_released_and_neither_is_the_rest(office: Office) -> None:
    def after(close: Row) -> dict[str, object]:
        listing = office.ledger.read_content(close.data["files"])
        assert listing is not None
        return parse(listing)[0]["after"]

    session = erased(office, after, b"# Title\n")
    with pytest.raises(NotAttested, match="erased what would be handed out"):
        office.release(session)
    assert list(office.out.iterdir()) == []


def test_an_erased_answer_is_not_released(office: Office) -> None:
    session = erased(office, lambda close: close.data["output"], b"All is well.")
    with pytest.raises(NotAttested, match="erased what would be handed out"):
        office.release(session)


def test_an_erased_list_of_files_is_not_released(office: Office) -> None:
    builder = SessionBuilder(office.ledger).spec().open().turn().close(files={"report.md": (None, b"# Title\n")})
    listing = builder.last.data["files"]
    kept = office.ledger.read_content(listing)
    assert kept is not None
    office.decide(builder.session)
    builder.erase(listing)
    remove(office, kept)
    with pytest.raises(NotAttested, match="erased what would be handed out"):
        office.release(builder.session)


def test_an_erased_list_of_no_files_is_not_released_though_its_sums_are_the_same(office: Office) -> None:
    builder = SessionBuilder(office.ledger).spec().open().turn().close()
    listing = builder.last.data["files"]
    office.decide(builder.session)
    builder.erase(listing)
    with sqlite3.connect(content_path(Path(office.ledger.db_path))) as connection:
        digest = bytes.fromhex(listing["salted_sha256"])
        assert connection.execute("DELETE FROM content WHERE salted_sha256 = ?", (digest,)).rowcount == 1
    connection.close()
    with pytest.raises(NotAttested, match="erased what would be handed out"):
        office.release(builder.session)


def test_an_erased_task_leaves_the_frame_that_was_signed_and_the_release_stands_on_it(office: Office) -> None:
    builder = SessionBuilder(office.ledger).spec().open("secret task").turn()
    builder.close(output="All is well.", files={"report.md": (None, b"# Title\n")})
    signed = office.surface.render(builder.session)
    office.decide(builder.session)
    builder.erase(next(row for row in builder.rows if row.kind == "open").data["task"])
    remove(office, b"secret task")
    done = office.release(builder.session)
    assert (done.destination / "release/frame.txt").read_text() == signed


# The destination.


def test_an_existing_folder_is_refused_before_any_row_is_written(office: Office) -> None:
    session = office.accepted(FILES)
    (office.out / "out").mkdir()
    with pytest.raises(SettingError, match="exists and is no release of ours") as refused:
        office.release(session)
    assert "--to" in refused.value.hint
    assert office.rows(session) == []


@pytest.mark.parametrize("make", [
    lambda path: path.write_text("x"), lambda path: path.symlink_to("nowhere"), lambda path: path.mkdir(),
    lambda path: (path / "release").mkdir(parents=True), os.mkfifo,
])
def test_force_replaces_nothing_but_an_earlier_release(office: Office, make: Callable[[Path], object]) -> None:
    session = office.accepted(FILES)
    make(office.out / "out")
    with pytest.raises(SettingError, match="exists and is no release of ours"):
        office.release(session, force=True)
    assert office.rows(session) == []


def test_force_does_not_follow_a_link_to_an_earlier_release(office: Office) -> None:
    session = office.accepted(FILES)
    real = office.release(session, "real").destination
    (office.out / "out").symlink_to(real)
    with pytest.raises(SettingError, match="no release of ours"):
        office.release(session, force=True)
    assert is_bundle(real)


def test_a_release_that_is_there_is_told_and_replaced_only_with_force(office: Office) -> None:
    session = office.accepted(FILES)
    first = office.release(session)
    with pytest.raises(SettingError, match="holds a release already") as refused:
        office.release(session)
    assert "--force" in refused.value.hint
    (first.destination / "report.md").write_text("somebody scribbled here")
    again = office.release(session, force=True)
    assert (again.row, again.completed) == (first.row, True)
    assert (first.destination / "report.md").read_bytes() == b"# Title\n"
    assert len(office.rows(session)) == 1
    assert [path.name for path in office.out.iterdir()] == ["out"]


@pytest.mark.parametrize(("foreign", "make"), [
    ("mine.txt", lambda path: path.write_text("x")), ("mine", lambda path: path.mkdir()),
    ("release/mine.txt", lambda path: path.write_text("x")), ("release/receipts/mine", lambda path: path.write_text("x")),
    ("release/statement-1.json.bak", lambda path: path.write_text("x")),
    ("link", lambda path: path.symlink_to("report.md")), ("release/link", lambda path: path.symlink_to("..")),
    ("pipe", os.mkfifo),
])
def test_force_deletes_nothing_that_is_no_part_of_the_release(
    office: Office, foreign: str, make: Callable[[Path], object]
) -> None:
    session = office.accepted(FILES)
    first = office.release(session)
    make(first.destination / foreign)
    with pytest.raises(SettingError, match=f"holds {foreign}, which is no part of that release") as refused:
        office.release(session, force=True)
    assert "move it elsewhere" in refused.value.hint
    assert os.path.lexists(first.destination / foreign) and is_bundle(first.destination)
    assert len(office.rows(session)) == 1
    assert [path.name for path in office.out.iterdir()] == ["out"]


def test_force_replaces_nothing_where_nobody_can_say_what_belongs_to_the_release(office: Office) -> None:
    session = office.accepted(FILES)
    first = office.release(session)
    (first.destination / "release/SHA256SUMS").write_text("not a sum\n")
    with pytest.raises(SettingError, match="nobody can say what belongs to it"):
        office.release(session, force=True)
    assert (first.destination / "report.md").exists()


def test_force_replaces_the_release_of_another_session_with_a_row_of_its_own(office: Office) -> None:
    one, other = office.accepted(FILES), office.accepted({"other.md": (None, b"other")})
    office.release(one)
    done = office.release(other, force=True)
    assert not done.completed
    assert done.files == ("other.md",)
    assert not (done.destination / "report.md").exists()


def test_another_destination_is_another_release(office: Office) -> None:
    session = office.accepted(FILES)
    first, second = office.release(session, "one"), office.release(session, "two")
    assert first.row != second.row
    places = [row.data["destination"] for row in office.rows(session)]
    assert places == [str(office.out / "one"), str(office.out / "two")]


def test_a_destination_that_was_removed_is_completed_again_without_a_second_row(office: Office) -> None:
    session = office.accepted(FILES)
    first = office.release(session)
    first.destination.rename(office.out / "moved")
    again = office.release(session)
    assert (again.row, again.completed) == (first.row, True)
    assert len(office.rows(session)) == 1


def test_who_accepts_later_changes_nothing_about_a_recorded_release(office: Office) -> None:
    session = office.accepted(FILES)
    first = office.release(session)
    office.decide(session, person=BOB)
    again = office.release(session, force=True)
    assert again.row == first.row
    assert not (again.destination / "release/statement-2.json").exists()


@pytest.mark.parametrize("change", ["the policy", "the reviewer"])
def test_a_recorded_release_that_would_not_pass_as_it_stands_is_followed_by_another(
    office: Office, change: str
) -> None:
    session = office.accepted(FILES)
    first = office.release(session)
    office.decide(session, person=BOB)
    if change == "the policy":
        office.policy("accepts = 2\n")
    else:
        file = office.keys / "self" / "reviewers"
        file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith(ALICE)))
    again = office.release(session, force=True)
    assert again.row > first.row
    assert not again.completed
    wanted = 2 if change == "the policy" else 1
    assert len(office.rows(session)[-1].data["attestations"]) == wanted
    assert f'"reviewer":"{BOB}"'.encode() in (again.destination / f"release/statement-{wanted}.json").read_bytes()


def test_a_row_that_claims_a_release_without_accepts_is_not_taken_for_one(office: Office) -> None:
    session = office.accepted(FILES)
    (close,) = office.rows(session, "close")
    data = {"attestations": [], "policy": ReleasePolicy().canonical, "files": close.data["files"], "file_count": 3,
            "destination": str(office.out / "out")}
    office.ledger.append(lambda _: (Draft(session, "release", data),))
    done = office.release(session)
    assert not done.completed
    assert len(office.rows(session)) == 2


@pytest.mark.parametrize("name", ["", ".", "..", "sub/..", "/"])
def test_a_destination_needs_a_name_of_its_own(office: Office, name: str) -> None:
    session = office.accepted(FILES)
    with pytest.raises(SettingError):
        office.release(session, name)
    assert office.rows(session) == []


def test_a_destination_needs_a_folder_to_lie_in(office: Office) -> None:
    session = office.accepted(FILES)
    with pytest.raises(SettingError, match="there is no folder") as refused:
        office.release(session, "not/here")
    assert refused.value.hint == f"mkdir -p {office.out / 'not'}"


def test_a_relative_destination_and_a_link_on_the_way_are_recorded_as_they_really_lie(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = office.accepted(FILES)
    (office.out / "real").mkdir()
    (office.out / "link").symlink_to("real")
    monkeypatch.chdir(office.out)
    done = release(office.ledger, office.surface.trust(), session, "link/out")
    assert done.destination == office.out / "real" / "out"
    assert office.rows(session)[0].data["destination"] == str(office.out / "real" / "out")


def test_a_destination_that_is_not_utf_8_is_recorded_visibly(office: Office) -> None:
    session = office.accepted(FILES)
    done = office.release(session, os.fsdecode(b"caf\xe9"))
    assert done.destination.is_dir()
    assert office.rows(session)[0].data["destination"].endswith("/caf\\u{dce9}")
    assert office.release(session, os.fsdecode(b"caf\xe9"), force=True).completed


def test_a_disk_that_refuses_leaves_no_half_bundle_and_the_row_is_not_written_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = office.accepted(FILES)
    real = os.fsync

    def full(descriptor: int) -> None:
        if "bundle" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SettingError, match="No space left on device") as refused:
            office.release(session)
    assert "the same command again" in refused.value.hint
    assert list(office.out.iterdir()) == []
    assert len(office.rows(session)) == 1
    assert office.release(session).completed
    assert len(office.rows(session)) == 1


@pytest.mark.parametrize("force", [False, True])
def test_what_comes_to_lie_at_the_destination_while_the_bundle_is_built_stays_there(
    office: Office, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    session = office.accepted(FILES)
    real = os.fsync

    def meanwhile(descriptor: int) -> None:
        real(descriptor)
        if "bundle" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            (office.out / "out").mkdir(exist_ok=True)
            (office.out / "out" / "mine.txt").write_text("mine")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", meanwhile)
        with pytest.raises(SettingError, match="no release of ours"):
            office.release(session, force=force)
    assert tree(office.out) == {"out/mine.txt": b"mine"}


# Two at once, and strangers' folders.


@pytest.mark.parametrize("name", [
    "ledger.db-journal", "ledger.db-wal", "ledger.db-shm", "ledger.content.db", "ledger.content.db-journal",
    "ledger.content.db-wal", "ledger.sessions", "ledger.sessions/x",
])
def test_a_place_of_the_ledgers_own_is_no_destination(office: Office, name: str) -> None:
    session = office.accepted(FILES)
    beside = Path(office.ledger.db_path).parent
    (beside / "ledger.sessions").mkdir(exist_ok=True)
    (office.out / "link").symlink_to(beside)
    for place in (beside / name, office.out / "link" / name):
        with pytest.raises(SettingError, match="a place of the ledger's own"):
            office.release(session, place)
    assert office.rows(session) == []


def test_two_releases_to_one_destination_do_not_meet(office: Office) -> None:
    session = office.accepted(FILES)
    target = target_of(office.out / "out", Path(office.ledger.db_path), (), hint="")
    with held(target), pytest.raises(LedgerLocked, match="another release"):
        office.release(session)
    assert office.rows(session) == []
    assert office.release(session).file_count == 3


@pytest.mark.parametrize("moment", ["before it is opened", "before it is locked"])
def test_a_work_folder_that_another_release_clears_away_is_made_again(
    office: Office, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    session = office.accepted(FILES)
    work = work_folder(office)
    cleared = []
    real_open, real_lock = os.open, fcntl.flock

    def clear() -> None:
        if not cleared and work.is_dir():
            work.rmdir()
            cleared.append(moment)

    def opening(path: Any, *options: Any, **more: Any) -> int:
        if path == work and moment == "before it is opened":
            clear()
        return real_open(path, *options, **more)

    def locking(descriptor: Any, operation: int) -> None:
        if moment == "before it is locked":
            clear()
        real_lock(descriptor, operation)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(fcntl, "flock", locking)
    assert office.release(session).file_count == 3
    assert cleared == [moment]
    assert [path.name for path in office.out.iterdir()] == ["out"]


def work_folder(office: Office) -> Path:
    with held(target_of(office.out / "out", Path(office.ledger.db_path), (), hint="")):
        (found,) = office.out.glob(".safeloop-release-*")
    return found


def test_a_work_folder_that_others_can_enter_is_not_used(office: Office) -> None:
    session = office.accepted(FILES)
    work = work_folder(office)
    work.mkdir()
    work.chmod(0o777)
    with pytest.raises(SettingError, match="open to others"):
        office.release(session)


@pytest.mark.parametrize("make", [
    lambda path: path.symlink_to("elsewhere"), lambda path: path.write_text("x"),
])
def test_a_work_folder_that_is_none_is_not_used(office: Office, make: Callable[[Path], object]) -> None:
    session = office.accepted(FILES)
    work = work_folder(office)
    (office.out / "elsewhere").mkdir()
    make(work)
    with pytest.raises(SettingError, match="cannot be written"):
        office.release(session)
    assert list((office.out / "elsewhere").iterdir()) == []


def test_what_a_crash_left_half_built_is_cleared_away(office: Office) -> None:
    session = office.accepted(FILES)
    work = work_folder(office)
    (work / "bundle" / "deep").mkdir(parents=True, mode=0o700)
    work.chmod(0o700)
    (work / "bundle" / "report.md").write_text("half")
    assert (office.release(session).destination / "report.md").read_bytes() == b"# Title\n"
    assert [path.name for path in office.out.iterdir()] == ["out"]


def test_an_earlier_release_that_a_crash_left_aside_goes_back_to_its_place(office: Office) -> None:
    one, other = office.accepted(FILES), office.accepted({"other.md": (None, b"other")})
    folder = office.release(one).destination
    whole = tree(folder)
    work = work_folder(office)
    work.mkdir(mode=0o700)
    folder.rename(work / "old")
    with pytest.raises(SettingError, match="holds a release already"):
        office.release(other)
    assert tree(folder) == whole
    assert [path.name for path in office.out.iterdir()] == ["out"]


# Names in the manifest.

HOSTILE = [
    "../out", "a/../../b", "..", ".", "a/./b", "/etc/passwd", "a//b", "a/", "nul\0byte", "release/frame.txt",
    "release", "Release/statement-1.json", "RELEASE", "x" * 256, "/".join(["y" * 200] * 20), "ſelease/../..",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stops_the_whole_release(name: str) -> None:
    with pytest.raises(VerificationError, match="nothing is released"):
        require_plain_names(["good.txt", name], "row 5")


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"], ["a", "a"], ["a-b", "a/b", "a/b/c"]])
def test_a_file_cannot_have_the_place_of_another_or_of_its_folder(names: list[str]) -> None:
    with pytest.raises(VerificationError, match="another file has its place"):
        require_plain_names(names, "row 5")


def test_odd_but_harmless_names_pass() -> None:
    odd = ["...", "a b", "releases/x", "release.txt", "-rf", "a/release/b", "é", "\x1b[2J", "c:\\d"]
    require_plain_names(odd, "row 5")


@pytest.mark.parametrize("name", ["../escape.txt", "/escape.txt", "release/frame.txt", "Release/x", "a/../b"])
def test_a_signed_manifest_with_a_hostile_name_releases_nothing_at_all(office: Office, name: str) -> None:
    session = office.accepted({"good.txt": (None, b"good"), name: (None, b"bad")})
    with pytest.raises(VerificationError, match="nothing is released"):
        office.release(session)
    assert office.rows(session) == []
    assert list(office.out.iterdir()) == []
    assert not (office.out.parent / "escape.txt").exists()
