"""The ledger that every attack begins with, the hand that attacks it, and the auditor who comes later.

Nineteen rows, as people number them:

    1 spec   2 open   3 intent   4 turn   5 call   6 tool   7 intent   8 turn   9 intent   10 turn
    11 check   12 close   13 attestation   14 release                     session alpha
    15 spec   16 open   17 intent   18 turn   19 close                    session beta

The auditor has a trust folder of their own, with both keys and the reviewer in it. What they bring besides, and what
they ask for, is said with each attack: the state of the machine that writes, or a checkpoint of all nineteen rows that
somebody kept; an audit of everything, of what is new since row 14, of one session, or of the tree alone.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass, field, replace
from enum import Enum, Flag, auto
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from safeloop.ledger import Ledger, encode, seal, sshsig
from safeloop.ledger.content import TEXT
from safeloop.ledger.keys import SigningKey
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import read_state, state_path
from safeloop.ledger.trust import REVIEW_NAMESPACE, Trust, add_reviewer, load_trust
from safeloop.review import ReviewSurface
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.verdict import AuditReport
from safeloop.review.releasing.release import release
from safeloop.spec import Criterion
from tests.review.attacks import Sealed, Victim, rebuild
from tests.review.sessions import CEILINGS, Book, SessionBuilder

ALPHA, BETA, ALICE = "alpha", "beta", "alice@example.org"
ROWS, CLOSE_OF_ALPHA = 19, 12
NO_PREV = "0" * 64


class Keys(Flag):
    """Which private keys an attacker holds; anybody can write the file."""

    NONE = 0
    WRITER = auto()
    LOG = auto()
    BOTH = WRITER | LOG


class Brings(Enum):
    """What the auditor has besides the pinned keys."""

    PINS = "pinned keys"
    STATE = "the state of the machine that writes"
    CHECKPOINT = "a checkpoint that somebody kept"


class Asks(Enum):
    """What the auditor has audited."""

    EVERYTHING = "everything"
    SINCE = "what is new since the checkpoint of an audit of the first fourteen rows"
    TREE = "chains and tree alone"
    BETA = "one session, beta"


@dataclass
class Scene:
    """A folder with the victim, another ledger of the same keys, and the auditor's pins; it can be put back."""

    folder: Path
    victim: Victim
    other: Victim
    reviewer: Ed25519PrivateKey
    origin: str
    kept: str
    audited: str
    earlier: bytes
    honest: tuple[Sealed, ...]
    _files: dict[Path, bytes] = field(default_factory=dict, repr=False)
    _notes: tuple[str, str] = ("", "")

    @property
    def pins(self) -> Path:
        return self.folder / "pins"

    def restore(self) -> None:
        """Put every file, and what the auditor brings, back as it was before the attack."""
        self.kept, self.audited = self._notes
        self.pins.mkdir(exist_ok=True)
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self._files:
                path.unlink()
        for path, data in self._files.items():
            path.write_bytes(data)

    def keep(self) -> None:
        """Remember every file and note, to be put back."""
        self._notes = self.kept, self.audited
        self._files = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def trust(self) -> Trust:
        return load_trust(self.pins)

    def audit(
        self, brings: Brings = Brings.PINS, asks: Asks = Asks.EVERYTHING, *, rows_per_block: int = 0
    ) -> AuditReport:
        """Audit in blocks of so many rows; full ones that are plain take a way of their own, and 0 makes none full."""
        state = read_state(state_path(self.victim.keys, self.origin)) if brings is Brings.STATE else None
        checkpoints = [self.kept] if brings is Brings.CHECKPOINT else []
        with LedgerReader(self.victim.path) as reader:
            return audit(
                reader, self.trust(), state=state, checkpoints=checkpoints, tree_only=asks is Asks.TREE,
                since=self.audited if asks is Asks.SINCE else None, session=BETA if asks is Asks.BETA else None,
                rows_per_block=rows_per_block,
            )


def make_scene(folder: Path) -> Scene:
    """Live through two sessions: one is attested and released, the other only closed."""
    victim, other = Victim(folder / "ledger.db", folder / "keys"), Victim(folder / "other.db", folder / "keys")
    reviewer = Ed25519PrivateKey.generate()
    with contextlib.closing(Ledger(victim.path, keys=victim.keys)) as ledger:
        add_reviewer(victim.keys / "self", ALICE, public(reviewer))
        keep_a_word(ledger)
        surface = ReviewSurface(victim.path, victim.path, keys=victim.keys, create=False)
        surface.attest_signed(
            surface.show(ALPHA), "accept", ALICE, sign=lambda data: sshsig.sign(reviewer, REVIEW_NAMESPACE, data)
        )
        release(ledger, surface.trust(), ALPHA, folder / "released")
    earlier, audited = victim.path.read_bytes(), victim.head()
    for book in (victim, other):
        with contextlib.closing(Ledger(book.path, keys=book.keys)) as ledger:
            begun = SessionBuilder(ledger, BETA).spec(ceilings=CEILINGS).open("Look at another page.")
            begun.turn("done", tokens=80).close(output="done")
    shutil.copytree(victim.keys / "self", folder / "pins")
    scene = Scene(folder, victim, other, reviewer, victim.origin, victim.head(), audited, earlier, tuple(victim.sealed()))
    assert len(scene.honest) == ROWS
    scene.keep()
    return scene


def keep_a_word(book: Book) -> None:
    """Live through alpha: three turns, one tool, one criterion, one new file, and nothing that an audit could mind."""
    criterion = Criterion("report names the title", "report.md", contains=("Title",), max_chars=500)
    tool = {"name": "write_file", "permission": "write", "schema": "5" * 64}
    alpha = SessionBuilder(book, ALPHA).spec(criteria=(criterion,)).open("Audit this page.", tools=[tool])
    call = alpha.turn("I begin", tokens=100).call().last.data
    result = book.content(b"written", TEXT)
    alpha.row("tool", call | {"result": result.commitment, "execution_time_ms": 3, "pass_fail": True, "error": None}, result)
    alpha.turn("I go on", tokens=120).turn("All is well.", tokens=90)
    alpha.check(criterion.name)
    alpha.close(output="All is well.", files={"report.md": (None, b"# Title\nnothing is wrong\n")})


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


class Hand:
    """An attacker: anybody's tools on the file, and only the keys that they are said to hold."""

    def __init__(self, scene: Scene, keys: Keys) -> None:
        self.scene, self._keys = scene, keys
        self.path, self.contents = scene.victim.path, scene.victim.contents
        self.rows: list[Sealed] = list(scene.honest)
        self.stranger = SigningKey.ephemeral()

    @property
    def writer(self) -> SigningKey:
        assert Keys.WRITER in self._keys, "this attacker does not hold the writer key"
        return self.scene.victim.writer

    @property
    def log(self) -> SigningKey:
        assert Keys.LOG in self._keys, "this attacker does not hold the log key"
        return self.scene.victim.log

    def body(self, number: int) -> dict[str, Any]:
        """Return the body of the row with this number, from 1."""
        found: dict[str, Any] = json.loads(self.rows[number - 1][0])
        return found

    def leaf(self, number: int) -> str:
        return seal.leaf(*self.rows[number - 1]).hex()

    def seal(self, body: dict[str, Any] | bytes, key: SigningKey | None = None) -> Sealed:
        data = body if isinstance(body, bytes) else encode(body)
        return data, (key or self.writer).sign(seal.pae(data))

    def appended(self, **changes: Any) -> Sealed:
        """Return a row of the writer's that follows beta's last one."""
        return self.seal(self.body(ROWS) | {"n": 5, "prev": self.leaf(ROWS)} | changes)

    def rewrite(self, number: int, **changes: Any) -> None:
        """Change what a row of beta says, and seal it and the rows after it anew, chain and all."""
        for at in range(number, ROWS + 1):
            value = self.body(at) | (changes if at == number else {"prev": self.leaf(at - 1)})
            self.rows[at - 1] = self.seal(value)

    def write(self) -> None:
        """Write the rows into the file, rebuild the tree, and sign the head if the log key is held."""
        rebuild(self.scene.victim, self.rows, log=self.log if Keys.LOG in self._keys else None)

    def pin(self, **changes: Any) -> None:
        """Add a line to a file of the auditor's trust folder: what the auditor does on learning of something."""
        for name, line in changes.items():
            file = self.scene.pins / name
            file.write_text((file.read_text() if file.exists() else "") + f"{line}\n")


def without_prefix(text: bytes, old: bytes, new: bytes) -> bytes:
    """Replace exactly one occurrence."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


__all__ = [
    "ALICE", "ALPHA", "BETA", "CLOSE_OF_ALPHA", "NO_PREV", "ROWS", "Asks", "Brings", "Hand", "Keys", "Scene", "make_scene",
    "public", "replace", "without_prefix",
]
