"""The sandboxes there are, and the one that this machine has."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from safeloop.errors import SettingError
from safeloop.tools.sandbox.bwrap import SEARCHED, Bubblewrap, missing_programs
from safeloop.tools.sandbox.cgroup import own_parent
from safeloop.tools.sandbox.docker import IMAGE, Docker
from safeloop.tools.sandbox.probe import fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeloop.tools.sandbox.backend import Sandbox


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
