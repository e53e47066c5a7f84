"""Erasing content: a row says so first, then salt and bytes go, from every file that SQLite keeps.

Rows stay, and with them every signature and the tree; what they committed to can no longer be shown or guessed at.
What is to be erased is found without the writers' lock, and under it only compared with what came after. A crash
between row and deletion leaves a row that says what is still to be done: the next erasure does it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safeloop.errors import LedgerError, SafeloopError, SessionNotFoundError, SettingError
from safeloop.ledger.content import JSON, commitments, manifest
from safeloop.ledger.ledger import Ledger, View
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import Draft, Row
from safeloop.ledger.upkeep.committing import (
    Commitment,
    committed,
    erasures,
    has_list,
    is_of,
    listed,
    parsed,
    rows_of,
    used,
)

LONGEST_REASON = 4_000
"""UTF-8 bytes of the reason, inclusive."""

_PREFIX = re.compile(r"[0-9a-f]{8,64}\Z")


@dataclass(frozen=True, slots=True)
class Part:
    """What one session loses.

    Attributes:
        session: Its id.
        leaves: The leaves of its rows, as they were when this was found out.
        contents: The commitments to be listed as erased: kept now, and listed by no row before.
    """

    session: str
    leaves: tuple[str, ...]
    contents: tuple[Commitment, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure would do.

    Attributes:
        target: A session, or the digest of one content, hex.
        parts: By session; of a content, every session that commits to it.
        size: Rows that were looked at.
        shared: Contents left alone because other sessions commit to them too.
        frames: Frames of attestations left alone.
        missing: Contents that are not there and that no row lists as erased: they stay missing.
    """

    target: str
    parts: tuple[Part, ...]
    size: int
    shared: int = 0
    frames: int = 0
    missing: int = 0

    @property
    def is_session(self) -> bool:
        """Whether a session is the target, and not one content."""
        return all(part.session == self.target for part in self.parts)

    @property
    def count(self) -> int:
        """How many contents would go."""
        return len({each["salted_sha256"] for part in self.parts for each in part.contents})

    @property
    def bytes(self) -> int:
        """How many bytes they have."""
        kept = {each["salted_sha256"]: each["bytes"] for part in self.parts for each in part.contents}
        return sum(kept.values())


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was done.

    Attributes:
        rows: Numbers of the new `erase` rows; none if there was nothing new to list.
        erased: Contents that were there and are gone: those of earlier rows that a crash had left are among them.
    """

    rows: tuple[int, ...]
    erased: int


def plan_session(reader: LedgerReader, session: str, *, frames: bool = False) -> Plan:
    """Find out what all rows of a session commit to, and nobody else's.

    Args:
        reader: The ledger.
        session: Its whole id.
        frames: Take the frames that attestations keep, too.

    Raises:
        SessionNotFoundError: No such session.
        VerificationError: A list of the session's contents is not what its row committed to.
    """
    with reader.snapshot():
        rows = rows_of(reader.rows(), session)
        if not rows:
            raise SessionNotFoundError(f"no session {session} in {reader.path}", hint="safeloop log")
        spared = {} if frames else _frames(rows)
        wanted = {each["salted_sha256"]: each for row in rows for each in committed(row, reader.read_content)}
        wanted = {digest: each for digest, each in wanted.items() if digest not in spared}
        others = (stored for stored in reader.rows() if not is_of(stored[1], session))
        shared = used(others, wanted, reader.read_content)
        size = reader.size()
    part, missing = _part(reader, session, rows, [each for each in wanted.values()
                                                  if each["salted_sha256"] not in shared])
    return Plan(session, (part,), size, len(shared), len(spared), missing)


def is_commitment(text: str) -> bool:
    """Say whether this can begin the digest of one content: 8 to 64 lower-case hex digits."""
    return _PREFIX.match(text) is not None


def plan_content(reader: LedgerReader, prefix: str) -> Plan:
    """Find the one content whose digest begins so, and every session that commits to it.

    Args:
        reader: The ledger.
        prefix: At least 8 hex digits of `salted_sha256`.

    Raises:
        SettingError: Too short, no hex, or it could be several.
        SessionNotFoundError: No row commits to such a content.
    """
    if not is_commitment(prefix):
        raise SettingError(f"{prefix[:70]!a} is not 8 to 64 lower-case hex digits of a commitment", hint="safeloop log")
    found: dict[str, dict[str, Commitment]] = {}
    with reader.snapshot():
        for stored in reader.rows():
            if prefix.encode() not in stored[1] and not has_list(stored[1]):
                continue
            row = parsed(stored)
            for each in committed(row, reader.read_content):
                if each["salted_sha256"].startswith(prefix):
                    found.setdefault(each["salted_sha256"], {})[row.session] = each
        size = reader.size()
        if len(found) != 1:
            raise _not_one(prefix, found)
        (digest, sessions), = found.items()
        parts = [_part(reader, name, rows_of(reader.rows(), name), [each]) for name, each in sessions.items()]
    return Plan(digest, tuple(part for part, _ in parts), size, missing=max(missing for _, missing in parts))


def erase(ledger: Ledger, plan: Plan, reason: str) -> Erasure:
    """Do what was planned: the rows first, then the deletion. Doing it again finishes what a crash cut short.

    Args:
        ledger: In a file.
        plan: Made of this ledger.
        reason: Why, for whoever audits; stays for ever.

    Raises:
        SettingError: No reason, or one that is too long.
        LedgerError: A session is open, or anything concerned changed since the plan was made.
    """
    _require_reason(reason)

    def decide(view: View) -> Iterator[Draft]:
        _require_unchanged(view, plan)
        for part in plan.parts:
            _require_closed(view, part.session)
            if part.contents:
                kept = ledger.content(manifest([dict(each) for each in part.contents]), JSON)
                data = {"contents": kept.commitment, "count": len(part.contents), "reason": reason}
                yield Draft(part.session, "erase", data, (kept,))

    rows = ledger.append(decide)
    return Erasure(tuple(row.id for row in rows), finish(ledger))


def finish(ledger: Ledger) -> int:
    """Delete everything that `erase` rows list and that is still there, and every trace of it in the files.

    Returns:
        How many contents were still there.
    """
    with LedgerReader(Path(ledger.db_path)) as reader, reader.snapshot():
        gone = {digest for row in erasures(reader.rows()) for digest in listed(row, reader.read_content)}
    try:
        return ledger.erase_contents(bytes.fromhex(digest) for digest in sorted(gone))
    except SafeloopError as error:
        error.add_note("the row that says what is erased is recorded; safeloop erase --pending finishes it")
        raise


def _frames(rows: Iterable[Row]) -> dict[str, Commitment]:
    """Return the frames that attestations keep: a later audit and a reader of the record need them most."""
    attested = (row for row in rows if row.kind == "attestation")
    return {each["salted_sha256"]: each for row in attested for each in commitments(row.data)}


def _part(reader: LedgerReader, session: str, rows: tuple[Row, ...], wanted: list[Commitment]) -> tuple[Part, int]:
    """Return what a session loses, and how much of it is missing without a row that says so.

    What is missing is never listed: or a loss could be passed off as an erasure.
    """
    before = (row for row in rows if row.kind == "erase")
    known = {digest for row in before for digest in listed(row, reader.read_content)}
    new = [each for each in wanted if each["salted_sha256"] not in known]
    held = tuple(each for each in new if reader.holds_content(bytes.fromhex(each["salted_sha256"])))
    return Part(session, tuple(row.leaf for row in rows), held), len(new) - len(held)


def _require_unchanged(view: View, plan: Plan) -> None:
    """Refuse to go on where a session concerned has changed, or another has come to rely on what would go.

    Raises:
        LedgerError: It has.
    """
    wanted = {each["salted_sha256"]: each for part in plan.parts for each in part.contents}
    for part in plan.parts:
        if tuple(row.leaf for row in view.session(part.session)) != part.leaves:
            raise LedgerError(f"session {part.session} changed meanwhile: nothing was erased", hint="try again")
    if view.size < plan.size or used(view.stored_from(plan.size), wanted, view.read_content):
        raise LedgerError("a new row commits to what was to be erased: nothing was erased", hint="try again")


def _require_closed(view: View, session: str) -> None:
    rows = view.session(session)
    ended = any(row.kind == "close" and row.data.get("outcome") != "suspended" for row in rows)
    if any(row.kind == "open" for row in rows) and not ended:
        raise LedgerError(
            f"session {session} was opened and not closed: what it works with cannot be erased",
            hint=f"safeloop close {session}, if nobody is running it",
        )


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise SettingError("an erasure needs a reason", hint='--reason "asked for by ..."')
    size = len(reason.encode("utf-8", "surrogatepass"))
    if size > LONGEST_REASON:
        raise SettingError(f"the reason has {size:,} bytes, more than {LONGEST_REASON:,}", hint="say it shorter")
    if "\0" in reason or any("\ud800" <= each <= "\udfff" for each in reason):
        raise SettingError("the reason holds U+0000 or a lone surrogate", hint="no row can hold it: take it out")


def _not_one(prefix: str, found: Mapping[str, object]) -> SafeloopError:
    if not found:
        return SessionNotFoundError(f"no session and no content begins with {prefix}", hint="safeloop log --json")
    named = ", ".join(digest[:16] for digest in list(found)[:5])
    return SettingError(f"{prefix} could be {len(found)} contents: {named}", hint="type more of it")
