"""Criteria that run a program: the runner they are given, and its answer. What runs it is in another room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.errors import SpecError
from safeloop.spec.criteria import COMMAND, JSON_SCHEMA
from safeloop.spec.schema import require_validator
from safeloop.spec.wording import quoted

if TYPE_CHECKING:
    from safeloop.spec.criteria import Criterion


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program said of the staged files.

    Args:
        passed: It ended by itself, with exit status 0.
        said: How it ended, and what it wrote; nothing unseen in it, about 1,000 characters.
    """

    passed: bool
    said: str


Run = Callable[[tuple[str, ...], Mapping[str, bytes]], Ran]
"""Runs a command over files, given by name, in a sandbox; it never raises for what they do to it."""


def require_checkable(criteria: Iterable[Criterion], run: Run | None) -> None:
    """Check that every criterion can be checked here; to be asked before anything is spent on the work.

    Args:
        criteria: Of one spec.
        run: The runner that the checks will have.

    Raises:
        SpecError: A criterion needs a sandbox and there is none, needs a package that is not installed, or has a
            schema that is none.
    """
    for criterion in criteria:
        where = f"criterion {quoted(criterion.name)}"
        if criterion.kind == COMMAND and run is None:
            raise SpecError(
                f"{where} runs a command, and no sandbox was given to run it in", hint="safeloop help tools"
            )
        if criterion.kind == JSON_SCHEMA:
            require_validator(criterion.schema or "", where)
