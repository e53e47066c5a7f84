"""`run --continue`: the promise of a session that a ceiling stopped, made again under ceilings of its own."""

from __future__ import annotations

from safeloop.cli.options import Desk
from safeloop.cli.sessions import resolve
from safeloop.ledger import Ledger
from safeloop.loop.continuing import Past
from safeloop.spec import SpecDraft


def past_of(desk: Desk, ledger: Ledger, typed: str) -> Past:
    """Return what the session that is meant leaves to another.

    Raises:
        LedgerError: There is no such session, or no ceiling stopped it.
    """
    with desk.read_ledger() as reader:
        return Past(ledger, resolve(reader, typed))


def again(desk: Desk, past: Past) -> SpecDraft:
    """Return the same promise; a flag sets a ceiling anew, and where none is given the old one holds once more."""
    spec = past.opened_with.spec
    return SpecDraft(
        spec.what_it_does, spec.what_it_does_not, spec.done_looks_like, criteria=spec.criteria,
        ceilings=desk.settings.ceilings(desk.settings.unless_flagged(spec.ceilings)), tools=spec.tools,
    )
