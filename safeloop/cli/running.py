"""`run` and `close`: a spec inside its ceilings, and the end of what cannot go on."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from safeloop.breaker import SUSPENDED
from safeloop.cli.approver import approvals_of
from safeloop.cli.ceilings import breaker_of, ceiling_options, operator_prices
from safeloop.cli.clients import billing_of, client_for
from safeloop.cli.continuing import again, client_again, past_of
from safeloop.cli.options import Desk, common
from safeloop.cli.outcomes import report
from safeloop.cli.progress import Progress
from safeloop.cli.sessions import resolve
from safeloop.cli.starting import warn_of
from safeloop.cli.tooling import tools_in
from safeloop.errors import ExitCode, LedgerLocked, SessionNotFoundError, SettingError
from safeloop.ledger import Ledger
from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.loop import AgentLoop, abandon_session
from safeloop.loop.lock import held
from safeloop.loop.opening import check_opening
from safeloop.loop.place import job_lock_path, lock_path
from safeloop.loop.preparing import price_of
from safeloop.loop.waiting import LONGEST_MAX_WAIT_S
from safeloop.spec import SpecDraft, SpecResult, load, read_spec_file, record, require_checkable
from safeloop.tools.sandbox import check_runner

MOST_TASK_BYTES = 10_000_000
LONGEST_WAIT_S = 24 * 3600.0


@click.command()
@click.argument("session", required=False)
@click.option("--spec-file", type=click.Path(path_type=Path), help="Record this spec and run it: one session a run.")
@click.option("--continue", "before", metavar="SESSION", help="Take up the work of a session that a ceiling stopped.")
@click.option("--task", help="The task, as text.")
@click.option("--task-file", metavar="FILE", help="The task, from a file; - is standard input.")
@click.option("--workspace", type=click.Path(path_type=Path), help="A folder that the tools may read.")
@click.option("--tools", "own_tools", metavar="MODULE:NAME", help="Tools of your own, a registry: safeloop help tools.")
@click.option("--model", help="The model to ask; offline-auditor asks none.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible server to ask: safeloop help models.")
@click.option("--script", type=click.Path(path_type=Path), help="Play the replies of a JSON file; no model is asked.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Tokens wanted of each reply.")
@click.option("--max-wait", type=click.IntRange(min=0), help="Seconds that a turn may wait before it is suspended.")
@click.option("--remind-every", type=click.IntRange(min=0), help="Replies until the model is told the promise again.")
@click.option("--prices", metavar="FILE", help="Your own prices, before the published ones: safeloop help settings.")
@click.option("--parent", metavar="SESSION", help="The session that this one works for: what it spends, that one does.")
@ceiling_options
@click.option(
    "--on-overlap", type=click.Choice(["skip", "wait", "fail"]), default="fail", show_default=True,
    help="What to do while another run of the same job goes on.",
)
@click.option("--strict", is_flag=True, help="Refuse a spec that draws a warning.")
@click.option("--dry-run", is_flag=True, help="Say what would be written or destroyed, and do not; never released.")
@common(quiet=True)
def run(  # noqa: PLR0913, PLR0917 - a parameter an option
    desk: Desk, session: str | None, spec_file: Path | None, before: str | None, task: str | None,
    task_file: str | None, workspace: Path | None, script: Path | None, parent: str | None, on_overlap: str,
    strict: bool, dry_run: bool, own_tools: str | None,
) -> int:
    """Run a spec once, inside its ceilings: SESSION, or a new session of --spec-file.

    Every step is a row before the next one. What the run writes is staged, and stays staged until a person has
    accepted the frame. --continue is a new session too: with the promise, the conversation and the files of one that
    a ceiling stopped, and with ceilings of its own.
    """
    if [session, spec_file, before].count(None) != 2:
        raise SettingError("run takes a SESSION, --spec-file or --continue, one of them", hint="safeloop run --help")
    text = _task(task, task_file) if before is None else _no_task(task, task_file)
    with contextlib.ExitStack() as stack:
        job = str(spec_file) if spec_file is not None else None
        if job is not None and not _take_job(desk, job, on_overlap, stack):
            return ExitCode.DONE
        ledger = stack.enter_context(contextlib.closing(desk.open_ledger()))
        # All that can be refused comes first: a new session is recorded only if it is then run.
        past = None if before is None else past_of(desk, ledger, before)
        promised = _promised(desk, ledger, session, spec_file, strict=strict) if past is None else again(desk, past)
        workspace = workspace if past is None or workspace is not None else past.opened_with.workspace
        client, model = (
            client_for(desk.settings, script, desk.screen.note) if past is None else client_again(desk, past, script)
        )
        tools = stack.enter_context(tools_in(desk.settings, workspace, ledger, promised.tools, own_tools))
        progress, wanted, billing = Progress(desk.screen), max_tokens_of(desk), billing_of(desk.settings, client)
        breaker = breaker_of(desk.settings, promised.ceilings, progress.alarm)
        above, prices = _parent(desk, parent), operator_prices(desk.settings)
        check_opening(ledger, breaker.ceilings, above, price_of(client, model, prices, breaker.ceilings))
        run_check = check_runner(promised.criteria, workspace)
        require_checkable(promised.criteria, run_check)
        spec = promised if isinstance(promised, SpecResult) else record(ledger, promised)
        loop = AgentLoop(
            spec, breaker, ledger, client, model, wanted, tools=tools, workspace=workspace, on_event=progress.tell,
            max_wait_s=max_wait_of(desk), parent=above, run_check=run_check, prices=prices, dry_run=dry_run,
            remind_every=remind_every_of(desk), approvals=approvals_of(desk), billing=billing,
        )
        desk.screen.note(f"session {spec.session_id}{', a dry run' if dry_run else ''}")
        try:
            result = loop.run(text) if past is None else loop.continue_from(past.session)
        except BaseException as error:
            error.add_note(f"session {spec.session_id}: what was done is recorded, see safeloop log {spec.session_id}")
            raise
    return report(desk, result)


@click.command()
@click.argument("session")
@common(quiet=True)
def close(desk: Desk, session: str) -> int:
    """End a session that cannot go on: failed, reviewable, and what is in doubt stays charged."""
    with desk.read_ledger() as reader:
        name = resolve(reader, session)
    with contextlib.closing(desk.open_ledger()) as ledger, held(lock_path(ledger.db_path, name), f"session {name}"):
        row = abandon_session(ledger, name)
    desk.screen.result(
        f"session {name} closed as failed, row {row.id}; {row.data['total_tokens']:,} tokens charged",
        {"session": name, "row": row.id, "outcome": "failed", "total_tokens": row.data["total_tokens"]},
    )
    desk.screen.note(f"next: safeloop review {name}")
    return ExitCode.DONE


def _take_job(desk: Desk, spec_file: str, on_overlap: str, stack: contextlib.ExitStack) -> bool:
    """Take the job's lock; False if another run has it and this one is to be skipped."""
    lock = job_lock_path(desk.settings.ledger, spec_file)
    wait_s = LONGEST_WAIT_S if on_overlap == "wait" else 0.0
    desk.read_ledger().close()  # the ledger's own error first: a lock beside no ledger helps nobody
    try:
        stack.enter_context(held(lock, f"job {spec_file}", wait_s=wait_s))
    except LedgerLocked as error:
        if on_overlap != "skip":
            raise LedgerLocked(str(error), hint="wait for it, or use --on-overlap wait or skip") from None
        desk.screen.result(f"skipped: {error}", {"skipped": True, "reason": str(error)})
        return False
    return True


def _promised(
    desk: Desk, ledger: Ledger, session: str | None, spec_file: Path | None, *, strict: bool
) -> SpecResult | SpecDraft:
    """Read what is to be run: the spec of a session, or that of a file, which is not recorded yet."""
    if spec_file is not None:
        draft = read_spec_file(spec_file)
        warn_of(desk, draft, strict=strict)
        return draft
    with desk.read_ledger() as reader:
        name = resolve(reader, session or "")
    found = load(ledger, name)
    if found is None:
        raise SessionNotFoundError(f"session {name} has no spec to run", hint="safeloop spec")
    if any(row.kind == "close" and row.data["outcome"] != SUSPENDED for row in ledger.rows(name)):
        raise SettingError(f"session {name} has run and is closed: a spec is run once", hint=f"safeloop review {name}")
    return found


def _task(task: str | None, task_file: str | None) -> str:
    if (task is None) == (task_file is None):
        raise SettingError("run takes --task TEXT or --task-file FILE, one of them", hint="safeloop run --help")
    text = _task_from(str(task_file)) if task is None else task
    if not text.strip():
        raise SettingError("the task is empty, and an answer to nothing costs as much", hint="safeloop run --help")
    return text


def _no_task(task: str | None, task_file: str | None) -> str:
    if task is not None or task_file is not None:
        raise SettingError("a session that continues another has its task", hint="safeloop run --continue SESSION")
    return ""


def _task_from(task_file: str) -> str:
    try:
        data = _read_task(task_file)
    except OSError as error:
        hint = f"ls -l {task_file}"
        raise SettingError(f"task file {task_file} cannot be read: {error.strerror}", hint=hint) from None
    if len(data) > MOST_TASK_BYTES:
        hint = "put it into a --workspace instead"
        raise SettingError(f"task file {task_file} is larger than {MOST_TASK_BYTES:,} bytes", hint=hint)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingError(
            f"task file {task_file} is not UTF-8 text (byte {error.start})", hint="put it into a --workspace instead"
        ) from None


def _read_task(task_file: str) -> bytes:
    if task_file == "-":
        return sys.stdin.buffer.read(MOST_TASK_BYTES + 1)
    with Path(task_file).open("rb") as file:
        return file.read(MOST_TASK_BYTES + 1)


def max_wait_of(desk: Desk) -> float:
    """Return how long a turn may wait, in seconds."""
    value = desk.settings.get("max_wait")
    if not 0 <= value.value <= LONGEST_MAX_WAIT_S:
        raise SettingError(f"{value.origin}: max_wait must be from 0 to {LONGEST_MAX_WAIT_S:.0f} seconds",
                           hint="safeloop config")
    return float(value.value)


def remind_every_of(desk: Desk) -> int:
    """Return after how many replies the promise is put before the model again; 0 is never."""
    value = desk.settings.get("remind_every")
    if not 0 <= value.value <= MAX_INTEGER:
        raise SettingError(f"{value.origin}: remind_every must be from 0 to {MAX_INTEGER}", hint="safeloop config")
    return int(value.value)


def max_tokens_of(desk: Desk) -> int:
    """Return the tokens wanted of each reply."""
    value = desk.settings.get("max_tokens")
    if not 1 <= value.value <= MAX_INTEGER:
        raise SettingError(f"{value.origin}: max_tokens must be from 1 to {MAX_INTEGER}", hint="safeloop config")
    return int(value.value)


def _parent(desk: Desk, typed: str | None) -> str | None:
    if typed is None:
        return None
    with desk.read_ledger() as reader:
        return resolve(reader, typed)
