"""`resume`: a session goes on where it stopped; with --all, every one that can."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from safeloop.breaker import CircuitBreaker
from safeloop.cli.approver import approvals_of
from safeloop.cli.ceilings import operator_prices
from safeloop.cli.clients import client_for
from safeloop.cli.options import Desk, common
from safeloop.cli.outcomes import code_of, facts_of, report, words_of
from safeloop.cli.programs import ending_words
from safeloop.cli.progress import Progress
from safeloop.cli.running import max_tokens_of, max_wait_of, remind_every_of
from safeloop.cli.sessions import resolve, short
from safeloop.cli.tooling import tools_in
from safeloop.errors import (
    ExitCode,
    LedgerLocked,
    NotALoop,
    SafeloopError,
    SessionClosed,
    SettingError,
    Suspended,
)
from safeloop.ledger import Ledger
from safeloop.ledger.upkeep.limiting import limits_row
from safeloop.loop import AgentLoop, LeftBehind, LoopResult, left_behind
from safeloop.loop.lock import is_session_live
from safeloop.loop.opening import led_by_programs
from safeloop.review.inbox import Item, State, waiting
from safeloop.spec.suspension import Cause, suspension_of
from safeloop.tools.sandbox import check_runner

# From what needs a look at once to what needs none: the exit code of many sessions is the first that one of them has.
_GRAVEST = (
    ExitCode.UNEXPECTED, ExitCode.UNUSABLE, ExitCode.VERIFICATION_FAILED, ExitCode.USAGE, ExitCode.FAILED,
    ExitCode.BREACH, ExitCode.UNMET, ExitCode.SUSPENDED,
)
_PAUSED = (State.SUSPENDED, State.APPROVAL, State.OPEN)
_PROGRAM = "program"  # skipped: none of ours can go on with it


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of one session.

    Attributes:
        action: `resumed`, `running`, `ended`, `waiting`, `person`, `program` or `error`.
        words: In one line.
        code: 0 where nothing is wrong: also where it is not its time yet.
        facts: The same as an object.
    """

    session: str
    action: str
    words: str
    code: int
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A session that may go on.

    Attributes:
        is_led: By a program, and not by a loop.
        has_new_limits: The ledger's limits were written since it was suspended: what is left may be more.
    """

    item: Item
    is_led: bool
    has_new_limits: bool


@click.command()
@click.argument("session", required=False)
@click.option("--all", "every", is_flag=True, help="Every session that can go on now: for cron.")
@click.option("--rerun", metavar="CALL", help="Run a call again that may have run.")
@click.option("--skip", metavar="CALL", help="Pass over a call that may have run; the model is told.")
@click.option("--tools", "own_tools", metavar="MODULE:NAME", help="Tools of your own, those that it was opened with.")
@click.option("--script", type=click.Path(path_type=Path), help="Play the rest of a JSON file; no model is asked.")
@click.option("--base-url", metavar="URL", help="The OpenAI-compatible server that it was asked at.")
@click.option("--prices", metavar="FILE", help="Your own prices, before the published ones: safeloop help settings.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Tokens wanted of each reply.")
@click.option("--remind-every", type=click.IntRange(min=0), help="Replies until the model is told the promise again.")
@click.option("--max-wait", type=click.IntRange(min=0), help="Seconds that a turn may wait before it is suspended.")
@common(quiet=True)
def resume(
    desk: Desk, session: str | None, every: bool, rerun: str | None, skip: str | None, script: Path | None,
    own_tools: str | None,
) -> int:
    """Go on with a session that was suspended, or whose process is gone.

    What was paid is not paid again, and what ran is not run again. The session goes on with the model, the tools and
    the ceilings that it was opened with.
    """
    if (session is None) != every:
        raise SettingError("resume takes a SESSION or --all, one of them", hint="safeloop inbox")
    if rerun is not None and skip is not None:
        raise SettingError("a call is run again or passed over, not both", hint="safeloop resume --help")
    if every and (rerun is not None or skip is not None):
        raise SettingError("--rerun and --skip are about one SESSION", hint="safeloop resume --help")
    with desk.read_ledger() as reader:
        items = tuple(item for item in waiting(reader) if item.state in _PAUSED) if every else ()
        led = led_by_programs(reader, (item.session for item in items))
        limited = limits_row(reader)
        name = "" if session is None else resolve(reader, session)
    with contextlib.closing(desk.open_ledger()) as ledger:
        if every:
            candidates = [_Candidate(item, item.session in led, item.row < limited) for item in items]
            return _all(desk, ledger, candidates, script, own_tools)
        return report(desk, _resumed(desk, ledger, name, script, own_tools, rerun=rerun, skip=skip))


def _resumed(
    desk: Desk, ledger: Ledger, session: str, script: Path | None, own_tools: str | None, *, rerun: str | None = None,
    skip: str | None = None, may_ask: bool = True,
) -> LoopResult:
    left = left_behind(ledger, session)
    client, model = _client(desk, left, script)
    progress = Progress(desk.screen)
    with tools_in(
        desk.settings, left.workspace, ledger, left.spec.tools, own_tools, opened_with=left.tools
    ) as tools:
        loop = AgentLoop(
            left.spec, CircuitBreaker.of(left.ceilings, output_fn=progress.alarm), ledger, client, model,
            max_tokens_of(desk), tools=tools, workspace=left.workspace, on_event=progress.tell,
            run_check=check_runner(left.spec.criteria, left.workspace),
            max_wait_s=max_wait_of(desk), prices=operator_prices(desk.settings), dry_run=left.is_dry_run,
            remind_every=remind_every_of(desk), approvals=approvals_of(desk, may_ask=may_ask),
        )
        return loop.resume(rerun=rerun, skip=skip)


def _client(desk: Desk, left: LeftBehind, script: Path | None) -> tuple[object, str]:
    try:
        return client_for(desk.settings, script, desk.screen.note, model=left.model, played=left.requests)
    except SettingError as error:
        if not left.endpoint.startswith("http"):  # a script, or what needs no server
            raise
        asked = f"it asked {left.model} at {left.endpoint}: with the same --base-url, or ANTHROPIC_BASE_URL"
        raise SettingError(error.message, hint=f"{error.hint}; {asked}") from None


def _all(
    desk: Desk, ledger: Ledger, candidates: Sequence[_Candidate], script: Path | None, own_tools: str | None
) -> int:
    taken, names = [], tuple(each.item.session for each in candidates)
    for each in candidates:
        one = _take(each, ledger, lambda name: _resumed(desk, ledger, name, script, own_tools, may_ask=False))
        taken.append(one)
        if not desk.screen.as_json and one.action != _PROGRAM:
            line = f"{short(one.session, names)}  {one.words}"
            desk.screen.alarm(line) if one.code else desk.screen.result(line)
    code = next((code for code in _GRAVEST if any(one.code == code for one in taken)), ExitCode.DONE)
    skipped = ending_words([one.session for one in taken if one.action == _PROGRAM], names)
    if desk.screen.as_json:
        desk.screen.result("", {"sessions": [one.facts for one in taken], "exit_code": int(code)})
    elif skipped or not taken:
        desk.screen.result(skipped or "nothing is suspended")
    return code


def _take(candidate: _Candidate, ledger: Ledger, go_on: Callable[[str], LoopResult]) -> Taken:
    """Go on with one session if its time has come; its failure must not keep the others waiting."""
    left, name = _left_alone(candidate, ledger), candidate.item.session
    if left is not None:
        return left
    try:
        result = go_on(name)
    except LedgerLocked:
        return _taken(name, "running", "runs in another process")
    except SessionClosed:
        return _taken(name, "ended", "was ended by another process meanwhile")
    except NotALoop as error:
        return _taken(name, _PROGRAM, "is led by a program", reason=str(error))
    except Suspended as error:
        return _taken(name, "person", f"{error}; {error.hint}", reason=str(error))
    except SafeloopError as error:
        return _taken(name, "error", f"error: {error}", error.exit_code, reason=str(error), hint=error.hint)
    except Exception as error:  # noqa: BLE001 - told, with its exit code
        said = str(error) or type(error).__name__
        return _taken(name, "error", f"error: {said}", ExitCode.UNEXPECTED, reason=said)
    facts = {key: value for key, value in facts_of(result).items() if key != "session"}
    return _taken(name, "resumed", words_of(result), code_of(result), **facts)


def _left_alone(candidate: _Candidate, ledger: Ledger) -> Taken | None:
    """Say why a session is not to be gone on with now; None if it is."""
    item = candidate.item
    name, suspension = item.session, suspension_of(item.reason)
    if is_session_live(ledger.db_path, name):
        return _taken(name, "running", "runs in another process")
    if candidate.is_led:
        return _taken(name, _PROGRAM, "is led by a program")
    if candidate.has_new_limits and suspension.cause is Cause.WINDOW:
        return None
    if suspension.cause is Cause.APPROVAL and item.state is State.SUSPENDED:
        return None  # somebody has decided
    if item.state is State.APPROVAL or (item.state is State.SUSPENDED and not suspension.is_over(datetime.now(UTC))):
        action = "person" if item.state is State.APPROVAL or suspension.needs_person else "waiting"
        return _taken(name, action, f"waits ({item.reason})", reason=item.reason)
    return None


def _taken(session: str, action: str, words: str, code: int = ExitCode.DONE, **facts: Any) -> Taken:
    return Taken(session, action, words, code, {"session": session, "action": action, **facts, "exit_code": int(code)})
