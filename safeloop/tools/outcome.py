"""What comes of a call: a plan, the need for approval, a refusal, or an outcome; and what may be said about a failure.

An error's text is JSON, `{"error": {"class", "message", ...}, "tool": name}`: what a model can act on,
without a traceback. Of an exception the model and the ledger are told:

- safeloop's own (`ToolError`, `ContainmentError`, ...): class and message, which were written to be read;
- `OSError`: class and the system's words for its number, never the path;
- any other: the class only. Its message may hold a key, a URL with a password, or a path. A tool that wants
  to be understood raises `ToolError`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeloop.errors import SafeloopError
from safeloop.ledger.visible import visible
from safeloop.tools.clean import clean, unseen_made_visible

if TYPE_CHECKING:
    from safeloop.tools.permission import Permission
    from safeloop.tools.registry import Tool

_MESSAGE_LIMIT = 1_000  # characters


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What came of one call.

    Args:
        tool: The name that was asked for, already through `visible`: it fits into a row.
        permission: The tool's; `DESTRUCTIVE` where there is no such tool.
        result: The text for the model, and the content of the `tool` row.
        passed: True if the tool ran and returned something that can be shown.
        error: None if passed; else `class`, short enough for a row, and `message`, which is content: up to
            about 1,000 characters, all of them visible.
        execution_time_ms: Milliseconds in the handler; 0 if it did not run.
    """

    tool: str
    permission: Permission
    result: str
    passed: bool
    error: dict[str, str] | None
    execution_time_ms: int


@dataclass(frozen=True, slots=True)
class Planned:
    """A call that may run: it is known, it fits, and it is allowed.

    Args:
        tool: The tool.
        keywords: What its handler is called with, read from the model's arguments; a copy.
    """

    tool: Tool
    keywords: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """A call that may run once a person has approved it: it is known, it fits, it is allowed, and it destroys.

    Args:
        tool: The tool.
        keywords: As in `Planned`.
    """

    tool: Tool
    keywords: dict[str, Any]

    def approved(self) -> Planned:
        """Return the plan of running it: for whoever has seen the approval."""
        return Planned(self.tool, self.keywords)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that does not run; the outcome says why, to the model and to the `tool` row."""

    outcome: ToolOutcome


def refused(tool: str, permission: Permission, class_: str, message: str, **facts: Any) -> Refusal:
    """Say that a call does not run.

    Args:
        tool: The name that was asked for, through `visible`.
        permission: As in `ToolOutcome`.
        class_: A short stable name for the reason.
        message: One sentence.
        facts: What else the model needs, as JSON values: the tools that exist, the parameters that fit.
    """
    return Refusal(_error_outcome(tool, permission, class_, message, 0, facts))


def failed(tool: Tool, error: Exception, elapsed_ms: int) -> ToolOutcome:
    """Say that a tool raised, without more of the exception than may be told."""
    class_ = visible(type(error).__name__)
    return _error_outcome(tool.name, tool.permission, class_, _told(error), elapsed_ms, {})


def _told(error: Exception) -> str:
    """Choose what may be said about an exception; the module's first lines say why."""
    if isinstance(error, SafeloopError):
        return error.message
    if isinstance(error, OSError) and error.errno is not None:
        return f"the tool failed: {os.strerror(error.errno).lower()}"
    return "the tool failed; the exception's own text is withheld, because it may hold secrets"


def _error_outcome(
    tool: str, permission: Permission, class_: str, message: str, elapsed_ms: int, facts: dict[str, Any]
) -> ToolOutcome:
    error = {"class": class_, "message": clean(message, limit=_MESSAGE_LIMIT).text}
    result = json.dumps({"error": {**error, **facts}, "tool": tool}, ensure_ascii=False)
    return ToolOutcome(
        tool, permission, unseen_made_visible(result), passed=False, error=error, execution_time_ms=elapsed_ms
    )
