"""What a sandboxed program may use, and what came of it: values, the same for every backend."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

WORKSPACE, STAGING = "/workspace", "/staging"
"""Where a program finds its folders, wherever they are outside."""

Environment = tuple[tuple[str, str], ...]
"""Variables of a program, with their values."""

PROGRAM_USER = 65_533
"""User and group of a program that root starts: of the range that distributions give to nobody (65520 to 65533)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one program may use; every number is inclusive.

    Args:
        time_s: Seconds from start to end, waiting included.
        memory_bytes: Of all its processes together.
        processes: Processes and threads at one time, those of the sandbox itself included.
        cpus: Processors' worth of computing, where a cgroup or Docker holds it; else each process has `time_s` of one.
        temporary_bytes: Of `/tmp`, and again of `/dev/shm`; they are memory.
        file_bytes: Of any one file.
        disk_bytes: By which the staging folder's file system may shrink while it runs.
        open_files: Of each process.
        output_bytes: Kept of standard output, and again of standard error; the rest is counted and thrown away.
    """

    time_s: float = 30.0
    memory_bytes: int = 1 << 30
    processes: int = 64
    cpus: float = 1.0
    temporary_bytes: int = 64_000_000
    file_bytes: int = 100_000_000
    disk_bytes: int = 1_000_000_000
    open_files: int = 256
    output_bytes: int = 20_000


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of the host that a program sees, and no others.

    Args:
        staging: Read and written, at `STAGING`; the program starts there.
        workspace: Only read, at `WORKSPACE`; None means that there is none.
    """

    staging: Path
    workspace: Path | None = None

    def resolved(self) -> Places:
        """Return the same folders by their absolute names, links on the way followed once, now.

        Raises:
            OSError: One of them is not there.
        """
        workspace = None if self.workspace is None else self.workspace.resolve(strict=True)
        return Places(self.staging.resolve(strict=True), workspace)


class Ended(Enum):
    """Why a program is not running any more."""

    EXITED = "exited"
    TIME = "stopped: it took longer than its time limit"
    MEMORY = "stopped: it took more memory than its limit"
    DISK = "stopped: it wrote more than its limit"


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of a program that ran.

    Args:
        ended: Why it is not running any more.
        exit_status: 0 to 255; None if it was stopped. 128 + n is how a shell says that signal n ended it.
        signal: That signal's name, for an exit status above 128; None if there is none, or it was stopped.
        stdout: The beginning of its standard output.
        stderr: The beginning of its standard error.
        stdout_left_out: Bytes of standard output that were thrown away.
        stderr_left_out: Bytes of standard error that were thrown away.
        execution_time_ms: From start to end.
    """

    ended: Ended
    exit_status: int | None
    signal: str | None
    stdout: bytes
    stderr: bytes
    stdout_left_out: int
    stderr_left_out: int
    execution_time_ms: int
