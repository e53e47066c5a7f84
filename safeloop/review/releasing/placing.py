"""Putting a folder in place whole or not at all, whatever dies on the way.

It is built in a work folder beside its destination, synced, and renamed. The work folder is private, is named after
the destination, and is locked while it is used: what a crash left in it is found by the next try and cleared away.

    PARENT/.safeloop-release-<hash of NAME>/bundle    being built
    PARENT/.safeloop-release-<hash of NAME>/old       what `force` replaces, until the new one is in place
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from safeloop.errors import LedgerLocked, SettingError, VerificationError
from safeloop.ledger import visible
from safeloop.ledger.durable import sync_folder
from safeloop.review.releasing.earlier import foreign_entry, is_bundle

_AGAIN = "mend that, then run the same command again: what is recorded stands, and is not recorded twice"
ELSEWHERE = "name another folder: safeloop release SESSION --to DIR"
"""What helps where a destination cannot be used."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Place:
    """A destination that is held: nobody else is releasing to it.

    Args:
        target: Where the folder shall lie; from `target_of`.
        work: The locked work folder.
    """

    def __init__(self, target: Path, work: Path) -> None:
        self.target = target
        self._bundle = work / "bundle"
        self._old = work / "old"

    def require_free(self, *, force: bool) -> None:
        """Refuse a destination that exists, unless it is an earlier release and nothing else, and `force` is given.

        Raises:
            SettingError: Something is there that stays there.
        """
        if not os.path.lexists(self.target):
            return
        ours = is_bundle(self.target)
        if ours and force:
            with _explained(self.target):
                _require_nothing_else(self.target)
            return
        hint = f"safeloop release SESSION --to {self.target} --force replaces it" if ours else ELSEWHERE
        what = "holds a release already" if ours else "exists and is no release of ours"
        raise SettingError(f"{self.target} {what}: nothing was changed", hint=hint)

    def put(self, files: Mapping[str, bytes], *, force: bool) -> None:
        """Build the folder and rename it into place; its files and folders have the permissions of the umask.

        Raises:
            SettingError: The destination came to be meanwhile, or cannot be written.
        """
        with _explained(self.target):
            _write_tree(self._bundle, files)
            self.require_free(force=force)
            if force and os.path.lexists(self.target):
                self.target.rename(self._old)
            self._bundle.rename(self.target)
            sync_folder(self.target.parent)

    def recover(self) -> None:
        """Undo what a crash left: an earlier release that was set aside goes back, a half-built one goes away."""
        if self._old.exists() and not os.path.lexists(self.target):
            self._old.rename(self.target)
            sync_folder(self.target.parent)
        for left in (self._bundle, self._old):
            if left.exists():
                shutil.rmtree(left)


def _require_nothing_else(bundle: Path) -> None:
    """Refuse to replace the folder of a release in which somebody keeps something of their own."""
    try:
        foreign = foreign_entry(bundle)
    except VerificationError as error:
        raise SettingError(f"{bundle} is not replaced, for nobody can say what belongs to it: {error}",
                           hint=ELSEWHERE) from None
    if foreign is not None:
        raise SettingError(
            f"{bundle} holds {visible(foreign, 200)}, which is no part of that release: nothing was changed",
            hint=f"move it elsewhere, or {ELSEWHERE}",
        )


@contextlib.contextmanager
def held(target: Path) -> Iterator[Place]:
    """Hold a destination until the end; nothing of the work folder stays behind.

    Raises:
        LedgerLocked: Somebody else is releasing to it.
        SettingError: Its parent cannot be written, or somebody else's folder is in the way.
    """
    work = target.parent / f".safeloop-release-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]}"
    with _explained(target):
        descriptor = _locked(work)
    try:
        place = Place(target, work)
        with _explained(target):
            place.recover()
        yield place
    finally:
        with contextlib.suppress(OSError):
            # What cannot be cleared away now is cleared away by the next try; the release does not depend on it.
            place.recover()
            work.rmdir()
        os.close(descriptor)


def _locked(work: Path) -> int:
    """Make the work folder and lock it; another holder may remove it in between, so look again."""
    while True:
        work.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(work, _FOLDER)
        except FileNotFoundError:
            continue
        try:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise SettingError(f"{work} is somebody else's, or open to others", hint=f"ls -ld {work}; remove it")
            _lock(descriptor, work)
            if _is_still(work, found):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, work: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LedgerLocked(f"another release to this destination is running (it holds {work})",
                           hint="wait for it, then run the same command again") from None


def _is_still(work: Path, found: os.stat_result) -> bool:
    try:
        now = work.lstat()
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino)


def _write_tree(root: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a new folder and make all of it durable; the names are plain."""
    root.mkdir(mode=0o755)
    folders = {root}
    for name, data in files.items():
        path = root / name
        for parent in reversed(path.relative_to(root).parents):
            if root / parent not in folders:
                (root / parent).mkdir(mode=0o755)
                folders.add(root / parent)
        _write(path, data)
    for folder in folders:
        sync_folder(folder)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, _CREATE, 0o644)
    with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor, made with exact flags
        remaining = memoryview(data)
        while remaining:
            remaining = remaining[file.write(remaining) :]
        os.fsync(descriptor)


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingError(f"{target} cannot be written: {error.strerror}", hint=_AGAIN) from error
