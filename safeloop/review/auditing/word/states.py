"""What is kept of a session while its rows are followed: as little as its rules still need.

A session is `Unopened`, then `Governed` if a loop opens it, then a few packed bytes (`packed_end`) once it is closed
for good, and `Reviewed` if it has rows after that. Each of them knows which row comes next, so that a session of
which a row was not shown is noticed, and not judged any further.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safeloop.ledger import Row
from safeloop.ledger.rows import NO_ROW
from safeloop.review.auditing.word.scopes import Account, Pending

OUTCOMES = ("completed", "unmet", "breached", "failed", "refused")
UNCHECKED, PASSED = -1, 0
_END = struct.Struct(">B6s8s32s")  # outcome, position, beginning of the leaf, digest of the files: 47 bytes


@dataclass(frozen=True, slots=True)
class Promise:
    """What a `spec` row promised: its leaf, its ceilings, the tools that it grants, its criteria and their retries."""

    leaf: str
    ceilings: Mapping[str, int]
    tools: Mapping[str, Any]
    criteria: Mapping[str, int]


@dataclass(slots=True)
class Unopened:
    """A session that no loop opened, so far: a promise, or rows written by hand.

    Attributes:
        rows: How many there were.
        leaf: The last one's.
        first_work: Number of the first row that is work; 0 if there is none.
    """

    rows: int = 0
    leaf: str = NO_ROW
    promises: tuple[Promise, ...] = ()
    first_work: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A `call` row without its `tool` row: its leaf, and the four facts that both share."""

    leaf: str
    facts: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Approval:
    """A decision about a call: when a grant was recorded and expires, or why it is none.

    Attributes:
        stated: The statements of this decision and of those about the same call before it.
    """

    row: int
    at: str
    decision: str
    expires_at: str
    fault: str
    stated: tuple[str, ...]


@dataclass(slots=True)
class Governed:
    """A session that a loop opened and that is not closed for good.

    Attributes:
        rows: How many there were.
        leaf: The last one's.
        account: What it was charged, its children included.
        tools: Permissions by name, as the `open` row pins them.
        last_turn: The highest turn that was asked for.
        unanswered: Attempts at turns without a reply.
        pending: Open intents by `n`.
        elapsed_ms: The most that a row said.
        calls: Calls without outcome, by the provider's id.
        approvals: By the call's leaf.
        errors: Consecutive ones, but for the calls of the last turn.
        is_answering: The last turn's calls are being run.
        failed_results, passed_results: What came of them.
        checks: By criterion, what its last check said: `UNCHECKED`, `PASSED`, or the row in which it failed.
        retries: By criterion, how often the work may still go on after it failed.
        used_up: A criterion that failed when it had none left: nothing more is asked for; empty while there is none.
        failed_check: The last `check` row that did not pass, of what is no criterion; 0 if all did.
        breach: The `breach` row; 0 if there is none.
        suspended: The `close` row that suspended it; 0 while it runs.
        unused_from: Decisions in rows before this one are for runs before the last `resume`.
        is_dry_run: It was opened as one.
    """

    rows: int
    leaf: str
    model: str
    account: Account
    tools: Mapping[str, str]
    checks: dict[str, int]
    retries: dict[str, int]
    used_up: str = ""
    last_turn: int = 0
    unanswered: dict[int, int] = field(default_factory=dict)
    pending: dict[int, Pending] = field(default_factory=dict)
    elapsed_ms: int = 0
    calls: dict[str, Call] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    errors: int = 0
    is_answering: bool = False
    failed_results: int = 0
    passed_results: int = 0
    failed_check: int = 0
    breach: int = 0
    suspended: int = 0
    unused_from: int = 0
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Voice:
    """An attestation that a pinned reviewer signed, about the rows of its session's cut.

    Attributes:
        row: Its number.
        key: The reviewer's raw key.
        is_dated_ahead: It is an accept that is stated later than its row.
        about: The digests of frame, sums and output that were signed.
    """

    row: int
    leaf: str
    key: bytes
    decision: str
    stated_at: str
    is_dated_ahead: bool
    about: tuple[str, str, str | None]


@dataclass(slots=True)
class Reviewed:
    """A session that ended, and has rows after that.

    Attributes:
        rows: How many there were.
        leaf: The last one's.
        cut: Leaf of the `close` row.
        cut_rows: Rows up to it, that one included.
        cut_idx: Its position in the ledger.
        files: Digest of what it committed to.
        void: The first row that should not have followed it; 0 if there is none.
        voices: Attestations that count, in order.
        silent: Why the others do not, by leaf.
    """

    rows: int
    leaf: str
    cut: str
    cut_rows: int
    cut_idx: int
    outcome: str
    files: bytes
    void: int = 0
    voices: tuple[Voice, ...] = ()
    silent: dict[str, str] = field(default_factory=dict)


def packed_end(close: Row) -> bytes:
    """Return what is kept of a session that ended with this `close` row."""
    data = close.data
    return _END.pack(
        OUTCOMES.index(data["outcome"]), close.idx.to_bytes(6), bytes.fromhex(close.leaf)[:8],
        files_digest(data["files"], data["file_count"]),
    )


def reviewed(end: bytes, row: Row) -> Reviewed | None:
    """Unpack an end for the first row after it; None if that row does not follow it."""
    outcome, idx, leaf, files = _END.unpack(end)
    if bytes.fromhex(row.prev)[:8] != leaf:
        return None
    return Reviewed(row.n, row.prev, row.prev, row.n, int.from_bytes(idx), OUTCOMES[outcome], files)


def files_digest(files: Mapping[str, Any], count: int) -> bytes:
    """Return a digest of the files that a `close` or a `release` row states: its manifest's commitment, its count."""
    return hashlib.sha256(f"{files['salted_sha256']} {files['bytes']} {files['type']} {count}".encode()).digest()
