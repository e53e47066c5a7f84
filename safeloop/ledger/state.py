"""What this key folder last signed: one state file per ledger, and the list of ledgers it has made.

The state lies outside the database, so that restoring an older database, cutting its tail, or starting
afresh under the same keys is seen. It is written in place after each commit, into the older of two
checksummed slots, without fsync: behind is harmless, ahead never happens. It is never lowered.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safeloop.errors import EncodingError, KeyUnusable, LedgerLocked, StateMismatch
from safeloop.ledger.durable import create_file, replace_file
from safeloop.ledger.encoding import encode, parse

_SLOT_BYTES = 16_384
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.000_2, 0.02
_ADOPT = "safeloop ledger adopt --checkpoint NOTE, with a checkpoint that you kept"


@dataclass(frozen=True, slots=True)
class State:
    """The last head that was signed here.

    Attributes:
        path: The ledger's real path.
        size: Number of rows.
        root: Merkle root, 32 bytes.
    """

    path: Path
    size: int
    root: bytes


def state_path(keys: Path, origin: str) -> Path:
    """Return where the state of this origin lies."""
    return keys / f"{hashlib.sha256(origin.encode()).hexdigest()}.state"


def create_state(path: Path, state: State) -> None:
    """Make the state file durably; one that is there already stays as it is."""
    slot = _render(state)
    create_file(path, slot.ljust(_SLOT_BYTES, b"\0") + slot.ljust(_SLOT_BYTES, b"\0"))


def read_state(path: Path) -> State | None:
    """Read the state without a lock; None if there is no file.

    Raises:
        StateMismatch: The file is there, but neither slot is whole.
    """
    for _ in range(5):  # a slot that is being written is torn for microseconds; the other one is whole
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeyUnusable(f"state {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
        found = _newest(data)
        if found is not None:
            return found[1]
        time.sleep(0.001)
    raise _damaged(path)


class StateFile:
    """An open state file: the lock of all writers of one ledger under one key folder.

    Raises:
        StateMismatch: There is no state file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise StateMismatch(
                f"no state of this ledger in {path.parent}: another machine, other keys, or it was removed", hint=_ADOPT
            ) from None
        except OSError as error:
            raise KeyUnusable(f"state {path} cannot be opened: {error.strerror}", hint=f"ls -l {path}") from None
        self._next_slot = 0
        self._process = os.getpid()

    def close(self) -> None:
        """Let go of the file, and of the lock if it is held."""
        os.close(self._descriptor)

    @contextlib.contextmanager
    def locked(self, timeout_s: float) -> Iterator[None]:
        """Hold the lock, which the kernel drops with the process.

        Raises:
            LedgerLocked: Somebody else held it for `timeout_s` seconds.
            StateMismatch: The file was removed while it was open.
        """
        try:
            self._lock(timeout_s)
            if os.fstat(self._descriptor).st_nlink == 0:
                raise StateMismatch(f"state {self.path} was removed while the ledger was open", hint=_ADOPT)
            yield
        finally:
            if os.getpid() == self._process:  # a fork shares the lock, and must leave it to its parent
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def read(self) -> State:
        """Read the state under the lock.

        Raises:
            StateMismatch: Neither slot is whole.
        """
        found = _newest(os.pread(self._descriptor, 2 * _SLOT_BYTES, 0))
        if found is None:
            raise _damaged(self.path)
        self._next_slot = 1 - found[0]
        return found[1]

    def write(self, state: State) -> None:
        """Write under the lock, over the older slot. No fsync: after a power cut it is behind, which is harmless."""
        try:
            os.pwrite(self._descriptor, _render(state), self._next_slot * _SLOT_BYTES)
        except OSError as error:
            raise KeyUnusable(
                f"state {self.path} cannot be written: {error.strerror}; the rows themselves are recorded",
                hint=f"df {self.path.parent}",
            ) from error
        self._next_slot = 1 - self._next_slot

    def overwrite(self, state: State) -> None:
        """Set both slots durably: the deliberate way on, after an adoption only."""
        for _ in range(2):
            self.write(state)
        os.fsync(self._descriptor)

    def _lock(self, timeout_s: float) -> None:
        deadline, pause = time.monotonic() + timeout_s, _FIRST_PAUSE_S
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LedgerLocked(
                        f"another process has held the ledger for {timeout_s:g} s", hint=f"fuser -v {self.path}"
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                return


def _damaged(path: Path) -> StateMismatch:
    return StateMismatch(f"state {path} is damaged: neither slot is whole", hint=_ADOPT)


def _render(state: State) -> bytes:
    line = encode({"path": _quoted(state.path), "root": state.root.hex(), "size": state.size})
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


@lru_cache(maxsize=64)
def _quoted(path: Path) -> str:
    # Percent-encoding: a path is bytes, and need not be UTF-8. One path is written again and again.
    return urllib.parse.quote(os.fsencode(path))


def _newest(data: bytes) -> tuple[int, State] | None:
    """Return the slot with the largest size among those that are whole, and its number."""
    slots = [(number, _whole(data[number * _SLOT_BYTES : (number + 1) * _SLOT_BYTES])) for number in (0, 1)]
    whole = [(number, state) for number, state in slots if state is not None]
    return max(whole, key=lambda slot: slot[1].size, default=None)


def _whole(slot: bytes) -> State | None:
    line, _, rest = slot.partition(b"\n")
    if hashlib.sha256(line).hexdigest().encode() != rest[:64]:
        return None
    try:
        value = parse(line)
        path = Path(os.fsdecode(urllib.parse.unquote_to_bytes(value["path"])))
        return State(path, int(value["size"]), bytes.fromhex(value["root"]))
    except (EncodingError, AttributeError, KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class KnownLedger:
    """A ledger that this key folder has made or adopted.

    Attributes:
        path: Its real path.
        origin: Its name.
        log: The verifier key of its head.
    """

    path: Path
    origin: str
    log: str


class KnownLedgers:
    """The key folder's `known_ledgers`: one JSON object a line. A path listed here is never started afresh."""

    def __init__(self, keys: Path) -> None:
        self._path = keys / "known_ledgers"

    def at(self, path: Path) -> KnownLedger | None:
        """Return the ledger that belongs at this real path, if any."""
        return next((known for known in self._read() if known.path == path), None)

    def all(self) -> tuple[KnownLedger, ...]:
        """Return every ledger that is remembered; it may be gone."""
        return tuple(self._read())

    def remember(self, known: KnownLedger) -> None:
        """Add a ledger, or move one that was elsewhere, durably."""
        with self.locked():
            others = [old for old in self._read() if old.origin != known.origin and old.path != known.path]
            lines = [
                json.dumps({"log": item.log, "origin": item.origin, "path": urllib.parse.quote(os.fsencode(item.path))})
                for item in (*others, known)
            ]
            replace_file(self._path, "".join(f"{line}\n" for line in lines).encode())

    def _read(self) -> list[KnownLedger]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise KeyUnusable(f"{self._path} cannot be read: {error}", hint=f"ls -l {self._path}") from None
        try:
            values = [json.loads(line) for line in lines]
            return [
                KnownLedger(
                    Path(os.fsdecode(urllib.parse.unquote_to_bytes(value["path"]))), value["origin"], value["log"]
                )
                for value in values
            ]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise KeyUnusable(f"{self._path} is damaged", hint="restore it from a backup of the key folder") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from adding to the list."""
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
