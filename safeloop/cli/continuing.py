"""`run --continue`: the promise of a session that a ceiling stopped, made again under ceilings of its own."""

from __future__ import annotations

from pathlib import Path

from safeloop.cli.clients import client_for
from safeloop.cli.options import Desk
from safeloop.cli.sessions import resolve
from safeloop.errors import SettingError
from safeloop.ledger import Ledger, visible
from safeloop.loop.continuing import Past
from safeloop.loop.preparing import endpoint_of
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


def client_again(desk: Desk, past: Past, script: Path | None) -> tuple[object, str]:
    """Return a client and the model's name: the one that was asked before, unless a flag names another.

    Raises:
        SettingError: As `client_for`; or the model would be asked somewhere else, where it may be none or another.
    """
    if script is not None or desk.settings.is_flagged("model"):
        return client_for(desk.settings, script, desk.screen.note)
    left = past.opened_with
    client, model = client_for(desk.settings, None, desk.screen.note, model=left.model)
    now = visible(endpoint_of(client))
    if now != left.endpoint:
        raise SettingError(
            f"session {past.session} asked {left.model} at {left.endpoint}, and now it would be asked at {now}",
            hint="safeloop run --continue SESSION --model NAME, or with the --base-url that it had",
        )
    return client, model
