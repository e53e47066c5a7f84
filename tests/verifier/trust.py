"""The trust folder: what an auditor pins, outside any ledger."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.verifier.encoding import BadEncoding, decode
from tests.verifier.findings import Refused
from tests.verifier.keys import LOG, WITNESS, VKey, admitted, b64, from_ssh, from_vkey, key_id, ssh_blob
from tests.verifier.sshsig import Signer


@dataclass(frozen=True)
class Reviewer:
    """One line of allowed signers."""

    names: tuple[str, ...]
    raw: bytes
    kind: str
    namespaces: tuple[str, ...] | None
    after: datetime | None
    before: datetime | None

    def holds(self, namespace: str, at: datetime) -> bool:
        return ((self.namespaces is None or namespace in self.namespaces)
                and (self.after is None or at >= self.after) and (self.before is None or at < self.before))


@dataclass
class Trust:
    """All pins."""

    logs: list[VKey] = field(default_factory=list)
    witnesses: dict[str, VKey] = field(default_factory=dict)
    groups: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    quorum: str = "none"
    writers: dict[str, bytes] = field(default_factory=dict)
    reviewers: list[Reviewer] = field(default_factory=list)
    revoked: dict[tuple[str, str], int] = field(default_factory=dict)

    def is_met(self, name: str, seen: set[str]) -> bool:
        if name == "none":
            return True
        if name in self.groups:
            needed, members = self.groups[name]
            return sum(self.is_met(member, seen) for member in members) >= needed
        return name in seen

    def may_sign(self, signer: Signer, name: str, namespace: str, at: datetime) -> bool:
        """Say whether this is a pinned reviewer's key, at this time; a writer's or a log's never is."""
        own = {*self.writers.values(), *(key.raw for key in self.logs)}
        return signer.raw not in own and any(
            (one.raw, one.kind) == (signer.raw, signer.kind) and name in one.names and one.holds(namespace, at)
            for one in self.reviewers)


def read(folder: Path) -> Trust:
    """Read the pins.

    Raises:
        Refused: They are half understood, and nothing is audited with them.
    """
    trust = Trust()
    try:
        _policy(trust, _lines(folder / "policy", needed=True))
        for line in _lines(folder / "writers"):
            words = line.split(" ", 1)
            raw = from_ssh(" ".join(words[1].split(" ")[:2]))
            trust.writers[key_id(raw)] = raw
        trust.reviewers = [_reviewer(line) for line in _lines(folder / "reviewers")]
        for line in _lines(folder / "revoked"):
            words = line.split()
            if len(words) != 3 or not re.fullmatch("[0-9a-f]{64}", words[0]) or not re.fullmatch("[0-9]+", words[2]):
                raise ValueError(f"revoked: {line}")
            place = (words[0], words[1])
            trust.revoked[place] = min(int(words[2]), trust.revoked.get(place, int(words[2])))
    except (OSError, ValueError, IndexError) as error:
        raise Refused(f"trust folder: {error}") from None
    return trust


def _lines(path: Path, *, needed: bool = False) -> list[str]:
    if not path.exists() and not needed:
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _policy(trust: Trust, lines: list[str]) -> None:
    quorums = []
    for line in lines:
        match line.split():
            case ["log", vkey] | ["log", vkey, _]:
                trust.logs.append(from_vkey(vkey, LOG))
            case ["witness", name, vkey, *url] if len(url) < 2 and name not in trust.witnesses and name != "none":
                trust.witnesses[name] = from_vkey(vkey, WITNESS)
            case ["group", name, count, *members] if members and name not in trust.groups and name != "none":
                needed = {"any": 1, "all": len(members)}.get(count) or int(count)
                if not 1 <= needed <= len(members):
                    raise ValueError(f"policy: {line}")
                trust.groups[name] = needed, tuple(members)
            case ["quorum", name]:
                quorums.append(name)
            case _:
                raise ValueError(f"policy: {line}")
    known = {"none", *trust.witnesses, *trust.groups}
    if len({key.raw for key in trust.witnesses.values()}) != len(trust.witnesses):
        raise ValueError("policy: a witness under two names")
    if len(quorums) != 1 or quorums[0] not in known:
        raise ValueError("policy: not one quorum")
    trust.quorum = quorums[0]


def _reviewer(line: str) -> Reviewer:
    found = re.fullmatch(r'(\S+) (?:((?:[a-z-]+="[^"]*",?)+) )?((?:sk-)?ssh-ed25519\S*) (\S+)(?: .*)?', line)
    if not found or "*" in found[1] or "?" in found[1]:
        raise ValueError(f"reviewers: {line}")
    options = dict(re.findall(r'([a-z-]+)="([^"]*)"', found[2] or ""))
    if set(options) - {"namespaces", "valid-after", "valid-before"}:
        raise ValueError(f"reviewers: {line}")
    parts = ssh_blob(b64(found[4]))
    if len(parts) < 2 or parts[0] != found[3].encode():
        raise ValueError(f"reviewers: {line}")
    spaces = options.get("namespaces")
    return Reviewer(tuple(found[1].split(",")), admitted(parts[1]), found[3],
                    None if spaces is None else tuple(spaces.split(",")),
                    _time(options.get("valid-after")), _time(options.get("valid-before")))


def _time(text: str | None) -> datetime | None:
    """Read YYYYMMDD[HHMM[SS]][Z]; without Z it is local time, as in OpenSSH."""
    if text is None:
        return None
    form = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(text.removesuffix("Z")))
    if form is None:
        raise ValueError(f"a time: {text}")
    if text.endswith("Z"):
        return datetime.strptime(text[:-1], form).replace(tzinfo=UTC)
    return datetime.strptime(text, form).astimezone(UTC)


def release_policy(text: str) -> dict[str, int] | None:
    """Return the four keys of a release policy, or nothing if they are not that."""
    try:
        found = decode(text.encode())
    except BadEncoding:
        return None
    wanted = {"accepts": int, "any_reject_blocks": bool, "accept_breach": bool, "accept_unmet": bool}
    if not isinstance(found, dict) or set(found) != set(wanted):
        return None
    fits = all(type(found[key]) is kind for key, kind in wanted.items()) and 1 <= found["accepts"] <= 100
    return found if fits else None
