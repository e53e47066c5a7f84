"""Criteria that run a command: run in a sandbox, over exactly the bytes that are committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeloop.spec import Ran, Run
from safeloop.tools.clean import ToolError, Verbatim, clean
from safeloop.tools.removing import temporary_folder
from safeloop.tools.sandbox.finding import find_sandbox
from safeloop.tools.sandbox.limits import Ended, Execution, Limits, Places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from safeloop.spec import Criterion
    from safeloop.tools.sandbox.backend import Sandbox

CHECK_LIMITS = Limits(time_s=60.0)
_TOLD = 1_000  # characters of what a program wrote
# What is judged does not judge: `python3 -m json.tool` is Python's own (from 3.11 on), whatever is staged as json.
_ENVIRONMENT = (("PYTHONSAFEPATH", "1"),)


def check_runner(criteria: Iterable[Criterion], workspace: Path | None) -> Run | None:
    """Return what runs the commands of criteria, or None if no criterion has one.

    Args:
        criteria: Of the spec that is to be run.
        workspace: What the commands can read, at `/workspace`.

    Raises:
        SandboxMissing: There is a command, and no sandbox holds on this machine.
    """
    if all(criterion.command is None for criterion in criteria):
        return None
    return runner_in(find_sandbox(), workspace)


def runner_in(sandbox: Sandbox, workspace: Path | None, limits: Limits = CHECK_LIMITS) -> Run:
    """Return what runs commands over files, each time in a folder of its own, which is `/staging` inside.

    Nothing that a command writes is kept: what is judged is what was staged, and nothing else is handed out.

    Args:
        sandbox: Where they run.
        workspace: What they can read, at `/workspace`.
        limits: What each may use.
    """

    def run(command: tuple[str, ...], files: Mapping[str, bytes]) -> Ran:
        try:
            with temporary_folder("safeloop-check-") as made:
                staging = made / "staging"
                staging.mkdir()
                for name, data in files.items():
                    path = staging / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
                return _judged(sandbox.run(command, b"", Places(staging, workspace), limits, _ENVIRONMENT))
        except (ToolError, OSError) as error:
            return Ran(passed=False, said=_told(f"it could not be run: {error}"))

    return run


def _judged(execution: Execution) -> Ran:
    how = f"exit status {execution.exit_status}" if execution.ended is Ended.EXITED else execution.ended.value
    wrote = (execution.stderr.strip() or execution.stdout.strip()).decode("utf-8", "replace")
    passed = execution.ended is Ended.EXITED and execution.exit_status == 0
    return Ran(passed, f"{how}: {_told(wrote)}" if wrote else how)


def _told(text: str) -> str:
    # Backslashes as they are: whoever shows it to a person escapes it then.
    return clean(Verbatim(text), limit=_TOLD).text
