import hashlib
import json
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest

from safeloop import (
    AttestationResult,
    DiffResult,
    Ledger,
    ReviewFrame,
    ReviewSurface,
    SessionNotFoundError,
    SpecResult,
    SpecWriter,
)
from safeloop.errors import (
    ExitCode,
    KeyUnusable,
    LedgerNotFound,
    NotAttested,
    SettingError,
    SignatureMismatch,
    VerificationError,
)
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.store.contents import content_path
from safeloop.ledger.trust import load_trust
from safeloop.review.attesting.attestation import parse_statement
from safeloop.review.attesting.signers import sign_statement
from safeloop.review.attesting.signing import attest_unsigned
from safeloop.review.framing.frame import render
from safeloop.review.framing.shown import stored_text
from safeloop.review.framing.status import status_lines
from safeloop.spec import SpecDraft, record
from tests.review import attacks
from tests.review.sessions import ANSWERS, SessionBuilder, completed

ALICE = "alice@example.org"


@pytest.fixture
def places(tmp_path: Path, keys: Path) -> tuple[str, str]:
    return str(tmp_path / "spec.db"), str(tmp_path / "rows.db")


def specified(places: tuple[str, str], *answers: str) -> SpecResult:
    given = iter(answers or ("does X", "not Y", "Z looks like done"))
    return SpecWriter(places[0], lambda _: next(given), lambda _: None).run()


def written(places: tuple[str, str], session: str, *rows: tuple[int, str, int, bool, str | None]) -> None:
    ledger = Ledger(places[1])
    for turn, origin, tokens, passed, breach in rows:
        ledger.write(session, turn, origin, "task", tokens, 50, passed, breach)
    ledger.close()


def clean(places: tuple[str, str], *answers: str) -> SpecResult:
    spec = specified(places, *answers)
    tokens = enumerate((100, 120, 90), start=1)
    written(places, spec.session_id, *((turn, "llm", each, True, None) for turn, each in tokens))
    return spec


# --- what users of the tutorial rely on ---------------------------------------------------------------------------

def test_spec_and_rows_in_two_ledgers_come_together_in_one_frame(places):
    spec = clean(places)
    frame = ReviewSurface(*places).load(spec.session_id)
    assert isinstance(frame, ReviewFrame) and isinstance(frame.diff, DiffResult)
    assert frame.original_promise == spec
    assert frame.acceptance_criteria == spec.done_looks_like
    assert (frame.diff.turns_completed, frame.diff.total_tokens, frame.diff.final_output) == (3, 310, "llm")
    assert frame.diff.breached is False
    assert [row.turn_count for row in frame.evidence] == [1, 2, 3]
    assert frame.created_at == frame.evidence[-1].created_at


def test_the_text_holds_promise_numbers_and_five_elements(places):
    spec = clean(places)
    text = ReviewSurface(*places).render(spec.session_id)
    for part in ("REVIEW SURFACE", "[1] ORIGINAL PROMISE", "[2] ACCEPTANCE CRITERIA", "[3] DIFF", "[4] EVIDENCE",
                 "[5] UNRESOLVED ASSUMPTIONS", spec.what_it_does, spec.what_it_does_not, spec.done_looks_like,
                 "Turns completed:     3", "Total tokens:        310"):
        assert part in text


def test_a_breach_and_a_failed_turn_are_unresolved(places):
    spec = specified(places)
    written(places, spec.session_id, (1, "llm", 200, True, None), (2, "llm", 9, False, None),
            (3, "circuit_breaker", 0, False, "turn_ceiling"))
    surface = ReviewSurface(*places)
    failed, breach, by_hand = surface.load(spec.session_id).unresolved_assumptions
    assert "pass_fail=False" in failed and "turn_ceiling" in breach and "ungoverned" in by_hand
    assert surface.load(spec.session_id).diff.breached is True
    assert "No unresolved assumptions detected." not in surface.render(spec.session_id)


def test_a_session_of_nothing_but_a_breach_has_a_frame(places):
    spec = specified(places)
    written(places, spec.session_id, (1, "circuit_breaker", 0, False, "token_ceiling"))
    diff = ReviewSurface(*places).load(spec.session_id).diff
    assert (diff.turns_completed, diff.final_output, diff.breached) == (0, "circuit_breaker", True)


def test_an_attestation_is_a_row_that_sql_finds_under_its_id(places):
    spec = clean(places)
    found = ReviewSurface(*places).attest(spec.session_id, reviewer="alice", notes="LGTM")
    assert isinstance(found, AttestationResult)
    with sqlite3.connect(places[1]) as connection:
        columns = "id, session_id, reviewer, attested_at, notes, frame_hash"
        row = connection.execute(f"SELECT {columns} FROM attestations").fetchone()
    connection.close()
    assert AttestationResult(*row) == found
    assert (found.session_id, found.reviewer, found.notes) == (spec.session_id, "alice", "LGTM")


def test_every_reviewer_of_a_session_gets_the_same_hash_and_another_session_another(places):
    one, other = clean(places), clean(places, "does A", "not B", "C is there")
    surface = ReviewSurface(*places)
    first, second = surface.attest(one.session_id, "alice"), surface.attest(one.session_id, "bob", "a note")
    assert first.frame_hash == second.frame_hash != surface.attest(other.session_id, "alice").frame_hash
    assert surface.get_attestations(one.session_id) == [first, second]


def test_a_session_without_attestations_or_without_rows_has_none(places):
    spec = clean(places)
    surface = ReviewSurface(*places)
    assert surface.get_attestations(spec.session_id) == []
    assert surface.get_attestations("nobody") == []


def test_a_surface_can_be_made_twice_and_makes_its_ledgers_where_they_are_missing(places):
    ReviewSurface(*places)
    surface = ReviewSurface(*places)
    assert Path(places[0]).exists() and Path(places[1]).exists()
    assert (surface.spec_db_path, surface.ledger_db_path) == places


@pytest.mark.parametrize("which", ["neither", "spec", "rows"])
def test_a_session_that_lacks_its_spec_or_its_rows_is_not_found(places, which: str):
    session = "nonexistent"
    if which == "spec":
        session = specified(places).session_id
    elif which == "rows":
        written(places, session, (1, "llm", 10, True, None))
    said = {"neither": "no session", "spec": "a spec and no other row", "rows": "has rows, but no spec"}[which]
    with pytest.raises(SessionNotFoundError, match=said) as caught:
        ReviewSurface(*places).load(session)
    assert isinstance(caught.value, KeyError)


def test_a_session_whose_own_ledger_has_only_its_spec_is_not_found(ledger, surface):
    session = record(ledger, SpecDraft(*ANSWERS)).session_id
    with pytest.raises(SessionNotFoundError, match="has not run"):
        surface.load(session)


def test_a_session_that_neither_of_two_ledgers_has_a_spec_of_is_not_found(places):
    specified(places)
    written(places, "by-hand", (1, "llm", 10, True, None))
    with pytest.raises(SessionNotFoundError, match="but no spec"):
        ReviewSurface(*places).load("by-hand")


def test_ledgers_in_memory_construct_and_hold_nothing_to_review(keys):
    surface = ReviewSurface(":memory:", ":memory:")
    with pytest.raises(SessionNotFoundError, match="in memory"):
        surface.load("s")
    assert surface.get_attestations("s") == []


def test_a_spec_in_memory_is_no_spec(places):
    written(places, "by-hand", (1, "llm", 10, True, None))
    with pytest.raises(SessionNotFoundError, match="but no spec"):
        ReviewSurface(":memory:", places[1]).load("by-hand")


def test_a_surface_that_must_not_create_leaves_nothing_behind(tmp_path, keys):
    surface = ReviewSurface(tmp_path / "no.db", tmp_path / "no.db", create=False)
    keys.mkdir()
    Ledger(tmp_path / "other.db").close()
    with pytest.raises(LedgerNotFound):
        surface.load("s")
    assert not (tmp_path / "no.db").exists()


# --- governed sessions --------------------------------------------------------------------------------------------

def test_the_hash_is_what_sha256sum_says_of_the_rendered_text(ledger, surface, tmp_path):
    session = completed(ledger).session
    (tmp_path / "frame.txt").write_bytes(surface.render(session).encode())
    said = subprocess.run(["sha256sum", tmp_path / "frame.txt"], capture_output=True, check=True).stdout.decode()
    assert said.split()[0] == surface.show(session).sha256 == surface.attest(session, "alice").frame_hash


def test_the_frame_is_the_same_before_and_after_attestations_and_from_another_process_view(ledger, surface, path, keys):
    session = completed(ledger).session
    before = surface.render(session)
    surface.attest(session, "alice")
    assert surface.render(session) == before
    assert ReviewSurface(path, path, keys=keys, trust=keys / "self", create=False).render(session) == before
    assert ReviewSurface(path, path, trust=load_trust(keys / "self"), create=False).render(session) == before


def test_the_loops_own_spec_counts_and_not_a_later_or_other_one(ledger, surface):
    builder = SessionBuilder(ledger).spec("first", "no", "done").spec("second", "no", "done")
    opened = builder.rows[0].leaf
    builder.open(spec=opened).turn().close()
    assert surface.load(builder.session).original_promise.what_it_does == "first"


def test_an_open_row_that_binds_a_spec_of_nowhere_refuses_to_render(ledger, surface):
    builder = SessionBuilder(ledger).spec().open(spec="0" * 64).turn().close()
    with pytest.raises(VerificationError, match="binds a spec that its session does not have"):
        surface.load(builder.session)


@pytest.mark.parametrize("outcome", [None, "suspended"])
def test_a_session_that_was_opened_and_not_closed_has_no_frame_and_cannot_be_attested(ledger, surface, outcome):
    builder = SessionBuilder(ledger).spec().open().turn()
    if outcome is not None:
        builder.close(outcome)
    for attempt in (surface.render, surface.load, lambda session: surface.attest(session, "alice")):
        with pytest.raises(NotAttested, match="opened and not closed") as caught:
            attempt(builder.session)
        assert caught.value.exit_code is ExitCode.NOT_ATTESTED
        assert f"safeloop close {builder.session}" in caught.value.hint


def test_a_row_after_the_cut_voids_the_frame(ledger, surface):
    builder = completed(ledger)
    builder.turn("I go on all the same")
    assert surface.render(builder.session)
    with pytest.raises(NotAttested, match=r"row 13 \(intent\) came after the cut, row 12"):
        surface.attest(builder.session, "alice")
    assert status_lines(surface.show(builder.session)) == (
        "row 13: intent after the cut: the frame is void", "row 14: turn after the cut: the frame is void")


def test_a_row_written_by_hand_after_an_attestation_voids_the_frame(places):
    spec = clean(places)
    surface = ReviewSurface(*places)
    first = surface.attest(spec.session_id, "alice")
    written(places, spec.session_id, (4, "llm", 1, True, None))
    assert surface.show(spec.session_id).sha256 == first.frame_hash
    with pytest.raises(NotAttested, match=r"\(turn\) came after the cut"):
        surface.attest(spec.session_id, "bob")


def test_what_came_later_is_told_beside_the_frame(ledger, surface):
    builder = completed(ledger)
    surface.attest(builder.session, "alice and\nbob")
    builder.row("release", {"attestations": [], "policy": "", "destination": "out", "file_count": 0,
                            "files": ledger.content(b"[]", "application/json").commitment})
    assert status_lines(surface.show(builder.session)) == (
        'row 13: accept by "alice and\\\\u{a}bob", not signed', "row 14: release")


def test_notes_are_told_below_their_attestation_and_end_no_line_and_no_quotes(ledger, surface):
    builder = completed(ledger)
    surface.attest(builder.session, "alice", 'fine"\nrow 99: release\x1b[2J\u00a0')
    assert status_lines(surface.show(builder.session)) == (
        "row 13: accept by alice, not signed", '    notes="fine\\"\\u{a}row 99: release\\u{1b}[2J\\u{a0}"')


# --- unsigned attestations ----------------------------------------------------------------------------------------

def test_an_unsigned_attestation_states_the_same_as_a_signed_one_would(ledger, surface):
    builder = completed(ledger)
    shown = surface.show(builder.session)
    surface.attest(builder.session, "Álice  of accounting", "two\nlines")
    data = ledger.rows(builder.session)[-1].data
    stated = parse_statement(data["statement"].encode())
    assert data["signature"] is None
    assert (stated.reviewer, stated.notes, stated.decision) == ("Álice  of accounting", "two\nlines", "accept")
    assert stated.digests == shown.digests
    assert (stated.session_head, stated.session_rows) == (builder.last.leaf, 12)
    assert ledger.read_content(data["frame_text"]) == shown.data


@pytest.mark.parametrize(("reviewer", "notes", "said"), [
    ("", "", "names its reviewer"), (" \t", "", "names its reviewer"), ("a\0", "", "U\\+0000"),
    ("alice", "\ud800", "lone surrogate"), ("alice", "é" * 2_001, "4002 bytes, more than 4000"),
])
def test_a_name_or_notes_that_no_row_can_hold_are_refused_in_words(ledger, surface, reviewer, notes, said):
    session = completed(ledger).session
    with pytest.raises(SettingError, match=said):
        surface.attest(session, reviewer, notes)
    assert surface.get_attestations(session) == []


def test_the_longest_notes_fit_whatever_they_hold(ledger, surface):
    session = completed(ledger).session
    assert surface.attest(session, "alice", "\x01" * 4_000).notes == "\x01" * 4_000
    assert surface.attest(session, "alice", "é" * 2_000).notes == "é" * 2_000


def test_an_invented_decision_is_refused(ledger, surface):
    shown = surface.show(completed(ledger).session)
    with pytest.raises(SettingError, match="accept or reject, not maybe"):
        surface.state(shown, "maybe", "alice")


def test_two_reviewers_attest_at_once_through_two_connections_and_both_rows_stand(ledger, surface, path, keys):
    session = completed(ledger).session
    barrier = threading.Barrier(2)
    faults: list[BaseException] = []

    def attest(name: str) -> None:
        try:
            shown = surface.show(session)
            stated = surface.state(shown, "accept", name)
            own = Ledger(path, keys=keys, create=False)
            barrier.wait()
            attest_unsigned(own, shown, stated)
            own.close()
        except BaseException as error:  # noqa: BLE001 (told to the test)
            faults.append(error)

    threads = [threading.Thread(target=attest, args=(name,)) for name in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert {each.reviewer for each in surface.get_attestations(session)} == {"alice", "bob"}


@pytest.mark.parametrize("kind", ["turn", "erase"])
def test_a_row_that_arrives_between_showing_and_attesting_refuses_the_attestation(ledger, surface, kind):
    builder = completed(ledger)
    shown = surface.show(builder.session)
    stated = surface.state(shown, "accept", "alice")
    builder.turn() if kind == "turn" else builder.erase(builder.rows[1].data["task"])
    with pytest.raises(VerificationError, match="changed while it was read"):
        attest_unsigned(ledger, shown, stated)
    assert surface.get_attestations(builder.session) == []


def test_a_reconciliation_between_showing_and_attesting_moves_no_governed_cut(ledger, surface):
    builder = completed(ledger)
    shown = surface.show(builder.session)
    stated = surface.state(shown, "accept", "alice")
    findings = ledger.content(b"[]", "application/json")
    builder.row("reconcile", {"source": "p", "window": "", "settled": [], "findings": findings.commitment}, findings)
    assert attest_unsigned(ledger, shown, stated).frame_hash == surface.show(builder.session).sha256


def test_a_row_written_by_hand_between_showing_and_attesting_refuses_the_attestation(places):
    spec = clean(places)
    surface = ReviewSurface(*places)
    shown = surface.show(spec.session_id)
    stated = surface.state(shown, "accept", "alice")
    written(places, spec.session_id, (4, "llm", 1, True, None))
    ledger = Ledger(places[1])
    with pytest.raises(VerificationError, match="changed while it was read"):
        attest_unsigned(ledger, shown, stated)
    ledger.close()


def test_a_frame_of_one_ledger_is_not_attested_in_another(ledger, surface, tmp_path, keys):
    shown = surface.show(completed(ledger).session)
    stated = surface.state(shown, "accept", "alice")
    other = Ledger(tmp_path / "other.db", keys=keys)
    with pytest.raises(VerificationError, match="the frame is of ledger"):
        attest_unsigned(other, shown, stated)
    other.close()


# --- erased content -----------------------------------------------------------------------------------------------

def forget(path: Path, commitment) -> None:
    with attacks.raw(content_path(path)) as sql:
        digest = bytes.fromhex(commitment["salted_sha256"])
        assert sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (digest,)).rowcount == 1


def test_missing_content_without_an_erase_row_refuses_to_render(ledger, surface, path):
    builder = completed(ledger)
    forget(path, builder.rows[1].data["task"])
    with pytest.raises(VerificationError, match=r"row 2: its content .* is missing"):
        surface.render(builder.session)


def test_after_an_erasure_the_frame_of_an_earlier_attestation_stands_and_nobody_attests_again(
    ledger, surface, path, reviewer
):
    builder = completed(ledger)
    before = surface.render(builder.session)
    key = reviewer(ALICE)
    first = surface.attest_signed(
        surface.show(builder.session), "accept", ALICE, sign=lambda data: sign_statement(data, key))
    builder.erase(builder.last.data["output"])
    forget(path, builder.rows[-2].data["output"])
    shown = surface.show(builder.session)
    assert (shown.text, shown.sha256) == (before, first.frame_hash)
    assert status_lines(shown)[-1] == (
        "content was erased: the frame is shown as row 13 stored it, and cannot be attested any more")
    with pytest.raises(NotAttested, match="content of the frame was erased"):
        surface.attest(builder.session, "bob")


def test_after_an_erasure_without_attestation_what_is_left_is_shown(ledger, surface, path):
    builder = completed(ledger)
    builder.erase(builder.last.data["output"])
    forget(path, builder.rows[-2].data["output"])
    assert "(erased by row 13: 12 bytes)" in surface.render(builder.session)
    said = status_lines(surface.show(builder.session))[-1]
    assert said.startswith("content was erased: the frame is shown with what is left")


@pytest.mark.parametrize("lie", [b"safeloop frame v1\nall is well\n", b"\xff\xfe", b"\x1b[2J"])
def test_a_frame_that_no_pinned_reviewer_signed_is_never_shown(ledger, surface, path, lie):
    builder = completed(ledger)
    surface.attest(builder.session, "alice")
    data, stored = ledger.rows(builder.session)[-1].data, ledger.content(lie, "text/plain")
    builder.row("attestation", data | {"frame": hashlib.sha256(lie).hexdigest(), "frame_text": stored.commitment}, stored)
    builder.erase(builder.rows[11].data["output"])
    forget(path, builder.rows[11].data["output"])
    shown = surface.show(builder.session)
    assert shown.stored_in is None and "(erased by row" in shown.text


@pytest.mark.parametrize("kept", [b"\xff\xfe", b"safeloop frame v1\n\x1b[2J", b"x\xef\xb8\x8f"])
def test_a_signed_frame_that_cannot_be_shown_is_refused(ledger, surface, path, reviewer, kept):
    key, builder = reviewer(ALICE), completed(ledger)
    surface.attest_signed(surface.show(builder.session), "accept", ALICE, sign=lambda each: sign_statement(each, key))
    row = ledger.rows(builder.session)[-1]
    with pytest.raises(VerificationError, match=f"row {row.id}: the frame that it keeps is no text"):
        stored_text(row, lambda commitment: kept)


def test_a_stored_text_that_is_not_the_frame_that_was_attested_does_not_stand(ledger, surface, path):
    builder = completed(ledger)
    shown = surface.show(builder.session)
    surface.attest(builder.session, "alice")
    data = ledger.rows(builder.session)[-1].data
    other = ledger.content(b"safeloop frame v1\nall is well\n", "text/plain")
    forget(path, data["frame_text"])
    builder.erase(builder.last.data["output"], data["frame_text"])
    builder.row("attestation", data | {"frame_text": other.commitment, "reviewer": "mallory"}, other)
    forget(path, builder.rows[11].data["output"])
    assert surface.show(builder.session).text not in (shown.text, "safeloop frame v1\nall is well\n")


# --- tampering ----------------------------------------------------------------------------------------------------

def test_content_with_one_changed_byte_refuses_to_render(ledger, surface, path):
    builder = completed(ledger)
    digest = bytes.fromhex(builder.last.data["output"]["salted_sha256"])
    with attacks.raw(content_path(path)) as sql:
        sql.execute("UPDATE content SET bytes = ? WHERE salted_sha256 = ?", (b"All is hell.", digest))
    with pytest.raises(VerificationError, match="is not what the row committed to"):
        surface.render(builder.session)


def cheaper(body: bytes) -> bytes:
    return body.replace(b'"token_delta":90', b'"token_delta":80')


def refuses(surface: ReviewSurface, session: str, reason: str) -> None:
    for attempt in (surface.render, lambda each: surface.attest(each, "alice"), surface.get_attestations):
        with pytest.raises(VerificationError, match=reason):
            attempt(session)


def test_a_changed_row_refuses_to_render_and_to_attest(ledger, surface, path):
    builder = completed(ledger)
    ledger.close()
    attacks.set_body(path, 9, cheaper(builder.rows[9].body))
    refuses(surface, builder.session, "are not the 12 that its head signs")


def test_a_changed_row_in_a_tree_signed_anew_refuses_to_render_and_to_attest(ledger, surface, path, keys):
    session = completed(ledger).session
    ledger.close()
    victim = attacks.Victim(path, keys)
    rows = victim.sealed()
    rows[9] = (cheaper(rows[9][0]), rows[9][1])
    attacks.rebuild(victim, rows, log=victim.log)
    refuses(surface, session, "row 11 does not follow the session's row before it")


def test_a_changed_last_row_in_a_tree_signed_anew_refuses_to_render_and_to_attest(ledger, surface, path, keys):
    session = completed(ledger).session
    ledger.close()
    victim = attacks.Victim(path, keys)
    rows = victim.sealed()
    rows[11] = (rows[11][0].replace(b'"completed"', b'"unmet"'), rows[11][1])
    attacks.rebuild(victim, rows, log=victim.log)
    refuses(surface, session, "row 12: signature does not verify under writer")


def test_a_removed_last_row_refuses_to_render_and_to_attest(ledger, surface, path, keys):
    builder = completed(ledger)
    ledger.close()
    victim = attacks.Victim(path, keys)
    attacks.rebuild(victim, victim.sealed()[:-1])
    refuses(surface, builder.session, "the 11 rows .* are not the 12 that its head signs")


def test_a_row_that_was_taken_out_of_a_tree_signed_anew_refuses_to_render(ledger, surface, path, keys):
    builder = completed(ledger)
    ledger.close()
    victim = attacks.Victim(path, keys)
    rows = victim.sealed()
    attacks.rebuild(victim, rows[:9] + rows[10:], log=victim.log)
    refuses(surface, builder.session, "does not follow the session's row before it")


def test_rows_of_a_writer_that_is_not_pinned_refuse_to_render(ledger, path, keys, tmp_path):
    session = completed(ledger).session
    Ledger(tmp_path / "stranger.db", keys=tmp_path / "strange-keys").close()
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "policy").write_bytes((keys / "self" / "policy").read_bytes())
    (trust / "writers").write_bytes((tmp_path / "strange-keys" / "self" / "writers").read_bytes())
    with pytest.raises(SignatureMismatch, match="is not pinned"):
        ReviewSurface(path, path, keys=keys, trust=trust, create=False).render(session)


def test_a_log_that_is_not_pinned_refuses_to_render(ledger, path, keys, tmp_path):
    session = completed(ledger).session
    Ledger(tmp_path / "stranger.db", keys=tmp_path / "strange-keys").close()
    with pytest.raises(KeyUnusable, match="pins no log of this origin"):
        ReviewSurface(path, path, trust=KeyFolder(tmp_path / "strange-keys").self_trust, create=False).render(session)


def test_an_attestation_row_of_another_form_is_refused_even_if_the_writer_signed_it(ledger, surface, path, keys):
    builder = completed(ledger)
    surface.attest(builder.session, "alice")
    ledger.close()
    victim = attacks.Victim(path, keys)
    rows = victim.sealed()
    body = json.loads(rows[-1][0])
    del body["data"]["frame"]
    attacks.rebuild(victim, [*rows[:-1], victim.seal(body)], log=victim.log)
    refuses(surface, builder.session, "row 13: a attestation row's frame is missing")


def test_the_frame_of_a_record_is_what_render_makes_of_its_facts(ledger, surface):
    shown = surface.show(completed(ledger).session)
    assert shown.text == render(shown.facts)
