"""Adopting: the deliberate way on where a ledger is not the one that this key folder last signed.

A moved file, a new machine, a state that was lost. The operator names a checkpoint that they kept; the ledger must be
consistent with it, and the adoption is a row. Where the key folder knows what it last signed, the ledger must extend
that too: a state is never lowered, and of two continuations of one ledger only the first is gone on with.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from safeloop.errors import LedgerLocked, ProofError, StateMismatch, VerificationError
from safeloop.ledger import merkle, seal
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.ledger import Ledger
from safeloop.ledger.note import Checkpoint, verify_checkpoint
from safeloop.ledger.rows import LEDGER_SESSION, Draft, Row
from safeloop.ledger.site import Site, existing_site, read_head, real_path, remember_site, signing_log
from safeloop.ledger.state import State, StateFile, create_state, read_state, state_path
from safeloop.ledger.store.rows import RowStore

_TIMEOUT_S = 30.0
_NEWEST = (
    "restore the newest file and adopt that; if it is lost for good, keep this one to be read, and go on in a new "
    "ledger: safeloop init --ledger PATH"
)


def adopt(db_path: str | os.PathLike[str], note: str, *, keys: Path | KeyFolder | None = None) -> Row:
    """Take a ledger as it lies, if it extends a checkpoint that was kept, and record that this was done.

    Args:
        note: The signed checkpoint; what came after it is taken on the operator's word.

    Raises:
        LedgerError: There is no ledger of these keys at this path.
        LedgerLocked: Somebody wrote it meanwhile.
        StateMismatch: It does not extend what this key folder last signed.
        VerificationError: The checkpoint is not of this log, or the ledger does not extend it.
    """
    path, folder = real_path(db_path), KeyFolder.of(keys)
    site = existing_site(path, folder)
    kept = verify_checkpoint(note, signing_log(note, site))
    file = state_path(folder.path, site.origin)
    before = _state_before(file)
    with contextlib.closing(RowStore(path, read_only=True)) as store, store.snapshot():
        head = read_head(store.head(), site)
        _check_extends(kept, before, head, store, path)
    taken = State(path, head.size, head.root)
    _replace_state(file, before, taken)
    try:
        remember_site(path, site, folder)
        return _record(path, folder, site, note)
    except BaseException:  # what is not a row is not done: the ledger is refused as it was before
        _put_back(file, taken, before, site, folder)
        raise


def _record(path: Path, folder: KeyFolder, site: Site, note: str) -> Row:
    data = {"event": "adopt", "key": site.verifier.vkey, "proof": None, "not_after_size": None, "checkpoint": note}
    with contextlib.closing(Ledger(path, keys=folder, create=False)) as ledger:
        return ledger.append(lambda _: (Draft(LEDGER_SESSION, "key", data),))[0]


def _check_extends(kept: Checkpoint, state: State | None, head: Checkpoint, store: RowStore, path: Path) -> None:
    """Compute the tree from the rows themselves: stored hashes are not evidence."""
    if kept.size > head.size:
        raise ProofError(
            f"{path} has {head.size} rows, fewer than the {kept.size} of the checkpoint: it is not its continuation",
            hint="restore the newest file, or adopt with the checkpoint that belongs to this one",
        )
    if state is not None and state.size > head.size:
        raise StateMismatch(
            f"{path} has {head.size} rows, but {state.size} were signed, the last at {state.path}: it is an older "
            "file, and what followed would be forgotten",
            hint=_NEWEST,
        )
    frontier = merkle.Frontier()
    roots = {0: merkle.EMPTY_ROOT}
    wanted = {kept.size, head.size if state is None else state.size}
    for idx, body, signature in store.rows():
        if idx != frontier.size:
            raise VerificationError(f"{path}: row {frontier.size + 1} is missing", hint="safeloop audit")
        frontier.append(seal.leaf(body, signature))
        if frontier.size in wanted:
            roots[frontier.size] = frontier.root()
    if (frontier.size, frontier.root()) != (head.size, head.root):
        raise VerificationError(f"{path}: its rows are not those that its head signs", hint="safeloop audit")
    if roots[kept.size] != kept.root:
        raise ProofError(f"{path} is not the history of this checkpoint", hint="safeloop audit --checkpoint NOTE")
    if state is not None and roots[state.size] != state.root:
        raise StateMismatch(
            f"{path} is another history than the {state.size} rows that were signed, the last at {state.path}: "
            "to go on with both would be a fork",
            hint=_NEWEST,
        )


def _state_before(file: Path) -> State | None:
    """Return what was last signed; None if that is not known, or damaged."""
    try:
        return read_state(file)
    except StateMismatch:
        return None


def _replace_state(file: Path, before: State | None, after: State) -> None:
    """Set the state, if it is still what the ledger was compared with."""
    create_state(file, after)
    with contextlib.closing(StateFile(file)) as opened, opened.locked(_TIMEOUT_S):
        try:
            now: State | None = opened.read()
        except StateMismatch:
            now = None
        if now not in (before, after):
            raise LedgerLocked(f"{after.path} was written while it was adopted", hint="run the same command again")
        opened.overwrite(after)


def _put_back(file: Path, taken: State, before: State | None, site: Site, folder: KeyFolder) -> None:
    """Undo an adoption without its row, unless somebody has already gone on from it."""
    if _state_before(file) != taken:
        return
    if before is None:
        file.unlink()
        return
    _replace_state(file, taken, before)
    remember_site(before.path, site, folder)
