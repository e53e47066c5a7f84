"""Backups: ledger and content, copied as they were at one moment, while others go on writing.

The writers' lock is held only until both snapshots are open; SQLite's backup copies from a snapshot whatever is
committed meanwhile. A copy gets its name when it is whole and on disk, the content first: where the ledger has its
name, both are there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safeloop.errors import LedgerError, LedgerLocked, SettingError, VerificationError
from safeloop.ledger import seal
from safeloop.ledger.durable import sync_folder
from safeloop.ledger.merkle import Frontier
from safeloop.ledger.note import parse_checkpoint
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.site import real_path
from safeloop.ledger.state import StateFile, state_path
from safeloop.ledger.store.contents import content_path
from safeloop.ledger.store.rows import copied

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is in place.

    Attributes:
        ledger: The ledger's copy.
        content: The content's copy; None if there was no content database.
        size: Rows in it.
        note: Its head, a signed checkpoint.
    """

    ledger: Path
    content: Path | None
    size: int
    note: str


def backup(db_path: str | os.PathLike[str], to: str | os.PathLike[str], *, keys: Path) -> Backup:
    """Copy a ledger and its content to new files, readable by their owner only.

    Args:
        db_path: The ledger.
        to: The ledger's copy; the content's lies beside it, as everywhere.
        keys: The key folder. Where it has written this ledger, its writers are held off while snapshots are taken;
            where it has not, nobody here writes.

    Raises:
        SettingError: There is something at a destination, or no folder for it.
        VerificationError: Rows, tree and head do not agree: such a copy would restore nothing.
        LedgerError: The ledger cannot be read, or the copy cannot be written.
    """
    target = _target(Path(to))
    copies = (target, content_path(target))
    with LedgerReader(db_path) as reader, contextlib.ExitStack() as stack:
        with _writers_held(state_path(keys, reader.origin())):
            stack.enter_context(reader.frozen())
        size, note = _require_whole(reader)
        temporary = _temporary(target)
        with _claimed(temporary), _claimed(content_path(temporary)):
            has_content = reader.copy_to(temporary)
            if copied(temporary) != (size, note):
                raise VerificationError(f"{temporary} is not what was copied", hint="try another disk")
            # The ledger last: where it is, the backup is whole.
            if has_content:
                _place(content_path(temporary), copies[1])
            _place(temporary, target)
    return Backup(target, copies[1] if has_content else None, size, note)


def _target(to: Path) -> Path:
    """Return the real path of a backup that is to be made."""
    if to.name in ("", "..") or to.name.endswith(".content.db"):
        raise SettingError(f"{to} is not a name for a ledger's copy", hint="safeloop backup FILE")
    target = real_path(to.parent) / to.name
    if not target.parent.is_dir():
        raise SettingError(f"there is no folder {target.parent}", hint=f"mkdir -p {target.parent}")
    _clear_half(target)
    for base in (target, content_path(target)):
        for path in (Path(f"{base}{side}") for side in ("", "-wal", "-journal")):  # SQLite would play these in
            if os.path.lexists(path):
                raise SettingError(f"{path} is there already; a backup never replaces anything",
                                   hint="name another file, one for each backup")
    return target


def _temporary(target: Path) -> Path:
    """Return where a ledger's copy lies until it is whole; the content's lies beside it, as everywhere."""
    return target.with_name(f".{target.name.removesuffix('.db')}.part.db")


def _clear_half(target: Path) -> None:
    """Take the name from a content's copy whose maker died before the ledger's copy had its own.

    It is known by its temporary name, which it still has; a content database of anybody else has none.
    """
    copy, temporary = content_path(target), content_path(_temporary(target))
    if _is_half(target, copy, temporary):
        try:
            _clear(copy, lambda: _is_half(target, copy, temporary))
        except OSError as error:
            raise LedgerError(f"{copy} is half of a backup and cannot be removed: {error.strerror}",
                              hint=f"rm {copy} {temporary}") from None


def _is_half(target: Path, copy: Path, temporary: Path) -> bool:
    try:
        return not os.path.lexists(target) and os.path.samestat(copy.lstat(), temporary.lstat())
    except OSError:  # one of them is not there, or out of reach: then so are the others, and whoever writes says why
        return False


@contextlib.contextmanager
def _writers_held(state: Path) -> Iterator[None]:
    """Hold the lock of all writers, if this key folder has any for the ledger."""
    if not state.exists():
        yield
        return
    with contextlib.closing(StateFile(state)) as file, file.locked(_TIMEOUT_S):
        yield


def _require_whole(reader: LedgerReader) -> tuple[int, str]:
    """Compute the tree from the rows themselves and compare it with the head; return the size and the head's note.

    Raises:
        VerificationError: They do not agree.
    """
    note = reader.head() or ""
    head = parse_checkpoint(note)
    frontier = Frontier()
    for idx, body, signature in reader.rows():
        if idx != frontier.size:
            raise VerificationError(f"{reader.path}: row {frontier.size + 1} is missing", hint="safeloop audit")
        frontier.append(seal.leaf(body, signature))
    if (frontier.size, frontier.root()) != (head.size, head.root):
        raise VerificationError(
            f"the {frontier.size} rows of {reader.path} are not the {head.size} that its head signs: nothing copied",
            hint="safeloop audit",
        )
    return frontier.size, note


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Have a file to write into that nobody else writes; what a crash left of an earlier try is cleared away."""
    try:
        _clear(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise _locked(path) from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be made: {error.strerror}", hint=f"ls -ld {path.parent}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _clear(path: Path, is_left: Callable[[], bool] = lambda: True) -> None:
    """Remove what a dead process left; never write into it, for it may be a finished copy under a second name.

    Args:
        path: Its name.
        is_left: Asked again when it is certain that no living process holds it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_left():
            path.unlink(missing_ok=True)
    except BlockingIOError:
        raise _locked(path) from None
    finally:
        os.close(descriptor)


def _locked(path: Path) -> LedgerLocked:
    return LedgerLocked(f"another backup is writing {path}", hint="wait for it, or name another file")


def _place(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)  # fails where a rename would replace
        sync_folder(path.parent)
    except FileExistsError:
        raise SettingError(f"{path} is there already; a backup never replaces anything", hint="name another") from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be made: {error.strerror}", hint=f"ls -ld {path.parent}") from None
