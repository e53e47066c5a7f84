"""How a run ended, in words, as one object, and as an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safeloop.cli.options import Desk
from safeloop.cli.words import plural
from safeloop.errors import ExitCode
from safeloop.loop import LoopResult

CODES: Mapping[str, ExitCode] = {
    "completed": ExitCode.DONE, "breached": ExitCode.BREACH, "unmet": ExitCode.UNMET, "failed": ExitCode.FAILED,
    "refused": ExitCode.FAILED, "suspended": ExitCode.SUSPENDED,
}


def facts_of(result: LoopResult) -> dict[str, Any]:
    """Return a result as one object."""
    return {
        "session": result.session_id, "outcome": result.outcome, "reason": result.reason, "turns": result.turns,
        "total_tokens": result.total_tokens, "breach_reason": result.breach_reason,
        "exit_code": int(CODES[result.outcome]), "next": next_of(result),
    }


def words_of(result: LoopResult) -> str:
    """Say how a run ended, in one line."""
    recorded = result.turns - 1 if result.breach_reason else result.turns
    said = {
        "completed": f"completed; {plural(recorded, 'turn')}, {result.total_tokens:,} tokens; awaits review",
        "breached": f"stopped before the call; {plural(recorded, 'turn')} recorded; nothing released",
        "unmet": f"ended with criteria unmet; {plural(recorded, 'turn')}, {result.total_tokens:,} tokens",
    }
    other = f"{result.outcome}: {result.reason}; {plural(recorded, 'turn')} recorded; nothing released"
    return said.get(result.outcome, other)


def next_of(result: LoopResult) -> str:
    """Return the command that comes next."""
    verb = "resume" if result.outcome == "suspended" else "review"
    return f"safeloop {verb} {result.session_id}"


def report(desk: Desk, result: LoopResult) -> int:
    """Show how a run ended, and return its exit code; what is not done is told even where it is to be quiet."""
    code, line = CODES[result.outcome], f"session {result.session_id}: {words_of(result)}"
    if code == ExitCode.DONE or desk.screen.as_json:
        desk.screen.result(line, facts_of(result))
    else:
        desk.screen.alarm(line)
    if not desk.screen.as_json:
        say = desk.screen.note if code == ExitCode.DONE else desk.screen.alarm
        say(f"hint: {next_of(result)}")
    return code
