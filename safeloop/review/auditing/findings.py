"""What an audit can find, each with the rule that it breaks and the step that helps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """The rules of the record by their short stable names, and below them what leaves an audit incomplete."""

    FILE = "file"
    SCHEMA = "schema"
    TRUST = "trust"
    WITNESS = "witness"
    HEAD = "head"
    EMPTY = "empty"
    MISSING = "missing"
    TREE = "tree"
    STATE = "state"
    CHECKPOINT = "checkpoint"
    DERIVED = "derived"
    ENCODING = "encoding"
    WRITER = "writer"
    SIGNATURE = "signature"
    REVOKED = "revoked"
    LEDGER = "ledger"
    CHAIN = "chain"
    KIND = "kind"
    OPEN = "open"
    CONTENT = "content"
    MANIFEST = "manifest"
    ATTESTATION = "attestation"

    UNKNOWN = "unknown"
    ERASED = "erased"
    UNGOVERNED = "ungoverned"

    @property
    def sentence(self) -> str:
        """What must hold."""
        return _RULES[self][0]

    @property
    def remedy(self) -> str:
        """What to do where it does not; `{session}` stands for the session concerned."""
        return _RULES[self][1]


_COMPARE = "compare with a backup: safeloop log {session} --json"
_RULES = {
    Rule.FILE: ("the file can be read to its end", "restore the ledger from a backup"),
    Rule.SCHEMA: ("tables, indexes, triggers and views are the format's, word for word",
                  "restore the ledger from a backup; believe none of its views"),
    Rule.TRUST: ("the auditor's policy pins this ledger's log", "safeloop trust, to pin the log's key"),
    Rule.WITNESS: ("the head carries the cosignatures that the policy demands",
                   "pip install --upgrade safeloop, or `quorum none` in the policy"),
    Rule.HEAD: ("the head is a checkpoint signed by the pinned log key", "restore the ledger from a backup"),
    Rule.EMPTY: ("there is something to audit", "safeloop audit --ledger PATH, with the ledger that was meant"),
    Rule.MISSING: ("positions have no gaps", "restore the ledger from a backup"),
    Rule.TREE: ("the rows are the leaves of the tree that the head signs", _COMPARE),
    Rule.STATE: ("the ledger continues what this key folder last signed",
                 "restore the newest file, or safeloop ledger adopt --checkpoint NOTE"),
    Rule.CHECKPOINT: ("the ledger continues every checkpoint that somebody kept",
                      "compare with the ledger that the checkpoint came from: safeloop checkpoint"),
    Rule.DERIVED: ("stored hashes and indexes are what the rows make of them", "restore the ledger from a backup"),
    Rule.ENCODING: ("each row is one object of the nine keys in the canonical encoding", _COMPARE),
    Rule.WRITER: ("each row is signed by a pinned writer", "safeloop trust, if the key is known; else: " + _COMPARE),
    Rule.SIGNATURE: ("each row is signed by a pinned writer", _COMPARE),
    Rule.REVOKED: ("no row relies on a key from its revocation on", _COMPARE),
    Rule.LEDGER: ("each row states the ledger that it is in", _COMPARE),
    Rule.CHAIN: ("each row follows the row before it in its session", _COMPARE),
    Rule.KIND: ("a row's data has the form of its kind", "safeloop log {session} --json"),
    Rule.OPEN: ("a session is opened once, and on a spec of its own", "safeloop log {session} --json"),
    Rule.CONTENT: ("content is what a row committed to, unless an erase row says that it is gone",
                   "restore the ledger's .content.db from a backup"),
    Rule.MANIFEST: ("a manifest is a canonical list of objects, as many as its row says",
                    "safeloop log {session} --json"),
    Rule.ATTESTATION: ("an attestation says what its reviewer signed", "safeloop review {session}"),
    Rule.UNKNOWN: ("every kind and version of row is known to the auditor", "pip install --upgrade safeloop"),
    Rule.ERASED: ("content is there to be compared", "safeloop log --json, for the reason of the erase row"),
    Rule.UNGOVERNED: ("sessions are opened by a loop, inside ceilings", "safeloop review {session}"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule, or one thing that could not be checked.

    Attributes:
        rule: Its short stable name.
        row: The number that people see, from 1; None where the ledger as a whole is meant.
        session: The session concerned, if that is known.
        message: A lowercase sentence that names row, what and which.
        remedy: The command, or the step, that helps.
    """

    rule: Rule
    row: int | None
    session: str | None
    message: str
    remedy: str

    @property
    def unseats(self) -> bool:
        """Whether a row that is here no longer stands; a wrong table about rows says nothing of the rows."""
        return self.row is not None and self.rule not in (Rule.DERIVED, Rule.MISSING, Rule.FILE)


def finding(
    rule: Rule, message: str, *, row: int | None = None, session: str | None = None, remedy: str = ""
) -> Finding:
    """Make a finding with the rule's own remedy, unless there is a better one."""
    step = (remedy or rule.remedy).replace("{session}", session or "SESSION")
    return Finding(rule, row, session, message, step)


def rows_text(first: int, last: int) -> str:
    """Name the rows at these positions, both inclusive, as people number them."""
    return f"row {first + 1}" if first == last else f"rows {first + 1} to {last + 1}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Say how many there are."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
