"""What happens beside an audit: content that is erased while rows are read, and types that are rewritten."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from safeloop.ledger.reader import LedgerReader
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.verdict import AuditReport
from tests.review.attacks import Victim, erase, found, gaps, make, raw, set_signature


@contextlib.contextmanager
def snapshot_before(victim: Victim):
    """Audit in the snapshot of this moment whatever is done until the end; hands out where the report will be."""
    with LedgerReader(victim.path) as reader, reader.snapshot():
        reader.size()
        reports: list[AuditReport] = []
        yield reports
        reports.append(audit(reader, victim.trust(), state=None))


def test_content_erased_while_rows_were_read_is_erased_and_not_missing(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    with snapshot_before(victim) as reports:
        erase(victim, "ledger", [alpha.row("turn").data["response"]])
    assert (found(reports[0]), gaps(reports[0]), reports[0].size) == ([], [("erased", 11)], 10)


def test_content_that_is_gone_without_such_a_row_is_missing(tmp_path: Path) -> None:
    victim, alpha, beta = make(tmp_path)
    with snapshot_before(victim) as reports:
        erase(victim, "ledger", [alpha.row("turn").data["response"]])
        with raw(victim.contents) as sql:
            sql.execute("DELETE FROM content WHERE salted_sha256 = ?",
                        (bytes.fromhex(beta.row("open").data["task"]["salted_sha256"]),))
    assert found(reports[0]) == [("content", 7)]


@pytest.mark.parametrize("fault", ["signature", "manifest", "listing"])
def test_a_row_that_does_not_hold_erases_nothing_meanwhile(
    tmp_path: Path, fault: str
) -> None:
    victim, alpha, _ = make(tmp_path)
    with snapshot_before(victim) as reports:
        row = erase(victim, "ledger", [alpha.row("turn").data["response"]])
        listing = bytes.fromhex(row.data["contents"]["salted_sha256"])
        if fault == "signature":
            set_signature(victim.path, 10, bytes(64))
        with raw(victim.contents) as sql:
            if fault == "manifest":
                sql.execute("UPDATE content SET bytes = x'00' WHERE salted_sha256 = ?", (listing,))
            if fault == "listing":
                sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (listing,))
    assert ("content", 4) in found(reports[0])


def test_a_type_that_is_not_the_committed_one_is_found(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    with raw(victim.contents) as sql:
        sql.execute("UPDATE content SET type = 'text/html' WHERE salted_sha256 = ?",
                    (bytes.fromhex(alpha.row("turn").data["response"]["salted_sha256"]),))
    assert found(victim.audit()) == [("content", 4)]
