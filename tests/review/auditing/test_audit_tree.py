"""Attacks on the order and the number of rows, and on the head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from safeloop.ledger import Ledger
from safeloop.ledger.store.schema import STATEMENTS
from tests.review.attacks import (
    OWN,
    Victim,
    erase,
    found,
    gaps,
    governed,
    make,
    raw,
    rebuild,
    restate,
    rewrite_schema,
    set_head,
    unguarded,
)

# Rows moved, with the stored hashes left as they are: the head names the rows.


def test_a_deleted_row_is_missing_and_its_neighbours_stand(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM row WHERE idx = 3")
    report = victim.audit(state=OWN, checkpoints=[victim.head()])
    assert found(report) == [("missing", 4)]
    assert (report.rows, report.rows_standing) == (9, 9)


def test_neighbours_swapped_within_a_session_are_named_once(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    with unguarded(victim.path) as sql:
        for idx, (body, signature) in ((2, rows[3]), (3, rows[2])):
            sql.execute("UPDATE row SET body = CAST(? AS TEXT), sig = ? WHERE idx = ?", (body, signature, idx))
    report = victim.audit()
    assert found(report) == [("tree", 3)]
    assert report.rows_standing == 8


@pytest.mark.parametrize("idx", [12, 2**62])
def test_a_row_far_beyond_the_end_is_found_without_counting_up_to_it(tmp_path: Path, idx: int) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("INSERT INTO row (idx, body, sig) VALUES (?, CAST(? AS TEXT), ?)", (idx, *victim.sealed()[0]))
    report = victim.audit()
    assert found(report) == [("missing", 11), ("tree", idx + 1), ("chain", idx + 1)]
    assert (report.rows, report.rows_standing) == (11, 10)


def test_the_head_of_the_empty_ledger_put_back_covers_no_row(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "ledger.db", tmp_path / "keys")
    Ledger(victim.path, keys=victim.keys).close()
    first = victim.head()
    governed(victim, "alpha")
    set_head(victim.path, first)
    report = victim.audit()
    assert found(report) == [("tree", 1)]
    assert (report.size, report.rows_standing) == (0, 0)


# Rows moved, with the stored hashes rebuilt: the head still signs the true tree.


@pytest.mark.parametrize("attack", ["insert", "delete", "swap", "session"])
def test_rows_moved_with_all_hashes_rebuilt_are_found_by_the_head(tmp_path: Path, attack: str) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    if attack == "insert":
        rows.insert(5, victim.seal(victim.bodies()[0] | {"session": "gamma"}))
    elif attack == "delete":
        del rows[4]
    elif attack == "swap":
        rows[4], rows[5] = rows[5], rows[4]
    else:
        del rows[5:]
    rebuild(victim, rows)
    report = victim.audit()
    assert found(report) == [("tree", None)]
    assert report.rows_standing == report.rows == len(rows)


def test_a_session_removed_from_the_middle_is_found_by_the_head(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rebuild(victim, victim.sealed()[5:])
    report = victim.audit()
    assert found(report) == [("tree", None)]
    assert "the head signs 10 rows, and the file has 5" in report.findings[0].message


def test_rows_appended_without_the_log_key_are_not_in_the_tree(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    extra = [victim.seal(victim.bodies()[0] | {"session": name}) for name in ("gamma", "delta")]
    rebuild(victim, [*victim.sealed(), *extra])
    report = victim.audit(state=OWN)
    assert found(report) == [("tree", 11)]
    assert report.findings[0].message == "rows 11 to 12 are not in the tree of 10 rows that the head signs"
    assert (report.rows, report.rows_standing) == (12, 10)


def test_a_tail_cut_from_the_rows_alone_is_missing(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM row WHERE idx >= 8")
        restate(sql)
    report = victim.audit(state=OWN, checkpoints=[victim.head()])
    assert found(report) == [("missing", 9)]
    assert report.rows_standing == 8


def test_both_a_row_and_a_hash_damaged_leaves_the_head_unexplained(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("UPDATE row SET sig = zeroblob(64) WHERE idx = 2")
        sql.execute("UPDATE node SET hash = zeroblob(32) WHERE level = 0 AND idx = 5")
    report = victim.audit()
    assert {("tree", None), ("signature", 3)} <= set(found(report))
    assert report.rows_standing == 9


def test_a_gap_whose_hash_is_gone_too_is_missing_and_breaks_the_tree(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM row WHERE idx = 3")
        sql.execute("DELETE FROM node WHERE level = 0 AND idx = 3")
    report = victim.audit(state=OWN)
    assert found(report) == [("tree", None), ("state", None), ("missing", 4), ("chain", 5)]


def test_a_swap_is_told_by_the_chain_where_the_hashes_are_damaged_too(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    with unguarded(victim.path) as sql:
        for idx, (body, signature) in ((2, rows[3]), (3, rows[2])):
            sql.execute("UPDATE row SET body = CAST(? AS TEXT), sig = ? WHERE idx = ?", (body, signature, idx))
        sql.execute("UPDATE node SET hash = zeroblob(32) WHERE level = 0 AND idx = 7")
    report = victim.audit()
    assert {("tree", None), ("chain", 4)} <= set(found(report))


# The head.


def test_a_ledger_without_a_head_fails_and_its_rows_keep_their_signatures(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM head")
    report = victim.audit()
    assert found(report) == [("head", None)]
    assert (report.rows_standing, report.ledger) == (10, victim.bodies()[0]["ledger"])


def test_a_head_that_is_no_text_is_found(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("UPDATE head SET note = CAST(x'fffe41' AS TEXT)")
    report = victim.audit()
    assert found(report) == [("head", None)]
    assert "cannot be read" in report.findings[0].message


def test_the_head_of_another_ledger_of_the_same_keys_fits_no_row(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    other = Victim(tmp_path / "other.db", victim.keys)
    governed(other, "alpha")
    governed(other, "beta")
    set_head(victim.path, other.head())
    report = victim.audit()
    assert {("ledger", row) for row in range(1, 11)} <= set(found(report))
    assert ("tree", None) in found(report)
    assert report.rows_standing == 0


def test_a_log_that_the_trust_folder_does_not_pin_is_a_finding_and_no_exception(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    trust = victim.trust()
    report = victim.audit(trust=replace(trust, policy=replace(trust.policy, logs={})))
    assert found(report) == [("trust", None)]
    assert "pins no log" in report.findings[0].message
    assert report.rows_standing == 10


def test_an_empty_ledger_fails(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "ledger.db", tmp_path / "keys")
    Ledger(victim.path, keys=victim.keys).close()
    report = victim.audit(state=OWN)
    assert found(report) == [("empty", None)]
    assert (report.size, report.exit_code) == (0, 11)


def test_a_quorum_that_cannot_be_checked_fails(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    trust = victim.trust()
    report = victim.audit(trust=replace(trust, policy=replace(trust.policy, quorum="two-of-three")))
    assert found(report) == [("witness", None)]
    assert "two-of-three" in report.findings[0].message


# What the file derives from its rows.


@pytest.mark.parametrize(("level", "index", "row"), [(0, 4, 5), (1, 2, 5), (2, 0, 1), (3, 0, 1)])
@pytest.mark.parametrize("attack", ["UPDATE node SET hash = zeroblob(32)", "DELETE FROM node"])
def test_a_stored_hash_that_is_wrong_or_gone_is_derived_and_unseats_no_row(
    tmp_path: Path, level: int, index: int, row: int, attack: str
) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute(f"{attack} WHERE level = ? AND idx = ?", (level, index))
    report = victim.audit(state=OWN)
    assert found(report) == [("derived", row)]
    assert f"level {level} of the stored tree: 1 hash missing or wrong" in report.findings[0].message
    assert report.rows_standing == 10


@pytest.mark.parametrize(("level", "index"), [(0, 10), (0, -1), (1, 5), (3, 1), (60, 0), (-2, 7)])
def test_a_hash_too_many_is_found(tmp_path: Path, level: int, index: int) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("INSERT INTO node (level, idx, hash) VALUES (?, ?, zeroblob(32))", (level, index))
    report = victim.audit()
    assert found(report) == [("derived", None)]
    assert report.findings[0].message == "19 hashes of the tree are stored, and 18 have a place in it"


@pytest.mark.parametrize("place", ["'words'", "2.5", "zeroblob(1)"])
def test_a_hash_at_a_place_that_is_no_number_is_a_finding_and_no_exception(tmp_path: Path, place: str) -> None:
    victim, _, _ = make(tmp_path)
    loose = ") WITHOUT ROWID"
    rewrite_schema(victim.path, "node", lambda text: text.replace("NOT NULL", "").replace(") STRICT, WITHOUT ROWID", loose))
    with unguarded(victim.path) as sql:
        sql.execute(f"INSERT INTO node (level, idx, hash) VALUES (0, {place}, zeroblob(32))")
    rewrite_schema(victim.path, "node", lambda _: STATEMENTS[1])
    report = victim.audit()
    assert found(report) == [("derived", None)]
    assert report.rows_standing == 10


def test_a_hash_of_another_length_is_found(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("UPDATE node SET hash = zeroblob(31) WHERE level = 0 AND idx = 1")
    assert found(victim.audit()) == [("derived", 2)]


def test_a_tree_without_any_stored_hash_is_derived_and_the_rows_stand(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM node")
    report = victim.audit(state=OWN)
    assert {rule for rule, _ in found(report)} == {"derived"}
    assert len(report.findings) == 4
    assert report.rows_standing == 10


def test_an_erase_row_is_no_gap_of_its_own(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    erase(victim, "alpha", [alpha.row("turn").data["response"]])
    assert gaps(victim.audit()) == [("erased", 11)]
    with raw(victim.path) as sql:
        assert sql.execute("SELECT count(*) FROM row").fetchone() == (11,)
