"""How a run ended, in words, as one object, and as an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safeloop.cli.options import Desk
from safeloop.cli.words import plural
from safeloop.errors import ExitCode
from safeloop.loop import LoopResult
from safeloop.spec import Reason
from safeloop.spec.dry_run import reason_of
from safeloop.spec.suspension import suspension_of
from safeloop.spec.units import usd_text

CODES: Mapping[str, ExitCode] = {
    "completed": ExitCode.DONE, "breached": ExitCode.BREACH, "unmet": ExitCode.UNMET, "failed": ExitCode.FAILED,
    "refused": ExitCode.FAILED, "suspended": ExitCode.SUSPENDED,
}

_ASKED_BEFORE = (Reason.TURNS, Reason.TOKENS, Reason.COST)  # the others may end what has begun


def facts_of(result: LoopResult) -> dict[str, Any]:
    """Return a result as one object."""
    return {
        "session": result.session_id, "outcome": result.outcome, "reason": result.reason, "turns": result.answered,
        "total_tokens": result.total_tokens, "cost_microusd": result.cost_microusd, "overruns": result.overruns,
        "breach_reason": result.breach_reason, "dry_run": result.is_dry_run,
        "exit_code": int(code_of(result)), "next": next_of(result),
    }


def code_of(result: LoopResult) -> ExitCode:
    """Return the exit code of a run; a dry run has done what it was asked for where its loop came to its own end."""
    if result.is_dry_run and result.breach_reason is not None:
        return ExitCode.BREACH
    if result.is_dry_run and result.reason == reason_of("completed"):
        return ExitCode.DONE
    return CODES[result.outcome]


def words_of(result: LoopResult) -> str:
    """Say how a run ended, in one line."""
    turns = plural(result.answered, "turn")
    spent = f"{turns}, {result.total_tokens:,} tokens"
    if result.cost_microusd:
        spent += f", {usd_text(result.cost_microusd)}"
    stopped = "stopped before the call" if result.breach_reason in _ASKED_BEFORE else f"stopped by {result.reason}"
    if result.is_dry_run and result.outcome == "failed":
        return f"{result.reason}; {spent}; nothing was written or destroyed, nothing can be released"
    said = {
        "completed": f"completed; {spent}; awaits review",
        "breached": f"{stopped}; {turns} recorded; nothing released",
        "unmet": f"ended with criteria unmet; {spent}",
    }
    return said.get(result.outcome, f"{result.outcome}: {result.reason}; {turns} recorded; nothing released")


def next_of(result: LoopResult) -> str:
    """Return the command that comes next."""
    if result.outcome != "suspended":
        return f"safeloop review {result.session_id}"
    call = suspension_of(result.reason).call
    return f"safeloop resume {result.session_id}" if call is None else f"safeloop approve {call}"


def _also(result: LoopResult) -> str:
    """Return what can be done besides; what was only rehearsed cannot be gone on with."""
    if result.breach_reason is None or result.is_dry_run:
        return ""
    return f", or go on in another session: safeloop run --continue {result.session_id}"


def report(desk: Desk, result: LoopResult) -> int:
    """Show how a run ended, and return its exit code; what is not done is told even where it is to be quiet."""
    code, line = code_of(result), f"session {result.session_id}: {words_of(result)}"
    if code == ExitCode.DONE or desk.screen.as_json:
        desk.screen.result(line, facts_of(result))
    else:
        desk.screen.alarm(line)
    if result.overruns:
        desk.screen.alarm(
            f"warning: {plural(result.overruns, 'turn')} billed more than was reserved: a ceiling may be passed, "
            f"see safeloop review {result.session_id}"
        )
    if not desk.screen.as_json:
        say = desk.screen.note if code == ExitCode.DONE else desk.screen.alarm
        say(f"hint: {next_of(result)}{_also(result)}")
    return code
