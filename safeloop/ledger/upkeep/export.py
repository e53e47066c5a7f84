"""Exports: every row as files that `openssl`, `sha256sum` and any tlog-proof verifier take.

    DIR/rows/N.body, N.sig, N.pae, N.tlog-proof    row N, as people number it
    DIR/content/HEX.prefix, HEX.bytes              what rows commit to: sha256sum of both, one after the other, is HEX
    DIR/checkpoint, README.txt, SHA256SUMS

It is built in a folder beside its destination and renamed, so that a crash leaves no half an export under its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safeloop.errors import LedgerError, SessionNotFoundError, SettingError, VerificationError
from safeloop.ledger import seal
from safeloop.ledger.content import DOMAIN, commitments, salted_sha256
from safeloop.ledger.note import Verifier, render_receipt
from safeloop.ledger.proofs import prove
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import is_session_id, parse_row
from safeloop.ledger.upkeep.committing import Stored, committed, is_of

_README = """\
An export of the ledger {origin}: {rows}.

README.txt            this text
SHA256SUMS            every other file here: sha256sum --check --quiet SHA256SUMS
checkpoint            the ledger's signed head: its origin, its {size} rows in all, and their Merkle root (C2SP)
rows/N.body           row N: the exact bytes that were stored, RFC 8785
rows/N.sig            its writer's Ed25519 signature, 64 bytes
rows/N.pae            what that signature is of
rows/N.tlog-proof     proof that the row is in the ledger (C2SP tlog-proof); it carries the checkpoint
content/HEX.prefix    52 bytes: the text safeloop.content.v1, a zero byte, and the salt
content/HEX.bytes     what a row committed to as HEX: cat HEX.prefix HEX.bytes | sha256sum says HEX

{contents}SHA256SUMS shows that these files belong together, and nothing else. What shows that they are true are
the keys: the log's and the writers' public keys, and the reviewers', which must come from elsewhere, from somebody you
trust, and never from whoever gave you this folder.

Put a pinned writer's key, the 68 characters after ssh-ed25519, into KEY, and verify a row with openssl:

    N={first}
    printf '\\060\\052\\060\\005\\006\\003\\053\\145\\160\\003\\041\\000' > ../writer.der
    echo "$KEY" | base64 -d | tail -c 32 >> ../writer.der
    openssl pkeyutl -verify -pubin -keyform DER -inkey ../writer.der -rawin -in rows/$N.pae -sigfile rows/$N.sig

safeloop help verify has these commands for everything that is here.
"""


@dataclass(frozen=True, slots=True)
class Export:
    """An export that is in place.

    Attributes:
        folder: Where it lies.
        rows: How many rows it has.
        contents: How many contents.
        missing: Contents that rows commit to and that are not kept: erased, or lost.
    """

    folder: Path
    rows: int
    contents: int
    missing: int


def export(reader: LedgerReader, log: Verifier, folder: Path, session: str | None = None) -> Export:
    """Write a ledger, or one session of it, as files that stock tools check.

    Args:
        reader: The ledger, without a snapshot in progress.
        log: The pinned key of its log: each proof is verified before it is written.
        folder: To be made, readable by its owner only; an empty one is taken.
        session: Only this session's rows, and what they commit to.

    Raises:
        SettingError: The folder holds something, or has no folder to lie in.
        SessionNotFoundError: No such session.
        VerificationError: A row is not in the tree that the head signs, or content is not what was committed.
        LedgerError: The files cannot be written.
    """
    if session is not None and not is_session_id(session):
        raise SessionNotFoundError(f"{session[:60]!a} cannot be a session's id", hint="safeloop inbox")
    target = _target(folder)
    try:
        with _building(target) as place, reader.frozen():
            writer = _Writer(reader, log, place)
            for stored in reader.rows():
                if session is None or is_of(stored[1], session):
                    writer.add(stored)
            if session is not None and not writer.rows:
                raise SessionNotFoundError(f"no session {session} in {reader.path}", hint="safeloop inbox")
            writer.finish()
            place.rename(target)
    except OSError as error:
        raise LedgerError(f"{target} cannot be written: {error.strerror}", hint=f"df {target.parent}") from error
    return Export(target, writer.rows, writer.contents, writer.missing)


class _Writer:
    """Writes one row after the other, and each content once."""

    def __init__(self, reader: LedgerReader, log: Verifier, place: Path) -> None:
        self._reader, self._log, self._place = reader, log, place
        self.rows = self.contents = self.missing = 0
        self._first = 0
        self._absent: set[str] = set()
        for name in ("rows", "content"):
            (place / name).mkdir(mode=0o700)
        self._sums = place / "SHA256SUMS"
        self._sums.touch(mode=0o600)

    def add(self, stored: Stored) -> None:
        """Write a row and what it commits to."""
        idx, body, signature = stored
        receipt = render_receipt(prove(self._reader, stored, self._log))
        name = f"rows/{idx + 1}"
        self._first = self._first or idx + 1
        self._put(f"{name}.body", body)
        self._put(f"{name}.sig", signature)
        self._put(f"{name}.pae", seal.pae(body))
        self._put(f"{name}.tlog-proof", receipt.encode())
        self.rows += 1
        try:
            row = parse_row(*stored)
        except VerificationError:
            return  # of a version that this program does not know: its bytes are here, what they name it cannot tell
        own = commitments(row.data)  # the list of an `erase` row too
        for each in (*own, *committed(row, self._reader.read_content)):
            self._content(each["salted_sha256"])

    def finish(self) -> None:
        """Write what is about the whole."""
        note = self._reader.head() or ""
        absent = f"Not kept any more, so not here: {self.missing:,} of the contents that rows commit to.\n\n"
        text = _README.format(
            origin=self._reader.origin(), size=f"{self._reader.size():,}", contents=absent if self.missing else "",
            rows="one row" if self.rows == 1 else f"{self.rows:,} rows", first=self._first or "N",
        )
        self._put("checkpoint", note.encode())
        self._put("README.txt", text.encode())

    def _content(self, digest: str) -> None:
        if digest in self._absent or (self._place / f"content/{digest}.bytes").exists():
            return
        found = self._reader.salted_content(bytes.fromhex(digest))
        if found is None:
            self._absent.add(digest)
            self.missing += 1
            return
        salt, data = found
        if salted_sha256(salt, data).hex() != digest:
            raise VerificationError(f"content {digest[:8]} is not what a row committed to", hint="safeloop audit")
        self._put(f"content/{digest}.prefix", DOMAIN + salt)
        self._put(f"content/{digest}.bytes", data)
        self.contents += 1

    def _put(self, name: str, data: bytes) -> None:
        descriptor = os.open(self._place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        with self._sums.open("a", encoding="ascii") as sums:
            sums.write(f"{hashlib.sha256(data).hexdigest()}  {name}\n")


def _target(folder: Path) -> Path:
    if folder.name in ("", ".."):
        raise SettingError(f"{folder} is not the name of a new folder", hint="safeloop export DIR")
    parent = Path(os.path.realpath(folder.parent))
    if not parent.is_dir():
        raise SettingError(f"there is no folder {parent}", hint=f"mkdir -p {parent}")
    target = parent / folder.name
    if target.is_symlink() or (target.exists() and not target.is_dir()) or (target.is_dir() and any(target.iterdir())):
        raise SettingError(f"{target} is there and not an empty folder", hint="name a new folder for each export")
    return target


@contextlib.contextmanager
def _building(target: Path) -> Iterator[Path]:
    """Have a private folder beside the destination; it is cleared away unless it was renamed."""
    place = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
