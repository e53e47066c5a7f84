"""A rotation that dies at every step it takes: each ledger goes on at once, and the same command finishes it.

A child kills itself with SIGKILL at its k-th touch of the file system or of a lock, until one comes through. Those who
are born and die here are not measured, which would take most of their lives.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

import pytest

from safeloop.ledger import Ledger
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import parse_row
from safeloop.ledger.state import read_state, state_path
from safeloop.ledger.succession import Role
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.rotation import rotate
from safeloop.review.auditing.audit import audit
from tests.ledger.making import add, run

EVERYWHERE = """
import sys
from pathlib import Path
from tests.faults.test_rotation_crash import Role, crash_everywhere
crash_everywhere(Path(sys.argv[1]), Role(sys.argv[2]))
"""
STEPS = frozenset({"os.link", "os.rename", "os.remove", "fcntl.flock", "sqlite3.connect"})


class Scene:
    """Two ledgers of one key folder."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        self.paths = [folder / "a.db", folder / "b.db"]
        if not folder.exists():
            folder.mkdir()
            for path in self.paths:
                self.append(path)

    def append(self, path: Path) -> str:
        with contextlib.closing(Ledger(path, keys=self.keys)) as ledger:
            return add(ledger)[0].writer

    def findings(self, path: Path) -> list[str]:
        with LedgerReader(path) as reader:
            state = read_state(state_path(self.keys, reader.origin()))
            report = audit(reader, load_trust(self.keys / "self"), state=state)
        return [each.message for each in report.findings]

    def rotations(self, path: Path) -> int:
        with LedgerReader(path) as reader:
            return sum(parse_row(*stored).kind == "key" for stored in reader.rows())


def dies_at(step: int, work: object) -> bool:
    """Do the work in a fork that is killed just before this step; say whether it was."""
    child = os.fork()
    if child == 0:
        seen = count(1)

        def watch(event: str, _arguments: object) -> None:
            if event in STEPS and next(seen) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            work()  # type: ignore[operator]
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, "the rotation failed by itself"
    return os.WIFSIGNALED(status)


def crash_everywhere(folder: Path, role: Role) -> None:
    place, kept = folder / "scene", folder / "kept"
    Scene(place)
    place.rename(kept)
    for step in count(1):
        shutil.copytree(kept, place)  # to the same place: a state names its ledger's
        scene = Scene(place)
        old = KeyFolder(scene.keys).signer(role).key_id
        died = dies_at(step, lambda scene=scene: rotate(KeyFolder(scene.keys), role))
        for path in scene.paths:
            assert scene.findings(path) == [], step
            writer = scene.append(path)
            assert scene.findings(path) == [], step
            if role is Role.WRITER:
                assert (writer == old) is (scene.rotations(path) == 0), step
        began = KeyFolder(scene.keys).waiting_public(role) is not None
        ended = KeyFolder(scene.keys).signer(role).key_id != old
        assert not (began and ended)
        if not ended:
            done = rotate(KeyFolder(scene.keys), role)
            assert (done.resumed, done.old) == (began, old)
        assert [scene.rotations(path) for path in scene.paths] == [1, 1], step
        # A second name, such as `.writer.next.pem.HEX`, would keep the private half of a key that is replaced later.
        assert sorted(file.name for file in scene.keys.glob("*.pem*")) == ["log.pem", "writer.pem"]
        for path in scene.paths:
            scene.append(path)
            assert scene.findings(path) == [], step
        if not died:
            assert step > 20, "the rotation takes more steps than that: they were not seen"
            return
        shutil.rmtree(place)


@pytest.mark.parametrize("role", Role)
def test_between_any_two_steps_every_ledger_can_be_written_and_audited(tmp_path: Path, role: Role) -> None:
    run(EVERYWHERE, tmp_path, role.value, measured=False)
