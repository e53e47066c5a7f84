"""The head, checkpoints that somebody kept, their witnesses, and the state of the machine that writes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from tests.verifier.encoding import BadEncoding, decode
from tests.verifier.findings import WHOLE, Report
from tests.verifier.keys import key_id
from tests.verifier.notes import BadNote, Checkpoint, is_signed_by, parse, witnesses
from tests.verifier.place import Tree
from tests.verifier.trust import Trust

SLOT = 16_384


@dataclass(frozen=True, order=True)
class State:
    """What was last signed on the machine that writes."""

    size: int
    path: str
    root: bytes


def signed(note: bytes | str, trust: Trust) -> Checkpoint:
    """Return a checkpoint that a pinned log key of its origin signed, which was not revoked for its size.

    Raises:
        BadNote: It is none.
    """
    found = parse(note)
    for key in trust.logs:
        bound = trust.revoked.get((key_id(key.raw), found.origin), found.size)
        if key.name == found.origin and found.size <= bound and is_signed_by(found, key):
            return found
    raise BadNote("not signed by a pinned log key that counts")


def head(note: bytes, trust: Trust, report: Report) -> Checkpoint | None:
    """Return the ledger's own head if it holds."""
    try:
        claimed = parse(note)
        if not any(key.name == claimed.origin for key in trust.logs):
            report.fail(WHOLE, "trust", "no pinned log of this origin")
            return None
        return signed(note, trust)
    except BadNote as error:
        report.fail(WHOLE, "head", str(error))
        return None


def kept(notes: tuple[str, ...], trust: Trust, report: Report) -> list[Checkpoint]:
    """Return those of the kept checkpoints that hold by themselves."""
    found = []
    for note in notes:
        try:
            found.append(signed(note, trust))
        except BadNote as error:
            report.fail(WHOLE, "checkpoint", str(error))
    return found


def check_kept(checkpoints: list[Checkpoint], tree: Tree, origin: str, report: Report) -> None:
    for one in checkpoints:
        if origin and one.origin != origin:
            report.fail(WHOLE, "checkpoint", f"of another ledger: {one.origin}")
        elif not _continues(tree, one.size, one.root):
            report.fail(WHOLE, "checkpoint", f"the ledger does not continue the checkpoint of {one.size} rows")


def _continues(tree: Tree, size: int, root: bytes) -> bool:
    return size <= tree.size and tree.root(size) == root


def check_witnesses(checkpoints: list[Checkpoint], trust: Trust, report: Report) -> None:
    """Ask for the quorum, on the head or on a checkpoint that somebody kept; one of no rows covers nothing."""
    logs = {key.raw for key in trust.logs}
    pinned = {name: key for name, key in trust.witnesses.items() if key.raw not in logs}
    if trust.quorum != "none" and not any(
            one.size > 0 and trust.is_met(trust.quorum, witnesses(one, pinned)) for one in checkpoints):
        report.fail(WHOLE, "witness", "the policy's quorum has not cosigned")


def state(path: Path) -> State | None:
    """Return the whole slot with the larger size."""
    raw = path.read_bytes()
    slots = []
    for at in (0, SLOT):
        lines = raw[at : at + SLOT].split(b"\n", 2)
        if len(lines) < 3 or hashlib.sha256(lines[0]).hexdigest().encode() != lines[1]:
            continue
        try:
            said = decode(lines[0])
            slots.append(State(int(said["size"]), unquote(said["path"]), bytes.fromhex(said["root"])))
        except (BadEncoding, KeyError, TypeError, ValueError):
            continue
    return max(slots, default=None)


def check_state(said: State | None, ledger: Path, tree: Tree, report: Report) -> None:
    """Ask whether the ledger lies where it was signed, or is a copy, and is of the history that was signed."""
    if said is None:
        report.fail(WHOLE, "state", "no whole slot")
        return
    is_here = Path(said.path) == ledger
    is_copy = not is_here and Path(said.path).is_file()
    if is_copy and said.size > tree.size:
        return
    if not is_here and not is_copy:
        report.fail(WHOLE, "state", f"the ledger lies elsewhere: {said.path}")
    if not _continues(tree, said.size, said.root):
        report.fail(WHOLE, "state", f"the ledger is not the one of {said.size} rows that was signed last")
