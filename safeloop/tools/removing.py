"""Removing a folder that a program of a model could write into, without being led out of it.

Such a tree may hold links to anywhere, folders that nobody may enter, and more folders in each other than a name or
Python's stack can take. So each folder is held by its descriptor and never named by a path, links are unlinked as
links, and a folder that is found within another is first moved to the top: two descriptors do for any depth.
(`shutil.rmtree` and `TemporaryDirectory` of older Pythons follow links where they change modes: CVE-2023-6597.)
"""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safeloop.tools.beneath import OPEN_FOLDER, can_reopen, open_part

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Hold a new folder, its owner's alone, that is removed at the end with whatever is in it by then.

    Raises:
        OSError: It cannot be made, or not be removed.
    """
    made = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield made
    finally:
        remove_tree(made)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, following no link and entering no mount; nothing else is changed.

    Args:
        folder: A folder and no link. Links on the way to it are followed: the way is not for programs to write.

    Raises:
        OSError: It cannot be removed; what is left of it is still there, its inner folders perhaps under other names.
    """
    parent = os.open(folder.parent, OPEN_FOLDER & ~os.O_NOFOLLOW)
    try:
        with _held(parent, folder.name) as top:
            _empty(top)
        os.rmdir(folder.name, dir_fd=parent)
    finally:
        os.close(parent)


def _empty(top: int) -> None:
    left = _without_files(top)
    while left:
        name = left.pop()
        with _held(top, name) as here:
            for inner in _without_files(here):
                moved = secrets.token_hex(16)
                with _held(here, inner):  # made writable: only such a folder can be moved
                    os.rename(inner, moved, src_dir_fd=here, dst_dir_fd=top)
                left.append(moved)
        os.rmdir(name, dir_fd=top)


def _without_files(folder: int) -> list[str]:
    """Unlink everything in a folder but its folders, and return their names."""
    with os.scandir(folder) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_folder in entries:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in entries if is_folder]


@contextmanager
def _held(parent: int, name: str) -> Iterator[int]:
    """Hold the descriptor of a folder that its owner can now read, change and enter."""
    try:
        folder = open_part(parent, name, OPEN_FOLDER)
    except PermissionError:
        _make_readable(parent, name)
        folder = open_part(parent, name, OPEN_FOLDER)
    try:
        if os.fstat(folder).st_dev != os.fstat(parent).st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        os.fchmod(folder, 0o700)
        yield folder
    finally:
        os.close(folder)


def _make_readable(parent: int, name: str) -> None:
    """Let the owner of a folder read it, which not even a descriptor for `fchmod` can be had of otherwise."""
    if not can_reopen():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    looked = open_part(parent, name, OPEN_FOLDER | os.O_PATH)
    try:
        Path(f"/proc/self/fd/{looked}").chmod(0o700)
    finally:
        os.close(looked)
