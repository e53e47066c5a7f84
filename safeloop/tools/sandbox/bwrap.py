"""Bubblewrap: a program in namespaces of its own, with the system's folders to read and two of the host's.

The order of the command line is the order of the fence: the group (where there is one), then, for root, private
mounts of the two folders and a user without privileges, then bwrap with an empty environment, then resource limits
that the program itself cannot raise, then the program.

Root never runs bwrap as root: `RLIMIT_NPROC` limits nothing for root, and inside it would still be the owner of
root's files. Its two folders may lie where only root can go, so they are mounted, for this program alone, where the
unprivileged user can find them.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import tempfile
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeloop.ledger.visible import visible
from safeloop.tools.clean import ToolError
from safeloop.tools.sandbox.cgroup import Group, group_in
from safeloop.tools.sandbox.folders import doors_of, give_to
from safeloop.tools.sandbox.limits import PROGRAM_USER, STAGING, WORKSPACE, Ended
from safeloop.tools.sandbox.running import Started, supervise
from safeloop.tools.sandbox.watching import DiskWatch, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from safeloop.tools.sandbox.limits import Environment, Execution, Limits, Places

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where our own programs are looked for: never in the caller's PATH."""

_INSIDE = "/usr/local/bin:/usr/bin:/bin"
_ENVIRONMENT = (("PATH", _INSIDE), ("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("LANG", "C.UTF-8"))  # noqa: S108 - inside
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_ENTER = 'echo 0 > "$1" && shift && exec "$@"'
_MOUNT = 'while [ "$1" != -- ]; do mount --bind -- "$1" "$2" || exit 125; shift 2; done; shift; exec "$@"'
_TOLD = 2_000
_GONE_S = 10.0


@dataclass(frozen=True, slots=True)
class More:
    """What one program gets beside what every program has.

    Args:
        folders: Of the host, to be read, each under its own name.
        environment: Variables, with their values.
    """

    folders: tuple[Path, ...] = ()
    environment: Environment = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Fenced:
    """A program in its fence, not started yet.

    Args:
        argv: What starts it, once.
        pass_fds: Descriptors that it gets, for the caller to close once it is started.
        status: A descriptor to read bwrap's own words from; the caller's.
        kill: Ends what does not end with the process that was started.
        watch: Says which limit was crossed, if any, given that process's id.
    """

    argv: tuple[str, ...]
    pass_fds: tuple[int, ...]
    status: int
    kill: Callable[[], None]
    watch: Watch

    def wait_until_gone(self) -> None:
        """Wait until nothing of it is left, once the process that was started has ended, and close `status`."""
        with os.fdopen(self.status, "rb") as words:
            _await_end(_status(words.read(_TOLD)).get("child-pid"))


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """The backend `bwrap`.

    Args:
        parent: The control group that each program gets one of its own in; None means that there is none, and what
            a program uses is limited per process by the kernel, and for the whole tree by looking at it.
    """

    parent: Path | None = None

    @property
    def name(self) -> str:
        """How this backend is called."""
        return "bwrap"

    def run(
        self, command: Sequence[str], stdin: bytes, places: Places, limits: Limits, environment: Environment = ()
    ) -> Execution:
        """Run a program to its end, or end it and everything that it started.

        Raises:
            ToolError: The sandbox could not be made; the program has not run.
        """
        try:
            with self.fenced(command, places, limits, More(environment=environment)) as fenced:
                return _run(fenced, stdin, limits)
        except OSError as error:
            raise ToolError(f"the sandbox could not be made: {visible(str(error), 500)}") from error

    @contextmanager
    def fenced(
        self, command: Sequence[str], places: Places, limits: Limits, more: More | None = None
    ) -> Iterator[Fenced]:
        """Hold the fence of one program, which the caller starts once, speaks to and ends.

        Args:
            command: As in `run`.
            places: As in `run`.
            limits: Of `time_s` each process has so much of a processor; how long it runs is the caller's to say.
            more: What it gets beside what every program has.

        Raises:
            OSError: It cannot be made.
            ToolError: The same; a folder has too much in it to be looked through.
        """
        group = nullcontext(None) if self.parent is None else group_in(self.parent, limits)
        given, more = places.resolved(), more or More()
        sources = tuple(folder.resolve(strict=True) for folder in more.folders)
        doors = _shut(given.workspace, WORKSPACE) if given.workspace is not None else []
        for source, folder in zip(sources, more.folders, strict=True):
            doors += _shut(source, str(folder))
        with group as held, _within_reach(given, sources) as (launcher, reached, shown):
            names = [each for pair in zip(shown, more.folders, strict=True) for each in ("--ro-bind", *map(str, pair))]
            told = _arguments(reached, [*names, *doors], limits, more.environment)
            watch = Watch(limits, DiskWatch(given.staging, limits.disk_bytes), held is not None)
            yield _fenced(command, told, launcher, held, watch)


def missing_programs() -> tuple[str, ...]:
    """Return which of the programs that this backend needs are not installed."""
    return tuple(name for name in ("bwrap", *_needed()) if shutil.which(name, path=SEARCHED) is None)


def _needed() -> tuple[str, ...]:
    return ("sh", "prlimit", *(("setpriv", "unshare", "mount") if os.geteuid() == 0 else ()))


def _fenced(
    command: Sequence[str], told: list[str], launcher: list[str], group: Group | None, watch: Watch
) -> Fenced:
    limits, program = watch.limits, _found("bwrap")
    entering = [] if group is None else [_found("sh"), "-c", _ENTER, "sh", str(group.door)]
    limited = _limited(limits, has_group=group is not None)
    arguments = _file_of(told)
    status, said = os.pipe()
    argv = (
        *entering, *launcher, program, "--args", str(arguments), "--json-status-fd", str(said), "--", *limited, *command
    )
    return Fenced(argv, (arguments, said), status, group.kill if group is not None else _nothing, watch)


def _run(fenced: Fenced, stdin: bytes, limits: Limits) -> Execution:
    with os.fdopen(fenced.status, "rb"):
        started = Started(fenced.argv, stdin, fenced.kill, fenced.watch, fenced.pass_fds, fenced.status)
        execution, words = supervise(started, limits.time_s, limits.output_bytes)
    told_of = _status(words)
    _await_end(told_of.get("child-pid"))
    if execution.ended is Ended.EXITED and "exit-code" not in told_of:  # bwrap tells it only of a program that ran
        reason = visible(execution.stderr.decode("utf-8", "replace").strip(), _TOLD)
        raise ToolError(f"the sandbox could not be made: {reason or 'bwrap was killed'}")
    return execution


def _shut(folder: Path, name: str) -> list[str]:
    """Return what covers the sockets and pipes of a folder that a program sees under a name."""
    return [word for door in doors_of(folder) for word in ("--ro-bind", "/dev/null", f"{name}/{door}")]


def _arguments(
    places: Places, more: list[str], limits: Limits, environment: Iterable[tuple[str, str]]
) -> list[str]:
    """Return what bwrap is told by way of a file, where the program inside cannot read it."""
    size = ["--size", str(limits.temporary_bytes), "--perms", "1777", "--tmpfs"]
    told = ["--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    told += ["--new-session", "--die-with-parent", "--hostname", "sandbox", "--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        told += _system_folder(Path("/", name))
    for name in _ETC:
        told += ["--ro-bind-try", name, name]
    told += ["--proc", "/proc", "--dev", "/dev", *size, "/dev/shm", "--remount-ro", "/dev", *size, "/tmp"]  # noqa: S108
    if places.workspace is not None:
        told += ["--ro-bind", str(places.workspace), WORKSPACE]
    told += [*more, "--bind", str(places.staging), STAGING, "--remount-ro", "/", "--chdir", STAGING, "--clearenv"]
    for key, value in (*_ENVIRONMENT, *environment):
        told += ["--setenv", key, value]
    return told


def _system_folder(path: Path) -> list[str]:
    """Return how a system folder comes in: as the link that it is on merged systems, or read-only."""
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), str(path)]
    return ["--ro-bind", str(path), str(path)] if path.is_dir() else []


def _limited(limits: Limits, *, has_group: bool) -> list[str]:
    """Return the program that sets resource limits and becomes the next one."""
    # Address space stands for memory only where nothing counts memory itself: some programs reserve far more.
    memory = [] if has_group else [f"--as={limits.memory_bytes}"]
    return [
        _found("prlimit"), *memory, f"--nproc={limits.processes}", f"--fsize={limits.file_bytes}", "--core=0",
        f"--nofile={limits.open_files}", f"--cpu={max(1, round(limits.time_s))}", "--",
    ]


@contextmanager
def _within_reach(
    places: Places, sources: tuple[Path, ...]
) -> Iterator[tuple[list[str], Places, tuple[Path, ...]]]:
    """Hold what comes before bwrap, and the folders where bwrap finds them: for root, as a user without privileges."""
    if os.geteuid() != 0:
        yield [], places, sources
        return
    give_to(places.staging, PROGRAM_USER)
    with tempfile.TemporaryDirectory(prefix="safeloop-sandbox-") as made:
        Path(made).chmod(0o711)
        folders = {"staging": places.staging} | ({"workspace": places.workspace} if places.workspace else {})
        folders |= {f"folder-{number}": source for number, source in enumerate(sources)}
        pairs: list[str] = []
        for name, folder in folders.items():
            Path(made, name).mkdir()
            pairs += [str(folder), str(Path(made, name))]
        user = str(PROGRAM_USER)
        launcher = [
            _found("unshare"), "--mount", "--propagation", "private", "--", _found("sh"), "-c", _MOUNT, "sh", *pairs,
            "--", _found("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all",
            "--no-new-privs", "--", _found("env"), "-i",
        ]
        workspace = Path(made, "workspace") if places.workspace else None
        shown = tuple(Path(made, f"folder-{number}") for number in range(len(sources)))
        yield launcher, type(places)(Path(made, "staging"), workspace), shown


def _file_of(arguments: Sequence[str]) -> int:
    """Return a descriptor to read arguments from, each ended by NUL."""
    descriptor = os.memfd_create("safeloop-bwrap", os.MFD_CLOEXEC)
    os.write(descriptor, b"".join(os.fsencode(argument) + b"\0" for argument in arguments))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _status(words: bytes) -> dict[str, Any]:
    """Return what bwrap told of the sandbox: the first process in it, and its exit status once it has one."""
    told: dict[str, Any] = {}
    with suppress(ValueError):  # cut off where bwrap was killed
        for line in words.splitlines():
            told |= json.loads(line)
    return told


def _await_end(first: int | None) -> None:
    """Wait until the first process of a sandbox is gone, and with it all others: bwrap itself ends a moment before."""
    with suppress(ProcessLookupError):
        descriptor = None if first is None else os.pidfd_open(first)
        if descriptor is not None:
            try:
                ending = select.poll()
                ending.register(descriptor, select.POLLIN)
                ending.poll(_GONE_S * 1000)
            finally:
                os.close(descriptor)


def _found(name: str) -> str:
    path = shutil.which(name, path=SEARCHED)
    if path is None:
        raise FileNotFoundError(f"{name} is not installed")
    return path


def _nothing() -> None:
    """Nothing more to do: everything ends with the first process of the namespace."""
