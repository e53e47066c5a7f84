"""Files that the command line names, read with care."""

from __future__ import annotations

import errno
import os
import select
from io import FileIO
from pathlib import Path

from safeloop.errors import SettingError

PATIENCE_S = 60
_MOST_NOTE_BYTES = 1_000_000
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe that nobody writes to is at its end


def read_text(path: Path, what: str) -> str:
    """Read a small text file that the command line named.

    Raises:
        SettingError: It cannot be read, is too large, or is not text.
    """
    try:
        return read_bytes(path, what, _MOST_NOTE_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise SettingError(f"{what} {path} is not text", hint=f"file {path}") from None


def read_bytes(path: Path, what: str, most: int) -> bytes:
    """Read a small file that the command line named, of at most so many bytes; from a pipe too, which may dry up.

    Raises:
        SettingError: It cannot be read, or is too large, or nothing came through it for a minute.
    """
    try:
        with os.fdopen(os.open(path, _READ), "rb", buffering=0) as file:
            data = _read_up_to(file, most + 1)
    except OSError as error:
        raise SettingError(f"{what} {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
    if len(data) > most:
        raise SettingError(f"{what} {path} is larger than {most:,} bytes", hint=f"ls -l {path}")
    return data


def _read_up_to(file: FileIO, most: int) -> bytes:
    """Read to the end, or so many bytes.

    Raises:
        OSError: It cannot be read, or does not go on.
    """
    data = b""
    while len(data) < most:
        piece = file.read(most - len(data))
        if piece == b"":
            break
        if piece is None and not select.select([file], [], [], PATIENCE_S)[0]:
            raise TimeoutError(errno.ETIMEDOUT, f"nothing came through it for {PATIENCE_S} seconds")
        data += piece or b""
    return data
