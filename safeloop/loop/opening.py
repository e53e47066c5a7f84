"""Opening a session: its spec and its effective ceilings become rows before anything is spent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from safeloop.errors import LedgerError
from safeloop.ledger import Draft, Ledger, Row, View, visible
from safeloop.ledger.content import TEXT
from safeloop.spec import Ceilings, SpecResult, from_row, to_row
from safeloop.tools import ToolRegistry


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run was started with, as its `open` row states it.

    Attributes:
        ceilings: The effective ones.
        endpoint: Where requests go.
        tools: Those that the spec grants.
        workspace: The folder that tools read, if any.
    """

    spec: SpecResult
    task: str
    ceilings: Ceilings
    model: str
    endpoint: str
    tools: ToolRegistry
    workspace: Path | None

    @property
    def input_hash(self) -> str:
        """SHA-256 of the task, so that equal inputs are seen across runs."""
        return hashlib.sha256(self.task.encode("utf-8", "surrogatepass")).hexdigest()


def software() -> str:
    """Return the name and version of this program, as rows state it."""
    return f"safeloop {metadata.version('safeloop')}"


def open_session(ledger: Ledger, setting: Setting) -> None:
    """Write the `open` row, and the `spec` row first where this ledger lacks it.

    Raises:
        RuntimeError: The session has run already, or its rows were written by hand.
        LedgerError: It was opened by a process that is gone, or another spec is recorded under its id.
    """
    session = setting.spec.session_id
    ledger.append(lambda view: _spec_drafts(view, setting))
    task = ledger.content(setting.task.encode("utf-8", "surrogatepass"), TEXT)
    workspace = None
    if setting.workspace is not None:
        workspace = ledger.content(str(setting.workspace).encode("utf-8", "surrogateescape"), TEXT)
    contents = (task,) if workspace is None else (task, workspace)

    def decide(view: View) -> tuple[Draft, ...]:
        rows = view.session(session)
        check_fresh(rows, session)
        spec = next(row for row in rows if row.kind == "spec")
        data = {
            "spec": spec.leaf, "task": task.commitment, "input_hash": setting.input_hash,
            "model": visible(setting.model), "endpoint": visible(setting.endpoint),
            "ceilings": setting.ceilings.as_row(), "parent": None, "continues": None,
            "workspace": None if workspace is None else workspace.commitment, "billing_workspace": None,
            "api_key_id": None, "tools": setting.tools.pinned(), "software": software(),
        }
        return (Draft(session, "open", data, contents),)

    ledger.append(decide)


def _spec_drafts(view: View, setting: Setting) -> tuple[Draft, ...]:
    session = setting.spec.session_id
    rows = view.session(session)
    check_fresh(rows, session)
    recorded = next((row for row in rows if row.kind == "spec"), None)
    if recorded is None:
        return (Draft(session, "spec", to_row(setting.spec)),)
    if from_row(session, recorded.data) != setting.spec:
        raise LedgerError(
            f"session {session} was promised otherwise: its spec in row {recorded.id} is not the one to run",
            hint="record the new spec under a session of its own: safeloop spec",
        )
    return ()


def check_fresh(rows: tuple[Row, ...], session: str) -> None:
    """Check that a session with these rows has not begun.

    Raises:
        RuntimeError: It has run already, or its rows were written by hand.
        LedgerError: It was opened by a process that is gone.
    """
    kinds = {row.kind for row in rows}
    if "close" in kinds:
        raise RuntimeError(f"session {session} has run and is closed: a spec is run once, so record a new one")
    if "open" in kinds:
        raise LedgerError(
            f"session {session} was opened and not closed: the process that ran it is gone",
            hint=f"safeloop close {session}",
        )
    if kinds & {"turn", "breach"}:
        raise RuntimeError(f"session {session} was written by hand: a loop runs only sessions of its own")
