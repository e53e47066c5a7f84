"""The real program in a folder of its own: as a script sees it (three pipes), and as a person sees it (a terminal)."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli import launcher
from tests.cli.forking import forking
from tests.forked import OF_THE_BEGINNING, Forked, beginning, door

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0

JOB = """\
what_it_does = "Audit one page for SEO faults"
what_it_does_not = "Change the page, follow links"
done_looks_like = "report.md lists every fault with a fix"

[[criteria]]
name = "the report is there"
file = "report.md"
min_chars = 5
"""
WRITES = [
    {"content": [{"type": "tool_use", "id": "t1", "name": "write_file",
                  "input": {"path": "report.md", "content": "Title: too long, cut it\n"}}]},
    "The report is written.",
]


@dataclass(frozen=True)
class Done:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Program:
    """safeloop in a folder with an empty home, no key for any model, and nothing else of the environment."""

    folder: Path
    more: dict[str, str] = field(default_factory=dict)
    is_measured: bool = True  # what measures coverage writes a file when a process ends

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin", "HOME": str(self.folder / "home"),
                **self._measured, **self.more}

    @property
    def _measured(self) -> dict[str, str]:
        """What counts when a process begins."""
        measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        return {"LANG": "C.UTF-8", **(measured if self.is_measured else {})}

    @classmethod
    def at(cls, folder: Path, **more: str) -> Program:
        """A new one, with `safeloop` and `python` on the path and a job to run."""
        (folder / "home").mkdir(parents=True)
        (folder / "bin").mkdir()
        made = cls(folder, more)
        made.put_on_path("python")
        made.launch_with(made.environment)
        (folder / "job.toml").write_text(JOB)
        (folder / "writes.json").write_text(json.dumps(WRITES))
        return made

    def launch_with(self, environment: Mapping[str, str]) -> None:
        """Have `safeloop` on the path begin quickly where the environment is this, in what counts at a beginning."""
        begun = {"door": door("tests.cli.forking", environment), "names": OF_THE_BEGINNING,
                 "beginning": beginning(environment), "state": launcher.state()}  # fmt: skip
        self.put_on_path("safeloop", "-IS", launcher.__file__, json.dumps(begun))

    def put_on_path(self, name: str, *arguments: str) -> None:
        """Make a command of Python with these arguments before the others."""
        command = self.folder / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *arguments])} "$@"\n')
        command.chmod(0o755)

    def __call__(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, under: tuple[str, ...] = ()
    ) -> Done:
        """Run a command to its end, without a terminal."""
        environment = {**self.environment, **(env or {})}
        if not under:
            has_sdk = any(name.startswith("ANTHROPIC_") for name in environment)
            begun = forking(tuple(self._measured.items()), has_sdk)
            quick = begun.run(arguments, self.folder, stdin, environment, PATIENCE_S)
            if quick is not None:
                return Done(quick[0], quick[1].decode(), quick[2].decode())
        done = subprocess.run(
            [*under, sys.executable, "-m", "safeloop", *arguments], cwd=self.folder, input=stdin, capture_output=True,
            env=environment, timeout=PATIENCE_S, check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def shell(self, script: str, *, env: Mapping[str, str] | None = None) -> Done:
        """Run a line of shell, where `safeloop` is the program."""
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, capture_output=True, stdin=subprocess.DEVNULL,
            env={**self.environment, **(env or {})}, timeout=PATIENCE_S, check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def started(self, *arguments: str, env: Mapping[str, str] | None = None) -> Forked:
        """Start a command and leave it running."""
        environment = {**self.environment, **(env or {})}
        prepared = ("sdk",) if any(name.startswith("ANTHROPIC_") for name in environment) else ()
        return Forked("tests.cli.forking", arguments, self.folder, environment, prepared=prepared)

    def terminal(self, *command: str, env: Mapping[str, str] | None = None) -> AbstractContextManager[Terminal]:
        """Run a command at a terminal of its own, all three streams on it."""
        return self._at(lambda terminal: subprocess.Popen(
            command, cwd=self.folder, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            env={**self.environment, "TERM": "dumb", **(env or {})},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        ))  # fmt: skip

    @contextmanager
    def _at(
        self, begin: Callable[[int], subprocess.Popen[bytes] | Forked], size: tuple[int, int] | None = None
    ) -> Iterator[Terminal]:
        mine, theirs = pty.openpty()
        if size is not None:
            termios.tcsetwinsize(theirs, size)
        process = begin(theirs)
        os.close(theirs)
        try:
            yield Terminal(process, mine)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(mine)

    def at_terminal(
        self, *arguments: str, env: Mapping[str, str] | None = None, size: tuple[int, int] | None = None
    ) -> AbstractContextManager[Terminal]:
        """Run safeloop at a terminal of its own, of so many rows and columns, if it is to tell them."""
        environment = {**self.environment, "TERM": "dumb", **(env or {})}
        return self._at(lambda terminal: Forked(
            "tests.cli.forking", arguments, self.folder, environment, terminal=terminal
        ), size)  # fmt: skip

    def job(self, *more: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
        """Run the job with a script that completes it."""
        replies = ("--script", "writes.json", "--task", "audit it")
        return self("run", "--spec-file", "job.toml", *replies, *more, stdin=stdin, env=env)

    def script(self, *replies: Any) -> str:
        """Write a script of replies; returns the file's name."""
        name = f"script-{len(list(self.folder.iterdir()))}.json"
        (self.folder / name).write_text(json.dumps(replies))
        return name

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """The rows of the ledger, or of one session, as `log --json` has them."""
        return [json.loads(line) for line in self("log", *arguments, "--json").out.splitlines()]

    def kinds(self, *arguments: str) -> list[str]:
        return [row["kind"] for row in self.rows(*arguments)]

    def reviewer(self, name: str = "alice@example.org") -> Path:
        """Make a person's SSH key and let it review."""
        key = self.folder / name.partition("@")[0]
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
        assert self("trust", "add-reviewer", name, f"{key}.pub").code == 0
        return key


class Terminal:
    """The other side of a terminal: reads what is shown, types answers."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked, descriptor: int) -> None:
        self.process = process
        self.descriptor = descriptor
        self.seen = ""
        self.typed: list[tuple[int, str]] = []
        self._read_to = 0
        self._bytes = b""

    def expect(self, text: str) -> None:
        """Wait until this is shown, after what was expected before."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen[self._read_to :]:
            assert time.monotonic() < deadline and self._read(deadline), f"{text!r} was not shown:\n{self.seen}"
        self._read_to = self.seen.index(text, self._read_to) + len(text)

    def type(self, text: str, *, end: str = "\n") -> None:
        """Type an answer, which the terminal shows."""
        self.typed.append((len(self.seen), text))
        os.write(self.descriptor, (text + end).encode())
        if text and text.isprintable():
            self.expect(text)

    def press(self, key: str) -> None:
        """Press Control and a key."""
        self.typed.append((len(self.seen), f"^{key}"))
        os.write(self.descriptor, bytes([ord(key) - 64]))

    def leave(self, key: str) -> int:
        """Press C or D until the program ends; gives the exit code.

        More than once, because of a `^C` that comes between a prompt and the read after it Python takes note and then
        reads on: the next one ends it.
        """
        self.press(key)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline, f"it does not end:\n{self.seen}"
            try:
                self.process.wait(1)
                return self.wait()
            except subprocess.TimeoutExpired:
                os.write(self.descriptor, bytes([ord(key) - 64]))

    def wait(self) -> int:
        """Read to the end; gives the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        code = self.process.wait(PATIENCE_S)
        return code if code >= 0 else 128 - code

    def _read(self, deadline: float) -> bool:
        if not select.select([self.descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            self.process.send_signal(signal.SIGKILL)
            raise AssertionError(f"nothing more was shown:\n{self.seen}")
        try:
            data = os.read(self.descriptor, 65_536)
        except OSError:  # EIO: nobody has the other side open
            return False
        self._bytes += data
        self.seen = self._bytes.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)
