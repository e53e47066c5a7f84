"""Keys as a ledger's own rows tell of them: which followed which, and which no longer count.

Pure, and fed row by row with rows that a pinned writer signed. What a row says of keys can take trust away and never
gives any: a key that only a `rotate` row names is not trusted. It keeps one record per key, never a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from safeloop.errors import EncodingError, KeyUnusable, ProofError
from safeloop.ledger import Row, ed25519
from safeloop.ledger.kinds import check_data
from safeloop.ledger.note import parse_checkpoint
from safeloop.ledger.rows import LEDGER_SESSION
from safeloop.ledger.succession import REVOKE, ROTATE, NamedKey, Role, has_possession, read_key
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.findings import Finding, Rule, about, finding


@dataclass(slots=True)
class _Known:
    """What is known of one key.

    Attributes:
        last: The last position at which it signed a row, or -1.
        replaced: The position of the `rotate` row that replaced it.
        successor: The id of the key that followed.
        bound: The first position from which it does not count, by `revoke` rows.
        revoked: The position of the row that set this bound.
    """

    last: int = -1
    replaced: int | None = None
    successor: str = ""
    bound: int | None = None
    revoked: int = -1


@dataclass(frozen=True, slots=True)
class _Former:
    """A log key that no longer signs heads.

    Attributes:
        size: Of the last tree of which it may have signed the head.
        words: Which row says so.
    """

    size: int
    words: str


class Keyring:
    """The keys of one ledger, as far as its rows have been read."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._keys: dict[str, _Known] = {}
        self._logs: dict[str, set[str]] = {}
        self._former_logs: dict[tuple[str, str], _Former] = {}
        self._vouched: dict[str, int] = {}

    def follow(self, row: Row) -> Iterable[Finding]:
        """Take in the next row; return what is wrong with who signed it, and with what it says of keys.

        Args:
            row: A row that a pinned writer signed, of whatever kind.
        """
        known = self._keys.get(row.writer)
        if known is None:
            known = self._keys[row.writer] = _Known()
        known.last = row.idx
        if known.bound is None and known.replaced is None and row.kind != "key":
            return ()
        return self._judge(row, known)

    def follow_all(self, rows: Sequence[Row]) -> Iterable[Finding]:
        """Take in the next rows, as `follow` does one after the other."""
        kinds, writers = {row.kind for row in rows}, {row.writer for row in rows}
        if len(writers) == 1 and "key" not in kinds and self._is_quiet(rows[-1].writer):
            return self.follow(rows[-1])  # what it says of their writer, each of them says
        return [found for row in rows for found in self.follow(row)]

    def _is_quiet(self, writer: str) -> bool:
        """Whether nothing so far stands against what a writer signs."""
        known = self._keys.get(writer)
        return known is None or (known.bound is None and known.replaced is None)

    def _judge(self, row: Row, known: _Known) -> Iterator[Finding]:
        if known.bound is not None and row.idx >= known.bound:
            yield about(row, Rule.REVOKED, f"writer {row.writer[:8]} was revoked from row {known.bound + 1} on, by "
                                            f"row {known.revoked + 1}")
        elif known.replaced is not None:
            yield about(row, Rule.KEY, f"is signed by writer {row.writer[:8]}, which row {known.replaced + 1} replaced "
                                        f"by {known.successor[:8]}")
        elif row.kind == "key" and _has_form(row):
            words, rule = self._tell(row)
            if words:
                yield about(row, rule, words)

    def explain(self, fault: Finding, writer: str) -> Finding:
        """Return a finding about a writer that is not pinned, with a better remedy if a pinned one vouched for it."""
        if fault.rule is not Rule.WRITER or writer not in self._vouched:
            return fault
        return replace(
            fault,
            remedy=f"row {self._vouched[writer] + 1}, signed by a pinned writer, names this key as its successor: ask "
            "the operator over another channel, then safeloop trust import",
        )

    def judge_head(self, origin: str, signer: str, size: int) -> Iterator[Finding]:
        """Yield what is wrong with who signed the head; asked after the last row.

        Args:
            origin: The ledger's.
            signer: The id of the log key under which the head verified.
            size: Rows of the tree that it signs.
        """
        former = self._former_logs.get((origin, signer))
        if former is not None and size > former.size:
            words = f"signed by log key {signer[:8]}, whose last head was of {former.size:,}: {former.words}"
            yield finding(Rule.HEAD, f"the head of {size:,} rows is {words}")

    def _tell(self, row: Row) -> tuple[str, Rule]:
        """Take in a `key` row; return what is wrong with it, or nothing."""
        if row.session != LEDGER_SESSION:
            return f"speaks of keys in session {row.session}, where only session {LEDGER_SESSION} does", Rule.KEY
        try:
            key = read_key(row.data["key"], row.ledger)
        except (KeyUnusable, ProofError) as error:
            return f"names a key that cannot be used: {error}", Rule.KEY
        event = row.data["event"]
        if event == REVOKE:
            return self._revoke(row, key)
        return (self._rotate(row, key) if event == ROTATE else _adopt(row, key)), Rule.KEY

    def _rotate(self, row: Row, key: NamedKey) -> str:
        if not _has_only(row, "proof"):
            return "is a rotation with more than its proof"
        if key.role is Role.LOG:
            return self._rotate_log(row, key)
        if key.key_id == row.writer:
            return "names the key that signed it as its successor"
        known = self._keys.get(key.key_id)
        if known is not None and (known.replaced is not None or known.bound is not None):
            return f"names writer {key.key_id[:8]} again, which was replaced or revoked before"
        if not has_possession(row.data, key, row.ledger, row.writer):
            return f"has no proof that writer {key.key_id[:8]} took part: forged, or of another ledger or key"
        signer = self._keys[row.writer]
        signer.replaced, signer.successor = row.idx, key.key_id
        self._vouched[key.key_id] = row.idx
        return ""

    def _rotate_log(self, row: Row, key: NamedKey) -> str:
        """Check a log key's succession; the row does not name the key that it replaces, so each known one is tried."""
        pinned = (ed25519.key_id(each.public) for each in self._trust.policy.logs.get(row.ledger, ()))
        logs = self._logs.setdefault(row.ledger, set(pinned))
        known = sorted(logs - {key.key_id})
        replaced = next((old for old in known if has_possession(row.data, key, row.ledger, old)), None)
        if replaced is None:
            return (f"has no proof that log key {key.key_id[:8]} took part in place of a pinned one: forged, of "
                    "another ledger, or the key that it replaced is not pinned")
        if (row.ledger, key.key_id) in self._former_logs:
            return f"names log key {key.key_id[:8]} again, which was replaced or revoked before"
        self._former_logs[row.ledger, replaced] = _Former(row.id, f"row {row.id} replaced it by {key.key_id[:8]}")
        logs.add(key.key_id)
        return ""

    def _revoke(self, row: Row, key: NamedKey) -> tuple[str, Rule]:
        bound = row.data["not_after_size"]
        if not _has_only(row, "not_after_size"):
            return "is a revocation with more than its bound, or without one", Rule.KEY
        if bound > row.idx:
            return f"revokes a key from row {bound + 1} on, which is after itself", Rule.KEY
        if key.role is Role.LOG:
            former = self._former_logs.get((row.ledger, key.key_id))
            if former is None or bound < former.size:
                self._former_logs[row.ledger, key.key_id] = _Former(bound, f"row {row.id} revoked it from there on")
            return "", Rule.KEY
        if key.key_id == row.writer:
            return "revokes the key that signed it", Rule.KEY
        known = self._keys.setdefault(key.key_id, _Known())
        if known.bound is None or bound < known.bound:
            known.bound, known.revoked = bound, row.idx
        if known.last < bound:
            return "", Rule.KEY
        return (f"revokes writer {key.key_id[:8]} from row {bound + 1} on, and rows by it stand there, the last of "
                f"them row {known.last + 1}"), Rule.REVOKED


def _adopt(row: Row, key: NamedKey) -> str:
    if not _has_only(row, "checkpoint") or key.role is not Role.LOG:
        return "is an adoption with more than a log key and a checkpoint"
    try:
        kept = parse_checkpoint(row.data["checkpoint"])
    except ProofError as error:
        return f"adopts by what is no checkpoint: {error}"
    if kept.origin != row.ledger:
        return f"adopts by a checkpoint of {kept.origin[:80]!a}"
    return f"adopts by a checkpoint of {kept.size} rows, more than there were" if kept.size > row.idx else ""


def _has_form(row: Row) -> bool:
    """Whether the data has the form of its kind; where it has not, that is a finding of its own."""
    try:
        check_data(row.kind, row.data)
    except EncodingError:
        return False
    return True


def _has_only(row: Row, field: str) -> bool:
    """Whether of the three optional fields of a `key` row this one is there, and no other."""
    return all((row.data[name] is not None) == (name == field) for name in ("proof", "not_after_size", "checkpoint"))
