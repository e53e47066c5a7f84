"""Audits of what is new since a checkpoint: what was audited before is proved to be the same, and not judged again."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeloop.errors import SettingError
from safeloop.ledger.keys import SigningKey
from safeloop.ledger.note import Checkpoint, Verifier, sign_checkpoint
from tests.review.attacks import (
    Draft,
    Victim,
    erase,
    found,
    gaps,
    governed,
    make,
    raw,
    rebuild,
    set_body,
    set_signature,
)


def at_five(victim: Victim, root: bytes = b"", *, origin: str = "", key: SigningKey | None = None, size: int = 5) -> str:
    """Sign what the log key would have signed after five rows, or something else."""
    from safeloop.ledger import seal
    from safeloop.ledger.merkle import root as root_of

    true = root_of(seal.leaf(body, signature) for body, signature in victim.sealed()[:size])
    name, log = origin or victim.origin, key or victim.log
    return sign_checkpoint(Checkpoint(name, size, root or true), Verifier(name, log.public), log.sign)


def test_only_what_is_new_is_judged_and_the_verdict_says_from_where(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    report = victim.audit(since=at_five(victim))
    assert (found(report), report.rows, report.rows_standing, report.since) == ([], 5, 5, 5)
    assert "record PASS, 5 rows stand; judged from row 6 on, audited up to there before" in report.verdict
    assert report.as_json()["since"] == 5


def test_a_bad_signature_after_the_checkpoint_is_found_and_one_before_was_found_before(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    forged = [(body, bytes(64)) if idx in (2, 7) else (body, signature) for idx, (body, signature) in enumerate(rows)]
    rebuild(victim, forged, log=victim.log)
    since = at_five(victim)
    assert ("signature", 3) in found(victim.audit())
    report = victim.audit(since=since)
    assert [each for each in found(report) if each[0] == "signature"] == [("signature", 8)]
    assert report.rows_standing == 4


def test_a_row_that_was_changed_before_the_checkpoint_is_found_without_its_signature(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    since = at_five(victim)
    set_signature(victim.path, 2, bytes(64))
    report = victim.audit(since=since)
    assert ("tree", 3) in found(report)
    assert (report.rows, report.rows_standing) == (5, 5)


def test_another_history_before_the_checkpoint_is_found_even_where_the_head_signs_it(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    since = at_five(victim)
    rows = victim.sealed()
    rows[4] = victim.seal(victim.bodies()[4] | {"at": "2020-01-01T00:00:00.000000Z"})
    rebuild(victim, rows, log=victim.log)
    report = victim.audit(since=since)
    assert ("checkpoint", None) in found(report)
    assert "the checkpoint to audit from, of 5 rows is of another history" in report.findings[0].message


@pytest.mark.parametrize("words", ["ahead of the ledger", "cannot be used", "is of example.org/other"])
def test_a_checkpoint_of_no_use_is_a_finding_and_every_row_is_judged(tmp_path: Path, words: str) -> None:
    victim, _, _ = make(tmp_path)
    if words == "ahead of the ledger":
        log = victim.log
        since = sign_checkpoint(Checkpoint(victim.origin, 11, bytes(32)), Verifier(victim.origin, log.public), log.sign)
    elif words == "cannot be used":
        since = at_five(victim, key=victim.writer)
    else:
        since = at_five(victim, origin="example.org/other")
        policy = victim.keys / "self" / "policy"
        log = Verifier("example.org/other", victim.log.public)
        policy.write_text(policy.read_text() + f"log {log.vkey}\n")
    set_signature(victim.path, 2, bytes(64))
    report = victim.audit(since=since)
    assert found(report)[0] == ("checkpoint", None)
    assert words in report.findings[0].message
    assert (report.since, report.rows) == (0, 10)
    assert ("signature", 3) in found(report)


def test_text_that_is_no_checkpoint_is_a_finding(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    report = victim.audit(since="nothing")
    assert (found(report), report.since, report.rows) == ([("checkpoint", None)], 0, 10)


def test_a_session_that_began_before_goes_on_in_its_chain(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    since = at_five(victim, size=10)
    response = alpha.row("turn").data["response"]
    erase(victim, "alpha", [response])
    report = victim.audit(since=since)
    assert (found(report), report.rows) == ([], 1)
    rows = victim.sealed()
    body = victim.bodies()[10]
    rows[10] = victim.seal(body | {"prev": "0" * 64})
    rebuild(victim, rows, log=victim.log)
    assert ("chain", 11) in found(victim.audit(since=since))


def test_content_of_rows_before_is_not_compared_and_what_was_erased_before_is_no_loss(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    erase(victim, "ledger", [alpha.row("turn").data["response"]])
    since = victim.head()
    with raw(victim.contents) as sql:
        task = bytes.fromhex(alpha.row("open").data["task"]["salted_sha256"])
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (task,))
    victim.append(Draft("gamma", "check", {"criterion": "x", "pass_fail": True,
                                           "detail": alpha.row("turn").data["response"]}))  # fmt: skip
    report = victim.audit(since=since)
    assert ("content", 2) not in found(report)
    assert ("erased", 11) in gaps(report)
    assert ("content", 2) in found(victim.audit())


def test_rows_before_that_are_no_rows_accuse_nobody_a_second_time(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rows = victim.sealed()
    rows[1] = (b"no row", rows[1][1])
    rows[6] = victim.seal(victim.bodies()[6] | {"v": 2})
    rebuild(victim, rows, log=victim.log)
    with_one_more = at_five(victim, size=8)
    report = victim.audit(since=with_one_more)
    assert [each for each in found(report) if each[0] == "encoding"] == []
    assert ("unknown", 7) in gaps(report)
    assert ("encoding", 2) in found(victim.audit())
    set_body(victim.path, 9, b"no row either")
    assert ("encoding", 10) in found(victim.audit(since=with_one_more))


def test_everything_audited_before_leaves_nothing_to_judge(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    report = victim.audit(since=victim.head())
    assert (found(report), report.rows, report.rows_standing) == ([], 0, 0)
    governed(victim, "gamma")
    assert victim.audit(since=victim.head()).exit_code == 0


def test_one_session_what_is_new_and_the_tree_alone_exclude_each_other(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    head = victim.head()
    for choice in ({"session": "alpha", "since": head}, {"session": "alpha", "tree_only": True},
                   {"since": head, "tree_only": True}):  # fmt: skip
        with pytest.raises(SettingError, match="one at a time"):
            victim.audit(**choice)
