"""What the verifier in the page is given besides the rows that it reads there: signatures, proofs, keys, the head.

Public keys only, as the trust folder pins them when the page is made. The data stands in a script element of a type
that no browser runs; `<` and the line ends of JavaScript are escaped, so that nothing in it can end the element.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.errors import LedgerError, ProofError
from safeloop.ledger import merkle
from safeloop.ledger.note import encode_base64
from safeloop.review.reporting.markup import script_json
from safeloop.review.reporting.rows import StoredRow

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.ledger.reader import LedgerReader
    from safeloop.ledger.trust import Trust
    from safeloop.review.record import Record

VERSION = 1


@dataclass(frozen=True, slots=True)
class Keys:
    """The pinned keys that a page carries.

    Attributes:
        logs: Verifier keys of the ledger's log.
        writers: Raw writer keys in base64.
        revoked: (key id, origin, size) of each revocation of this ledger.
    """

    logs: tuple[str, ...]
    writers: tuple[str, ...]
    revoked: tuple[tuple[str, str, int], ...]

    @classmethod
    def of(cls, trust: Trust, origin: str | None) -> Keys:
        """Take the keys that matter for a ledger."""
        logs = trust.policy.logs.get(origin or "", ())
        revoked = ((line.key_id, line.origin, line.size) for line in trust.revoked if line.origin == origin)
        writers = (encode_base64(signer.key.raw) for signer in trust.writers.values())
        return cls(tuple(log.vkey for log in logs), tuple(writers), tuple(revoked))


def proofs_of(record: Record, reader: LedgerReader) -> Iterator[tuple[bytes, ...]]:
    """Yield the inclusion proof of each row of a session, verified under the session's head.

    Raises:
        ProofError: The stored tree does not lead from a row to the head.
    """
    head = record.head
    for row in record.rows:
        try:
            proof = merkle.inclusion_proof(row.idx, head.size, reader.node)
            merkle.verify_inclusion(bytes.fromhex(row.leaf), row.idx, head.size, proof, head.root)
        except (LedgerError, ProofError) as error:
            raise ProofError(f"row {row.id} of {reader.path} cannot be proved: {error}",
                             hint="safeloop audit says what stands") from None
        yield proof


def session_data(record: Record, reader: LedgerReader, trust: Trust) -> Iterator[str]:
    """Yield the data of a session's page; raises as `proofs_of` does."""
    rows = (
        [row.idx, encode_base64(row.sig), [encode_base64(step) for step in proof]]
        for row, proof in zip(record.rows, proofs_of(record, reader), strict=True)
    )
    yield from _data("session", record.session, len(record.rows), Keys.of(trust, record.ledger), rows, ())


def ledger_data(
    origin: str | None, trust: Trust, signatures: Sequence[tuple[int, object]], leaves: Iterable[tuple[int, object]]
) -> Iterator[str]:
    """Yield the data of a whole ledger's page.

    Args:
        origin: As the head states it, verified or not.
        trust: The pinned keys.
        signatures: Position and signature of each row.
        leaves: The stored leaf hashes: they prove nothing, and tell which row was changed where the head signs them.
    """
    rows = ([idx, _text(signature), None] for idx, signature in signatures)
    yield from _data("ledger", None, len(signatures), Keys.of(trust, origin), rows, _dense(leaves))


def _data(
    scope: str, session: str | None, count: int, keys: Keys, rows: Iterable[object], leaves: Iterable[str | None]
) -> Iterator[str]:
    head = {
        "safeloop_page": VERSION, "scope": scope, "session": session, "count": count, "logs": keys.logs,
        "writers": keys.writers, "revoked": keys.revoked,
    }
    yield f'{script_json(head)[:-1]},"rows":['
    yield from _list(rows)
    yield '],"leaves":['
    yield from _list(leaves)
    yield "]}"


def _list(items: Iterable[object]) -> Iterator[str]:
    for number, item in enumerate(items):
        yield f"{',' if number else ''}{script_json(item)}\n"


def _dense(leaves: Iterable[tuple[int, object]]) -> Iterator[str | None]:
    following = 0
    for idx, leaf in leaves:
        while following < idx and following < _MOST_LEAVES:
            yield None
            following += 1
        if following == idx and following < _MOST_LEAVES:
            yield _text(leaf)
            following += 1


_MOST_LEAVES = 50_000  # twice what a page holds: a forged index must not make a page of nothing


def _text(stored: object) -> str | None:
    return encode_base64(stored) if isinstance(stored, bytes) else None


def as_stored(row: Row) -> StoredRow:
    """Return a verified row as the page shows rows."""
    return StoredRow(row.idx, row.body, row.sig, row)
