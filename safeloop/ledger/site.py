"""Where a ledger lies and who it belongs to: creation, and what must hold before it may be written.

Readers never create. A path that this key folder remembers and that is missing, empty or of another origin is
an error, never a fresh start: or `rm` would reset every ceiling.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from safeloop.errors import KeyUnusable, LedgerError, LedgerNotFound, StateMismatch, VerificationError
from safeloop.ledger import merkle, trust
from safeloop.ledger.keys import KeyFolder, SigningKey
from safeloop.ledger.note import (
    Checkpoint,
    Verifier,
    has_signature,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from safeloop.ledger.rows import Row
from safeloop.ledger.state import KnownLedger, KnownLedgers, State, create_state, read_state, state_path
from safeloop.ledger.store import database, schema
from safeloop.ledger.store.contents import content_path
from safeloop.ledger.store.rows import RowStore
from safeloop.ledger.succession import Role, successor

MEMORY = ":memory:"


@dataclass(frozen=True, slots=True)
class Site:
    """A ledger's place and the keys that may write there.

    Attributes:
        path: Real path; None in memory.
        origin: The ledger's name.
        writer: Signs rows.
        log: Signs heads.
        state: The state file; None in memory.
        keys: Where the keys are from, and where their successors will be; None in memory.
    """

    path: Path | None
    origin: str
    writer: SigningKey
    log: SigningKey
    state: Path | None
    keys: KeyFolder | None = None

    @property
    def verifier(self) -> Verifier:
        """The key that the ledger's head must verify under."""
        return _verifier(self.origin, self.log.public)

    @property
    def signers(self) -> tuple[str, str]:
        """The ids of the writer and the log key."""
        return self.writer.key_id, self.log.key_id

    def sign_head(self, size: int, root: bytes) -> str:
        """Return the signed note of a head."""
        return sign_checkpoint(Checkpoint(self.origin, size, root), self.verifier, self.log.sign)

    def succeeded(self, rows: Sequence[Row]) -> Site:
        """Return the site with the keys that the ledger's own `key` rows lead to, in order.

        A key folder's key is replaced after every ledger has the row, so that the row decides who signs, and not
        what lies in the folder at this moment.

        Raises:
            KeyUnusable: The key that followed is not in the key folder.
        """
        writer, log = self._follow(Role.WRITER, self.writer, rows), self._follow(Role.LOG, self.log, rows)
        return self if (writer, log) == (self.writer, self.log) else replace(self, writer=writer, log=log)

    def _follow(self, role: Role, key: SigningKey, rows: Sequence[Row]) -> SigningKey:
        named = successor(rows, role, key.key_id)
        if named is None:
            return key
        found = None if self.keys is None else self.keys.find(role, named.key_id)
        if found is None:
            raise KeyUnusable(
                f"{self.path}: {role} key {key.key_id[:8]} was replaced by {named.key_id[:8]}, which is not in this "
                "key folder: it is older than the ledger",
                hint="restore the newest backup of the key folder, or point SAFELOOP_KEYS at the one in use",
            )
        return found


@lru_cache(maxsize=64)
def _verifier(origin: str, public: bytes) -> Verifier:
    # To admit a key costs as much as many a row; every head is signed as one and the same.
    return Verifier(origin, public)


def protected_paths(site: Site, keys: str | os.PathLike[str] | KeyFolder | None) -> tuple[Path, ...]:
    """Return what no tool may reach: the ledger's files, beside it what SQLite makes, and the key folder with its keys.

    Args:
        keys: The key folder; None is the default, which a ledger in memory does not need and does not make.
    """
    bases = () if site.path is None else (site.path, content_path(site.path))
    files = [Path(f"{base}{side}") for base in bases for side in ("", "-wal", "-shm", "-journal")]
    try:
        folder = KeyFolder.of(keys)
    except RuntimeError:  # there is no home, so there is no default folder either
        return tuple(files)
    keys_of = [*folder.places, *(() if site.state is None else (site.state,))]
    return (*files, *(Path(os.path.realpath(path)) for path in keys_of))


def new_origin() -> str:
    """Return the default origin of a new ledger."""
    return f"safeloop.local/{secrets.token_hex(16)}"


def memory_site() -> Site:
    """Return a site that leaves nothing on disk: its keys are gone with the process."""
    return Site(None, new_origin(), SigningKey.ephemeral(), SigningKey.ephemeral(), None)


def real_path(db_path: str | os.PathLike[str]) -> Path:
    """Return the path that the state file and `known_ledgers` remember."""
    return Path(os.path.realpath(db_path))


def open_site(path: Path, keys: KeyFolder, *, create: bool) -> Site:
    """Find the ledger at a real path, or make one where nothing is remembered.

    Raises:
        LedgerNotFound: Nothing is there, and it is not to be made or was here before.
        LedgerError: What is there is not a ledger, or lies where none can be safe.
        KeyUnusable: A key is missing or unusable, or the ledger belongs to other keys.
    """
    known = require_kept(path, keys)
    if not _present(path):
        if not create:
            raise LedgerNotFound(f"there is no ledger at {path}", hint=_init_hint(path))
        _create(path, keys)
    site = existing_site(path, keys)
    if known is not None and known.origin != site.origin:
        raise LedgerError(
            f"{path} should be ledger {known.origin} and is {site.origin}",
            hint="restore the right file, or choose another path with --ledger",
        )
    if known is None and _signed_here(site):
        remember_site(path, site, keys)
        # A rotation that ran until just now did not know of this ledger, and has left it without its row.
        current = existing_site(path, keys)
        if current.signers != site.signers:
            remember_site(path, current, keys)
            site = current
    return site


def require_kept(path: Path, keys: KeyFolder) -> KnownLedger | None:
    """Return what this key folder remembers of a path, which must then still be there.

    Raises:
        LedgerNotFound: A ledger was here and is gone or empty.
    """
    known = KnownLedgers(keys.path).at(path)
    if known is not None and not _present(path):
        raise LedgerNotFound(
            f"{path} was ledger {known.origin} and is gone or empty; a fresh one would forget what was spent",
            hint="restore it from a backup, or choose another path with --ledger",
        )
    return known


def remember_site(path: Path, site: Site, keys: KeyFolder) -> None:
    """Pin a ledger's public keys in the trust folder `self`, and at last note the ledger in the key folder."""
    trust.pin_log(keys.self_trust, site.verifier)
    trust.pin_writer(keys.self_trust, f"writer-{site.writer.key_id[:8]}", site.writer.public)
    KnownLedgers(keys.path).remember(KnownLedger(path, site.origin, site.verifier.vkey))


def read_head(note: str | None, site: Site) -> Checkpoint:
    """Check a stored head under the site's own log key, or one before or after it that its key folder pins.

    Raises:
        KeyUnusable: It is signed by another key folder's key, or by one that was revoked.
        LedgerError: There is none, or it is no checkpoint.
    """
    if note is None:
        raise LedgerError(f"{site.path} has no head", hint="restore it from a backup")
    try:
        return verify_checkpoint(note, signing_log(note, site))
    except VerificationError as error:
        raise KeyUnusable(
            f"{site.path} was not signed by the log key of this key folder: {error}",
            hint="point SAFELOOP_KEYS at the key folder that made it, or run safeloop audit",
        ) from None


def signing_log(note: str, site: Site) -> Verifier:
    """Return the key that signed a head: the site's own, or one that it replaced, or that replaced it.

    Raises:
        KeyUnusable: The trust folder `self` is not understood.
        SignatureMismatch: It is signed by a key that was revoked for checkpoints of its size.
    """
    if site.keys is None or has_signature(note, site.verifier):
        return site.verifier
    keys, revoked = trust.pinned_logs(site.keys.self_trust, site.origin)
    return trust.signing_log(note, keys, revoked) or site.verifier


def _signed_here(site: Site) -> bool:
    """Say whether this key folder made the ledger at this very place; a copy elsewhere is not to be remembered."""
    state = None if site.state is None else read_state(site.state)
    return state is not None and state.path == site.path


def _present(path: Path) -> bool:
    try:
        return path.stat().st_size > 0 or not path.is_file()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LedgerError(f"{path} cannot be reached: {error.strerror}", hint=f"ls -ld {path.parent}") from None


def existing_site(path: Path, keys: KeyFolder) -> Site:
    """Read the site of a ledger that is there, whatever this key folder remembers of it.

    Raises:
        LedgerError: It is not a ledger, or lies where none can be safe.
        KeyUnusable: It does not belong to these keys.
    """
    database.check_file(path)
    database.check_local(path)
    note = _head_note(path)
    if not keys.has_keys():
        raise KeyUnusable(
            f"{path} is there, but the key folder {keys.path} has no keys for it",
            hint="point SAFELOOP_KEYS at the key folder that made it; lost keys come back from a backup only",
        )
    origin = _origin(path, note)
    site = Site(path, origin, keys.writer(), keys.log(), state_path(keys.path, origin), keys)
    read_head(note, site)
    return site


def _head_note(path: Path) -> str | None:
    with contextlib.closing(RowStore(path, read_only=True)) as store:
        if store.schema() != schema.STATEMENTS:
            raise LedgerError(f"{path}: the schema is not the format's", hint="safeloop audit, and restore a backup")
        return store.head()


def _origin(path: Path, note: str | None) -> str:
    try:
        return parse_checkpoint(note or "").origin
    except VerificationError as error:
        raise LedgerError(f"{path} has no usable head: {error}", hint="restore it from a backup") from None


def _create(path: Path, keys: KeyFolder) -> None:
    if path.name.endswith(".content.db"):
        raise LedgerError(f"{path} is a name for content, not for a ledger", hint="choose another path with --ledger")
    if not path.parent.is_dir():
        raise LedgerNotFound(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")
    database.check_local(path)
    keys.create()
    origin = new_origin()
    site = Site(path, origin, keys.writer(), keys.log(), None)
    with _creating(path.parent):
        if not _present(path):  # nobody was first
            _create_files(path, site.sign_head(0, merkle.EMPTY_ROOT), state_path(keys.path, origin))


def _create_files(path: Path, head: str, state: Path) -> None:
    contents = content_path(path)
    for log in (Path(f"{path}-wal"), *(() if contents.exists() else (Path(f"{contents}-wal"),))):
        if log.exists() and log.stat().st_size:  # SQLite would play it into the new file
            raise LedgerError(
                f"{log} is what is left of a database that is gone; it may hold rows",
                hint="restore the database beside it, or move it away",
            )
    if not contents.exists():
        database.create(contents, schema.CONTENT_STATEMENTS, ())
    # The state comes before the ledger, and the memory of it after: a crash leaves nothing that cannot go on.
    create_state(state, State(path, 0, merkle.EMPTY_ROOT))
    path.unlink(missing_ok=True)  # empty, and not remembered
    database.create(path, schema.STATEMENTS, (("INSERT INTO head (id, note) VALUES (0, ?)", (head,)),))


@contextlib.contextmanager
def _creating(folder: Path) -> Iterator[None]:
    """Hold a folder against everybody else who makes a ledger there, under whatever keys."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _init_hint(path: Path) -> str:
    return f"safeloop init --ledger {path}"


def check_state(state: State, site: Site, head: Checkpoint, node: merkle.NodeSource) -> None:
    """Compare a ledger with what was last signed.

    Raises:
        StateMismatch: It lies elsewhere, is shorter, or is another history.
    """
    if state.path != site.path:
        raise StateMismatch(
            f"ledger {site.origin} was at {state.path} and is now at {site.path}",
            hint="safeloop ledger adopt --checkpoint NOTE, with a checkpoint that you kept",
        )
    if head.size < state.size:
        raise StateMismatch(
            f"{site.path} has {head.size} rows, but {state.size} were signed: an older file, or its end is cut off",
            hint="restore the newest file; one of fewer rows is never adopted",
        )
    if merkle.root_at(state.size, node) != state.root:
        raise StateMismatch(
            f"{site.path} is not the history that was signed: its first {state.size} rows have another root",
            hint="restore the file that was signed here; another history is never adopted",
        )
