"""OpenSSH's allowed_signers (ssh-keygen(1)): who may sign what, and when. Stricter than ssh-keygen, never laxer."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from safeloop.errors import KeyUnusable, SafeloopError
from safeloop.ledger.sshsig import PublicKey, parse_public_key
from safeloop.ledger.visible import escaped

_MAX_NAME_BYTES = 200
_UNREADABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")  # within a line: any control but the tab
_OPTION = re.compile('([A-Za-z-]+)="([^"\\\\]*)"(,|[ \t]+)')
_OPTIONS = ("namespaces", "valid-after", "valid-before")
_TIME = re.compile("([0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?)(Z?)")


@dataclass(frozen=True, slots=True)
class AllowedSigner:
    """One line of an allowed_signers file; None means not limited, and both moments are inclusive."""

    principals: tuple[str, ...]
    key: PublicKey
    namespaces: tuple[str, ...] | None = None
    valid_after: datetime | None = None
    valid_before: datetime | None = None

    def admits(self, principal: str, namespace: str, at: datetime) -> bool:
        """Say whether this line lets the principal sign in this namespace at that (aware) moment."""
        return (
            principal in self.principals
            and (self.namespaces is None or namespace in self.namespaces)
            and not self.is_early(at) and not self.is_expired(at)
        )

    def is_early(self, at: datetime) -> bool:
        """Say whether the key does not count yet at that (aware) moment."""
        return self.valid_after is not None and at < self.valid_after

    def is_expired(self, at: datetime) -> bool:
        """Say whether the key counts no more at that (aware) moment."""
        return self.valid_before is not None and self.valid_before < at


def parse_allowed_signers(text: str, name: str = "allowed_signers") -> tuple[AllowedSigner, ...]:
    """Read an allowed_signers file; `name` is what messages call it.

    Raises:
        KeyUnusable: A line that is not understood, or a key that is not admitted.
    """
    return tuple(parse_allowed_signer(line, where) for where, line in numbered_lines(text, name))


def parse_allowed_signer(line: str, where: str) -> AllowedSigner:
    """Read one line: principals, options, key type, base64, comment; `where` is what messages call it.

    A moment without `Z` is local, as it is for ssh-keygen, and means another one on another machine.

    Raises:
        KeyUnusable: The line is not understood, or its key is not admitted.
    """
    principals, _, rest = line.replace("\t", " ").partition(" ")
    names = tuple(check_name(name, where) for name in principals.split(","))
    rest = rest.lstrip(" ")
    first = rest.partition(" ")[0]
    options: dict[str, str] = {}
    if "=" in first or "," in first or first.lower() == "cert-authority":
        options, rest = _options(rest, where)
    try:
        key = parse_public_key(rest)
    except SafeloopError as refused:
        raise KeyUnusable(f"{where}: {refused}", hint=refused.hint) from refused
    spaces = options.get("namespaces")
    after, before = (parse_moment(options.get(option), where) for option in _OPTIONS[1:])
    if after is not None and before is not None and before <= after:
        raise KeyUnusable(f"{where}: valid-before is not later than valid-after")
    namespaces = None if spaces is None else tuple(check_name(space, where) for space in spaces.split(","))
    return AllowedSigner(names, key, namespaces, after, before)


def numbered_lines(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield each line that is neither blank nor a comment, as (`NAME line 3`, line without outer blanks).

    Raises:
        KeyUnusable: A control character other than the tab.
    """
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name} line {number}"
        if _UNREADABLE.search(line):
            raise KeyUnusable(f"{where}: a control character", hint="save as UTF-8 with LF line ends")
        stripped = line.strip(" \t")
        if stripped and not stripped.startswith("#"):
            yield where, stripped


def check_name(name: str, where: str) -> str:
    """Return a principal or namespace that means itself to every reader of allowed_signers.

    Raises:
        KeyUnusable: Empty, over 200 bytes, or with a wildcard, `!`, comma, quote, `#`, backslash, space or
            unseen character.
    """
    if (not name or set(name) & set('*?!,"#') or escaped(name) != name
            or any(character.isspace() for character in name) or len(name.encode()) > _MAX_NAME_BYTES):
        raise KeyUnusable(f"{where}: not a name that stands for itself alone: {name[:80]!a}",
                          hint="at most 200 bytes, no wildcards, commas, quotes, spaces, # or unseen characters")
    return name


def _options(rest: str, where: str) -> tuple[dict[str, str], str]:
    found: dict[str, str] = {}
    while match := _OPTION.match(rest):
        option = match[1].lower()
        if option not in _OPTIONS or option in found:
            break
        found[option] = match[2]
        rest = rest[match.end():]
        if match[3] != ",":
            return found, rest
    raise KeyUnusable(f"{where}: not an accepted option: {rest[:80]!a}",
                      hint=f'{", ".join(_OPTIONS)}, each once and quoted: namespaces="safeloop-review"')


def parse_moment(text: str | None, where: str) -> datetime | None:
    """Read a moment as ssh-keygen does; None is no limit, and stays it.

    Raises:
        KeyUnusable: Not one.
    """
    if text is None:
        return None
    try:
        if (match := _TIME.fullmatch(text)) is None:
            raise ValueError(text)
        moment = datetime.strptime(match[1].ljust(14, "0") + "+0000", "%Y%m%d%H%M%S%z")
        if match[2]:
            return moment
        # Local standard time, in summer too: ssh-keygen leaves tm_isdst at 0.
        return datetime.fromtimestamp(time.mktime((*moment.timetuple()[:8], 0)), UTC)
    except (ValueError, OverflowError, OSError):
        raise KeyUnusable(f"{where}: not a moment: {text[:80]!a}",
                          hint="YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC") from None
