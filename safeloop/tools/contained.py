"""One folder, and no way out of it.

Containment is by opening, not by comparing strings: each part of a name is opened relative to the descriptor
of the folder before it, with `openat2` or `O_NOFOLLOW` (see `beneath`). There is no check before the open that a
second process could outrun: what was looked at (`fstat`) is what is opened and what is used.

- Symbolic links are refused wherever they stand, also when they lead back inside; so are `/proc`'s.
- Every part must be on the folder's own device: no mounts, no `/proc`, no `/dev`. `openat2` refuses also those
  mounts that are of the same device.
- The files of this process's ledgers, its lock files and its keys are refused under any name, before they are
  opened: closing one would drop the locks that this process holds on it.
- Only regular files are opened or replaced; with `O_NONBLOCK`, so that a pipe without a writer, swapped in where
  the system cannot open what was looked at, cannot hold the run.
- A file is written under an unfinished name in its own folder, synced, and renamed: a crash leaves the old
  file or the new one. `rename` replaces a link, it does not follow it.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from safeloop.errors import SafeloopError
from safeloop.ledger.guarded import is_guarded
from safeloop.tools.beneath import CREATE, OPEN_FOLDER, open_file, open_part
from safeloop.tools.entries import LIST_LIMIT, MAX_FOLDER_ENTRIES, Listing, entries, names_in
from safeloop.tools.limiting import unless_given_up
from safeloop.tools.relative import name_fault, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_CHUNK = 1 << 20
_REASONS = {
    errno.ELOOP: "it is a symbolic link, or leads through one",
    errno.ENOTDIR: "a part of it is a symbolic link, or not a folder",
    errno.ENOENT: "there is no such file or folder",
    errno.ENXIO: "it is not a regular file",
    errno.EXDEV: "it is on another device",
    errno.ESTALE: "it was replaced while it was opened",
}


class ContainmentError(SafeloopError):
    """A name, or what stands under it, is not for tools to touch."""


class FileMissingError(ContainmentError):
    """There is nothing under this name."""


class _Held:
    """A descriptor that is closed once nobody refers to it: never under the hands of whoever is about to use it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class NotAFileError(ContainmentError):
    """What stands under this name is no regular file, or the way to it is no way of folders."""


_ERRORS = {errno.ENOENT: FileMissingError} | dict.fromkeys((errno.ELOOP, errno.ENOTDIR, errno.ENXIO), NotAFileError)


class Root:
    """A folder that is held open; everything below it is reached through its descriptor.

    Args:
        path: An existing folder, named by the operator: links on the way to it are followed, once, now.

    Attributes:
        path: As it was named, for those who must hand it on, as a sandbox must; nothing here opens it again.

    Raises:
        ContainmentError: It cannot be opened as a folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with _explained(str(path)):
            self._held: _Held | None = _Held(os.open(path, OPEN_FOLDER & ~os.O_NOFOLLOW))
            self._device = os.fstat(self._held.descriptor).st_dev

    def read(self, name: str, max_bytes: int, *, one_link: bool = False) -> bytes:
        """Read a whole regular file.

        Args:
            name: Relative, as `name_fault` allows.
            max_bytes: Inclusive.
            one_link: Refuse a file that has other names (hard links), which may be outside.

        Raises:
            FileMissingError: There is no such file.
            ContainmentError: Anything else that is not a regular file of this folder within the limit.
        """
        parts = _parts(name)
        with _explained(name), self._folder(parts[:-1]) as folder:
            admit = partial(self._admit_file, name, one_link=one_link)
            descriptor = open_file(folder, parts[-1], admit, is_guarded)
            try:
                return _read_all(name, descriptor, max_bytes)
            finally:
                os.close(descriptor)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file, wholly or not at all; missing folders are made (0700, the file 0600).

        Raises:
            ContainmentError: The name is not allowed, what stands there is not a regular file with one link,
                or the system cannot write it.
        """
        parts = _parts(name)
        with _explained(name), self._folder(parts[:-1], make=True) as folder:
            # This look is for a clear answer; safety does not rest on it: the rename below follows nothing.
            with suppress(FileNotFoundError):
                before = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
                self._admit_file(name, before, one_link=True)
            _replace(folder, parts[-1], data)

    def list(self, prefix: str = "", *, limit: int = LIST_LIMIT) -> Listing:
        """List one folder, without what is in its folders; unfinished files are left out.

        Args:
            prefix: The folder; empty means the root itself.
            limit: Entries to look at, inclusive; the listing says how many there are.

        Raises:
            FileMissingError: There is no such folder.
            ContainmentError: Not a folder of this root, or more than 100,000 entries in it.
        """
        parts = _parts(prefix) if prefix else ()
        with _explained(prefix or "the folder"), self._folder(parts) as folder:
            names = names_in(folder)
            if names is None:
                raise ContainmentError(f"{shown(prefix)}: it holds more than {MAX_FOLDER_ENTRIES} entries")
            return Listing(tuple(entries(prefix, folder, names[:limit])), len(names))

    def close(self) -> None:
        """Let go of the folder; a second time has no effect."""
        self._held = None

    def __enter__(self) -> Root:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _folder(self, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """Hold the descriptor of a folder, reached part by part."""
        held = self._held  # referred to until it is used: a call that was given up may still be about
        if held is None:
            raise RuntimeError("this folder was closed")
        here = os.open(".", OPEN_FOLDER, dir_fd=held.descriptor)
        try:
            _admit_unguarded(".", os.fstat(here))
            for part in parts:
                inner = _step(here, part, make=make)
                os.close(here)
                here = inner
                found = os.fstat(here)
                self._admit_device(part, found)
                _admit_unguarded(part, found)
            yield here
        finally:
            os.close(here)

    def _admit_device(self, name: str, found: os.stat_result) -> None:
        if found.st_dev != self._device:
            raise ContainmentError(f"{shown(name)}: it is on another device")

    def _admit_file(self, name: str, found: os.stat_result, *, one_link: bool) -> None:
        _admit_unguarded(name, found)
        if stat.S_ISDIR(found.st_mode):
            raise NotAFileError(f"{shown(name)}: it is a folder")
        if stat.S_ISLNK(found.st_mode):
            raise NotAFileError(f"{shown(name)}: {_REASONS[errno.ELOOP]}")
        if not stat.S_ISREG(found.st_mode):
            raise NotAFileError(f"{shown(name)}: it is not a regular file")
        self._admit_device(name, found)
        if one_link and found.st_nlink != 1:
            raise ContainmentError(f"{shown(name)}: it has {found.st_nlink} links, and only 1 is allowed")
        if one_link and found.st_mode & (stat.S_ISUID | stat.S_ISGID):
            raise ContainmentError(f"{shown(name)}: it would run as its owner or group (setuid, setgid)")


def _admit_unguarded(name: str, found: os.stat_result) -> None:
    if is_guarded(found):
        raise ContainmentError(f"{shown(name)}: it belongs to a ledger, or to its keys")


def _step(folder: int, part: str, *, make: bool) -> int:
    """Open the next folder on the way."""
    if make:
        with suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=folder)
    return open_part(folder, part, OPEN_FOLDER)


def _replace(folder: int, part: str, data: bytes) -> None:
    unfinished = f".safeloop-{secrets.token_hex(16)}.part"
    descriptor = open_part(folder, unfinished, CREATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a power failure could leave the new name with nothing in it
        with unless_given_up():
            os.rename(unfinished, part, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=folder)
        raise


def _read_all(name: str, descriptor: int, max_bytes: int) -> bytes:
    """Read to the end, and one byte beyond the limit at most: a file may grow, or lie about its size."""
    chunks: list[bytes] = []
    left = max_bytes + 1
    while left and (chunk := os.read(descriptor, min(left, _CHUNK))):
        chunks.append(chunk)
        left -= len(chunk)
    if not left:
        size = os.fstat(descriptor).st_size
        raise ContainmentError(f"{shown(name)}: it has {size} bytes, and at most {max_bytes} are read")
    return b"".join(chunks)


def _parts(name: str) -> tuple[str, ...]:
    fault = name_fault(name)
    if fault is not None:
        raise ContainmentError(f"{shown(name)}: {fault}")
    return tuple(name.split("/"))


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say what the system said, about the name that was asked for."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        reason = _REASONS.get(number) or os.strerror(number).lower()
        refused = _ERRORS.get(number, ContainmentError)
        raise refused(f"{shown(name)}: {reason}") from error
