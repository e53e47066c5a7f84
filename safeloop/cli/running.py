"""`run` and `close`: a spec inside its ceilings, and the end of what cannot go on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from safeloop.breaker import CircuitBreaker
from safeloop.cli.clients import client_for
from safeloop.cli.options import Desk, common
from safeloop.cli.progress import Progress
from safeloop.cli.sessions import resolve
from safeloop.cli.starting import warn_of
from safeloop.cli.words import plural
from safeloop.errors import ExitCode, LedgerLocked, SessionNotFoundError, SettingError
from safeloop.ledger import Ledger
from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.loop import AgentLoop, LoopResult, abandon_session
from safeloop.loop.lock import held
from safeloop.loop.place import check_workspace, job_lock_path, lock_path
from safeloop.spec import Ceilings, SpecDraft, SpecResult, load, read_spec_file, record
from safeloop.tools import ContainmentError, Root, ToolRegistry, file_tools

MOST_TASK_BYTES = 10_000_000
LONGEST_WAIT_S = 24 * 3600.0

_CODES = {
    "completed": ExitCode.DONE, "breached": ExitCode.BREACH, "unmet": ExitCode.UNMET, "failed": ExitCode.FAILED,
    "refused": ExitCode.FAILED, "suspended": ExitCode.SUSPENDED,
}


@click.command()
@click.argument("session", required=False)
@click.option("--spec-file", type=click.Path(path_type=Path), help="Record this spec and run it: one session a run.")
@click.option("--task", help="The task, as text.")
@click.option("--task-file", metavar="FILE", help="The task, from a file; - is standard input.")
@click.option("--workspace", type=click.Path(path_type=Path), help="A folder that the tools may read.")
@click.option("--model", help="The model to ask; offline-auditor asks none.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible server to ask: safeloop help models.")
@click.option("--script", type=click.Path(path_type=Path), help="Play the replies of a JSON file; no model is asked.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Tokens wanted of each reply.")
@click.option("--turns", type=click.IntRange(min=0), help="Turn ceiling, inclusive; the spec's own may be tighter.")
@click.option("--tokens", type=click.IntRange(min=0), help="Token ceiling, inclusive; the spec's own may be tighter.")
@click.option(
    "--on-overlap", type=click.Choice(["skip", "wait", "fail"]), default="fail", show_default=True,
    help="What to do while another run of the same job goes on.",
)
@click.option("--strict", is_flag=True, help="Refuse a spec that draws a warning.")
@common(quiet=True)
def run(
    desk: Desk, session: str | None, spec_file: Path | None, task: str | None, task_file: str | None,
    workspace: Path | None, script: Path | None, on_overlap: str, strict: bool,
) -> int:
    """Run a spec once, inside its ceilings: SESSION, or a new session of --spec-file.

    Every step is a row before the next one. What the run writes is staged, and stays staged until a person has
    accepted the frame.
    """
    if (session is None) == (spec_file is None):
        raise SettingError("run takes a SESSION or --spec-file, one of them", hint="safeloop run --help")
    text = _task(task, task_file)
    with contextlib.ExitStack() as stack:
        job = str(spec_file) if spec_file is not None else None
        if job is not None and not _take_job(desk, job, on_overlap, stack):
            return ExitCode.DONE
        ledger = stack.enter_context(contextlib.closing(desk.open_ledger()))
        # All that can be refused comes first: a new session is recorded only if it is then run.
        promised = _promised(desk, ledger, session, spec_file, strict=strict)
        client, model = client_for(desk.settings, script, desk.screen.note)
        tools = stack.enter_context(_tools(workspace, ledger))
        progress, wanted = Progress(desk.screen), _max_tokens(desk)
        breaker = _breaker(desk, promised.ceilings, progress)
        spec = promised if isinstance(promised, SpecResult) else record(ledger, promised)
        loop = AgentLoop(
            spec, breaker, ledger, client, model, wanted, tools=tools, workspace=workspace, on_event=progress.tell,
        )
        desk.screen.note(f"session {spec.session_id}")
        try:
            result = loop.run(text)
        except BaseException as error:
            error.add_note(f"session {spec.session_id}: what was done is recorded, see safeloop log {spec.session_id}")
            raise
    return _report(desk, result)


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
    if any(row.kind == "close" for row in ledger.rows(name)):
        raise SettingError(f"session {name} has run and is closed: a spec is run once", hint=f"safeloop review {name}")
    return found


def _task(task: str | None, task_file: str | None) -> str:
    if (task is None) == (task_file is None):
        raise SettingError("run takes --task TEXT or --task-file FILE, one of them", hint="safeloop run --help")
    text = _task_from(str(task_file)) if task is None else task
    if not text.strip():
        raise SettingError("the task is empty, and an answer to nothing costs as much", hint="safeloop run --help")
    return text


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


@contextlib.contextmanager
def _tools(workspace: Path | None, ledger: Ledger) -> Iterator[Callable[[Root], ToolRegistry]]:
    """Give the file tools of a run: they read the workspace, if there is one, and write to staging."""
    if workspace is None:
        yield lambda staging: file_tools(None, staging)
        return
    try:
        root = Root(workspace)
    except ContainmentError as error:
        raise SettingError(f"workspace {error}", hint="name a folder that the tools may read") from None
    with root:
        check_workspace(workspace, ledger)
        yield lambda staging: file_tools(root, staging)


def _max_tokens(desk: Desk) -> int:
    value = desk.settings.get("max_tokens")
    if not 1 <= value.value <= MAX_INTEGER:
        raise SettingError(f"{value.origin}: max_tokens must be from 1 to {MAX_INTEGER}", hint="safeloop config")
    return int(value.value)


def _breaker(desk: Desk, promised: Ceilings, progress: Progress) -> CircuitBreaker:
    ceilings = desk.settings.ceilings(promised)
    # The banner goes to stderr: stdout is the result.
    return CircuitBreaker(ceilings.turns or 0, ceilings.tokens or 0, output_fn=progress.alarm)


def _report(desk: Desk, result: LoopResult) -> int:
    code = _CODES[result.outcome]
    facts = {
        "session": result.session_id, "outcome": result.outcome, "reason": result.reason, "turns": result.turns,
        "total_tokens": result.total_tokens, "breach_reason": result.breach_reason, "exit_code": int(code),
        "next": f"safeloop review {result.session_id}",
    }
    recorded = result.turns - 1 if result.breach_reason else result.turns
    said = {
        "completed": f"completed; {plural(recorded, 'turn')}, {result.total_tokens:,} tokens; awaits review",
        "breached": f"stopped before the call; {plural(recorded, 'turn')} recorded; nothing released",
        "unmet": f"ended with criteria unmet; {plural(recorded, 'turn')}, {result.total_tokens:,} tokens",
    }.get(result.outcome, f"{result.outcome}: {result.reason}; {plural(recorded, 'turn')} recorded; nothing released")
    if code == ExitCode.DONE or desk.screen.as_json:
        desk.screen.result(f"session {result.session_id}: {said}", facts)
    else:
        desk.screen.alarm(f"session {result.session_id}: {said}")
    if not desk.screen.as_json:
        say = desk.screen.note if code == ExitCode.DONE else desk.screen.alarm
        say(f"hint: {facts['next']}")
    return code
