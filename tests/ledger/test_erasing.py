"""Erased is erased: not one byte of it, or of its salt, is left in any file that SQLite keeps; and a row says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeloop.errors import (
    EncodingError,
    LedgerError,
    LedgerLocked,
    SessionNotFoundError,
    SettingError,
    VerificationError,
)
from safeloop.ledger import Content, Draft, Ledger
from safeloop.ledger.content import JSON, TEXT, manifest
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.erasing import Erasure, Plan, erase, finish, plan_content, plan_session
from safeloop.review import ReviewSurface
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.verdict import AuditReport
from tests.ledger.making import turn
from tests.review.sessions import SessionBuilder

SECRET = b"the patient's name is Emilia Galotti "


def finished(ledger: Ledger) -> SessionBuilder:
    """A session of its own that completed: a task, a reply, an answer and a file."""
    session = SessionBuilder(ledger).spec().open("Audit this page.").turn("All is well.")
    return session.close(output="All is well.", files={"report.md": (None, b"# Title")})


class Place:
    def __init__(self, folder: Path) -> None:
        self.db, self.keys = folder / "l.db", folder / "keys"
        self.ledger = Ledger(self.db, keys=self.keys, timeout_s=2)

    def plan(self, session: str, *, frames: bool = False) -> Plan:
        with LedgerReader(self.db) as reader:
            return plan_session(reader, session, frames=frames)

    def plan_content(self, prefix: str) -> Plan:
        with LedgerReader(self.db) as reader:
            return plan_content(reader, prefix)

    def erase(self, session: str, reason: str = "asked for") -> Erasure:
        return erase(self.ledger, self.plan(session), reason)

    def audit(self) -> AuditReport:
        with LedgerReader(self.db) as reader:
            return audit(reader, load_trust(self.keys / "self"), state=None)

    def bytes(self) -> bytes:
        """Everything on disk, side files included; the ledger stays open, as another process's may."""
        return b"".join(path.read_bytes() for path in sorted(self.db.parent.glob("l.*")) if path.is_file())

    def salts(self) -> set[bytes]:
        with sqlite3.connect(self.db.with_name("l.content.db")) as sql:
            return {bytes(salt) for (salt,) in sql.execute("SELECT salt FROM content")}

    def held(self) -> set[str]:
        with sqlite3.connect(self.db.with_name("l.content.db")) as sql:
            return {bytes(each).hex() for (each,) in sql.execute("SELECT salted_sha256 FROM content")}

    def add(self, session: str, *contents: Content) -> None:
        for each in contents:
            self.ledger.append(lambda _, each=each: (turn(session, (each,)),))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.ledger.close()


def secret(place: Place, size: int = 1) -> Content:
    return place.ledger.content(SECRET * size, TEXT)


def test_nothing_of_it_is_left_in_any_file_while_the_ledger_is_open(place: Place) -> None:
    for number in range(300):  # enough for pages to split: entries that move leave copies behind
        place.add("mine", secret(place, (1, 4, 20, 80, 500)[number % 5]))
        sizes = [(5, 100, 700, 3_000, 20_000)[(number + other) % 5] for other in range(9)]
        yours = [place.ledger.content(b"." * size, TEXT) for size in sizes]
        place.ledger.append(lambda _, yours=yours: [turn("yours", (each,)) for each in yours])
    salts = place.salts()
    assert SECRET[:20] in place.bytes()
    done = place.erase("mine")
    assert done.erased == 300
    left = place.bytes()
    assert SECRET[:12] not in left
    gone = salts - place.salts()
    assert len(gone) == 300
    assert not [salt for salt in gone if salt in left or salt[:16] in left]
    assert place.db.with_name("l.content.db-wal").stat().st_size == 0
    assert sum(each == "yours" for each in (row.session for row in place.ledger.rows("yours"))) == 2_700
    assert all(place.ledger.read_content(row.data["response"]) for row in place.ledger.rows("yours"))


def test_the_record_passes_and_says_that_it_is_incomplete(place: Place) -> None:
    session = finished(place.ledger).session
    assert (place.audit().record, place.audit().completeness) == ("PASS", "COMPLETE")
    done = place.erase(session)
    report = place.audit()
    assert (report.record, report.completeness) == ("PASS", "INCOMPLETE")
    assert [gap.row for gap in report.gaps] == list(done.rows)
    row = place.ledger.rows(session)[-1]
    assert (row.kind, row.data["reason"], row.data["count"]) == ("erase", "asked for", done.erased)
    assert place.held() == {row.data["contents"]["salted_sha256"]}, "the list of what went is all that stays"


def test_what_is_missing_without_a_row_fails_and_is_not_laundered_by_an_erasure(place: Place) -> None:
    session = finished(place.ledger).session
    task = place.ledger.rows(session)[1].data["task"]["salted_sha256"]
    with sqlite3.connect(place.db.with_name("l.content.db")) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (bytes.fromhex(task),))
    assert place.audit().record == "FAIL"
    plan = place.plan(session)
    assert plan.missing == 1
    assert task not in {each["salted_sha256"] for each in plan.parts[0].contents}
    erase(place.ledger, plan, "asked for")
    report = place.audit()
    assert [finding.rule.value for finding in report.findings] == ["content"]


def test_a_frame_that_was_attested_stays_unless_it_is_asked_for(place: Place) -> None:
    session = finished(place.ledger).session
    surface = ReviewSurface(place.db, place.db, keys=place.keys, create=False)
    surface.attest(session, "alice")
    frame = place.ledger.rows(session)[-1].data["frame_text"]
    plan = place.plan(session)
    assert plan.frames == 1
    erase(place.ledger, plan, "asked for")
    assert place.ledger.read_content(frame) is not None
    every = place.plan(session, frames=True)
    assert (every.frames, every.count) == (0, 1)
    erase(place.ledger, every, "that too")
    assert place.ledger.read_content(frame) is None
    assert (place.audit().record, place.audit().completeness) == ("PASS", "INCOMPLETE")


def test_what_other_sessions_commit_to_stays(place: Place) -> None:
    shared, listed, own = secret(place), secret(place, 2), secret(place, 3)
    place.add("mine", shared, listed, own)
    place.add("yours", shared)
    request = place.ledger.content(manifest([listed.commitment]), JSON)
    SessionBuilder(place.ledger, "theirs").spec().open().intent(request=request.commitment)
    place.ledger.append(lambda _: (turn("theirs", (request,)),))
    plan = place.plan("mine")
    assert (plan.count, plan.shared) == (1, 2)
    erase(place.ledger, plan, "asked for")
    assert place.ledger.read_content(shared.commitment) is not None
    assert place.ledger.read_content(listed.commitment) is not None
    assert place.ledger.read_content(own.commitment) is None


def test_a_running_session_is_refused_and_so_is_a_suspended_one(place: Place) -> None:
    session = SessionBuilder(place.ledger).spec().open("x").turn()
    for _ in range(2):
        with pytest.raises(LedgerError, match="opened and not closed") as caught:
            place.erase(session.session)
        assert caught.value.hint.startswith("safeloop close")
        session.close("suspended")
    assert not [row for row in place.ledger.rows(session.session) if row.kind == "erase"]
    session.close("completed", output="x")
    assert place.erase(session.session).rows


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 4_001, "é" * 2_001, "a\0b", "a\ud800b"])
def test_a_reason_is_given_and_can_be_kept(place: Place, reason: str) -> None:
    place.add("s", secret(place))
    with pytest.raises(SettingError):
        place.erase("s", reason)
    assert len(place.ledger.rows("s")) == 1
    assert SECRET in place.bytes()


def test_what_came_after_the_plan_is_not_overlooked(place: Place) -> None:
    content = secret(place)
    place.add("s", content)
    plan = place.plan("s")
    place.add("s", secret(place))
    with pytest.raises(LedgerError, match="changed meanwhile: nothing was erased"):
        erase(place.ledger, plan, "asked for")
    plan = place.plan("s")
    place.add("other", content)
    with pytest.raises(LedgerError, match="a new row commits to what was to be erased"):
        erase(place.ledger, plan, "asked for")
    assert place.ledger.read_content(content.commitment) is not None


def test_the_same_again_changes_nothing_and_says_so(place: Place) -> None:
    place.add("s", secret(place))
    first, size = place.erase("s"), len(place.ledger.rows("s"))
    again = place.erase("s")
    assert (len(first.rows), first.erased) == (1, 1)
    assert again == Erasure((), 0)
    assert len(place.ledger.rows("s")) == size


def test_one_content_is_found_by_its_digest_and_erased_for_all_who_commit_to_it(place: Place) -> None:
    content = secret(place)
    place.add("a", content, secret(place, 2))
    place.add("b", content)
    digest = content.digest.hex()
    plan = place.plan_content(digest[:8])
    assert ({part.session for part in plan.parts}, plan.count, plan.target) == ({"a", "b"}, 1, digest)
    done = erase(place.ledger, plan, "asked for")
    assert (len(done.rows), done.erased) == (2, 1)
    assert place.ledger.read_content(content.commitment) is None
    assert place.audit().record == "PASS"
    assert erase(place.ledger, place.plan_content(digest), "again") == Erasure((), 0)


def test_content_that_only_a_manifest_names_is_found_too(place: Place) -> None:
    session = finished(place.ledger)
    listed = place.ledger.read_content(session.last.data["files"])
    assert listed is not None
    digest = listed.decode().split('"salted_sha256":"')[1][:64]
    assert erase(place.ledger, place.plan_content(digest), "asked for").erased == 1
    assert place.audit().record == "PASS"


@pytest.mark.parametrize("prefix", ["", "abc", "ABCDEF01", "g" * 8, "0" * 65, "0123456789\n"])
def test_a_prefix_is_eight_hex_digits_at_least(place: Place, prefix: str) -> None:
    with pytest.raises(SettingError, match="is not 8 to 64"):
        place.plan_content(prefix)


def test_a_list_of_what_was_erased_cannot_be_erased(place: Place) -> None:
    place.add("s", secret(place))
    place.erase("s")
    listing = place.ledger.rows("s")[-1].data["contents"]["salted_sha256"]
    with pytest.raises(SessionNotFoundError, match="no session and no content"):
        place.plan_content(listing)
    assert place.plan("s").count == 0


def test_an_unknown_session_is_said_to_be_that(place: Place) -> None:
    with pytest.raises(SessionNotFoundError):
        place.plan("nobody")


def test_an_erasure_that_a_reader_holds_up_is_not_called_done(place: Place) -> None:
    place.add("s", secret(place, 300))
    reading = sqlite3.connect(place.db.with_name("l.content.db"), isolation_level=None)
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM content").fetchone()
    with pytest.raises(LedgerLocked, match="is being read") as caught:
        place.erase("s")
    assert any("--pending" in note for note in caught.value.__notes__)
    reading.close()
    assert finish(place.ledger) == 0
    assert SECRET[:12] not in place.bytes()


def test_a_forged_list_is_no_reason_to_delete_anything(place: Place) -> None:
    place.add("s", secret(place))
    listing = place.ledger.content(b'{"not":"a list"}', JSON)
    data = {"contents": listing.commitment, "count": 1, "reason": "x"}
    place.ledger.append(lambda _: (Draft("s", "erase", data, (listing,)),))
    with pytest.raises((VerificationError, EncodingError), match="list of contents"):
        place.erase("s")
    with pytest.raises(VerificationError):
        finish(place.ledger)
    assert SECRET in place.bytes()
