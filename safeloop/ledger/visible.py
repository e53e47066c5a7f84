"""Text from outside, made safe to store and to look at.

The table of characters is fixed here and not taken from `unicodedata`: what a reviewer signed years ago must
render to the same bytes under every later Python.
"""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from itertools import accumulate

# Characters that steer a terminal, reorder text, hide, or end a line where none is seen.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f"         # C0, DEL, C1 controls
    "\u00ad\u034f\u061c"         # soft hyphen, grapheme joiner, Arabic letter mark
    "\u115f\u1160\u17b4\u17b5"   # fillers and inherent vowels, drawn as nothing
    "\u180b-\u180f"              # Mongolian selectors and separators
    "\u200b-\u200f"              # zero width, left-to-right and right-to-left marks
    "\u2028-\u202e"              # line and paragraph separators, embeddings and overrides
    "\u2060-\u206f"              # word joiner, invisible operators, isolates
    "\u3164\ufeff\uffa0"         # fillers, byte order mark
    "\ufe00-\ufe0f"              # variation selectors: they can carry a hidden text
    "\ufff0-\ufffb"              # specials, interlinear annotation
    "\ud800-\udfff"              # lone surrogates
    "\U00013430-\U0001345f"      # controls of Egyptian hieroglyphs
    "\U0001bca0-\U0001bca3"      # controls of shorthand
    "\U0001d173-\U0001d17a"      # musical controls
    "\U000e0000-\U000e0fff"      # tags and further variation selectors
)
_LINE_UNSAFE = re.compile(f"[\\\\{_UNSEEN}]")
_TEXT_UNSEEN = re.compile(f"[{_UNSEEN}]".replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_TEXT_UNSAFE = re.compile(f"[\\\\{_UNSEEN}]".replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def escaped(text: str, *, keep_lines: bool = False) -> str:
    r"""Make every unseen character visible as `\u{hex}` and every backslash as two; it can be undone.

    Args:
        text: Anything, lone surrogates included.
        keep_lines: Leave line feeds and tabs as they are.
    """
    return (_TEXT_UNSAFE if keep_lines else _LINE_UNSAFE).sub(_escape, text)


def unseen_escaped(text: str, *, keep_lines: bool = False) -> str:
    r"""Make every unseen character visible as `\u{hex}` and leave backslashes alone; it cannot be undone.

    For what is only looked at, and may hold what was escaped before; and for source code.
    """
    return "\\".join(escaped(part, keep_lines=keep_lines) for part in text.split("\\"))


def shell_word(text: str) -> str:
    """Return a name from outside as one word of a command line that is shown: whoever pastes it runs nothing else."""
    return shlex.quote(unseen_escaped(text))


def has_unseen(text: str) -> bool:
    """Say whether a text of lines and tabs also holds a character that is not seen."""
    return _TEXT_UNSEEN.search(text) is not None


def visible(text: str, limit: int = 200) -> str:
    """Turn text from outside into a string that any row can hold.

    Args:
        text: Anything, lone surrogates included.
        limit: Inclusive bound of the result in UTF-8 bytes, at least 32. A cut falls between characters and ends
            in `…[N bytes]`, N being the UTF-8 bytes of the escaped text that were left out.
    """
    whole = escaped(text)
    size = len(whole.encode("utf-8"))
    if size <= limit:
        return whole
    room = limit - len(f"…[{size} bytes]".encode())
    pieces = [escaped(character) for character in text[:room]]
    ends = accumulate(len(piece.encode("utf-8")) for piece in pieces)
    kept = "".join(pieces[: sum(end <= room for end in ends)])
    return f"{kept}…[{size - len(kept.encode('utf-8'))} bytes]"


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return "\\\\" if character == "\\" else f"\\u{{{ord(character):x}}}"


def moment_text(at: datetime) -> str:
    """Return an aware moment for a person, in UTC and to the second: 2026-11-22T08:00:00Z."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
