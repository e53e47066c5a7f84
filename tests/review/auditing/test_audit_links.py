"""Audits of chains and tree alone: what they find, what they cannot find, and that they never say more than that."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeloop.review.auditing.verdict import render_report
from tests.review.attacks import OWN, Victim, found, gaps, make, rebuild, set_body, set_signature, unguarded


def test_the_verdict_on_a_tree_is_never_one_on_the_record(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    report = victim.audit(tree_only=True, state=OWN, checkpoints=[victim.head()])
    assert (found(report), report.exit_code, report.rows, report.rows_standing) == ([], 18, 10, 10)
    assert report.verdict.startswith("tree PASS, 10 rows stand; INCOMPLETE: signatures, encodings and contents were not checked")
    assert "record PASS" not in render_report(report)
    value = report.as_json()
    assert (value["tree"], value["record"], value["completeness"]) == ("PASS", "UNCHECKED", "INCOMPLETE")
    assert value["exit_code"] == 18
    assert victim.audit().as_json()["tree"] is None


def test_a_byte_changed_in_any_row_is_found_at_that_row(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    for idx, (body, _) in enumerate(victim.sealed()):
        set_body(victim.path, idx, body.replace(b"T", b"t", 1))
        report = victim.audit(tree_only=True)
        assert ("tree", idx + 1) in found(report)
        assert report.rows_standing == 9
        assert (report.as_json()["tree"], report.record) == ("FAIL", "FAIL")
        assert report.verdict.startswith("tree FAIL")
        set_body(victim.path, idx, body)


def test_a_forged_signature_under_a_true_head_is_not_found_and_said_not_to_be_looked_at(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rebuild(victim, [(body, bytes(64)) for body, _ in victim.sealed()], log=victim.log)
    report = victim.audit(tree_only=True)
    assert [rule for rule, _ in found(report)] == ["chain"] * 8  # whose leaves are other leaves now
    assert "signatures, encodings and contents were not checked" in report.verdict


@pytest.mark.parametrize("at", [3, 5, 9])
def test_a_chain_broken_by_whoever_holds_all_keys_is_found(tmp_path: Path, at: int) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rows[at] = victim.seal(victim.bodies()[at] | {"n": 7})
    rebuild(victim, rows, log=victim.log)
    assert ("chain", at + 1) in found(victim.audit(tree_only=True))


def test_rows_whose_end_is_not_a_rows_are_findings_and_a_version_to_come_is_a_gap(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rows[1] = (b"no row", rows[1][1])
    rows[4] = victim.seal(victim.bodies()[4] | {"v": 2})
    rebuild(victim, rows, log=victim.log)
    report = victim.audit(tree_only=True)
    assert found(report) == [("encoding", 2), ("chain", 3)]  # which names the leaf of the row that was there
    assert (gaps(report), report.rows_standing) == ([("unknown", None)], 8)
    with unguarded(victim.path) as sql:
        sql.execute("PRAGMA ignore_check_constraints = ON")
        sql.execute("UPDATE row SET sig = zeroblob(3) WHERE idx = 4")
    assert ("encoding", 5) in found(victim.audit(tree_only=True))


def test_text_inside_data_cannot_imitate_the_end_of_a_row(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows, bodies = victim.sealed(), victim.bodies()
    imitation = victim.sealed()[9][0].decode()[1:]
    data = bodies[5]["data"] | {"what_it_does": imitation}
    rows[5] = victim.seal(bodies[5] | {"data": data})
    rebuild(victim, rows, log=victim.log)
    assert found(victim.audit(tree_only=True)) == [("chain", 7)]


def test_missing_rows_and_an_empty_ledger_fail(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM row WHERE idx = 3")
    assert found(victim.audit(tree_only=True)) == [("missing", 4)]
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM row")
    assert ("empty", None) in found(victim.audit(tree_only=True))


def test_a_swap_shows_at_both_rows_and_no_links_are_blamed_for_it(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    with unguarded(victim.path) as sql:
        for idx, (body, signature) in ((2, rows[6]), (6, rows[2])):
            sql.execute("UPDATE row SET body = CAST(? AS TEXT), sig = ? WHERE idx = ?", (body, signature, idx))
    assert found(victim.audit(tree_only=True)) == [("tree", 3), ("tree", 7)]


def test_a_signature_changed_alone_is_found_by_its_leaf(tmp_path: Path) -> None:
    victim: Victim = make(tmp_path)[0]
    set_signature(victim.path, 4, b"\1" * 64)
    assert found(victim.audit(tree_only=True)) == [("tree", 5)]
