"""Release: the gate asked, the `release` row written, the bundle put in place. In this order.

A crash may leave the row without the bundle, never the bundle without the row. The same command then completes it:
a `release` row of the same destination, files and policy, whose accepts still count, is that release, and no second
row is written. The gate is asked again all the same: who rejects in between has rejected.

Bytes come from content by commitment, never from the staging folder: what the session committed to when it closed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeloop.errors import NotAttested, VerificationError
from safeloop.ledger import Draft, Ledger, Row, View, escaped
from safeloop.ledger.note import render_receipt
from safeloop.ledger.proofs import prove
from safeloop.ledger.reader import LedgerReader
from safeloop.review.framing.facts import Erased, check_form
from safeloop.review.framing.promise import find_session
from safeloop.review.framing.shown import ShownFrame, show
from safeloop.review.releasing.bundle import bundle, require_plain_names
from safeloop.review.releasing.gate import Verdict, decide
from safeloop.review.releasing.judging import judge_attestations
from safeloop.review.releasing.placing import ELSEWHERE, held
from safeloop.review.releasing.policy import ReleasePolicy, parse_policy, read_canonical
from safeloop.review.target import target_of

if TYPE_CHECKING:
    from safeloop.ledger.trust import Trust
    from safeloop.review.record import Record

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Released:
    """A release that is in place.

    Attributes:
        row: Number of the `release` row, from 1.
        destination: The folder, its parent resolved.
        files: The names of the released files; the model's answer and the proof are not among them.
        completed: The row was there already: an earlier release to this destination, completed or made again.
    """

    session: str
    row: int
    destination: Path
    files: tuple[str, ...]
    completed: bool

    @property
    def file_count(self) -> int:
        """How many files were released."""
        return len(self.files)


def release(
    ledger: Ledger,
    trust: Trust,
    session: str,
    destination: str | os.PathLike[str],
    *,
    force: bool = False,
    clock: Clock = lambda: datetime.now(UTC),
) -> Released:
    """Hand out what was accepted, with its proof, to a folder that this makes.

    Args:
        ledger: A ledger in a file; the `release` row is written there.
        trust: Pinned keys and the policy; reviewers' keys are judged as of now.
        session: The session's id.
        destination: A folder that is not there yet, in one that is.
        force: Replace an earlier release at the destination, and nothing else.
        clock: Returns the time, aware and in UTC.

    Raises:
        NotAttested: The gate stays shut; every reason is named. Or the session changed meanwhile.
        SettingError: The destination exists, is a place of the ledger's own, lies among its keys or the pins, or
            cannot be written.
        LedgerLocked: Another release to the destination is running.
        VerificationError: Something that was signed does not hold, or a file's name cannot be released.
        KeyUnusable: The policy is not understood.
        SessionNotFoundError: No such session.
    """
    kept = (*ledger.protected_paths, trust.path)
    target = target_of(Path(destination), Path(ledger.db_path), kept, hint=ELSEWHERE)
    policy = parse_policy(trust.release_policy_text, str(trust.path / "release.toml"))
    with LedgerReader(ledger.db_path) as reader:
        shown = show(*find_session(reader, trust, session, reader.path), trust, reader.read_content)
        verdict = _ask(shown, trust, policy, clock())
        with held(target) as place:
            place.require_free(force=force)
            earlier, row = _record(ledger, shown, _data(shown, verdict, policy, target))
            place.put(_bundle(reader, trust, shown, row), force=force)
    return Released(session, row.id, target, tuple(name for name, _ in shown.files), earlier)


def _ask(shown: ShownFrame, trust: Trust, policy: ReleasePolicy, now: datetime) -> Verdict:
    """Ask the gate, and refuse what cannot be handed out."""
    _require_whole(shown)
    record = shown.record
    judged = judge_attestations(record, shown.digests, trust, now)
    verdict = decide(record, judged, policy, frame=shown.sha256, operator_keys=trust.operator_keys)
    if not verdict.released:
        told = "; ".join([*(reason.message for reason in verdict.reasons), *verdict.ignored])
        raise NotAttested(f"session {record.session} is not released: {told}", hint=verdict.next_step)
    require_plain_names((name for name, _ in shown.files), f"row {shown.facts.cut.id}")
    return verdict


def _require_whole(shown: ShownFrame) -> None:
    """Refuse to release a part.

    Raises:
        NotAttested: Content was erased. Mostly the gate would see it too, in the sums; this is the clearer answer.
    """
    facts = shown.facts
    kept = [facts.files] if isinstance(facts.files, Erased) else [file.after for file in facts.files]
    for each in (*kept, facts.output):
        if isinstance(each, Erased):
            raise NotAttested(
                f"session {facts.session} is not released: row {each.row} erased what would be handed out",
                hint="the work needs a session of its own: safeloop run",
            )


def _data(shown: ShownFrame, verdict: Verdict, policy: ReleasePolicy, target: Path) -> dict[str, Any]:
    """Return the data of the `release` row; its manifest is the one that the session's close committed to."""
    cut = shown.facts.cut
    return {
        "attestations": [row.leaf for row in verdict.accepts], "policy": policy.canonical,
        "files": cut.data["files"], "file_count": cut.data["file_count"], "destination": escaped(str(target)),
    }


def _record(ledger: Ledger, shown: ShownFrame, data: dict[str, Any]) -> tuple[bool, Row]:
    """Write the `release` row, unless it is there; say whether it was, and return it.

    Raises:
        NotAttested: The session changed after it was judged.
    """
    record = shown.record
    if ledger.origin != record.ledger:
        raise VerificationError(f"the session is of ledger {record.ledger}, not of {ledger.origin}")
    earlier = _earlier(record, data)

    def rule(view: View) -> tuple[Draft, ...]:
        # Under the write lock: the rows are those that were judged, leaf by leaf, or the answer may be another.
        if [row.leaf for row in view.session(record.session)] != [row.leaf for row in record.rows]:
            raise NotAttested(
                f"session {record.session} changed while it was judged: nothing was released",
                hint=f"look again, and then the same command: safeloop review {record.session}",
            )
        return () if earlier else (Draft(record.session, "release", data),)

    written = ledger.append(rule)
    return (True, earlier) if earlier else (False, written[0])


def _earlier(record: Record, data: dict[str, Any]) -> Row | None:
    """Return the row of an earlier release that this one repeats, if there is one."""
    same = ("destination", "files", "file_count", "policy")
    for row in record.kinds("release"):
        check_form(row)
        rests_on = row.data["attestations"]
        if (
            all(row.data[key] == data[key] for key in same)
            and set(rests_on) <= set(data["attestations"])
            and len(set(rests_on)) >= read_canonical(data["policy"]).accepts
        ):
            return row
    return None


def _bundle(reader: LedgerReader, trust: Trust, shown: ShownFrame, row: Row) -> dict[str, bytes]:
    """Return the bundle of a `release` row.

    Receipts are of the spec, the `open` row, and every row from the cut to the release: in a chain without a gap no
    reject can be left out.
    """
    record, facts = shown.record, shown.facts
    rests_on = [each for each in record.kinds("attestation") if each.leaf in row.data["attestations"]]
    opened = record.kinds("open")[0]
    promise = next(each for each in record.rows if each.leaf == opened.data["spec"])
    between = tuple(each for each in record.rows if facts.cut.n <= each.n < row.n)
    receipts, note = _receipts(reader, trust, record.ledger, (promise, opened, *between, row))
    return bundle(shown, rests_on, receipts, note)


def _receipts(
    reader: LedgerReader, trust: Trust, origin: str, rows: tuple[Row, ...]
) -> tuple[dict[int, str], str]:
    """Prove rows under one head; return the receipts by row number, each of them verified, and the head's note."""
    with reader.snapshot():
        log = trust.log_for(origin, reader.head() or "")
        proved = {row.id: prove(reader, (row.idx, row.body, row.sig), log) for row in rows}
    return {number: render_receipt(each) for number, each in proved.items()}, proved[rows[-1].id].note
