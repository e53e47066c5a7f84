r"""`SHA256SUMS`: every file that may be released, as `sha256sum -c` reads it.

    2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  report.md

Names are in the order of their UTF-8 bytes. As in coreutils, a line whose name holds a backslash, a line feed or a
carriage return begins with a backslash, and the name has `\\`, `\n` and `\r` for them. No files make no bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from safeloop.errors import EncodingError

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})
_PLAIN = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_LINE = re.compile(r"\\?([0-9a-f]{64})  (.+)", re.DOTALL)


def sums(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return the file's bytes for (name, data) pairs in any order."""
    return _rendered((name, hashlib.sha256(data).hexdigest()) for name, data in files)


def parse_sums(data: bytes) -> dict[str, str]:
    """Read the file strictly: names and digests in hex, in its order.

    Raises:
        EncodingError: Not exactly the bytes that `sums` writes for these names and digests.
    """
    try:
        lines = data.decode().split("\n")[:-1]
    except UnicodeDecodeError:
        raise EncodingError("SHA256SUMS is not UTF-8") from None
    found: dict[str, str] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise EncodingError(f"SHA256SUMS has a line that is not `digest  name`: {line[:100]!a}")
        name = re.sub(r"\\[\\nr]", lambda escape: _PLAIN[escape[0]], match[2]) if line[0] == "\\" else match[2]
        found[name] = match[1]
    # Names twice, another order, needless escapes and a missing end all show in the bytes.
    if _rendered(found.items()) != data:
        raise EncodingError("SHA256SUMS is not in the one form that a release has: order, escapes, or a name twice")
    return found


def _rendered(digests: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(_line(name, digest) for name, digest in sorted(digests, key=lambda file: file[0].encode()))


def _line(name: str, digest: str) -> bytes:
    escaped = name.translate(_ESCAPES)
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  {escaped}\n".encode()
