"""How one part of a name is opened below a folder that is held: by `openat2` where the kernel has it.

`openat2(2)` (Linux 5.6) is told `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`, `RESOLVE_NO_MAGICLINKS` and
`RESOLVE_NO_XDEV`, so that the kernel itself refuses links and mounts, those of the same device too. Elsewhere, and
where a container forbids the call, it is `openat` with `O_NOFOLLOW`, and whoever asks compares devices.

A file is looked at before it is opened, and what was looked at is what is opened, whatever a second process puts under
its name in between: opening a device can have effects, and closing a file drops every lock that this process has on it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import sys
from collections.abc import Callable

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_O_PATH: int = getattr(os, "O_PATH", 0)
_OPENAT2 = 437  # the same on every architecture named here
_MACHINES = ("x86_64", "aarch64", "riscv64", "ppc64le", "s390x", "loongarch64")
_RESOLVE = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH: linux/openat2.h
_NEVER_CLOSED: list[int] = []

Admit = Callable[[os.stat_result], None]
IsGuarded = Callable[[os.stat_result], bool]


class _OpenHow(ctypes.Structure):
    """`struct open_how` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_part(folder: int, part: str, flags: int) -> int:
    """Open what stands in a folder under one name, through no link and no mount where the kernel can say so.

    Args:
        folder: Its descriptor.
        part: One name, without `/`, and not `.` or `..`.
        flags: Of `open`; they hold `O_NOFOLLOW`. What is created is its owner's alone (0600).

    Raises:
        OSError: It cannot be opened so.
    """
    if has_openat2():
        return _openat2(folder, part, flags, 0o600 if flags & os.O_CREAT else 0)
    return os.open(part, flags, 0o600, dir_fd=folder)


def open_file(folder: int, part: str, admit: Admit, is_guarded: IsGuarded) -> int:
    """Open a file for reading, if it may be: exactly the one that was looked at.

    Args:
        folder: The descriptor of the folder that it is in.
        part: Its name there.
        admit: Raises if what it is given may not be opened.
        is_guarded: Whether closing a descriptor of it would do harm.

    Raises:
        OSError: It cannot be opened.
        Exception: What `admit` raises.
    """
    if not can_reopen():
        return _open_between_two_looks(folder, part, admit, is_guarded)
    looked = open_part(folder, part, _O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)  # opens nothing: no effect, no locks
    try:
        found = os.fstat(looked)
        admit(found)
        return _checked(os.open(f"/proc/self/fd/{looked}", _READ), lambda now: os.path.samestat(found, now))
    finally:
        os.close(looked)


def _open_between_two_looks(folder: int, part: str, admit: Admit, is_guarded: IsGuarded) -> int:
    """Do the same where a descriptor cannot be opened anew: if it was swapped for a guarded file, never close it."""
    admit(os.stat(part, dir_fd=folder, follow_symlinks=False))
    descriptor = open_part(folder, part, _READ | os.O_NOFOLLOW)
    _checked(descriptor, lambda now: not is_guarded(now))
    try:
        admit(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _checked(descriptor: int, is_it: IsGuarded) -> int:
    if not is_it(os.fstat(descriptor)):
        _NEVER_CLOSED.append(descriptor)  # closing it could drop the locks that this process has on it
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    return descriptor


@functools.cache
def has_openat2() -> bool:
    """Say whether the kernel, and whatever confines this process, lets it call `openat2`."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    root = os.open("/", OPEN_FOLDER)
    try:
        os.close(_openat2(root, ".", OPEN_FOLDER, 0))
    except (OSError, AttributeError):  # ENOSYS of an older kernel, EPERM of a filter; a C library without syscall()
        return False
    finally:
        os.close(root)
    return True


@functools.cache
def can_reopen() -> bool:
    """Say whether what was only looked at can be opened by its descriptor: Linux, with its `/proc`."""
    if not _O_PATH:
        return False
    looked = os.open("/", _O_PATH | os.O_CLOEXEC)
    try:
        return os.path.samestat(os.fstat(looked), os.stat(f"/proc/self/fd/{looked}"))  # noqa: PTH116 - the same call as its pair, os.fstat
    except OSError:
        return False
    finally:
        os.close(looked)


def _openat2(folder: int, part: str, flags: int, mode: int) -> int:
    how = _OpenHow(flags, mode, _RESOLVE)
    name = os.fsencode(part)
    while True:
        opened = int(_syscall()(_OPENAT2, folder, name, ctypes.byref(how), ctypes.sizeof(how)))
        number = ctypes.get_errno()
        if opened >= 0:
            return opened
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


@functools.cache
def _syscall() -> Callable[..., int]:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    call.restype = ctypes.c_long
    return call
