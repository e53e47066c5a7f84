"""Adopting: the deliberate way on where a ledger is not the one that this key folder last signed.

A moved file, a new machine, a restored backup. The operator names a checkpoint that they kept; the ledger must be
consistent with it, and the adoption is a row.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from safeloop.errors import ProofError, StateMismatch, VerificationError
from safeloop.ledger import merkle, seal
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.ledger import Ledger
from safeloop.ledger.note import Checkpoint, verify_checkpoint
from safeloop.ledger.rows import LEDGER_SESSION, Draft, Row
from safeloop.ledger.site import Site, existing_site, read_head, real_path, remember_site, signing_log
from safeloop.ledger.state import State, StateFile, create_state, read_state, state_path
from safeloop.ledger.store.rows import RowStore

_TIMEOUT_S = 30.0


def adopt(db_path: str | os.PathLike[str], note: str, *, keys: Path | KeyFolder | None = None) -> Row:
    """Take a ledger as it lies, if it extends a checkpoint that was kept, and record that this was done.

    Args:
        note: The signed checkpoint; what came after it is taken on the operator's word.

    Raises:
        LedgerError: There is no ledger of these keys at this path.
        VerificationError: The checkpoint is not of this log, or the ledger does not extend it.
    """
    path, folder = real_path(db_path), KeyFolder.of(keys)
    site = existing_site(path, folder)
    kept = verify_checkpoint(note, signing_log(note, site))
    with contextlib.closing(RowStore(path, read_only=True)) as store:
        head = read_head(store.head(), site)
        _check_extends(kept, head, store, path)
    file = state_path(folder.path, site.origin)
    before = _state_before(file)
    _overwrite_state(file, State(path, head.size, head.root))
    try:
        remember_site(path, site, folder)
        return _record(path, folder, site, note)
    except BaseException:  # what is not a row is not done: the ledger is refused as it was before
        _put_back(file, before, site, folder)
        raise


def _record(path: Path, folder: KeyFolder, site: Site, note: str) -> Row:
    data = {"event": "adopt", "key": site.verifier.vkey, "proof": None, "not_after_size": None, "checkpoint": note}
    with contextlib.closing(Ledger(path, keys=folder, create=False)) as ledger:
        return ledger.append(lambda _: (Draft(LEDGER_SESSION, "key", data),))[0]


def _check_extends(kept: Checkpoint, head: Checkpoint, store: RowStore, path: Path) -> None:
    """Compute the tree from the rows themselves: stored hashes are not evidence."""
    if kept.size > head.size:
        raise ProofError(
            f"{path} has {head.size} rows, fewer than the {kept.size} of the checkpoint: it is not its continuation",
            hint="restore the newest file, or adopt with the checkpoint that belongs to this one",
        )
    frontier = merkle.Frontier()
    root = frontier.root()
    for idx, body, signature in store.rows():
        if idx != frontier.size:
            raise VerificationError(f"{path}: row {frontier.size + 1} is missing", hint="safeloop audit")
        frontier.append(seal.leaf(body, signature))
        if frontier.size == kept.size:
            root = frontier.root()
    if kept.size == 0:
        root = merkle.EMPTY_ROOT
    if root != kept.root:
        raise ProofError(f"{path} is not the history of this checkpoint", hint="safeloop audit --checkpoint NOTE")
    if (frontier.size, frontier.root()) != (head.size, head.root):
        raise VerificationError(f"{path}: its rows are not those that its head signs", hint="safeloop audit")


def _state_before(file: Path) -> State | None:
    """Return what was last signed; None if that is not known, or damaged."""
    try:
        return read_state(file)
    except StateMismatch:
        return None


def _overwrite_state(file: Path, state: State) -> None:
    create_state(file, state)
    with contextlib.closing(StateFile(file)) as opened, opened.locked(_TIMEOUT_S):
        opened.overwrite(state)


def _put_back(file: Path, before: State | None, site: Site, folder: KeyFolder) -> None:
    if before is None:
        file.unlink()
        return
    _overwrite_state(file, before)
    remember_site(before.path, site, folder)
