"""The built-in tools that run code: what a model sees of a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeloop.tools.clean import ToolError
from safeloop.tools.permission import Permission
from safeloop.tools.registry import ToolRegistry
from safeloop.tools.sandbox.folders import leftovers
from safeloop.tools.sandbox.limits import STAGING, WORKSPACE, Ended, Limits, Places

if TYPE_CHECKING:
    from pathlib import Path

    from safeloop.tools.sandbox.backend import Sandbox
    from safeloop.tools.sandbox.limits import Execution

MOST_CODE_BYTES = 1_000_000
MOST_ARGUMENT_BYTES = 100_000  # of all arguments; Linux takes 131,072 in one
_MARGIN_S = 30.0  # for the sandbox to be made, and to be gone


def code_tools(
    sandbox: Sandbox, workspace: Path | None, staging: Path, *, limits: Limits | None = None
) -> ToolRegistry:
    """Make the tools `run_python` and `run_command`.

    Args:
        sandbox: From `find_sandbox`.
        workspace: What programs read, at `/workspace`; None means that there is none.
        staging: What programs write, at `/staging`, where they start.
        limits: What each program may use.
    """
    places, most = Places(staging, workspace), limits or Limits()
    registry = ToolRegistry()

    def run_python(code: str) -> dict[str, Any]:
        source = _encoded(code)
        if len(source) > MOST_CODE_BYTES:
            raise ToolError(f"the code has {len(source)} bytes, more than {MOST_CODE_BYTES}: put it into a file")
        return told(sandbox.run(("python3", "-B", "-"), source, places, most), staging)

    def run_command(command: list[str]) -> dict[str, Any]:
        return told(sandbox.run(checked_command(command), b"", places, most), staging)

    fence = (
        f"The folder {WORKSPACE} can only be read; the working folder {STAGING} is the staging folder. "
        f"There is no network. At most {most.time_s:g} seconds, {most.memory_bytes >> 20} MiB of memory, "
        f"{most.processes} processes."
    )
    for name, said, key, schema, handler in (
        ("run_python", "Run Python 3 code in a sandbox.", "code", {"type": "string"}, run_python),
        ("run_command", "Run a program in a sandbox, without a shell.", "command",
         {"type": "array", "items": {"type": "string"}, "description": "The program and its arguments."}, run_command),
    ):
        registry.register(
            name=name, description=f"{said} {fence}",
            parameters={
                "type": "object", "properties": {key: schema}, "required": [key], "additionalProperties": False
            },
            handler=handler, permission=Permission.DESTRUCTIVE, time_limit_s=most.time_s + _MARGIN_S,
        )
    return registry


def checked_command(command: object) -> tuple[str, ...]:
    """Take a program and its arguments as the system can take them.

    Raises:
        ToolError: It is not a list of texts, empty, holds NUL, or is too long.
    """
    if not isinstance(command, list | tuple) or not command or not all(isinstance(word, str) for word in command):
        raise ToolError("the command must be a list of texts, the program first")
    encoded = [_encoded(word) for word in command]
    if not encoded[0] or any(b"\0" in word for word in encoded):
        raise ToolError("the command names no program, or holds NUL")
    if sum(map(len, encoded)) > MOST_ARGUMENT_BYTES:
        raise ToolError(f"the command has more than {MOST_ARGUMENT_BYTES} bytes: put them into a file")
    return tuple(command)


def told(execution: Execution, staging: Path) -> dict[str, Any]:
    """Say what came of a program, for the model to read: only the keys that say something."""
    said: dict[str, Any] = {"exit_status": execution.exit_status}
    if execution.ended is not Ended.EXITED:
        said["ended"] = execution.ended.value
    if execution.signal is not None:
        said["signal"] = execution.signal
    said["stdout"] = execution.stdout.decode("utf-8", "replace")
    said["stderr"] = execution.stderr.decode("utf-8", "replace")
    for key, count in (("stdout", execution.stdout_left_out), ("stderr", execution.stderr_left_out)):
        if count:
            said[f"{key}_left_out"] = f"{count} bytes"
    found = leftovers(staging)
    if found:
        said["staging"] = {"cannot_be_handed_out": list(found), "hint": "remove these, or the session fails"}
    return said


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ToolError("the text holds a lone surrogate, which no program can read") from None
