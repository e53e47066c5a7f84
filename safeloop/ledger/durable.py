"""Small files that must survive a power cut whole or not at all: 0600, in folders of 0700."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from safeloop.errors import KeyUnusable

_TEMPORARY = re.compile("[0-9a-f]{16}")


def make_folder(path: Path) -> None:
    """Make a folder, readable by its owner only, and whichever parents are missing.

    Raises:
        KeyUnusable: Something else is in the way, or it cannot be made.
    """
    try:
        for folder in (*reversed(path.parents), path):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise KeyUnusable(f"folder {path} cannot be made: {error.strerror}", hint=f"ls -ld {path}") from None


def create_file(path: Path, data: bytes) -> bool:
    """Create a file durably; False, and nothing changed, if it is there already."""
    return stream_file(path, (data,), replace=False)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file durably in place of what is there."""
    stream_file(path, (data,), replace=True)


def stream_file(path: Path, pieces: Iterable[bytes], *, replace: bool) -> bool:
    """Write a file durably from pieces, which are never whole in memory, and put it in its place when it is whole.

    Returns:
        False, and nothing is changed, if there is a file already and it is not to be replaced.
    """
    with _temporary(path, pieces) as temporary:
        if replace:
            temporary.replace(path)
        else:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        sync_folder(path.parent)
        return True


def move_file(source: Path, target: Path) -> None:
    """Put a file durably in the place of another of the same folder, which is gone then.

    Raises:
        KeyUnusable: It is not there, or the folder cannot be written.
    """
    try:
        source.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise KeyUnusable(f"{source} cannot be moved: {error.strerror}", hint=f"ls -ld {source.parent}") from error


def clear_temporaries(path: Path) -> None:
    """Remove durably what a crash left of earlier tries to write this file; only while nobody else writes it.

    Raises:
        KeyUnusable: One cannot be removed.
    """
    # Not a glob: a name may hold what a pattern means otherwise.
    beginning = f".{path.name}."
    try:
        left = [each for each in path.parent.iterdir() if _TEMPORARY.fullmatch(each.name.removeprefix(beginning))
                and each.name.startswith(beginning)]
        for each in left:
            each.unlink(missing_ok=True)
        if left:
            sync_folder(path.parent)
    except OSError as error:
        raise KeyUnusable(
            f"what was left of an earlier try to write {path} cannot be removed: {error.strerror}",
            hint=f"ls -ld {path.parent}",
        ) from error


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: Path, pieces: Iterable[bytes]) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for piece in pieces:
                remaining = memoryview(piece)
                while remaining:
                    remaining = remaining[os.write(descriptor, remaining) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield temporary
    except OSError as error:
        hint = f"ls -ld {path.parent}; df {path.parent}"
        raise KeyUnusable(f"{path} cannot be written: {error.strerror}", hint=hint) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
