"""What a tree of processes uses, looked at from outside; it holds a sandbox to its limits where no cgroup does."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safeloop.tools.sandbox.limits import Ended, Limits

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MOST_NEW_FILES = 100_000


@dataclass(slots=True)
class DiskWatch:
    """Says when a file system has lost more room than a program may take: in files, deleted ones included.

    What others write there in the meantime counts too: it is a brake, not an account.
    """

    folder: Path
    disk_bytes: int
    _bytes: int = 0
    _files: int = 0

    def __post_init__(self) -> None:
        self._bytes, self._files = _free(self.folder)

    def crossed(self) -> bool:
        """Say whether the limit was crossed since this object was made."""
        free_bytes, free_files = _free(self.folder)
        return self._bytes - free_bytes > self.disk_bytes or self._files - free_files > _MOST_NEW_FILES


@dataclass(frozen=True, slots=True)
class Watch:
    """Looks at a running sandbox.

    Args:
        limits: What it is held to.
        disk: Of its staging folder.
        has_group: A cgroup holds its memory already.
    """

    limits: Limits
    disk: DiskWatch
    has_group: bool

    def __call__(self, process: int) -> Ended | None:
        """Say which limit the tree below a process crossed, if any."""
        if self.disk.crossed():
            return Ended.DISK
        if not self.has_group and memory_of_tree(process) > self.limits.memory_bytes:
            return Ended.MEMORY
        return None


def memory_of_tree(process: int) -> int:
    """Return the bytes in memory of a process and everything below it; what several share counts once, if it can."""
    tree = _tree(process)
    resident = sum(_resident(each) for each in tree)
    # A look at shares costs more, so it is taken only where the answer may hang on it.
    return resident if resident < 1 << 26 else sum(_proportional(each) for each in tree)


def _tree(process: int) -> list[int]:
    found, left = [], [process]
    while left:
        here = left.pop()
        found.append(here)
        with suppress(OSError):  # it has ended since
            for thread in Path(f"/proc/{here}/task").iterdir():
                left += map(int, (thread / "children").read_text(encoding="utf-8").split())
    return found


def _resident(process: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE
    return 0


def _proportional(process: int) -> int:
    """Return the proportional set size; the resident one where the system does not tell."""
    with suppress(OSError, IndexError, ValueError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(process)


def _free(folder: Path) -> tuple[int, int]:
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize, found.f_ffree
