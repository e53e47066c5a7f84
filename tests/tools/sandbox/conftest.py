"""A sandbox that holds on this machine, or a skip that says why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeloop.tools.sandbox import Bubblewrap, Docker, Execution, Limits, Places, Sandbox, fault_of
from safeloop.tools.sandbox.docker import IMAGE
from safeloop.tools.sandbox.finding import _candidates

SMALL = Limits(
    time_s=10.0, memory_bytes=256 << 20, processes=40, temporary_bytes=8_000_000, file_bytes=5_000_000,
    disk_bytes=1_000_000_000, output_bytes=4_000,
)


class Inside:
    """Runs programs in one sandbox, with a workspace and a staging folder of their own."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder
        self.places = Places(folder / "staging", folder / "workspace")
        self.places.staging.mkdir()
        assert self.places.workspace is not None
        self.places.workspace.mkdir(mode=0o755)
        self.workspace: Path = self.places.workspace

    def python(self, code: str, limits: Limits = SMALL) -> Execution:
        return self.sandbox.run(("python3", "-B", "-"), code.encode(), self.places, limits)

    def command(self, *command: str, limits: Limits = SMALL, stdin: bytes = b"") -> Execution:
        return self.sandbox.run(command, stdin, self.places, limits)


def sandbox_or_skip(name: str) -> Sandbox:
    for (sandbox, reason), known in zip(_candidates(IMAGE), ("bwrap", "docker"), strict=True):
        if known == name:
            fault = reason if sandbox is None else fault_of(sandbox)
            if sandbox is None or fault is not None:
                pytest.skip(f"no {name} here: {fault}")
            assert isinstance(sandbox, Bubblewrap | Docker)
            return sandbox
    raise AssertionError(name)


@pytest.fixture(params=["bwrap", "docker"])
def inside(request: pytest.FixtureRequest, tmp_path: Path) -> Inside:
    return Inside(sandbox_or_skip(request.param), tmp_path)
