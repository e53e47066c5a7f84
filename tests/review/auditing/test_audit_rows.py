"""Attacks on single rows: their bytes, their signatures, their place in a session, and what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from safeloop.ledger import seal
from safeloop.ledger.encoding import encode
from safeloop.ledger.keys import SigningKey
from safeloop.ledger.trust import Revocation, pin_writer
from tests.review.attacks import (
    OWN,
    Draft,
    by_hand,
    found,
    gaps,
    make,
    open_data,
    rebuild,
    rewrite_schema,
    set_body,
    set_signature,
    spec_draft,
    turn_data,
    unguarded,
)


def test_an_untouched_ledger_passes_and_is_complete(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    report = victim.audit(state=OWN, checkpoints=[victim.head()])
    assert (report.findings, report.gaps) == ((), ())
    assert (report.record, report.completeness, report.exit_code) == ("PASS", "COMPLETE", 0)
    assert (report.size, report.rows, report.rows_standing, report.ledger) == (10, 10, 10, victim.origin)


@pytest.mark.parametrize("part", range(12))
def test_a_flipped_byte_of_a_body_is_found_in_its_row_and_nowhere_else(tmp_path: Path, part: int) -> None:
    victim, _, _ = make(tmp_path)
    body = bytearray(victim.sealed()[6][0])
    at = part * (len(body) - 1) // 11
    body[at] ^= 1 << (part % 7)
    set_body(victim.path, 6, bytes(body))
    report = victim.audit(state=OWN, checkpoints=[victim.head()])
    assert [row for _, row in found(report)] == [7]
    assert found(report)[0][0] in ("encoding", "signature", "writer")
    assert gaps(report) == []  # the `open` row: what is damaged is not called ungoverned besides
    assert report.exit_code == 11
    assert report.rows_standing == 9


def test_an_edited_row_whose_hashes_were_rewritten_too_is_found_by_signature_and_head(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    value = json.loads(rows[3][0])
    value["data"]["token_delta"] = 1
    rows[3] = (encode(value), rows[3][1])
    rebuild(victim, rows)
    report = victim.audit(state=OWN)
    assert found(report) == [("tree", None), ("state", None), ("signature", 4)]
    assert report.rows_standing == 9


def test_the_rows_after_two_neighbouring_damaged_ones_still_stand(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    for idx in (1, 2):
        set_body(victim.path, idx, b"not even json")
    report = victim.audit(state=OWN)
    assert found(report) == [("encoding", 2), ("encoding", 3)]
    assert "no pinned writer signed these bytes" in report.findings[0].message
    assert gaps(report) == []
    assert report.rows_standing == 8


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_is_found(tmp_path: Path, size: int) -> None:
    victim, _, _ = make(tmp_path)
    set_signature(victim.path, 4, bytes(size))
    report = victim.audit()
    assert found(report) == [("encoding", 5)]
    assert f"signature has {size} bytes" in report.findings[0].message


@pytest.mark.parametrize("column", ["sig = 'words'", "body = zeroblob(9)", "body = 7"])
def test_values_of_another_type_are_findings_and_never_exceptions(tmp_path: Path, column: str) -> None:
    victim, _, _ = make(tmp_path)
    rewrite_schema(victim.path, "row", lambda text: text.removesuffix(" STRICT"))
    with unguarded(victim.path) as sql:
        sql.execute(f"UPDATE row SET {column} WHERE idx = 4")
    rewrite_schema(victim.path, "row", lambda text: text + " STRICT")
    report = victim.audit()
    assert found(report) == [("encoding", 5)]


def test_a_last_row_of_another_n_is_found_although_its_prev_is_right(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rows[9] = victim.seal(rows[9][0].replace(b'"n":4,"prev"', b'"n":6,"prev"'))
    rebuild(victim, rows, log=victim.log)
    report = victim.audit()
    assert found(report) == [("chain", 10)]
    assert "is n 6 of session beta, where n 4 should follow" in report.findings[0].message


def test_a_duplicate_key_signed_by_the_true_writer_is_found_by_the_encoding_alone(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    body = rows[9][0].replace(b'"turns":1', b'"turns":9,"turns":1')
    assert json.loads(body) == json.loads(rows[9][0])
    rows[9] = victim.seal(body)
    rebuild(victim, rows, log=victim.log)
    report = victim.audit()
    assert found(report) == [("encoding", 10)]
    assert "duplicate" in report.findings[0].message


def test_what_follows_an_unreadable_row_in_its_session_still_stands(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rows[8] = victim.seal(rows[8][0].replace(b'"v":1', b'"v":2,"v":1'))
    rows[9] = victim.seal(victim.bodies()[9] | {"prev": seal.leaf(*rows[8]).hex()})
    rebuild(victim, rows, log=victim.log)
    report = victim.audit()
    assert found(report) == [("encoding", 9)]
    assert report.rows_standing == 9


def test_a_damaged_row_does_not_excuse_a_copy_of_the_row_after_it(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rows[1] = (rows[1][0], bytes(64))
    rebuild(victim, [*rows, rows[2]], log=victim.log)
    assert found(victim.audit()) == [("signature", 2), ("chain", 11)]


@pytest.mark.parametrize("bomb", [b"[" * 50_000, b'{"a":' * 9_000, b"1" * 59_000, b'"' + b"a" * 70_000 + b'"'])
def test_depth_bombs_and_long_numbers_are_findings_and_never_exceptions(tmp_path: Path, bomb: bytes) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rows[5] = victim.seal(bomb)
    rebuild(victim, rows, log=victim.log)
    report = victim.audit()
    assert ("encoding", 6) in found(report)
    # The session's second row stands on a leaf that is nowhere.
    assert {row for _, row in found(report)} == {6, 7}


def test_a_revocation_ends_a_writer_at_its_size_and_not_before(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    trust = victim.trust()
    revoked = replace(trust, revoked=(Revocation(victim.writer.key_id, victim.origin, 8),))
    report = victim.audit(trust=revoked)
    assert found(report) == [("revoked", 9), ("revoked", 10)]
    assert "from row 9 on" in report.findings[0].message
    elsewhere = replace(trust, revoked=(Revocation(victim.writer.key_id, "another.example/ledger", 0),))
    assert found(victim.audit(trust=elsewhere)) == []


def test_a_gap_in_a_session_is_found_although_all_keys_signed_it(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    del rows[2]
    rebuild(victim, rows, log=victim.log)
    report = victim.audit()
    assert found(report) == [("chain", 3)]
    assert "is n 3 of session alpha, where n 2 should follow" in report.findings[0].message
    assert report.rows_standing == 8


def test_a_row_that_is_there_twice_is_found_although_all_keys_signed_it(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rebuild(victim, [*rows, rows[3]], log=victim.log)
    assert found(victim.audit()) == [("chain", 11)]


def test_a_prev_that_names_another_row_is_found_although_all_keys_signed_it(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    rows = victim.sealed()
    rows[9] = victim.seal(victim.bodies()[9] | {"prev": alpha.rows[3].leaf})
    rebuild(victim, rows, log=victim.log)
    report = victim.audit()
    assert found(report) == [("chain", 10)]
    assert report.findings[0].session == "beta"


def test_two_swapped_rows_are_found_although_all_keys_signed_the_order(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rows[2], rows[3] = rows[3], rows[2]
    rebuild(victim, rows, log=victim.log)
    assert found(victim.audit()) == [("chain", 3), ("chain", 4)]


@pytest.mark.parametrize("spec", ["0" * 64, "another session's"])
def test_an_open_row_on_a_foreign_spec_is_found(tmp_path: Path, spec: str) -> None:
    victim, alpha, beta = make(tmp_path)
    leaf = beta.row("spec").leaf if spec == "another session's" else spec
    victim.append(spec_draft("gamma"), Draft("gamma", "open", open_data(leaf, alpha.row("open").data["task"])))
    report = victim.audit()
    assert found(report) == [("open", 12)]
    assert "a spec row that the session does not have" in report.findings[0].message


def test_an_open_row_stands_beside_its_damaged_spec(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rows[0] = (rows[0][0].replace(b"audit a page", b"audit a cage"), rows[0][1])
    rebuild(victim, rows)
    assert found(victim.audit()) == [("tree", None), ("signature", 1)]


def test_signed_data_of_another_form_than_its_kind_is_found(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    rows = victim.sealed()
    value = victim.bodies()[9]
    value["data"]["turns"] = -1
    rows[9] = victim.seal(value)
    rebuild(victim, rows, log=victim.log)
    report = victim.audit()
    assert found(report) == [("kind", 10)]
    assert "turns" in report.findings[0].message
    assert alpha.rows


def test_an_odd_open_row_does_not_open_its_session_and_is_no_crash(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    value = victim.bodies()[0] | {"session": "gamma", "kind": "open", "data": {"spec": 7}, "n": 0}
    rebuild(victim, [*victim.sealed(), victim.seal(value)], log=victim.log)
    report = victim.audit()
    assert found(report) == [("kind", 11)]


def test_an_unknown_kind_is_verified_as_bytes_and_leaves_the_audit_incomplete(tmp_path: Path) -> None:
    victim, _, beta = make(tmp_path)
    value = victim.bodies()[9] | {"kind": "telemetry", "n": 5, "prev": beta.rows[-1].leaf, "data": {"turn": "x"}}
    later = value | {"kind": "telemetry", "n": 0, "prev": "0" * 64, "session": "ledger"}
    rebuild(victim, [*victim.sealed(), victim.seal(value), victim.seal(later)], log=victim.log)
    report = victim.audit()
    assert (found(report), gaps(report)) == ([], [("unknown", 11)])
    assert "kind telemetry is not known to this reader, nor of 1 later row" in report.gaps[0].message
    assert (report.record, report.completeness, report.exit_code) == ("PASS", "INCOMPLETE", 18)
    set_signature(victim.path, 10, bytes(64))
    assert found(victim.audit()) == [("signature", 11)]


def test_an_unknown_version_is_verified_as_bytes_and_its_session_goes_on(tmp_path: Path) -> None:
    victim, _, beta = make(tmp_path)
    second = victim.seal({"v": 2, "something": ["else"]})
    prev = seal.leaf(*second).hex()
    third = victim.seal(victim.bodies()[9] | {"n": beta.rows[-1].n + 2, "prev": prev})
    rebuild(victim, [*victim.sealed(), second, third], log=victim.log)
    report = victim.audit()
    assert (found(report), gaps(report)) == ([], [("unknown", 11)])
    assert "version 2" in report.gaps[0].message
    assert report.exit_code == 18


def test_an_unknown_version_that_nobody_signed_is_a_failure(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    second = victim.seal({"v": 2}, SigningKey.ephemeral())
    rebuild(victim, [*victim.sealed(), second], log=victim.log)
    report = victim.audit()
    assert found(report) == [("signature", 11)]
    assert "no pinned writer" in report.findings[0].message


def test_an_unknown_version_by_a_revoked_writer_is_a_failure(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rebuild(victim, [*victim.sealed(), victim.seal({"v": 2})], log=victim.log)
    trust = replace(victim.trust(), revoked=(Revocation(victim.writer.key_id, victim.origin, 10),))
    assert found(victim.audit(trust=trust)) == [("revoked", 11)]


def test_a_second_writer_that_was_pinned_may_write(tmp_path: Path) -> None:
    victim, _, beta = make(tmp_path)
    second = SigningKey.ephemeral()
    pin_writer(victim.keys / "self", "second", second.public)
    value = victim.bodies()[9] | {"writer": second.key_id}
    rebuild(victim, [*victim.sealed()[:9], victim.seal(value, second)], log=victim.log)
    assert found(victim.audit()) == []
    assert beta.rows


def test_sessions_without_open_are_ungoverned_and_named(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    for number in range(12):
        by_hand(victim, f"hand-{number:02}", 1)
    report = victim.audit()
    assert (found(report), gaps(report)) == ([], [("ungoverned", None)])
    assert report.gaps[0].message == (
        "12 sessions ungoverned: " + ", ".join(f"hand-{number:02}" for number in range(10)) + ", …"
    )
    assert report.exit_code == 18


def test_a_spec_that_waits_for_its_run_is_a_note_and_no_gap(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    victim.append(spec_draft("gamma"))
    report = victim.audit()
    assert (found(report), gaps(report)) == ([], [])
    assert "1 session specified and not run yet" in report.notes


def test_a_failure_and_a_gap_are_both_told(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    by_hand(victim, "whole", 1)
    by_hand(victim, "hand", 2)
    set_signature(victim.path, 12, bytes(64))
    report = victim.audit()
    assert (found(report), gaps(report)) == ([("signature", 13)], [("ungoverned", None)])
    # The damaged row of the other session may have been the one that opened it.
    assert report.gaps[0].message == "1 session ungoverned: whole"
    assert (report.record, report.completeness, report.exit_code) == ("FAIL", "INCOMPLETE", 11)


def test_turn_rows_may_be_written_for_the_ledger_as_a_whole(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    windows = {"hour": {}, "day": {"tokens": 5}, "month": {}}
    victim.append(Draft("ledger", "limits", windows))
    assert (found(victim.audit()), gaps(victim.audit())) == ([], [])
    assert turn_data(alpha.row("turn").data["response"])
