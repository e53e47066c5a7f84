"""Releases to attack: a ledger with its keys, reviewers with theirs, and a bundle that an operator may tamper with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safeloop.ledger import Draft, Ledger, Row
from safeloop.ledger.note import Verifier, render_receipt
from safeloop.ledger.proofs import prove
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import Trust, load_trust
from safeloop.review import ReviewSurface
from safeloop.review.attesting.signers import sign_statement
from safeloop.review.releasing.release import release
from safeloop.review.verifying.bundles import verify_bundle
from safeloop.review.verifying.folders import read_folder
from safeloop.review.verifying.verification import Verification
from tests.review.sessions import Files, SessionBuilder

ALICE, BOB = "alice@example.org", "bob@example.org"
NOW = datetime.now(UTC)
FILES: Files = {"report.md": (None, b"# Title\n"), "pages/a b.html": (b"old", b"\xff\x00new"), "new\nline": (None, b"")}


def names_a_step(hint: str) -> bool:
    """Whether a hint names a command, or the option or line that was missing."""
    return any(step in hint for step in ("safeloop ", "pip install ", "--checkpoint FILE"))


class Office:
    """Everything that happens before somebody verifies."""

    def __init__(self, ledger: Ledger, keys: Path, reviewer: Callable[..., Path], out: Path) -> None:
        self.ledger, self.keys, self.out, self._reviewer = ledger, keys, out, reviewer
        self.surface = ReviewSurface(ledger.db_path, ledger.db_path, keys=keys, create=False)
        self._ssh: dict[str, Path] = {}

    @property
    def trust_folder(self) -> Path:
        return self.keys / "self"

    def ssh(self, person: str) -> Path:
        if person not in self._ssh:
            self._ssh[person] = self._reviewer(person)
        return self._ssh[person]

    def session(self, output: str | None = "All is well.", files: Files | None = None) -> str:
        builder = SessionBuilder(self.ledger).spec().open().turn()
        return builder.close(output=output, files=FILES if files is None else files).session

    def decide(self, session: str, decision: str = "accept", person: str = ALICE) -> None:
        key, shown = self.ssh(person), self.surface.show(session)
        self.surface.attest_signed(shown, decision, person, sign=lambda data: sign_statement(data, key))

    def release(self, session: str, name: str = "out") -> Path:
        return release(self.ledger, self.trust(), session, self.out / name).destination

    def accepted(self, name: str = "out", **more: Any) -> Path:
        """The folder of an honest release that Alice accepted."""
        session = self.session(**more)
        self.decide(session)
        return self.release(session, name)

    def rows(self, session: str, *kinds: str) -> list[Row]:
        return [row for row in self.ledger.rows(session) if not kinds or row.kind in kinds]

    def trust(self, **changes: Any) -> Trust:
        return replace(load_trust(self.trust_folder), **changes)

    def append(self, session: str, kind: str, data: Mapping[str, Any]) -> Row:
        return self.ledger.append(lambda _: [Draft(session, kind, data)])[0]

    def put_receipts(self, folder: Path, rows: Iterable[Row]) -> None:
        """Replace the receipts of a bundle, and its checkpoint, by true ones of these rows under the newest head."""
        receipts = folder / "release" / "receipts"
        for old in receipts.iterdir():
            old.unlink()
        with LedgerReader(self.ledger.db_path) as reader:
            log = load_trust(self.trust_folder).log_for(self.ledger.origin)
            assert isinstance(log, Verifier)
            for row in rows:
                made = prove(reader, (row.idx, row.body, row.sig), log)
                (receipts / f"row-{row.id}.tlog-proof").write_text(render_receipt(made))
            (folder / "release" / "checkpoint.txt").write_text(reader.head() or "")

    def verify(self, folder: Path, *kept: str, trust: Trust | None = None, now: datetime = NOW) -> Verification:
        return verify_bundle(read_folder(folder), trust or self.trust(), now, kept)

    def reasons(self, folder: Path, *kept: str, trust: Trust | None = None) -> list[str]:
        """Why a folder is not verified; fails if it is."""
        found = self.verify(folder, *kept, trust=trust, now=datetime.now(UTC))
        assert not found.is_verified
        assert found.proved == ()
        assert all(names_a_step(each.hint) for each in found.faults), found.faults
        return [each.message for each in found.faults]
