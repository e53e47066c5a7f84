"""Files at the edge: read once, with limits; regular files only, and no link is followed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from safeloop.errors import VerificationError
from safeloop.ledger import visible
from safeloop.review.attesting.attestation import FRAME, OUTPUT, SUMS
from safeloop.review.attesting.sums import parse_sums
from safeloop.review.verifying.contents import NOT_IT, BundleFile
from safeloop.review.verifying.verification import WHAT_IT_CAN_BE
from safeloop.spec.released import PROOF

MAX_DOCUMENT_BYTES = 1_000_000
MAX_PROOF_BYTES = 64_000_000  # of statements, receipts and sums together
MAX_ENTRIES = 100_000  # files and folders
MAX_BYTES = 64_000_000_000  # of everything: a file with holes can state any size, and none may take for ever
_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not wait for a writer
_DIGEST_ONLY = (f"{PROOF}/{FRAME}", f"{PROOF}/{OUTPUT}")


def read_document(path: Path) -> bytes:
    """Read one file of proof.

    Raises:
        VerificationError: Missing, not a regular file, or too large.
    """
    try:
        with os.fdopen(_opened(path, follow=True), "rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1) or b""
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(data) > MAX_DOCUMENT_BYTES:
        raise VerificationError(f"{visible(str(path))} is larger than {MAX_DOCUMENT_BYTES:,} bytes, and no proof is",
                                hint=WHAT_IT_CAN_BE)
    return data


def read_folder(folder: Path) -> dict[str, BundleFile]:
    """Read every file of a folder by its path below it; of the released files only digests are kept.

    What the sums do not list is no part of a release, whatever is in it: it is named, and not read. A folder with
    nothing in it, which no release has, is there as `PATH/`, without bytes.

    Raises:
        VerificationError: A link, a device or anything else that is no regular file; or too much of it.
    """
    files: dict[str, BundleFile] = {}
    room, proof_room = MAX_BYTES, MAX_PROOF_BYTES
    listed: Collection[str] = ()
    for name, path in sorted(_walk(folder), key=lambda found: not found[0].startswith(f"{PROOF}/")):
        is_proof = name.startswith(f"{PROOF}/")
        if path is None or not (is_proof or name in listed):
            files[name] = BundleFile("", 0 if path is None else _size(path))
            continue
        found = files[name] = _read(path, room, proof_room if is_proof and name not in _DIGEST_ONLY else None)
        if name == f"{PROOF}/{SUMS}":
            listed = _listed(found)
        room -= found.size
        proof_room -= len(found.data or b"")
    return files


def _listed(file: BundleFile) -> Collection[str]:
    """Return the names in the sums; none where they are no sums, which is said when they are judged."""
    try:
        return parse_sums(file.data or b"").keys()
    except VerificationError:
        return ()


def _walk(folder: Path) -> Iterator[tuple[str, Path | None]]:
    """Yield (path below the folder, path) of every entry that is no folder; links to folders are not folders.

    A folder below with nothing in it has None, and its path ends in `/`.
    """
    waiting, room = [""], MAX_ENTRIES
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as found:
                entries = sorted(islice(found, room + 1), key=lambda entry: entry.name)
        except OSError as error:
            raise _unreadable(folder / below, error) from None
        room -= len(entries)
        if room < 0:
            raise VerificationError(f"{visible(str(folder))} has more than {MAX_ENTRIES:,} files and folders",
                                    hint=WHAT_IT_CAN_BE)
        if below and not entries:
            yield below, None
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{name}/")
            else:
                yield name, Path(entry.path)


def _read(path: Path, room: int, proof_room: int | None) -> BundleFile:
    """Read a file to its end in pieces, and keep its bytes if it is of the proof.

    It is refused before that if it states more bytes than there is room for.
    """
    digest, size, kept = hashlib.sha256(), 0, bytearray()
    try:
        with os.fdopen(_opened(path, follow=False), "rb", buffering=0) as file:
            stated = os.fstat(file.fileno()).st_size
            _require_room(path, stated, room, proof_room)
            while piece := file.read(_CHUNK):
                digest.update(piece)
                size += len(piece)
                if size > stated:
                    raise VerificationError(f"{visible(str(path))} grows while it is read",
                                            hint="verify a copy that rests: safeloop verify DIR --trust DIR")
                if proof_room is not None:
                    kept += piece
    except OSError as error:
        raise _unreadable(path, error) from None
    return BundleFile(digest.hexdigest(), size, None if proof_room is None else bytes(kept))


def _size(path: Path) -> int:
    """Return the size of a file that belongs to nothing, once it is known to be one."""
    descriptor = _opened(path, follow=False)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _require_room(path: Path, size: int, room: int, proof_room: int | None) -> None:
    if proof_room is not None and size > proof_room:
        what = f"the proof is larger than {MAX_PROOF_BYTES:,} bytes"
    elif size > room:
        what = f"the folder has more than {MAX_BYTES:,} bytes"
    else:
        return
    raise VerificationError(f"{visible(str(path))}: {what}", hint=f"no release is like that: {NOT_IT}")


def _opened(path: Path, *, follow: bool) -> int:
    shown = visible(str(path))
    try:
        descriptor = os.open(path, _READ if follow else _READ | os.O_NOFOLLOW)
    except OSError as error:
        if path.is_symlink() and not follow:
            raise VerificationError(f"{shown} is a link, and no file of a release", hint=NOT_IT) from None
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        hint = "save it to a file first, and name that: safeloop verify FILE --trust DIR" if follow else NOT_IT
        raise VerificationError(f"{shown} is not a regular file", hint=hint)
    return descriptor


def _unreadable(path: Path, error: OSError) -> VerificationError:
    shown = visible(str(path))
    return VerificationError(f"{shown} cannot be read: {error.strerror}", hint=f"ls -ld {shown}; {WHAT_IT_CAN_BE}")
