"""Opening a session: its spec and its effective ceilings become rows before anything is spent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from safeloop.breaker import SUSPENDED, Price, check_admission
from safeloop.errors import LedgerError, SettingError
from safeloop.ledger import Draft, Ledger, Row, View, visible
from safeloop.ledger.content import TEXT
from safeloop.ledger.rows import parse_row
from safeloop.spec import Ceilings, SpecResult, from_row, to_row
from safeloop.spec.dry_run import marked
from safeloop.spec.led import is_led, marked_led
from safeloop.tools import ToolRegistry

if TYPE_CHECKING:
    from safeloop.ledger.reader import LedgerReader


@dataclass(frozen=True, slots=True)
class Billing:
    """Who pays, by the names that the provider's usage report goes by; None where that is not known.

    Attributes:
        workspace: Its id, or `default`.
        api_key_id: The public id of the API key, never the key.

    Raises:
        SettingError: A name is empty or longer than 200 bytes, or looks like a key.
    """

    workspace: str | None = None
    api_key_id: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("billing_workspace", self.workspace), ("api_key_id", self.api_key_id)):
            if value is None:
                continue
            if not isinstance(value, str) or not value or value != visible(value):
                raise SettingError(f"{name} is not an id of 1 to 200 plain bytes", hint="safeloop config")
            if value.startswith("sk-"):  # it is not repeated: it would be recorded for ever
                raise SettingError(
                    f"{name} holds a secret key, and it is recorded: give its public id, such as apikey_...",
                    hint="safeloop help reconcile",
                )


NOBODY = Billing()


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run was started with, as its `open` row states it.

    Attributes:
        ceilings: The effective ones.
        endpoint: Where requests go.
        tools: Those that the spec grants.
        workspace: The folder that tools read, if any.
        continues: The session whose work goes on in this one, if any.
        parent: The session whose child this one is: what it spends, that one spends too.
        price: What the model costs; None if it is not known.
        by_program: No loop leads the session, but a program of the caller's own.
        is_dry_run: Calls that write or destroy are not run.
        billing: Who pays, as usage reports name it.
    """

    spec: SpecResult
    task: str
    ceilings: Ceilings
    model: str
    endpoint: str
    tools: ToolRegistry
    workspace: Path | None
    continues: str | None = None
    parent: str | None = None
    price: Price | None = None
    by_program: bool = False
    is_dry_run: bool = False
    billing: Billing = NOBODY

    @property
    def input_hash(self) -> str:
        """SHA-256 of the task, so that equal inputs are seen across runs."""
        return hashlib.sha256(self.task.encode("utf-8", "surrogatepass")).hexdigest()


def software(*, by_program: bool = False, is_dry_run: bool = False) -> str:
    """Return the name and version of this program, as rows state it.

    Args:
        by_program: No loop leads the session, but a program of the caller's own.
        is_dry_run: Calls that write or destroy are not run.
    """
    plain = f"safeloop {metadata.version('safeloop')}"
    led = marked_led(plain) if by_program else plain
    return marked(led) if is_dry_run else led


def is_led_by_program(opened: Row) -> bool:
    """Say whether a program of the caller's own leads the session that this row opened, and no loop."""
    return is_led(opened.data)


def led_by_programs(reader: LedgerReader, sessions: Iterable[str]) -> frozenset[str]:
    """Return those of some sessions that programs of the caller's own lead: no loop can go on with them."""
    parsed = (parse_row(*stored) for session in sessions for stored in tuple(reader.rows_of(session)))
    return frozenset(row.session for row in parsed if row.kind == "open" and is_led_by_program(row))


def check_opening(ledger: Ledger, ceilings: Ceilings, parent: str | None, price: Price | None) -> None:
    """Check what a session needs to be opened, before anything of it is recorded; opening it checks again.

    Raises:
        SafeloopError: As in `open_session`.
    """

    def decide(view: View) -> tuple[Draft, ...]:
        check_admission(view, ceilings, parent=parent, price=price)
        return ()

    ledger.append(decide)


def open_session(ledger: Ledger, setting: Setting) -> None:
    """Write the `open` row, and the `spec` row first where this ledger lacks it.

    Raises:
        RuntimeError: The session has run already, or its rows were written by hand.
        LedgerError: It was opened by a process that is gone, another spec is recorded under its id, or its parent
            does not work any more.
        SettingError: The cost is limited somewhere, and the price is not known.
        Suspended: A window has had all the sessions that it may have.
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
        check_admission(view, setting.ceilings, parent=setting.parent, price=setting.price)
        spec = next(row for row in rows if row.kind == "spec")
        data = {
            "spec": spec.leaf, "task": task.commitment, "input_hash": setting.input_hash,
            "model": visible(setting.model), "endpoint": visible(setting.endpoint),
            "ceilings": setting.ceilings.as_row(), "parent": setting.parent, "continues": setting.continues,
            "workspace": None if workspace is None else workspace.commitment,
            "billing_workspace": setting.billing.workspace, "api_key_id": setting.billing.api_key_id,
            "tools": setting.tools.pinned(),
            "software": software(by_program=setting.by_program, is_dry_run=setting.is_dry_run),
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
        LedgerError: It is suspended, or was opened by a process that is gone.
    """
    kinds = {row.kind for row in rows}
    last = next((row for row in reversed(rows) if row.kind in ("open", "close", "resume")), None)
    if last is not None and last.kind == "close" and last.data["outcome"] == SUSPENDED:
        raise LedgerError(f"session {session} is suspended, in row {last.id}", hint=f"safeloop resume {session}")
    if any(row.kind == "close" and row.data["outcome"] != SUSPENDED for row in rows):
        raise RuntimeError(f"session {session} has run and is closed: a spec is run once, so record a new one")
    if "open" in kinds:
        raise LedgerError(
            f"session {session} was opened and not closed: the process that ran it is gone",
            hint=f"safeloop resume {session}",
        )
    if kinds & {"turn", "breach"}:
        raise RuntimeError(f"session {session} was written by hand: a loop runs only sessions of its own")
