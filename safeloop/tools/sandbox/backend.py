"""What a sandbox is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeloop.tools.sandbox.limits import Environment, Execution, Limits, Places


class Sandbox(Protocol):
    """Where code of a model runs; two sandboxes that compare equal are the same, so that a probe's answer holds."""

    @property
    def name(self) -> str:
        """How it is called."""

    def run(
        self, command: Sequence[str], stdin: bytes, places: Places, limits: Limits, environment: Environment = ()
    ) -> Execution:
        """Run a program to its end, or end it and everything that it started.

        Args:
            command: The program, looked for inside, and its arguments.
            stdin: What it reads, then end of file.
            places: The host's folders that it sees, and no others.
            limits: What it may use.
            environment: Variables, with their values, beside those that every program has.

        Raises:
            ToolError: The sandbox could not be made; the program has not run.
        """

    def __hash__(self) -> int:
        """A probe's answer is kept under it."""
