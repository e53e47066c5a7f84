"""Docker: a program in a container of an image that is on this machine already; nothing is pulled.

The client is given no environment, so it speaks to the engine at its usual place, and nothing of the caller's reaches
the container. Killing the client does not end the container: a program that is stopped is removed by its name.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.ledger.visible import visible
from safeloop.tools.clean import ToolError
from safeloop.tools.sandbox.folders import doors_of, give_to
from safeloop.tools.sandbox.limits import PROGRAM_USER, STAGING, WORKSPACE, Ended
from safeloop.tools.sandbox.running import Started, supervise
from safeloop.tools.sandbox.watching import DiskWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from safeloop.tools.sandbox.limits import Environment, Execution, Limits, Places

IMAGE = "python:3-slim"
_OWN_FAILURE = 125  # of the client or the engine; the program has not run
_REMOVE_S = 30.0


@dataclass(frozen=True, slots=True)
class Docker:
    """The backend `docker`.

    Args:
        program: The client.
        image: With `python3`, `sh` and what else programs are to find.
    """

    program: Path
    image: str = IMAGE

    @property
    def name(self) -> str:
        """How this backend is called."""
        return "docker"

    def run(
        self, command: Sequence[str], stdin: bytes, places: Places, limits: Limits, environment: Environment = ()
    ) -> Execution:
        """Run a program to its end, or end it and everything that it started.

        Raises:
            ToolError: The container could not be made; the program has not run.
        """
        container = f"safeloop-{secrets.token_hex(8)}"
        try:
            places = places.resolved()
            if os.geteuid() == 0:
                give_to(places.staging, PROGRAM_USER)
            told = docker_arguments(container, self.image, command, places, limits, environment)
            argv = [str(self.program), *told]
            disk = DiskWatch(places.staging, limits.disk_bytes)
            started = Started(argv, stdin, _remover(self.program, container), lambda _: _watched(disk))
            execution, _ = supervise(started, limits.time_s, limits.output_bytes)
        except OSError as error:
            raise ToolError(f"the sandbox could not be made: {visible(str(error), 500)}") from error
        if execution.exit_status == _OWN_FAILURE and execution.stderr.startswith(b"docker:"):
            reason = visible(execution.stderr.decode("utf-8", "replace").strip(), 2_000)
            raise ToolError(f"the sandbox could not be made: {reason}")
        return execution


def docker_arguments(
    container: str, image: str, command: Sequence[str], places: Places, limits: Limits, environment: Environment = ()
) -> list[str]:
    """Return the client's arguments for one program.

    Args:
        container: The container's name.
        image: Never pulled.
        command: The program and its arguments.
        places: The host's folders that it sees.
        limits: What it may use.
        environment: Variables, with their values, beside those that every program has.
    """
    user = PROGRAM_USER if os.geteuid() == 0 else os.geteuid()
    group = PROGRAM_USER if os.geteuid() == 0 else os.getegid()
    size = f"size={limits.temporary_bytes}"
    told = [
        "run", "--rm", "--interactive", "--init", f"--name={container}", "--hostname=sandbox", "--pull=never",
        "--network=none", "--read-only", f"--memory={limits.memory_bytes}", f"--memory-swap={limits.memory_bytes}",
        f"--cpus={limits.cpus:g}", f"--pids-limit={limits.processes}", "--cap-drop=ALL",
        "--security-opt=no-new-privileges", "--ipc=private", f"--shm-size={limits.temporary_bytes}",
        f"--tmpfs=/tmp:rw,noexec,nosuid,nodev,mode=1777,{size}", f"--user={user}:{group}",
        f"--ulimit=fsize={limits.file_bytes}", f"--ulimit=nofile={limits.open_files}", "--ulimit=core=0",
        "--log-driver=none", f"--workdir={STAGING}", "--env=HOME=/tmp", "--env=TMPDIR=/tmp", "--env=LANG=C.UTF-8",
        *(f"--env={name}={value}" for name, value in environment),
        f"--mount={_mount(places.staging, STAGING)}",
    ]
    if places.workspace is not None:
        told.append(f"--mount={_mount(places.workspace, WORKSPACE)},readonly")
        for door in doors_of(places.workspace):
            told.append(f"--mount={_mount('/dev/null', f'{WORKSPACE}/{door}')},readonly")
    return [*told, "--entrypoint=", "--", image, *command]


def _mount(source: Path | str, target: str) -> str:
    """Write a bind mount as the client reads it: one CSV record."""
    fields = ("type=bind", f"source={source}", f"target={target}")
    return ",".join('"' + field.replace('"', '""') + '"' if set(field) & set(',"\n') else field for field in fields)


def _watched(disk: DiskWatch) -> Ended | None:
    return Ended.DISK if disk.crossed() else None


def _remover(program: Path, container: str) -> Callable[[], None]:
    """Return what ends a container, however often it is called."""
    called = False

    def remove() -> None:
        nonlocal called
        if called:
            return
        called = True
        with suppress(OSError, subprocess.TimeoutExpired):  # the engine is gone, and what it ran is not ours to find
            subprocess.run(  # noqa: S603 - our own name, and no shell
                [program, "rm", "--force", "--volumes", container], env={}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_REMOVE_S, check=False, cwd="/",
            )

    return remove
