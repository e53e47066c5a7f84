"""What an attacker with the file would do: change one byte of a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.store.contents import content_path


def tampered_copy(ledger: Path, copy: Path, session: str) -> int:
    """Copy a closed ledger and change one digit of the session's last `turn` row; return the row's number.

    The digit is that of the tokens which the turn was charged.

    Raises:
        ValueError: The session has no such row.
    """
    shutil.copyfile(ledger, copy)
    shutil.copyfile(content_path(ledger), content_path(copy))
    with LedgerReader(ledger) as reader:
        marks = (f'"session":"{session}"'.encode(), b'"kind":"turn"')
        rows = [(idx, body) for idx, body, _ in reader.rows() if all(mark in body for mark in marks)]
    if not rows:
        raise ValueError(f"session {session} has no turn")
    idx, body = rows[-1]
    data = copy.read_bytes()
    digit = data.index(body) + body.index(b'"token_delta":') + len(b'"token_delta":')
    other = b"1" if data[digit : digit + 1] != b"1" else b"2"
    copy.write_bytes(data[:digit] + other + data[digit + 1 :])
    return idx + 1
