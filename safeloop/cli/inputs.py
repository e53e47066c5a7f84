"""Files that the command line names, read with care."""

from __future__ import annotations

from pathlib import Path

from safeloop.errors import SettingError

_MOST_NOTE_BYTES = 1_000_000


def read_text(path: Path, what: str) -> str:
    """Read a small text file that the command line named.

    Raises:
        SettingError: It cannot be read, is too large, or is not text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_NOTE_BYTES + 1)
    except OSError as error:
        raise SettingError(f"{what} {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
    if len(data) > _MOST_NOTE_BYTES:
        raise SettingError(f"{what} {path} is larger than {_MOST_NOTE_BYTES:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingError(f"{what} {path} is not text") from None
