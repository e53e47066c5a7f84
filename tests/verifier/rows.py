"""A row by itself: its bytes, its signature, its form."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.verifier import forms, page
from tests.verifier.encoding import BadEncoding, decode
from tests.verifier.findings import Report
from tests.verifier.keys import verifies
from tests.verifier.trust import Trust

KEYS = {"at", "data", "kind", "ledger", "n", "prev", "session", "v", "writer"}
AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
ORIGIN = re.compile(r"[a-z0-9.-]+(/[a-z0-9._-]+)+")
SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
HEX = re.compile("[0-9a-f]{64}")
MOST_BYTES = 60_000


@dataclass
class Row:
    """One row, and how it stands.

    Attributes:
        has_form: It is one object of the nine keys, of version 1.
        is_sound: A pinned writer signed it, no revoked one, and it is of this ledger.
        is_other: A pinned writer signed it, and it is of another version.
        is_elsewhere: It would be sound in another ledger.
        is_known: Its kind is on the page, and its data has the form of it.
        is_own: No other leaf is stored at its position.
        signer: The id of the pinned writer who signed it.
    """

    idx: int
    raw: bytes
    sig: bytes
    body: dict[str, Any] = field(default_factory=dict)
    has_form: bool = False
    is_sound: bool = False
    is_other: bool = False
    is_elsewhere: bool = False
    is_known: bool = False
    is_own: bool = True
    signer: str = ""

    @property
    def pae(self) -> bytes:
        return b"DSSEv1 36 application/vnd.safeloop.row.v1+json %d " % len(self.raw) + self.raw

    @property
    def leaf(self) -> bytes:
        return hashlib.sha256(b"\0" + self.sig + self.pae).digest()

    @property
    def session(self) -> str:
        return str(self.body["session"])

    @property
    def n(self) -> int:
        return int(self.body["n"])

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.body["data"])

    @property
    def writer(self) -> str:
        return str(self.body["writer"])

    @property
    def at(self) -> datetime:
        return moment(str(self.body["at"]))


def moment(text: str) -> datetime:
    """Read a time in the form of `at`; anything else is a ValueError."""
    if not AT.fullmatch(text):
        raise ValueError(f"no time: {text[:40]}")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def judge(idx: int, raw: bytes, sig: bytes, trust: Trust, report: Report) -> Row:
    """Verify one row's bytes, in the order of the page: encoding, writer, signature, form."""
    row = Row(idx, raw, sig)
    try:
        _read(row)
    except BadEncoding as error:
        report.fail(idx, "encoding", str(error))
        return row
    if not row.has_form:
        _judge_other_version(row, trust, report)
        return row
    key = trust.writers.get(row.writer)
    if key is None:
        report.fail(idx, "writer", "signed by no pinned writer")
    elif not verifies(key, sig, row.pae):
        report.fail(idx, "signature", "the signature does not verify")
    else:
        row.is_sound, row.signer = True, row.writer
    return row


def _read(row: Row) -> None:
    if len(row.raw) > MOST_BYTES:
        raise BadEncoding(f"more than {MOST_BYTES} bytes")
    if len(row.sig) != 64:
        raise BadEncoding("the signature has not 64 bytes")
    body = decode(row.raw)
    if not isinstance(body, dict):
        raise BadEncoding("not an object")
    row.body = body
    if type(body.get("v")) is int and body["v"] != 1:
        return
    _check_form(body)
    row.has_form = True


def _judge_other_version(row: Row, trust: Trust, report: Report) -> None:
    """Accept any pinned writer: where another version names its writer is not known."""
    row.signer = next((name for name, key in trust.writers.items() if verifies(key, row.sig, row.pae)), "")
    row.is_other = bool(row.signer)
    if not row.is_other:
        report.fail(row.idx, "signature", "another version, signed by nobody pinned")


def _check_form(body: dict[str, Any]) -> None:
    def text(key: str, form: re.Pattern[str], most: int = 64) -> bool:
        value = body[key]
        return isinstance(value, str) and bool(form.fullmatch(value)) and len(value) <= most

    if set(body) != KEYS:
        raise BadEncoding("not exactly the nine keys")
    try:
        moment(body["at"] if isinstance(body["at"], str) else "")
    except ValueError as error:
        raise BadEncoding(str(error)) from None
    fits = {
        "data": isinstance(body["data"], dict),
        "kind": text("kind", re.compile("[a-z_]{1,32}")),
        "ledger": text("ledger", ORIGIN, 200),
        "n": type(body["n"]) is int and body["n"] >= 0,
        "prev": text("prev", HEX),
        "session": text("session", SESSION, 128) and body["session"] != "latest",
        "v": type(body["v"]) is int,
        "writer": text("writer", HEX),
    }
    for key, holds in fits.items():
        if not holds:
            raise BadEncoding(f"{key} is not in its form")


def check_kind(row: Row, report: Report) -> None:
    """Ask a sound row for the form of its kind."""
    if row.kind not in page.kinds():
        report.gap(row.idx, "unknown", "a kind that is not on the page")
        return
    wrong = forms.fits_kind(row.kind, row.data)
    row.is_known = wrong is None
    if wrong is not None:
        report.fail(row.idx, "kind", wrong)
