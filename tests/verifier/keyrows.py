"""Rows about keys: rotations, revocations, adoptions. They take trust away and never give any."""

from dataclasses import dataclass

from tests.verifier.encoding import encode
from tests.verifier.findings import WHOLE, Report
from tests.verifier.keys import LOG, BadKey, b64, from_ssh, from_vkey, key_id, verifies
from tests.verifier.notes import BadNote, Checkpoint, is_signed_by, parse
from tests.verifier.rows import Row
from tests.verifier.trust import Trust

CLAIM = b"DSSEv1 45 application/vnd.safeloop.key-rotation.v1+json %d "


class BadKeyRow(ValueError):
    """A key row that does not hold."""


@dataclass
class Writer:
    """One writer as the rows tell of it: where it last signed, and from where it no longer counts."""

    last: int = -1
    bound: int | None = None
    is_replaced: bool = False


class Keys:
    """What the key rows say, in their order."""

    def __init__(self, trust: Trust, report: Report) -> None:
        self._report = report
        self._writers: dict[str, Writer] = {}
        self._logs = {(key.name, key_id(key.raw)) for key in trust.logs}
        self._last_heads: dict[tuple[str, str], int] = {}  # of log keys that were replaced or revoked

    def follow(self, row: Row) -> None:
        """Take in the next row: who signed it, and what it says of keys."""
        writer = self._writers.setdefault(row.writer, Writer())
        writer.last = row.idx
        if writer.bound is not None and row.idx >= writer.bound:
            self._report.fail(row.idx, "revoked", "by a writer that an earlier row revoked")
        elif writer.is_replaced:
            self._report.fail(row.idx, "key", "by a writer that was replaced")
        elif row.kind == "key" and row.is_known:
            try:
                self._tell(row)
            except (BadKeyRow, BadKey, BadNote) as error:
                self._report.fail(row.idx, "key", str(error))

    def _tell(self, row: Row) -> None:
        event, text, origin = row.data["event"], row.data["key"], row.body["ledger"]
        if row.session != "ledger":
            raise BadKeyRow("outside the session `ledger`")
        wanted = {"rotate": "proof", "revoke": "not_after_size", "adopt": "checkpoint"}[event]
        if {name for name in ("proof", "not_after_size", "checkpoint") if row.data[name] is not None} != {wanted}:
            raise BadKeyRow(f"a row that should have {wanted} and nothing else")
        is_log = not text.startswith("ssh-")
        if is_log and text.split("+")[0] != origin:
            raise BadKeyRow("a log key of another origin")
        raw = from_vkey(text, LOG).raw if is_log else from_ssh(text)
        if event == "rotate" and is_log:
            self._rotate_log(row, raw)
        elif event == "rotate":
            self._rotate_writer(row, raw)
        elif event == "revoke":
            self._revoke(row, raw, is_log=is_log)
        else:
            _adopt(row, is_log=is_log)

    def _rotate_writer(self, row: Row, raw: bytes) -> None:
        new = self._writers.get(key_id(raw), Writer())
        if key_id(raw) == row.writer or new.is_replaced or new.bound is not None:
            raise BadKeyRow("a key that was replaced or revoked comes back")
        if not _is_proved(row, raw, row.writer, "writer"):
            raise BadKeyRow("the proof does not show that the new key is held")
        self._writers[row.writer].is_replaced = True

    def _rotate_log(self, row: Row, raw: bytes) -> None:
        origin = row.body["ledger"]
        new = origin, key_id(raw)
        known = sorted(log for log in self._logs - {new} if log[0] == origin)
        old = next((log for log in known if _is_proved(row, raw, log[1], "log")), None)
        if old is None:
            raise BadKeyRow("the proof does not show that the new key is held, in place of one that is known")
        if new in self._last_heads:
            raise BadKeyRow("a log key that was replaced or revoked comes back")
        self._last_heads[old] = row.idx + 1
        self._logs.add(new)

    def _revoke(self, row: Row, raw: bytes, *, is_log: bool) -> None:
        bound = row.data["not_after_size"]
        if bound > row.idx:
            raise BadKeyRow("revokes from a row after itself on")
        if is_log:
            log = row.body["ledger"], key_id(raw)
            self._last_heads[log] = min(bound, self._last_heads.get(log, bound))
            return
        if key_id(raw) == row.writer:
            raise BadKeyRow("revokes the key that signed it")
        writer = self._writers.setdefault(key_id(raw), Writer())
        writer.bound = bound if writer.bound is None else min(bound, writer.bound)
        if writer.last >= bound:
            self._report.fail(row.idx, "revoked", "rows by the revoked key stand from there on")


    def judge(self, head: Checkpoint, trust: Trust) -> None:
        """Ask, after the last row, whether the key that signed the head still signed heads of so many rows."""
        signers = [key_id(key.raw) for key in trust.logs if key.name == head.origin and is_signed_by(head, key)]
        if all(head.size > self._last_heads.get((head.origin, signer), head.size) for signer in signers):
            self._report.fail(WHOLE, "head", "by a log key that was replaced or revoked before")


def follow(rows: list[Row], head: Checkpoint | None, trust: Trust, report: Report) -> None:
    """Report **key**, **revoked** where a row says so, and **head** where it is signed by a key of the past."""
    keys = Keys(trust, report)
    for row in rows:
        if row.is_sound:
            keys.follow(row)
    if head is not None:
        keys.judge(head, trust)


def _is_proved(row: Row, raw: bytes, replaces: str, role: str) -> bool:
    claim = encode({"key": row.data["key"], "ledger": row.body["ledger"], "replaces": replaces, "role": role})
    return verifies(raw, b64(row.data["proof"]), CLAIM % len(claim) + claim)


def _adopt(row: Row, *, is_log: bool) -> None:
    kept = parse(row.data["checkpoint"])
    if not is_log or kept.origin != row.body["ledger"] or kept.size > row.idx:
        raise BadKeyRow("not a log key, or a checkpoint of another ledger or of rows that were not there")
