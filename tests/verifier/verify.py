"""The whole: from a file, pins, kept checkpoints and a state to a report."""

from pathlib import Path

from tests.verifier import attest, chain, charges, contents, heads, keyrows, order, place, rows, stored, trust
from tests.verifier.findings import WHOLE, Report
from tests.verifier.rows import Row
from tests.verifier.session import Book


def verify(ledger: Path, pins: Path, state: Path | None = None, checkpoints: tuple[str, ...] = ()) -> Report:
    """Judge one ledger; `checkpoints` are the texts of kept notes.

    Raises:
        Refused: Nothing can be audited.
    """
    report = Report()
    pinned = trust.read(pins)
    said = None if state is None else heads.state(state)  # before the ledger, or appends look like an attack
    found = stored.read(ledger, report)
    if not found.has_tables:
        return report
    head = heads.head(found.note, pinned, report)
    read = [rows.judge(idx, raw, sig, pinned, report) for idx, raw, sig in found.rows]
    origin = _of_one_ledger(read, head.origin if head else "", pinned, report)
    tree = place.judge(found, read, head, report)
    kept = heads.kept(checkpoints, pinned, report)
    heads.check_witnesses([note for note in (head, *kept) if note and note.origin == origin], pinned, report)
    if found.is_whole:
        if not read:
            report.fail(WHOLE, "empty", "a ledger without rows")
        heads.check_kept(kept, tree, origin, report)
        if state is not None:
            heads.check_state(said, ledger, tree, report)
    keyrows.follow(read, head, pinned, report)
    chain.follow(read, tree, report)
    contents.check(read, contents.read(ledger), report)
    attest.check(read, report)
    order.follow(Book(pinned, report), read)
    charges.check(read, head.size if head else None, found, report)
    return report


def _of_one_ledger(read: list[Row], signed: str, pinned: trust.Trust, report: Report) -> str:
    """Take the word of rows away that a revoked key signed, or that name another ledger; return the ledger's origin."""
    origin = signed
    for row in read:
        if not (row.is_sound or row.is_other):
            continue
        bound = pinned.revoked.get((row.signer, origin or str(row.body.get("ledger"))))
        if bound is not None and row.idx >= bound:
            report.fail(row.idx, "revoked", "by a key that was revoked from an earlier row on")
            row.is_sound = row.is_other = False
        elif row.is_sound and row.body["ledger"] != (origin or row.body["ledger"]):
            report.fail(row.idx, "ledger", "of another ledger")
            row.is_sound, row.is_elsewhere = False, True
        elif row.is_sound:
            origin = row.body["ledger"]
            rows.check_kind(row, report)
        else:
            report.gap(row.idx, "unknown", "a version that is not on the page")
    return origin
