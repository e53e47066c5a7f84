r"""`SHA256SUMS`: every file that may be released, as `sha256sum -c` reads it.

    2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  report.md

Names are in the order of their UTF-8 bytes. As in coreutils, a line whose name holds a backslash, a line feed or a
carriage return begins with a backslash, and the name has `\\`, `\n` and `\r` for them. No files make no bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})


def sums(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return the file's bytes for (name, data) pairs in any order."""
    return b"".join(_line(name, data) for name, data in sorted(files, key=lambda file: file[0].encode()))


def _line(name: str, data: bytes) -> bytes:
    escaped = name.translate(_ESCAPES)
    mark = "\\" if escaped != name else ""
    return f"{mark}{hashlib.sha256(data).hexdigest()}  {escaped}\n".encode()
