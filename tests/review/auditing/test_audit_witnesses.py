"""Witnesses in an audit: a quorum that the policy demands must stand on the head, or on a checkpoint that was given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safeloop.ledger.merkle import EMPTY_ROOT
from safeloop.ledger.note import Checkpoint, Verifier, sign_checkpoint
from safeloop.ledger.trust import Trust
from tests.ledger.witnessing import ONE, THREE, TIME, TWO, policy
from tests.review.attacks import Victim, by_hand, found, make, set_head


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return make(tmp_path)[0]


def log_of(victim: Victim) -> Verifier:
    return Verifier(victim.origin, victim.log.public)


def demanding(victim: Victim, quorum: str) -> Trust:
    return replace(victim.trust(), policy=policy(quorum, log_of(victim)))


@pytest.mark.parametrize(("quorum", "witnesses", "enough"), [
    ("none", (), True), ("one", (ONE,), True), ("one", (TWO, THREE), False), ("one", (), False),
    ("pair", (TWO, THREE), True), ("pair", (TWO, TWO), False), ("nested", (ONE, TWO, THREE), True),
])
def test_a_quorum_counts_on_a_given_checkpoint_and_on_the_head_itself(
    victim: Victim, quorum: str, witnesses: tuple[Any, ...], enough: bool
) -> None:
    trust, note = demanding(victim, quorum), victim.head()
    cosigned = note + "".join(each.line(note) for each in witnesses)
    expected = [] if enough else [("witness", None)]
    assert found(victim.audit(trust=trust, checkpoints=[cosigned])) == expected
    set_head(victim.path, cosigned)
    assert found(victim.audit(trust=trust)) == expected


def test_who_saw_the_ledger_and_when_is_noted_even_where_nobody_asks(victim: Victim) -> None:
    note = victim.head()
    report = victim.audit(trust=demanding(victim, "none"), checkpoints=[note + ONE.line(note, TIME)])
    assert "witness one saw the ledger of 10 rows by 2026-11-18T11:06:40Z" in report.notes
    assert report.exit_code == 0


def test_a_cosignature_that_does_not_count_is_a_note_where_no_quorum_is_demanded(victim: Victim) -> None:
    earlier = victim.head()
    by_hand(victim, "later", 1)
    replayed = victim.head() + ONE.line(earlier)
    report = victim.audit(trust=demanding(victim, "none"), checkpoints=[replayed])
    assert found(report) == []
    assert "not counted: the cosignature of one does not verify" in report.notes
    assert found(victim.audit(trust=demanding(victim, "one"), checkpoints=[replayed])) == [("witness", None)]
    assert found(victim.audit(trust=demanding(victim, "one"), checkpoints=[earlier + ONE.line(earlier)])) == []


def test_two_halves_of_a_quorum_on_two_checkpoints_are_none(victim: Victim) -> None:
    earlier = victim.head()
    by_hand(victim, "later", 1)
    later = victim.head()
    halves = [earlier + TWO.line(earlier), later + THREE.line(later)]
    assert found(victim.audit(trust=demanding(victim, "pair"), checkpoints=halves)) == [("witness", None)]


def test_a_cosigned_checkpoint_of_an_empty_ledger_covers_nothing(victim: Victim) -> None:
    empty = sign_checkpoint(Checkpoint(victim.origin, 0, EMPTY_ROOT), log_of(victim), victim.log.sign)
    report = victim.audit(trust=demanding(victim, "one"), checkpoints=[empty + ONE.line(empty)])
    assert found(report) == [("witness", None)]


def test_a_cosigned_checkpoint_of_another_ledger_or_log_key_does_not_count(victim: Victim) -> None:
    other = Verifier("other.example/log", victim.log.public)
    theirs = sign_checkpoint(Checkpoint(other.name, 10, bytes(32)), other, victim.log.sign)
    trust = demanding(victim, "one")
    trust = replace(trust, policy=replace(trust.policy, logs={**trust.policy.logs, other.name: (other,)}))
    report = victim.audit(trust=trust, checkpoints=[theirs + ONE.line(theirs)])
    assert ("witness", None) in found(report)
    unsigned = sign_checkpoint(Checkpoint(victim.origin, 10, bytes(32)), log_of(victim), victim.writer.sign)
    report = victim.audit(trust=demanding(victim, "one"), checkpoints=[unsigned + ONE.line(unsigned)])
    assert ("witness", None) in found(report)
