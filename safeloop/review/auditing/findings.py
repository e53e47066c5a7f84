"""What an audit can find, each with the rule that it breaks and the step that helps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeloop.ledger import Row


class Rule(StrEnum):
    """The rules by their short stable names: of the record, of the loop's word, and what leaves an audit incomplete."""

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
    KEY = "key"

    BEGUN = "begun"
    PROMISE = "promise"
    PARENT = "parent"
    INTENT = "intent"
    RESERVATION = "reservation"
    CEILING = "ceiling"
    WINDOW = "window"
    CHARGE = "charge"
    BREACH = "breach"
    CLOSED = "closed"
    TOTALS = "totals"
    OUTCOME = "outcome"
    TOOL = "tool"
    CALL = "call"
    APPROVAL = "approval"
    RELEASE = "release"

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
_READ = "safeloop log {session} --json"
_RULES = {
    Rule.FILE: ("the file can be read to its end", "restore the ledger from a backup"),
    Rule.SCHEMA: ("tables, indexes, triggers and views are the format's, word for word",
                  "restore the ledger from a backup; believe none of its views"),
    Rule.TRUST: ("the auditor's policy pins this ledger's log", "safeloop trust, to pin the log's key"),
    Rule.WITNESS: ("a checkpoint carries the cosignatures that the policy demands",
                   "have the witnesses cosign safeloop checkpoint, add their lines to it, and give it: "
                   "safeloop audit --checkpoint FILE"),
    Rule.HEAD: ("the head is a checkpoint signed by the pinned log key", "restore the ledger from a backup"),
    Rule.EMPTY: ("there is something to audit", "safeloop audit --ledger PATH, with the ledger that was meant"),
    Rule.MISSING: ("positions have no gaps", "restore the ledger from a backup"),
    Rule.TREE: ("the rows are the leaves of the tree that the head signs", _COMPARE),
    Rule.STATE: ("the ledger continues what this key folder last signed",
                 "restore the newest file; one that was only moved: safeloop ledger adopt --checkpoint NOTE"),
    Rule.CHECKPOINT: ("the ledger continues every checkpoint that somebody kept",
                      "compare with the ledger that the checkpoint came from: safeloop checkpoint --ledger PATH"),
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
    Rule.KEY: ("a key follows another by a row that both have signed, and the one before it signs no more",
               "safeloop log --json, for its key rows; and ask the operator who changed the keys: safeloop help keys"),
    Rule.BEGUN: ("a session's work begins after its open row", _READ),
    Rule.PROMISE: ("ceilings and tools in force are never looser than the spec's", _READ),
    Rule.PARENT: ("a child is opened while its parent is, and spends inside every ancestor's ceilings", _READ),
    Rule.INTENT: ("every reply and every failed attempt settles one open intent of its own", _READ),
    Rule.RESERVATION: ("a request asks for no more than was wanted and reserved", _READ),
    Rule.CEILING: ("nothing is granted beyond a ceiling of its session", _READ),
    Rule.WINDOW: ("nothing is granted beyond the operator's limits for the hour, the day and the month",
                  "safeloop log ledger --json, for the limits; then: safeloop log {session} --json"),
    Rule.CHARGE: ("what was used is charged, and what is in doubt is charged in full", _READ),
    Rule.BREACH: ("nothing runs after a breach", _READ),
    Rule.CLOSED: ("nothing is done in the name of a closed session, nor of a suspended one before it resumes", _READ),
    Rule.TOTALS: ("a close row's figures are the sums of its session's rows", _READ),
    Rule.OUTCOME: ("a session is completed only if its rows say so", "safeloop review {session}"),
    Rule.TOOL: ("only tools run that the open row lists, with the permission that it lists", _READ),
    Rule.CALL: ("a tool that does more than read runs after its own call row", _READ),
    Rule.APPROVAL: ("a destructive call runs once, on a grant that a pinned reviewer signed for it", _READ),
    Rule.RELEASE: ("a release rests on the attestations that its policy asks for", "safeloop review {session}"),
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


def about(row: Row, rule: Rule, words: str) -> Finding:
    """Make a finding about one row."""
    return finding(rule, f"row {row.id}: {words}", row=row.id, session=row.session)


def rows_text(first: int, last: int) -> str:
    """Name the rows at these positions, both inclusive, as people number them."""
    return f"row {first + 1}" if first == last else f"rows {first + 1} to {last + 1}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Say how many there are."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
