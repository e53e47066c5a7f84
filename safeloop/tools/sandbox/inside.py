"""The probe's program: it runs inside a sandbox, by itself, and says what it found there.

It is sent to the sandbox's own Python, which may be another version, so it imports nothing of ours. Arguments: a file
outside, a port of the host, the name of an abstract socket of the host, processes and bytes of memory that must not
be had.

It must do no harm where there is no fence at all, and it may be root there. So it asks what it could do and does not
do it: nothing is mounted, nothing written but in the staging folder, nobody signalled but its own children; and where
it sees that it is outside, it takes neither memory nor processes.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

_CLOSED = ("/", "/usr", "/etc", "/dev", "/proc/sys/kernel", "/workspace")
_NEW_USER, _NEW_MOUNT = 0x10000000, 0x00020000


def facts(outside: str, port: str, abstract: str, processes: str, memory: str) -> dict[str, Any]:
    """Say what this process can do."""
    seen = [str(path) for path in (Path(outside), Path(outside).parent) if path.exists()]
    return {
        "user": os.getuid(),
        "status": _status(),
        "environment": _names("self"),
        "first_environment": _names("1"),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "reached": _reached(int(port), abstract),
        "seen": seen,
        "writable": [path for path in _CLOSED if os.access(path, os.W_OK)],
        "staging": _writes("/staging"),
        "temporary": _size("/tmp"),  # noqa: S108 - the sandbox's own
        "shared": _size("/dev/shm"),  # noqa: S108
        "descriptors": sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())[:-1],
        "namespaces": not seen and _makes_namespaces(),
        "memory": not seen and _has_memory(int(memory)),
        "processes": 0 if seen else _processes(int(processes)),
    }


def _status() -> dict[str, str]:
    lines = [line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()]
    return {key: value.strip() for key, value in lines if key in ("CapEff", "CapBnd", "NoNewPrivs")}


def _names(process: str) -> list[str]:
    """Give the names in a process's environment as it was started; nothing where that cannot be read."""
    try:
        variables = Path("/proc", process, "environ").read_bytes().split(b"\0")
    except OSError:
        return []
    return sorted(variable.partition(b"=")[0].decode("utf-8", "replace") for variable in variables if variable)


def _reached(port: int, abstract: str) -> list[str]:
    ways: list[tuple[str, int, Any]] = [
        ("IPv4", socket.AF_INET, ("127.0.0.1", port)),
        ("IPv6", socket.AF_INET6, ("::1", port)),
        ("an abstract socket", socket.AF_UNIX, "\0" + abstract),
    ]
    found = []
    for name, family, address in ways:
        try:
            with socket.socket(family) as way:
                way.settimeout(1)
                way.connect(address)
        except OSError:
            continue
        found.append(name)
    return found


def _writes(folder: str) -> bool:
    path = Path(folder, ".safeloop-probe")
    try:
        path.write_bytes(b"safeloop")
        path.unlink()
    except OSError:
        return False
    return True


def _makes_namespaces() -> bool:
    """Try in a child, which ends with what it made."""
    child = os.fork()
    if child == 0:
        os._exit(1 if ctypes.CDLL(None).unshare(_NEW_USER | _NEW_MOUNT) else 0)
    return os.waitpid(child, 0)[1] == 0


def _size(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize


def _has_memory(size: int) -> bool:
    """Try in a child: where a cgroup counts, it is killed."""
    child = os.fork()
    if child == 0:
        try:
            taken = bytearray(size)
            taken[::4096] = b"x" * len(taken[::4096])
        except MemoryError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _processes(most: int) -> int:
    children: list[int] = []
    try:
        while len(children) < most:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    except OSError:
        pass
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    return len(children)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts(*sys.argv[1:6])))
