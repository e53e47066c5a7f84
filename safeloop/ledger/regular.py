"""Reading a regular file that somebody named, and nothing else: at a pipe or a device one could wait for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

# Should it be a pipe by the time it is opened, the opening alone would wait for somebody who writes to it.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def read_regular(path: Path, most_bytes: int) -> tuple[bytes, int]:
    """Return the first bytes of a file, at most so many, and its mode.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    _require_regular(path.stat())  # before it is opened: to open a device may do something
    with open(path, "rb", opener=lambda name, _: os.open(name, _READ)) as file:
        found = os.fstat(file.fileno())
        _require_regular(found)
        return file.read(most_bytes), found.st_mode


def _require_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        is_folder = stat.S_ISDIR(found.st_mode)
        raise OSError(errno.EINVAL, "it is a folder, not a regular file" if is_folder else "it is not a regular file")
