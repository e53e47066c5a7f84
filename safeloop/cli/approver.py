"""The person at the terminal of a run: asked about a destructive call, answering with a signature or with no."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from safeloop.cli.options import Desk
from safeloop.cli.patience import typed
from safeloop.cli.screen import Screen, has_terminal
from safeloop.cli.sheets import Sheet
from safeloop.errors import NotAttested, SafeloopError
from safeloop.ledger.approval import GRANTED, Decision
from safeloop.ledger.signers import sign_as
from safeloop.ledger.trust import APPROVAL_NAMESPACE
from safeloop.loop.approving import Approvals
from safeloop.tools.approvals import Answer, Request, Signed, expiry_of

APPROVE, REFUSE, LEAVE = "approve", "refuse", "leave"
_HOLD = timedelta(minutes=5)  # the call runs at once


def approvals_of(desk: Desk, *, may_ask: bool = True) -> Approvals:
    """Return who approves for a run: the pinned reviewers, and whoever sits at the terminal with a key of theirs.

    Nobody is asked where there is no terminal, or where no `reviewer` and `reviewer_key` are set.
    """
    reviewer, key = desk.settings.get("reviewer").value, desk.settings.path("reviewer_key")
    if not (may_ask and has_terminal() and reviewer and key is not None):
        return Approvals(desk.trust)
    patience_s = float(desk.settings.get("approval_wait").value)
    return Approvals(desk.trust, lambda request: _ask(desk.screen, request, reviewer, key, patience_s))


def show(screen: Screen, request: Request) -> None:
    """Show all that is to be decided about, on stderr, broken where `Sheet` says."""
    screen.progress("")
    sheet = Sheet.of(sys.stderr)
    shown = "\n".join(piece for line in request.text.split("\n") for piece in sheet.shown(line))
    screen.exact(f"\na destructive call waits for a decision\n{shown}\n", err=True)


def signed_with(decision: Decision, key: Path) -> Signed:
    """Sign a decision.

    Raises:
        KeyUnusable: The key cannot sign.
        EncodingError: The name cannot be stated.
    """
    return Signed(decision, sign_as(APPROVAL_NAMESPACE, decision.statement, key))


def _ask(screen: Screen, request: Request, reviewer: str, key: Path, patience_s: float) -> Signed | Answer:
    show(screen, request)
    if request.arguments is None:
        screen.alarm("nobody can approve what cannot be shown: its arguments are no longer kept")
        return Answer.LEFT
    question = f"approve as {reviewer}, refuse, or leave? Type the word in full; Enter alone is no: "
    word, until = None, time.monotonic() + patience_s  # a wrong word does not begin the wait anew
    while word not in (APPROVE, REFUSE, LEAVE):
        try:
            line = typed(question, max(0.0, until - time.monotonic()))
        except EOFError:
            return Answer.LEFT
        except NotAttested as loud:
            screen.alarm(str(loud))
            return Answer.LEFT
        if line is None:
            screen.alarm(f"\nno answer for {patience_s:,.0f} s: that is a no")
            return Answer.TIMED_OUT
        word = line.lower() or REFUSE
    if word != APPROVE:
        return Answer.NO if word == REFUSE else Answer.LEFT
    try:
        return signed_with(request.decided(GRANTED, reviewer, expiry_of(datetime.now(UTC), _HOLD)), key)
    except SafeloopError as error:
        screen.alarm(f"not signed: {error}")
        return Answer.LEFT
