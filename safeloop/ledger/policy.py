"""The pinned policy: C2SP tlog-policy, and the revocations beside it. Text in, values out."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from safeloop.errors import KeyUnusable, SafeloopError
from safeloop.ledger import ed25519
from safeloop.ledger.allowed_signers import numbered_lines
from safeloop.ledger.note import Verifier, parse_vkey
from safeloop.ledger.rows import is_origin

_BLANKS = re.compile("[ \t]+")
_THRESHOLD = re.compile("[1-9][0-9]{0,5}")
_REVOCATION = re.compile("([0-9a-f]{64})[ \t]+([^ \t]+)[ \t]+(0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: its name in the policy, its verifier key as text, and the 32 bytes inside."""

    name: str
    vkey: str
    public: bytes

    @property
    def key_name(self) -> str:
        """The name that its signature lines have."""
        return self.vkey.partition("+")[0]

    @property
    def key_hash(self) -> bytes:
        """The four bytes that its signatures begin with; the key's, as whoever parsed the policy made sure."""
        return bytes.fromhex(self.vkey.split("+", 2)[1])


@dataclass(frozen=True, slots=True)
class Group:
    """Members, witnesses or groups, of which at least `threshold` must have cosigned."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Keys of known logs by origin, oldest first, witnesses and groups by name, and who must have cosigned, if any."""

    logs: Mapping[str, tuple[Verifier, ...]]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str | None

    @property
    def log_keys(self) -> frozenset[bytes]:
        """The raw keys of all logs."""
        return frozenset(key.public for keys in self.logs.values() for key in keys)


@dataclass(frozen=True, slots=True)
class Revocation:
    """From row index `size` on, the ledger of this origin cannot rely on the key; a head of that size still can."""

    key_id: str
    origin: str
    size: int

    @property
    def line(self) -> str:
        """The line of a `revoked` file."""
        return f"{self.key_id} {self.origin} {self.size}"


def parse_policy(text: str, name: str = "policy") -> Policy:
    """Read a policy (c2sp.org/tlog-policy); `name` is what messages call the file.

    Unlike C2SP, a key may stand for several origins: the ledgers of a key folder share it. And an origin may have
    several keys, each on a line of its own: a log that changed its key is still the same log.

    Raises:
        KeyUnusable: A line that is not understood, a key that is not admitted, or no quorum line.
    """
    reader = _PolicyReader()
    for where, line in numbered_lines(text, name):
        try:
            match _BLANKS.split(line):
                case ["log", vkey] | ["log", vkey, _]:
                    reader.log(vkey)
                case ["witness", witness, vkey] | ["witness", witness, vkey, _]:
                    reader.witness(witness, vkey)
                case ["group", group, wanted, *members]:
                    reader.group(group, wanted, tuple(members))
                case ["quorum", quorum]:
                    reader.quorum(quorum)
                case _:
                    raise KeyUnusable(f"not a policy line: {line[:80]!a}", hint="see c2sp.org/tlog-policy")
        except SafeloopError as refused:
            raise KeyUnusable(f"{where}: {refused}", hint=refused.hint) from refused
    if len(reader.quorums) != 1:
        raise KeyUnusable(f"{name} has {len(reader.quorums)} quorum lines, not one", hint="add: quorum none")
    quorum = None if reader.quorums == ["none"] else reader.quorums[0]
    return Policy(reader.logs, reader.witnesses, reader.groups, quorum)


def parse_revoked(text: str, name: str = "revoked") -> tuple[Revocation, ...]:
    """Read lines `key-id origin size`; `name` is what messages call the file.

    Raises:
        KeyUnusable: A line that is not understood.
    """
    revocations = []
    for where, line in numbered_lines(text, name):
        if (match := _REVOCATION.fullmatch(line)) is None or not is_origin(match[2]):
            raise KeyUnusable(f"{where}: not a line `key-id origin size`: {line[:80]!a}")
        revocations.append(Revocation(match[1], match[2], int(match[3])))
    return tuple(revocations)


@dataclass
class _PolicyReader:
    """Gathers the lines of a policy; a name may only be used after the line that defines it."""

    logs: dict[str, tuple[Verifier, ...]] = field(default_factory=dict)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorums: list[str] = field(default_factory=list)
    used: set[str | bytes] = field(default_factory=set)  # witness keys, and members of groups: once each

    def log(self, vkey: str) -> None:
        verifier = parse_vkey(vkey)
        known = self.logs.get(verifier.name, ())
        if verifier in known:
            raise KeyUnusable(f"a second line for this key of the log {verifier.name!a}")
        self.logs[verifier.name] = (*known, verifier)

    def witness(self, name: str, vkey: str) -> None:
        self._expect(name, defined=False)
        public = _witness_key(vkey)
        if public in self.used:
            raise KeyUnusable(f"the key of {name!a} is already another witness's")
        self.used.add(public)
        self.witnesses[name] = Witness(name, vkey, public)

    def group(self, name: str, wanted: str, members: tuple[str, ...]) -> None:
        self._expect(name, defined=False)
        for member in members:
            self._expect(member, defined=True)
            if member in self.used:  # or one witness would count more than once
                raise KeyUnusable(f"{member!a} is in a group already")
            self.used.add(member)
        named = {"any": 1, "all": len(members)}
        threshold = int(wanted) if _THRESHOLD.fullmatch(wanted) else named.get(wanted, 0)
        if not 1 <= threshold <= len(members):
            raise KeyUnusable(f"a group of {len(members)} wants any, all, or a number up to {len(members)}")
        self.groups[name] = Group(name, threshold, members)

    def quorum(self, name: str) -> None:
        if name != "none":
            self._expect(name, defined=True)
        self.quorums.append(name)

    def _expect(self, name: str, *, defined: bool) -> None:
        if (name in self.witnesses or name in self.groups) != defined or name == "none":
            why = "no witness or group on a line before" if defined else "the name is taken"
            raise KeyUnusable(f"{why}: {name[:80]!a}")


def _witness_key(vkey: str) -> bytes:
    """Return the raw key of `name+hash+base64(0x04 || key)` (c2sp.org/tlog-cosignature); a log's has 0x01."""
    name, _, rest = vkey.partition("+")
    try:
        typed = base64.b64decode(rest.partition("+")[2])
    except ValueError:
        typed = b""
    key_hash = hashlib.sha256(name.encode() + b"\n" + typed).hexdigest()[:8]
    if not name or typed[:1] != b"\x04" or vkey != f"{name}+{key_hash}+{base64.b64encode(typed).decode()}":
        raise KeyUnusable(f"not the verifier key of an Ed25519 witness: {vkey[:80]!a}")
    ed25519.check_public_key(typed[1:])
    return typed[1:]
