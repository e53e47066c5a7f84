"""Pins in one file: the public keys of a trust folder, for an operator to hand to an auditor.

    safeloop trust v1
    == policy 143
    log safeloop.local/6f1c…+…
    quorum none

    == writers 104
    …

After the first line, for each file that is there and in this order: `==`, its name and its length in bytes, a line
feed, its bytes as they are, a line feed. Nothing else, and nothing after the last. The fingerprint is the SHA-256 of
the whole, as `sha256sum` prints it: whoever compares it over another channel has compared every key in it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from safeloop.errors import EncodingError, KeyUnusable
from safeloop.ledger.durable import create_file, make_folder, sync_folder
from safeloop.ledger.trust import Trust, load_trust, read_pin_file

NAMES = ("policy", "writers", "reviewers", "revoked", "release.toml")
MAX_BYTES = 4_000_000
_FIRST_LINE = b"safeloop trust v1\n"
_HEADING = re.compile(rb"== ([a-z.]{1,20}) (0|[1-9][0-9]{0,6})\n")


@dataclass(frozen=True, slots=True)
class Pins:
    """What one file holds.

    Attributes:
        files: Name and text, in the order of `NAMES`; `policy` is always there.
        sha256: Of the whole file, hex.
    """

    files: tuple[tuple[str, str], ...]
    sha256: str


def export_pins(folder: Path) -> bytes:
    """Return a trust folder as one file.

    Raises:
        KeyUnusable: It is not a trust folder, or a file of it is not understood.
    """
    load_trust(folder)
    data = bytearray(_FIRST_LINE)
    for name, text in _kept(folder):
        content = text.encode()
        data += b"== %s %d\n" % (name.encode(), len(content)) + content + b"\n"
    parse_pins(bytes(data))  # what is handed out can be taken in
    return bytes(data)


def parse_pins(data: bytes) -> Pins:
    """Read such a file; whether its texts mean anything is for `place_pins` to find out.

    Raises:
        EncodingError: Any departure from the form.
    """
    if len(data) > MAX_BYTES:
        raise EncodingError(f"more than {MAX_BYTES:,} bytes are not a file of pins")
    if not data.startswith(_FIRST_LINE):
        raise EncodingError(f"not a file of pins: its first line is not {_FIRST_LINE.decode().strip()!r}",
                            hint="safeloop trust export FILE writes one")
    files: list[tuple[str, str]] = []
    left, at = list(NAMES), len(_FIRST_LINE)
    while at < len(data):
        heading = _HEADING.match(data, at)
        name = "" if heading is None else heading[1].decode()
        if heading is None or name not in left:
            raise EncodingError(f"byte {at}: here begins no file of a trust folder, or not in the order of the format")
        left = left[left.index(name) + 1 :]
        end = heading.end() + int(heading[2])
        if data[end : end + 1] != b"\n":
            raise EncodingError(f"{name} is not of the length that it states: the file is cut off or was edited")
        files.append((name, _text(data[heading.end() : end], name)))
        at = end + 1
    if not files or files[0][0] != "policy":
        raise EncodingError("there is no policy, without which a trust folder pins nothing")
    return Pins(tuple(files), hashlib.sha256(data).hexdigest())


def staged(pins: Pins, folder: Path) -> Path:
    """Write pins to a new folder beside the one where they shall lie; whoever calls moves or removes it.

    Raises:
        KeyUnusable: It cannot be written.
    """
    make_folder(folder.parent)
    made = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    make_folder(made)
    for name, text in pins.files:
        create_file(made / name, text.encode())
    return made


def read_pins(pins: Pins, folder: Path) -> Trust:
    """Return what a folder with these pins would say; nothing is left of the trial.

    Raises:
        KeyUnusable: A line that is not understood, or the place cannot be written.
    """
    made = staged(pins, folder)
    try:
        return load_trust(made)
    except KeyUnusable as refused:
        raise KeyUnusable(str(refused).replace(f"{made}{os.sep}", ""), hint=refused.hint) from None
    finally:
        shutil.rmtree(made)


def differs(pins: Pins, folder: Path) -> bool:
    """Say whether something lies at this place that is not exactly these pins."""
    if not os.path.lexists(folder):
        return False
    return not folder.is_dir() or {each.name for each in folder.iterdir()} != dict(pins.files).keys() or (
        _kept(folder) != pins.files
    )


def place_pins(pins: Pins, folder: Path) -> Path | None:
    """Put pins in a trust folder, all or none; return where the one that was there is kept, if there was another.

    Between two renames there is no folder at all, never half of one: an audit then fails for lack of trust.

    Raises:
        KeyUnusable: A line that is not understood, a link or a file in the way, or the place cannot be written.
    """
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
        raise KeyUnusable(f"{folder} is not a folder", hint="choose another with --trust DIR")
    made = staged(pins, folder)
    try:
        load_trust(made)
        kept = None
        if folder.exists():
            kept = folder.with_name(f"{folder.name}.replaced-{secrets.token_hex(4)}")
            folder.rename(kept)
        made.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise KeyUnusable(f"{folder} cannot be replaced: {error.strerror}", hint=f"ls -ld {folder.parent}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return kept


def _kept(folder: Path) -> tuple[tuple[str, str], ...]:
    return tuple((name, read_pin_file(folder / name)) for name in NAMES if os.path.lexists(folder / name))


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise EncodingError(f"{name} is not UTF-8") from None
