"""A control group (v2) for one sandboxed program: memory, processes and processors of the whole tree.

The group is made beside this process's own, so that whatever limits that one's parents stay in force, or below the
root of the hierarchy where this process is in the root itself. Hierarchies of version 1 are left alone: their memory
controller cannot be handed on safely, and the systems that had them are gone or going.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeloop.tools.sandbox.limits import Limits

_NEEDED = {"memory", "pids"}
_PERIOD_US = 100_000
_GONE_S = 5.0


@dataclass(frozen=True, slots=True)
class Group:
    """One group, for one program."""

    path: Path

    @property
    def door(self) -> Path:
        """The file that a process writes 0 into to enter."""
        return self.path / "cgroup.procs"

    def kill(self) -> None:
        """Kill everything in it, also what has left its session and its parents."""
        with suppress(OSError):  # before Linux 5.14 there is no such file; the namespace's own end does it
            _write(self, "cgroup.kill", "1")


def own_parent(hierarchy: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Path | None:
    """Find the group that a new one can be made in; None if this machine, or this user, has none.

    Args:
        hierarchy: Where version 2 is mounted.
        own: What the kernel says of this process's groups.
    """
    try:
        names = [line[3:] for line in own.read_text(encoding="utf-8").splitlines() if line.startswith("0::/")]
        parent = (hierarchy / names[0].lstrip("/")).parent if names[0] != "/" else hierarchy
        handed_on = set((parent / "cgroup.subtree_control").read_text(encoding="utf-8").split())
    except (OSError, IndexError, ValueError):
        return None
    writable = os.access(parent, os.W_OK) and os.access(parent / "cgroup.procs", os.W_OK)
    return parent if handed_on >= _NEEDED and writable else None


@contextmanager
def group_in(parent: Path, limits: Limits) -> Iterator[Group]:
    """Hold a group with these limits; it is empty and gone afterwards.

    Raises:
        OSError: It cannot be made, or a limit cannot be set.
    """
    group = Group(parent / f"safeloop-{secrets.token_hex(8)}")
    group.path.mkdir()
    try:
        _write(group, "memory.max", str(limits.memory_bytes))
        _write(group, "pids.max", str(limits.processes))
        with suppress(FileNotFoundError):  # no swap to forbid
            _write(group, "memory.swap.max", "0")
        with suppress(FileNotFoundError):  # the controller is not handed on: the time limit remains
            _write(group, "cpu.max", f"{round(limits.cpus * _PERIOD_US)} {_PERIOD_US}")
        yield group
    finally:
        group.kill()
        _remove(group)


def _write(group: Group, name: str, value: str) -> None:
    descriptor = os.open(group.path / name, os.O_WRONLY | os.O_CLOEXEC)  # never made: a missing file is an answer
    try:
        os.write(descriptor, value.encode("utf-8"))
    finally:
        os.close(descriptor)


def _remove(group: Group) -> None:
    """Remove the group once the kernel has taken the dead out of it."""
    until = time.monotonic() + _GONE_S
    while True:
        try:
            group.path.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
