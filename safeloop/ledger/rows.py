"""Rows: the nine keys of a body, and what a writer drafts before the store completes it.

Pure: bytes in, values out. A row is judged on its stored bytes first and parsed only then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import jiter  # the SDK brings it; twice as fast as what Python brings

from safeloop.errors import EncodingError
from safeloop.ledger import seal
from safeloop.ledger.encoding import MAX_BODY_BYTES, MAX_DEPTH, encode, encode_unchecked, parse
from safeloop.ledger.quick import is_plain

if TYPE_CHECKING:
    from safeloop.ledger.content import Content

VERSION = 1
NO_ROW = "0" * 64  # `prev` of a session's first row
LEDGER_SESSION = "ledger"  # rows about the ledger as a whole
_ATOMS = frozenset({str, int, bool, type(None)})
RESERVED_SESSIONS = frozenset({"latest", LEDGER_SESSION})

_new = tuple.__new__  # without the call between that names the fields

_parse_own = jiter.from_json  # lenient: for bytes only that were made or judged here
_KEYS = frozenset({"at", "data", "kind", "ledger", "n", "prev", "session", "v", "writer"})
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}\Z")
_KIND = re.compile(r"[a-z_]{1,32}\Z")
_ORIGIN = re.compile(r"(?=.{1,200}\Z)[a-z0-9.-]+(/[a-z0-9._-]+)+\Z")
_SESSION = re.compile(r"(?!latest\Z)[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")  # `latest` is reserved


class UnknownVersion(EncodingError):
    """The row is of a version that this reader does not know; its bytes still stand in the tree."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A row before it has a place: the store adds position, chain, time, writer and signature.

    Attributes:
        session: The session's id.
        kind: One of the kinds of the format.
        data: The kind's closed object.
        contents: What `data` commits to; it is durable before the row is.
    """

    session: str
    kind: str
    data: Mapping[str, Any]
    contents: tuple[Content, ...] = ()


class Row(NamedTuple):
    """One row, parsed from its stored bytes; a tuple, because an audit makes as many as there are.

    Attributes:
        idx: Position in the ledger, from 0; people see `idx + 1`.
        body: The stored bytes, which the signature covers.
        sig: Ed25519, 64 bytes.
        at: The writer's clock, RFC 3339 UTC: a claim.
        data: The kind's object.
        n: Position within the session, from 0.
        prev: Leaf hash of the session's row `n-1`, hex.
        writer: SHA-256 of the writer's raw public key, hex.
        leaf: This row's leaf hash, hex.
    """

    idx: int
    body: bytes
    sig: bytes
    at: str
    data: dict[str, Any]
    kind: str
    ledger: str
    n: int
    prev: str
    session: str
    writer: str
    leaf: str

    @property
    def id(self) -> int:
        """The number that people and the tutorial see."""
        return self.idx + 1

    def __repr__(self) -> str:
        return f"Row(idx={self.idx}, kind={self.kind!r}, session={self.session!r}, n={self.n}, data={self.data!r})"


def parse_row(idx: int, body: bytes, signature: bytes) -> Row:
    """Parse a stored row strictly; the signature is not checked here.

    Raises:
        UnknownVersion: A version other than 1.
        EncodingError: Any departure from the format, with the reason.
    """
    if len(signature) != seal.SIGNATURE_BYTES:
        raise EncodingError(f"the signature has {len(signature)} bytes, not {seal.SIGNATURE_BYTES}")
    if len(body) > MAX_BODY_BYTES:
        raise EncodingError(f"the body has {len(body)} bytes, more than {MAX_BODY_BYTES}")
    value = parse(body)
    check_envelope(value)
    return _row(idx, body, signature, value)


def sealed_row(idx: int, body: bytes, signature: bytes, leaf: bytes | None = None) -> Row:
    """Return the row of a body that is known to be canonical; its strictness is not spent twice.

    Args:
        idx: Its position.
        body: What was made here, or was parsed strictly before.
        signature: 64 bytes.
        leaf: The row's leaf hash, where the caller has it.
    """
    return _row(idx, body, signature, _parse_own(body), leaf)


def sealed_rows(
    first: int, bodies: Iterable[bytes], signatures: Iterable[bytes], leaves: Iterable[bytes]
) -> list[Row]:
    """Return the rows at positions that follow each other, as `sealed_row` does one."""
    stored = zip(count(first), bodies, signatures, map(_parse_own, bodies), leaves)
    return [_row(idx, body, signature, value, leaf) for idx, body, signature, value, leaf in stored]


def own(draft: Draft) -> Draft:
    """Return a draft of values that nobody else holds: it cannot change between its check, its bytes and its row."""
    data = _own(dict(draft.data), 2)  # a body is level 1 itself
    return Draft(_own(draft.session, 0), _own(draft.kind, 0), data, draft.contents)


def _own(value: Any, depth: int) -> Any:
    """Copy what a parser would give for a value; what has no encoding is left for the encoder to refuse."""
    kind = type(value)
    if depth > MAX_DEPTH:
        return value
    if kind is dict:
        return {key: item if type(item) in _ATOMS else _own(item, depth + 1) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [item if type(item) in _ATOMS else _own(item, depth + 1) for item in value]
    return str.__str__(value) if isinstance(value, str) else value


def encode_body(draft: Draft, *, ledger: str, n: int, prev: str, at: str, writer: str) -> bytes:
    """Return the exact bytes of a drafted row.

    Raises:
        EncodingError: The draft breaks the format; nothing was written.
    """
    value = _body(draft, ledger, n, prev, at, writer)
    check_envelope(value)
    body = encode(value)
    if len(body) > MAX_BODY_BYTES:
        raise EncodingError(f"a {draft.kind} row of {len(body)} bytes is longer than {MAX_BODY_BYTES}")
    return body


def encode_plain_body(draft: Draft, *, ledger: str, n: int, prev: str, at: str, writer: str) -> bytes | None:
    """Return the same bytes at a third of the price, if they plainly are canonical and of their kind's form.

    None says nothing: the draft may be as good, and must be checked.
    """
    body = encode_unchecked(_body(draft, ledger, n, prev, at, writer))
    return body if body is not None and is_plain(body) else None


def _body(draft: Draft, ledger: str, n: int, prev: str, at: str, writer: str) -> dict[str, Any]:
    return {
        "at": at, "data": dict(draft.data), "kind": draft.kind, "ledger": ledger, "n": n, "prev": prev,
        "session": draft.session, "v": VERSION, "writer": writer,
    }


def check_envelope(value: Any) -> None:
    """Check the nine keys and their forms.

    Raises:
        UnknownVersion: A version other than 1.
        EncodingError: Any other departure.
    """
    if type(value) is not dict:
        raise EncodingError("the body is not an object")
    if type(value.get("v")) is int and value["v"] != VERSION:
        raise UnknownVersion(f"version {value['v']} is not known to this reader")
    if value.keys() != _KEYS:
        odd = sorted(value.keys() ^ _KEYS)
        raise EncodingError(f"the body's keys are not the nine of the format: {', '.join(odd)[:100]}")
    if type(value["v"]) is not int:
        raise EncodingError("v is not an integer")
    if type(value["data"]) is not dict:
        raise EncodingError("data is not an object")
    if type(value["n"]) is not int or value["n"] < 0:
        raise EncodingError("n is not an integer from 0")
    for key, form in _FORMS.items():
        if not isinstance(value[key], str) or not form(value[key]):
            raise EncodingError(f"{key} is not of the format's form")
    try:
        datetime.fromisoformat(value["at"])
    except ValueError:
        raise EncodingError("at is not a time that exists") from None


def _row(idx: int, body: bytes, signature: bytes, value: dict[str, Any], leaf: bytes | None = None) -> Row:
    return _new(Row, (
        idx, body, signature, value["at"], value["data"], value["kind"], value["ledger"], value["n"], value["prev"],
        value["session"], value["writer"], (leaf or seal.leaf(body, signature)).hex(),
    ))  # fmt: skip


# Rows say the same of themselves again and again, but for time and place.
_FORMS: dict[str, Callable[[str], object]] = {
    "at": _AT.match, "kind": lru_cache(64)(_KIND.match), "ledger": lru_cache(64)(_ORIGIN.match), "prev": _HEX.match,
    "session": lru_cache(1_024)(_SESSION.match), "writer": lru_cache(64)(_HEX.match),
}


def is_session_id(text: object) -> bool:
    """Say whether this can be a session's id; reserved words cannot."""
    return isinstance(text, str) and bool(_SESSION.match(text)) and text not in RESERVED_SESSIONS


def is_origin(text: str) -> bool:
    """Say whether this can be a ledger's origin."""
    return bool(_ORIGIN.match(text))


def timestamp(moment: datetime) -> str:
    """Render an aware UTC time as rows hold it: six fractional digits and `Z`."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"
