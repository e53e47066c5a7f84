"""The sandboxes there are, and the one that this machine has."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from safeloop.errors import SettingError
from safeloop.tools.sandbox.bwrap import SEARCHED, Bubblewrap, missing_programs
from safeloop.tools.sandbox.cgroup import own_parent
from safeloop.tools.sandbox.docker import IMAGE, Docker
from safeloop.tools.sandbox.probe import fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


class SandboxMissing(SettingError):
    """No sandbox holds on this machine, so no code of a model runs here."""


def find_sandbox(image: str = IMAGE) -> Sandbox:
    """Return the first sandbox that passes its probe here: bubblewrap, then Docker.

    Args:
        image: For Docker; never pulled.

    Raises:
        SandboxMissing: None does; the message says of each why not, the hint what to install.
    """
    reasons: list[str] = []
    for sandbox, reason in _candidates(image):
        fault = fault_of(sandbox) if sandbox is not None else reason
        if sandbox is not None and fault is None:
            return sandbox
        reasons.append(f"{'docker' if reasons else 'bwrap'}: {fault}")
    raise SandboxMissing(
        f"code cannot be run here, because no sandbox holds on this machine: {'; '.join(reasons)}",
        hint=f"apt-get install bubblewrap util-linux python3; or start Docker, and: docker pull {image}",
    )


def _candidates(image: str) -> Iterator[tuple[Sandbox | None, str]]:
    missing = missing_programs()
    yield (None, f"not in {SEARCHED}: {', '.join(missing)}") if missing else (Bubblewrap(own_parent()), "")
    docker = shutil.which("docker", path=SEARCHED)
    yield (None, f"not in {SEARCHED}") if docker is None else (Docker(Path(docker), image), "")
