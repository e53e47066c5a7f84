"""`audit`: check every claim."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click

from safeloop.cli.inputs import read_text
from safeloop.cli.options import Desk, common
from safeloop.cli.sessions import resolve
from safeloop.errors import KeyUnusable, LedgerError, LedgerNotFound
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import State, read_state, state_path
from safeloop.review.auditing.audit import audit as audit_ledger
from safeloop.review.auditing.findings import Rule, finding
from safeloop.review.auditing.verdict import AuditReport, nothing_audited, render_report
from safeloop.review.releasing.policy import parse_policy

_MOST_PROCESSES = 8  # more than this would wait for the one that reads the rows


@click.command()
@click.argument("session", required=False)
@click.option("--checkpoint", "checkpoints", multiple=True, metavar="FILE", help="A checkpoint that somebody kept.")
@click.option("--since", metavar="FILE", help="Judge only rows after this checkpoint, up to which you have audited.")
@click.option("--tree", "tree_only", is_flag=True, help="Check chains and tree only: 18 if they hold.")
@click.option("--processes", type=click.IntRange(1), metavar="N", help="Judge rows in so many; else one a processor.")
@common(quiet=True, trust=True)
def audit(
    desk: Desk, session: str | None, checkpoints: tuple[str, ...], since: str | None, tree_only: bool,
    processes: int | None,
) -> int:
    """Check every claim of a ledger with pinned keys: 0 all true, 11 something is false, 18 not everything known.

    Reads only. Against `self`, the keys that this machine pinned itself, the verdict says so.
    """
    if _is_empty(desk.settings.ledger):
        words = f"{desk.settings.ledger} is an empty file: it is no ledger, or all of it was cut off"
        return _shown(desk, nothing_audited((finding(Rule.EMPTY, words),), session, tree_only=tree_only))
    with desk.read_ledger() as reader:
        try:
            trust = desk.trust()
            # A pin that is not understood may have been meant to restrict something.
            parse_policy(trust.release_policy_text, str(trust.path / "release.toml"))
        except KeyUnusable as error:
            lacking = finding(Rule.TRUST, f"nothing is trusted: {error}", remedy=error.hint)
            return _shown(desk, nothing_audited((lacking,), session, tree_only=tree_only))
        kept = [read_text(Path(name), "checkpoint") for name in checkpoints]
        name = None if session is None else resolve(reader, session)
        # The state comes before the snapshot: rows that others append meanwhile must not look like an alarm.
        state = state_of(desk, reader)
        report = audit_ledger(
            reader, trust, state=state, checkpoints=kept, session=name, tree_only=tree_only,
            since=None if since is None else read_text(Path(since), "checkpoint"),
            processes=processes or min(_MOST_PROCESSES, processors()),
        )
    return _shown(desk, report)


def _shown(desk: Desk, report: AuditReport) -> int:
    return desk.screen.verdict(render_report(report), report.as_json(), int(report.exit_code))


def _is_empty(path: Path) -> bool:
    """Say whether there is a file of no bytes; whatever else may be wrong with it shows when it is opened.

    Raises:
        LedgerNotFound: There is nothing. To make a ledger is no help to whoever wants to audit one.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise LedgerNotFound(f"there is no ledger at {path}", hint="safeloop audit --ledger PATH, with the one that "
                             "was meant; a lost one comes back from a backup only") from None
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def state_of(desk: Desk, reader: LedgerReader) -> State | None:
    """Return what this machine last signed, if it is the machine that signs; an auditor's own has no such file."""
    try:
        return read_state(state_path(desk.settings.keys, reader.origin()))
    except LedgerError as error:
        desk.screen.alarm(f"note: {error}")
        return None
