"""Attacks that only what lies outside the file can tell: the state, and checkpoints that someone kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from safeloop.ledger import Ledger
from safeloop.ledger.keys import SigningKey
from safeloop.ledger.merkle import EMPTY_ROOT
from safeloop.ledger.note import Checkpoint, Verifier, sign_checkpoint
from safeloop.ledger.state import State
from safeloop.ledger.trust import load_trust, pin_log
from tests.review.attacks import (
    OWN,
    Victim,
    by_hand,
    found,
    governed,
    make,
    rebuild,
)


def signed(victim: Victim, size: int, root: bytes, *, origin: str = "", key: SigningKey | None = None) -> str:
    name, log = origin or victim.origin, key or victim.log
    return sign_checkpoint(Checkpoint(name, size, root), Verifier(name, log.public), log.sign)


def older(victim: Victim, folder: Path) -> Path:
    """Keep a copy of the file as it is now."""
    folder.mkdir()
    return Path(shutil.copy(victim.path, folder))


def cut(victim: Victim, size: int) -> None:
    """Cut the tail off as somebody with the log key can: with a head that signs the shorter ledger."""
    rebuild(victim, victim.sealed()[:size], log=victim.log)


def test_a_tail_cut_with_its_head_is_seen_by_the_state(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    cut(victim, 7)
    report = victim.audit(state=OWN)
    assert found(report) == [("state", None)]
    assert "the state of 10 rows is ahead of the ledger, which has 7" in report.findings[0].message
    assert report.rows_standing == 7


def test_a_tail_cut_with_its_head_is_seen_by_a_kept_checkpoint(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    kept = victim.head()
    cut(victim, 7)
    report = victim.audit(checkpoints=[kept])
    assert found(report) == [("checkpoint", None)]
    assert "checkpoint 1 of 10 rows is ahead of the ledger" in report.findings[0].message


def test_a_tail_cut_with_its_head_cannot_be_seen_without_either_and_the_audit_says_so(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    cut(victim, 7)
    report = victim.audit()
    assert found(report) == []
    assert any("no kept checkpoint was compared" in note and "cut tail" in note for note in report.notes)
    assert any("no state of this ledger" in note for note in report.notes)


def test_a_tail_cut_under_the_old_head_contradicts_that_head(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rebuild(victim, victim.sealed()[:7])
    report = victim.audit()
    assert found(report) == [("tree", None)]


def test_an_older_file_put_back_is_seen_by_state_and_checkpoint(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    before = older(victim, tmp_path / "old")
    governed(victim, "gamma")
    kept = victim.head()
    shutil.copy(before, victim.path)
    assert found(victim.audit()) == []
    assert found(victim.audit(state=OWN, checkpoints=[kept])) == [("state", None), ("checkpoint", None)]


def test_another_history_under_the_same_keys_is_seen_by_state_and_checkpoint(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    kept = victim.head()
    rows = victim.sealed()
    rows[9] = victim.seal(victim.bodies()[9] | {"at": "2026-11-21T00:00:00.000000Z"})
    rebuild(victim, [*rows, victim.seal(victim.bodies()[0] | {"session": "gamma"})], log=victim.log)
    report = victim.audit(state=OWN, checkpoints=[kept])
    assert found(report) == [("state", None), ("checkpoint", None)]
    assert all("another history" in each.message for each in report.findings)


def test_a_state_that_is_behind_is_harmless(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    behind = victim.state()
    governed(victim, "gamma")
    assert found(victim.audit(state=behind)) == []
    assert found(victim.audit(state=State(victim.path, 0, EMPTY_ROOT))) == []


def test_a_state_of_another_root_or_path_is_found(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    state = victim.state()
    assert state is not None
    assert found(victim.audit(state=replace(state, root=bytes(32)))) == [("state", None)]
    moved = victim.audit(state=replace(state, path=tmp_path / "elsewhere.db"))
    assert found(moved) == [("state", None)]
    assert str(tmp_path / "elsewhere.db") in moved.findings[0].message


def test_every_older_checkpoint_is_proved_from_the_newest_rows(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "ledger.db", tmp_path / "keys")
    Ledger(victim.path, keys=victim.keys).close()
    kept = [victim.head()]
    for number in range(9):
        by_hand(victim, f"hand-{number}", 1)
        kept.append(victim.head())
    assert found(victim.audit(checkpoints=kept)) == []


def test_two_checkpoints_that_contradict_each_other_cannot_both_hold(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    forged = signed(victim, 5, bytes(32))
    report = victim.audit(checkpoints=[victim.head(), forged])
    assert found(report) == [("checkpoint", None)]
    assert report.findings[0].message.startswith("checkpoint 2 of 5 rows is of another history")


def test_checkpoints_that_prove_nothing_are_named(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    stranger = signed(victim, 10, bytes(32), key=SigningKey.ephemeral())
    unpinned = signed(victim, 10, bytes(32), origin="example.org/log")
    report = victim.audit(checkpoints=["no note", stranger, unpinned])
    assert found(report) == [("checkpoint", None)] * 3
    for number, each in enumerate(report.findings, 1):
        assert f"checkpoint {number} cannot be used" in each.message


def test_a_checkpoint_of_another_ledger_of_the_same_keys_is_none_of_this_one(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    other = Victim(tmp_path / "other.db", victim.keys)
    governed(other, "alpha")
    report = victim.audit(checkpoints=[other.head()])
    assert found(report) == [("checkpoint", None)]
    assert f"is of {other.origin}, not of {victim.origin}" in report.findings[0].message


def test_a_trust_folder_of_ones_own_is_not_called_self(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    shutil.copytree(victim.keys / "self", tmp_path / "pins")
    pin_log(tmp_path / "pins", Verifier("example.org/other", SigningKey.ephemeral().public))
    theirs = victim.audit(trust=load_trust(tmp_path / "pins"))
    assert not theirs.is_self
    assert "self" not in theirs.verdict
    assert not any("state" in note for note in theirs.notes)
    own = victim.audit()
    assert own.is_self
    assert own.verdict.endswith("judged by `self`, the keys that this machine pinned for itself")
