"""What `safeloop` on the path is for a script: it has a process forked for the command, and ends as that one ends.

    python -IS launcher.py BEGUN ARGUMENT...

BEGUN is what `begun` says, in JSON. The command has the folder, the environment and the streams of this process. Where
it would see that it was not begun here (other limits or mounts, signals ignored, a locale, a stream closed or one more
open), it is begun here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_STATES = ("Umask:", "SigBlk:", "SigIgn:")


def state() -> str:
    """Return what a process inherits beside its environment and its files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    limits = Path("/proc/self/limits").read_text(encoding="ascii")
    mounts = Path("/proc/self/ns/mnt").readlink()
    return f"{mounts}\n{limits}" + "".join(line for line in lines if line.startswith(_STATES))


def is_begun_like(begun: Mapping[str, Any]) -> bool:
    """Say whether a forked process is what one that is begun here would be."""
    counts = {name: value for name, value in os.environ.items() if name.startswith(tuple(begun["names"]))}
    descriptors = sorted(os.listdir("/proc/self/fd"))  # with the one that lists them
    return counts == begun["beginning"] and state() == begun["state"] and descriptors == ["0", "1", "2", "3"]


def forked(door: str) -> int:
    """Order the process and pass signals on; return its exit code, as `subprocess` gives it."""
    order = json.dumps([sys.argv[2:], str(Path.cwd()), dict(os.environ), False]).encode()
    read, write = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ordering:
        ordering.connect("\0" + door)
        socket.send_fds(ordering, [order], [0, 1, 2, write])
    os.close(write)
    with os.fdopen(read, "rb", buffering=0) as status:
        pid = int(status.readline())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda passed, _: os.kill(pid, passed))
        return int(status.readline())


def main() -> None:
    begun = json.loads(sys.argv[1])
    if not is_begun_like(begun):
        os.execv(sys.executable, [sys.executable, "-m", "safeloop", *sys.argv[2:]])
    code = forked(begun["door"])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
