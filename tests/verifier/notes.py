"""Signed notes: checkpoints of a log, and the cosignatures of witnesses on them."""

import re
from dataclasses import dataclass

from tests.verifier.keys import BadKey, VKey, b64, verifies


class BadNote(ValueError):
    """This is no checkpoint, or not one that a pinned key signed."""


@dataclass(frozen=True)
class Checkpoint:
    """What a note says, before anybody asks who signed it."""

    origin: str
    size: int
    root: bytes
    text: bytes
    lines: tuple[tuple[str, bytes], ...]


def parse(raw: bytes | str) -> Checkpoint:
    """Read a note without asking who signed it.

    Raises:
        BadNote: It is no checkpoint.
    """
    try:
        note = raw.decode() if isinstance(raw, bytes) else raw
    except UnicodeDecodeError:
        raise BadNote("not UTF-8") from None
    if any((ord(mark) < 32 and mark != "\n") or ord(mark) == 127 for mark in note):
        raise BadNote("control characters")
    text, middle, rest = note.partition("\n\n")
    said = text.split("\n")
    if not middle or len(said) != 3 or not rest.endswith("\n"):
        raise BadNote("not three lines, an empty one and signatures")
    if not said[0]:
        raise BadNote("no origin")
    if not re.fullmatch(r"0|[1-9][0-9]{0,15}", said[1]):
        raise BadNote("no size")
    lines = []
    for line in rest[:-1].split("\n"):
        words = line.split(" ")
        if len(words) != 3 or words[0] != "—" or not words[1] or "+" in words[1]:
            raise BadNote("a signature line that is none")
        lines.append((words[1], _bytes(words[2])))
    digest = _bytes(said[2])
    if len(digest) != 32 or any(len(signature) < 5 for _, signature in lines):
        raise BadNote("a root or a signature of another length")
    return Checkpoint(said[0], int(said[1]), digest, (text + "\n").encode(), tuple(lines))


def _bytes(text: str) -> bytes:
    try:
        return b64(text)
    except BadKey as error:
        raise BadNote(str(error)) from None


def is_signed_by(checkpoint: Checkpoint, key: VKey) -> bool:
    """Say whether there is a line of this key, and each of its lines verifies."""
    blobs = [blob for name, blob in checkpoint.lines if (name, blob[:4]) == (key.name, key.hash)]
    return bool(blobs) and all(len(blob) == 68 and verifies(key.raw, blob[4:], checkpoint.text) for blob in blobs)


def witnesses(checkpoint: Checkpoint, keys: dict[str, VKey]) -> set[str]:
    """Return the names of the pinned witnesses whose cosignature verifies."""
    found = set()
    for signed_by, blob in checkpoint.lines:
        for name, key in keys.items():
            if (signed_by, blob[:4]) == (key.name, key.hash) and len(blob) == 76:
                seconds = int.from_bytes(blob[4:12], "big")
                message = f"cosignature/v1\ntime {seconds}\n".encode() + checkpoint.text
                if seconds > 0 and verifies(key.raw, blob[12:], message):
                    found.add(name)
    return found
