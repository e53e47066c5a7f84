"""Where a secret comes from, such as the passphrase of encrypted keys: a file or a command, never a value.

A value in a flag or in the environment is seen by every process of this user, and by the tools that a run starts.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import IO, cast

from safeloop.cli.settings import Settings
from safeloop.errors import KeyUnusable, SettingError
from safeloop.ledger.keys import Passphrase

_MOST_BYTES = 1_000  # OpenSSL takes 1,024
_COMMAND_TIMEOUT_S = 30.0
_SETTING = {"passphrase": "key_passphrase_command", "admin key": "admin_key_command"}


def passphrase_of(settings: Settings) -> Passphrase | None:
    """Return what fetches the passphrase when it is needed; None where neither a file nor a command is set.

    Raises:
        SettingError: Both are set.
    """
    file, command = settings.path("key_passphrase_file"), settings.get("key_passphrase_command")
    if file is not None and command.value is not None:
        raise SettingError(
            f"a passphrase file and a passphrase command are both set ({command.origin})",
            hint="unset one: safeloop config",
        )
    if file is not None:
        return lambda: read_passphrase(file)
    return None if command.value is None else lambda: run_passphrase(command.value, command.origin)


def admin_key_of(settings: Settings) -> str:
    """Return the admin key that reads usage reports: from a file, a command, or the environment.

    Raises:
        SettingError: Two of them are set, or none.
        KeyUnusable: It cannot be had, or is no text of a header.
    """
    file, command = settings.path("admin_key_file"), settings.get("admin_key_command")
    if file is not None and command.value is not None:
        raise SettingError(
            f"an admin key file and an admin key command are both set ({command.origin})",
            hint="unset one: safeloop config",
        )
    if file is not None:
        secret = read_passphrase(file, "admin key")
    elif command.value is not None:
        secret = run_passphrase(command.value, command.origin, "admin key")
    else:
        secret = os.environ.get("ANTHROPIC_ADMIN_KEY", "").encode("utf-8", "surrogateescape")
        if not secret:
            raise SettingError(
                "no admin key: ANTHROPIC_ADMIN_KEY is not set",
                hint="export ANTHROPIC_ADMIN_KEY=..., or set admin_key_file; or save a report and name its file",
            )
    return secret.decode("utf-8", "replace")


def read_passphrase(path: Path, what: str = "passphrase") -> bytes:
    """Read a secret: the whole file but for one newline at its end.

    Raises:
        KeyUnusable: No regular file, readable by others, empty or too long; the hint mends it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait for ever
    except OSError as error:
        raise KeyUnusable(f"{what} file {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise KeyUnusable(f"{what} file {path} is not a regular file", hint=f"ls -l {path}")
        if stat.S_IMODE(mode) & 0o077:
            raise KeyUnusable(
                f"{what} file {path} can be read by others (mode {stat.S_IMODE(mode):04o})",
                hint=f"chmod 600 {path}",
            )
        return _checked(os.read(descriptor, _MOST_BYTES + 2), f"{what} file {path}", f"ls -l {path}")
    finally:
        os.close(descriptor)


def run_passphrase(command: str, origin: str, what: str = "passphrase") -> bytes:
    """Run the command without a shell and take what it prints, but for one newline at its end.

    Raises:
        SettingError: The command cannot be split into words.
        KeyUnusable: It cannot be run, fails, takes longer than 30 s, or prints nothing or too much.
    """
    words = _words(command, f"{origin}: {_SETTING[what]}")
    name, hint = f"{what} command {words[0]!r}", f"run it by hand: {command}"
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise KeyUnusable(f"{name} cannot be run: {error.strerror}", hint=hint) from None
    try:
        printed = _printed(process, time.monotonic() + _COMMAND_TIMEOUT_S)
    except TimeoutError:
        raise KeyUnusable(f"{name} has not answered for {_COMMAND_TIMEOUT_S:g} s", hint=hint) from None
    finally:
        if process.poll() is None:  # it, and whatever it started
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if len(printed) <= _MOST_BYTES + 1 and process.returncode:
        raise KeyUnusable(f"{name} failed with exit code {process.returncode}", hint=hint)
    return _checked(printed, name, hint)


def _printed(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return what is printed until the end, or the first bytes of too much; then nobody waits for the end.

    Raises:
        TimeoutError: It did not end in time.
    """
    printed, pipe = bytearray(), cast(IO[bytes], process.stdout).fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(printed) <= _MOST_BYTES + 1:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            piece = os.read(pipe, _MOST_BYTES)
            if not piece:
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    raise TimeoutError from None
                break
            printed += piece
    return bytes(printed)


def _words(command: str, origin: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingError(f"{origin}: {error}", hint="quote as in a shell") from None
    if not words or any("\0" in word for word in words):
        raise SettingError(f"{origin} names no command", hint="safeloop config")
    return words


def _checked(data: bytes, name: str, hint: str) -> bytes:
    passphrase = data.removesuffix(b"\n")
    if not passphrase:
        raise KeyUnusable(f"{name} gives an empty {name.partition(' ')[0].replace('admin', 'key')}", hint=hint)
    if len(passphrase) > _MOST_BYTES:
        raise KeyUnusable(f"{name} gives more than {_MOST_BYTES:,} bytes", hint=hint)
    return passphrase
