"""A release that dies at every step it takes, and is then repeated.

One process of its own prepares a ledger, puts a copy of it in the same place for each step, and forks a child there;
the child kills itself with SIGKILL at its k-th touch of the file system, until one comes through. What the test sees
are the facts that it noted after each death.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop.errors import LedgerLocked, NotAttested, SafeloopError, SettingError
from safeloop.ledger import Ledger, sshsig
from safeloop.ledger.note import parse_receipt, verify_receipt
from safeloop.ledger.rows import parse_row
from safeloop.ledger.trust import REVIEW_NAMESPACE, add_reviewer
from safeloop.review import ReviewSurface
from safeloop.review.releasing.release import release
from tests.review.sessions import SessionBuilder

ALICE = "alice@example.org"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x11" * 32)
FILES = {"report.md": b"# Title\n", "pages/one.html": b"\x00\xff", "pages/deep/two.html": b"two"}
OLD = {"old.md": b"an earlier release"}


class Scene:
    """A ledger with accepted sessions, of which one is to be released."""

    def __init__(self, folder: Path, session: str = "") -> None:
        self.path, self.keys, self.out = folder / "ledger.db", folder / "keys", folder / "out"
        self.out.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(self.path, keys=self.keys)
        self.surface = ReviewSurface(self.path, self.path, keys=self.keys, create=False)
        self.session = session or self.begun()

    def begun(self) -> str:
        """Trust the reviewer; return the session to be released."""
        public = sshsig.PublicKey(sshsig.PLAIN, PRIVATE.public_key().public_bytes_raw()).openssh
        add_reviewer(self.keys / "self", ALICE, public)
        return self.accepted(FILES)

    def accepted(self, files: dict[str, bytes]) -> str:
        builder = SessionBuilder(self.ledger).spec().open().turn()
        builder.close(output="done", files={name: (None, data) for name, data in files.items()})
        shown = self.surface.show(builder.session)
        self.surface.attest_signed(
            shown, "accept", ALICE, sign=lambda data: sshsig.sign(PRIVATE, REVIEW_NAMESPACE, data)
        )
        return builder.session

    def release(self, to: Path, *, force: bool, session: str | None = None) -> None:
        release(self.ledger, self.surface.trust(), session or self.session, to, force=force)

    def rows_for(self, to: Path) -> list[str]:
        rows = self.ledger.rows(self.session)
        return [row.leaf for row in rows if row.kind == "release" and row.data["destination"] == str(to)]

    def is_whole(self, to: Path, files: dict[str, bytes]) -> bool:
        """Say whether a folder is a complete bundle with these files, each proof in it leading to its row."""
        found = {str(path.relative_to(to)): path.read_bytes() for path in to.rglob("*") if path.is_file()}
        proof = {name: found.pop(name) for name in tuple(found) if name.startswith("release/")}
        receipts = [proof.pop(name) for name in tuple(proof) if name.endswith(".tlog-proof")]
        log = self.surface.trust().log_for(self.ledger.origin)
        kinds = []
        for text in receipts:
            receipt = parse_receipt(text.decode())
            verify_receipt(receipt, log)
            kinds.append(parse_row(receipt.index, receipt.body, receipt.signature).kind)
        names = {"frame.txt", "SHA256SUMS", "output.txt", "statement-1.json", "statement-1.sig", "checkpoint.txt"}
        return (
            found == files and proof.keys() == {f"release/{name}" for name in names} and all(proof.values())
            and sorted(kinds) == ["attestation", "close", "open", "release", "spec"]
        )


def die_at(step: int) -> None:
    """Kill this process at its `step`-th touch of the file system from here on."""
    left = [step]

    def hook(event: str, _arguments: tuple[Any, ...]) -> None:
        if event == "open" or event.startswith(("os.", "shutil.", "fcntl.")):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def crash_everywhere(folder: Path, *, force: bool) -> None:
    place, kept = folder / "scene", folder / "kept"
    scene = Scene(place)
    session, to = scene.session, scene.out / "out"
    if force:
        scene.release(to, force=False, session=scene.accepted(OLD))
    scene.ledger.close()
    place.rename(kept)
    for step in count(1):
        shutil.copytree(kept, place)
        scene = Scene(place, session)
        child = os.fork()
        if child == 0:
            die_at(step)
            scene.release(to, force=force)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        facts = {"step": step, "came through": status == 0, "killed": os.WIFSIGNALED(status),
                 "rows": len(scene.rows_for(to)), "there": to.exists()}
        facts["whole"] = to.exists() and scene.is_whole(to, FILES)
        facts["old is whole"] = to.exists() and scene.is_whole(to, OLD)
        repeat(scene, to, facts, force=force)
        print(json.dumps(facts))
        if status == 0:
            return
        scene.ledger.close()
        shutil.rmtree(place)


def repeat(scene: Scene, to: Path, facts: dict[str, Any], *, force: bool) -> None:
    """Run the same command again, and note what there is then."""
    try:
        scene.release(to, force=force)
        facts["repeated"] = "done"
    except SettingError as refused:
        facts["repeated"] = str(refused)
    facts["rows then"] = len(scene.rows_for(to))
    facts["whole then"] = scene.is_whole(to, FILES)
    facts["left behind"] = [path.name for path in scene.out.iterdir() if path.name.startswith(".")]


def race(folder: Path) -> None:
    scene = Scene(folder)
    to = scene.out / "out"
    ready, go = os.pipe()
    children = []
    for _ in range(6):
        children.append(os.fork())
        if children[-1] == 0:
            os.close(go)
            os.read(ready, 1)  # until the parent has let go of the other end
            code = 9
            with contextlib.suppress(SafeloopError):
                try:
                    scene.release(to, force=False)
                    code = 0
                except (LedgerLocked, SettingError, NotAttested):
                    code = 1
            os._exit(code)
    os.close(go)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print(json.dumps({"codes": codes, "rows": len(scene.rows_for(to)), "whole": scene.is_whole(to, FILES),
                      "left behind": [path.name for path in scene.out.iterdir() if path.name.startswith(".")]}))


def run(scenario: str, folder: Path) -> list[dict[str, Any]]:
    """Play a scenario in a process of its own, without other threads and unmeasured, and return what it noted."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.test_release_crash", scenario, str(folder)],
        check=False, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run("plain", tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def crashed_with_force(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run("force", tmp_path_factory.mktemp("force"))


def test_it_died_before_the_row_after_the_row_and_after_the_rename(crashed: list[dict[str, Any]]) -> None:
    assert all(facts["killed"] for facts in crashed[:-1])
    assert crashed[-1]["came through"]
    died = {(facts["rows"], facts["there"]) for facts in crashed[:-1]}
    assert died == {(0, False), (1, False), (1, True)}


def test_what_is_at_the_destination_after_a_death_is_whole_or_nothing(crashed: list[dict[str, Any]]) -> None:
    assert [facts for facts in crashed if facts["there"] != facts["whole"]] == []


def test_the_same_command_again_completes_it_and_never_writes_a_second_row(crashed: list[dict[str, Any]]) -> None:
    for facts in crashed:
        assert facts["rows then"] == 1, facts
        assert facts["whole then"], facts
        assert facts["repeated"] == "done" or facts["there"], facts
        assert facts["repeated"] == "done" or "holds a release already" in facts["repeated"], facts


def test_nothing_is_left_behind_by_the_repetition(crashed: list[dict[str, Any]]) -> None:
    assert [facts for facts in crashed if facts["left behind"]] == []


def test_a_replacement_that_dies_loses_neither_the_old_nor_the_new(crashed_with_force: list[dict[str, Any]]) -> None:
    assert len(crashed_with_force) > 20
    for facts in crashed_with_force:
        assert facts["whole"] or facts["old is whole"] or not facts["there"], facts
        assert facts["repeated"] == "done", facts
        assert facts["rows then"] == 1, facts
        assert facts["whole then"], facts
        assert facts["left behind"] == [], facts
    states = {(facts["old is whole"], facts["whole"]) for facts in crashed_with_force}
    assert states == {(True, False), (False, False), (False, True)}  # before, between the renames, after


def test_of_many_at_once_one_releases_and_the_others_say_why_not(tmp_path: Path) -> None:
    (facts,) = run("race", tmp_path)
    assert sorted(facts["codes"]) == [0, 1, 1, 1, 1, 1]
    assert facts["rows"] == 1
    assert facts["whole"]
    assert facts["left behind"] == []


if __name__ == "__main__":
    place = Path(sys.argv[2])
    if sys.argv[1] == "race":
        race(place)
    else:
        crash_everywhere(place, force=sys.argv[1] == "force")
    sys.stdout.flush()
