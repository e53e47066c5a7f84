"""The second verifier and the audit say the same of ledgers that real runs and commands made, untouched and not."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop.ledger import Ledger, sshsig
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.store.tutorial import TutorialFile
from safeloop.ledger.succession import Role
from safeloop.ledger.trust import REVIEW_NAMESPACE, add_reviewer
from safeloop.ledger.upkeep.adoption import adopt
from safeloop.ledger.upkeep.erasing import erase, plan_session
from safeloop.ledger.upkeep.importing import Conversion, import_tutorial
from safeloop.ledger.upkeep.revocation import revoke
from safeloop.ledger.upkeep.rotation import rotate
from safeloop.review import ReviewSurface
from safeloop.review.attesting.imported import imported_attestation
from safeloop.review.releasing.release import release
from tests.attacks.scene import public
from tests.loop.playing import Player, call, loop_of, noting, reply, spec_of
from tests.review.attacks import raw, unguarded
from tests.verifier.test_agreement import Question, Verdict, agreed

ALICE = "alice@example.org"
TUTORIAL = f"""CREATE TABLE ledger (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL,
 turn_count INTEGER NOT NULL, state_origin TEXT NOT NULL, input_hash TEXT NOT NULL, token_delta INTEGER NOT NULL,
 execution_time_ms INTEGER NOT NULL, pass_fail INTEGER NOT NULL, breach_reason TEXT, created_at TEXT NOT NULL);
INSERT INTO ledger VALUES (1, 's', 1, 'llm', '{'0' * 64}', 100, 12, 1, NULL, '2026-01-02T03:04:05.678901+00:00');"""


@dataclass(frozen=True)
class Life:
    """A ledger that is lived on step by step, its key folder, and a reviewer."""

    folder: Path
    reviewer: Ed25519PrivateKey

    @property
    def path(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    def ledger(self) -> contextlib.closing[Ledger]:
        return contextlib.closing(Ledger(self.path, keys=self.keys))

    def head(self) -> str:
        with LedgerReader(self.path) as reader:
            return reader.head() or ""


def run_with_tools(life: Life) -> None:
    """One reply that calls three tools, of which one fails, and one that is the answer."""
    used = reply(call("look", call_id="a"), call("note", call_id="b"), call("fail", call_id="c"), stop_reason="tool_use")
    with life.ledger() as ledger:
        loop_of(ledger, Player(used, reply("done")), spec=spec_of("tools"), tools=noting([])).run("do it")


def run_into_a_ceiling(life: Life) -> None:
    with life.ledger() as ledger:
        used = reply(call("note"), stop_reason="tool_use")
        loop_of(ledger, Player(used), spec=spec_of("ceiling"), turns=1, tools=noting([])).run("do it")


def run_that_fails(life: Life) -> None:
    with life.ledger() as ledger, pytest.raises(RuntimeError, match="no reply"):
        loop_of(ledger, Player(RuntimeError("no reply")), spec=spec_of("failure")).run("do it")


def hand_out(life: Life) -> None:
    surface = ReviewSurface(life.path, life.path, keys=life.keys, create=False)
    surface.attest_signed(surface.show("tools"), "accept", ALICE,
                          sign=lambda data: sshsig.sign(life.reviewer, REVIEW_NAMESPACE, data))
    with life.ledger() as ledger:
        release(ledger, surface.trust(), "tools", life.folder / "released")


def replace_both_keys(life: Life) -> None:
    for role in Role:
        rotate(KeyFolder(life.keys), role)


def revoke_the_old_writer(life: Life) -> None:
    keys = KeyFolder(life.keys)
    old = next(key_id for key_id in surface_writers(life) if key_id != keys.writer().key_id)
    revoke(life.path, old, keys=keys)


def surface_writers(life: Life) -> tuple[str, ...]:
    return tuple(ReviewSurface(life.path, life.path, keys=life.keys, create=False).trust().writers)


def take_over_a_tutorial(life: Life) -> None:
    old = life.folder / "old.db"
    with contextlib.closing(sqlite3.connect(old)) as sql:
        sql.executescript(TUTORIAL)
    with life.ledger() as ledger, TutorialFile(old) as file:
        import_tutorial(ledger, file, Conversion(lambda _: None, imported_attestation))


def adopt_it_again(life: Life) -> None:
    adopt(life.path, life.head(), keys=life.keys)


def forget_a_session(life: Life) -> None:
    with life.ledger() as ledger:
        with LedgerReader(life.path) as reader:
            plan = plan_session(reader, "ceiling")
        erase(ledger, plan, "asked for")


STEPS: dict[str, tuple[Callable[[Life], None], set[str], set[str]]] = {
    "a run with tools": (run_with_tools, {"call", "tool", "turn", "close"}, set()),
    "a run into a ceiling": (run_into_a_ceiling, {"breach"}, set()),
    "a run that fails": (run_that_fails, {"attempt"}, set()),
    "a release": (hand_out, {"attestation", "release"}, set()),
    "rotations": (replace_both_keys, {"key"}, set()),
    "a revocation": (revoke_the_old_writer, {"key"}, set()),
    "an adoption": (adopt_it_again, {"key"}, set()),
    "an erasure": (forget_a_session, {"erase"}, {"erased"}),
    "an import": (take_over_a_tutorial, {"turn"}, {"erased", "ungoverned"}),
}
"""What happens to one ledger, in this order; the kinds of rows that come of it, and the gaps that are there then."""


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A copy of the folder after each step."""
    folder = tmp_path_factory.mktemp("life")
    life = Life(folder / "now", Ed25519PrivateKey.generate())
    life.folder.mkdir()
    made = {}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SAFELOOP_KEYS", str(life.keys))
        for name, (happens, _, _) in STEPS.items():
            happens(life)
            if name == "a run with tools":
                add_reviewer(life.keys / "self", ALICE, public(life.reviewer))
            made[name] = folder / name
            shutil.copytree(life.folder, made[name])
    return made


def asked(folder: Path) -> Question:
    with LedgerReader(folder / "ledger.db") as reader:
        return Question(folder / "ledger.db", folder / "keys" / "self", checkpoints=(reader.head() or "",))


@pytest.mark.parametrize("name", STEPS)
def test_both_say_the_same_of_a_real_ledger(copies: dict[str, Path], name: str) -> None:
    _, kinds, gaps = STEPS[name]
    assert agreed(asked(copies[name])) == Verdict(True, complete=not gaps, findings={}, gaps=frozenset(gaps))
    with raw(copies[name] / "ledger.db") as sql:
        assert kinds <= {kind for (kind,) in sql.execute("SELECT kind FROM row")}


def test_both_say_the_same_of_each_row_of_a_real_ledger_that_was_changed(copies: dict[str, Path], tmp_path: Path) -> None:
    """The last digit of the clock: a row that nobody signed."""
    copy = tmp_path / "copy"
    shutil.copytree(copies["an import"], copy)
    question = asked(copy)
    with raw(question.ledger) as sql:
        rows = sql.execute("SELECT idx, CAST(body AS BLOB) FROM row").fetchall()
    for idx, body in rows[:: max(1, len(rows) // 12)]:
        at = body.index(b'Z","data"') - 1
        for stored in (body[:at] + b"%d" % (9 - int(body[at : at + 1])) + body[at + 1 :], body):
            with unguarded(question.ledger) as sql:
                sql.execute("UPDATE row SET body = CAST(? AS TEXT) WHERE idx = ?", (stored, idx))
            assert agreed(question).passed == (stored == body)
