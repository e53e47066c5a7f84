"""One process or several, large blocks or small: the same report to the last word, whatever was done to the rows."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safeloop.ledger.reader import LedgerReader
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.verdict import AuditReport
from tests.review.attacks import Sealed, Victim, erase, found, governed, make, raw, rebuild, unguarded

CALMLY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
FEW = settings(CALMLY, max_examples=6)
PLACES = st.integers(0, 15)
STEPS = st.tuples(
    st.sampled_from(["flip", "forge", "delete", "double", "swap", "junk", "version", "kind", "type", "move", "far"]),
    PLACES, PLACES,
)  # fmt: skip


@dataclass
class Scene:
    """A ledger of sixteen rows to be spoilt, and what it was."""

    victim: Victim
    saved: Path

    def restore(self) -> None:
        for file in self.saved.iterdir():
            shutil.copy(file, self.victim.path.parent / file.name)

    def spoil(self, steps: list[tuple[str, int, int]], *, with_tree: bool, log: bool) -> None:
        """Do all of this to the rows: with the stored tree rebuilt or not, with the head signed anew or not."""
        rows = self.victim.sealed()
        for name, at, other in steps:
            spoil(self.victim, rows, name, at, other)
        if with_tree:
            rebuild(self.victim, rows, log=self.victim.log if log else None)
        else:
            with unguarded(self.victim.path) as sql:
                sql.execute("DELETE FROM row")
                sql.executemany("INSERT INTO row (idx, body, sig) VALUES (?, CAST(? AS TEXT), ?)",
                                ((idx, *row) for idx, row in enumerate(rows)))
        if any(name == "far" for name, *_ in steps):
            with unguarded(self.victim.path) as sql:
                sql.execute("UPDATE row SET idx = 40 WHERE idx = 6")
                sql.execute("UPDATE row SET idx = -2 WHERE idx = 1")

    def report(self, *, processes: int = 1, rows_per_block: int = 0, tree_only: bool = False) -> AuditReport:
        with LedgerReader(self.victim.path) as reader:
            return audit(
                reader, self.victim.trust(), state=self.victim.state(), few_rows=0, processes=processes,
                rows_per_block=rows_per_block, tree_only=tree_only,
            )


def spoil(victim: Victim, rows: list[Sealed], name: str, at: int, other: int) -> None:
    """Do one thing to the row at a place, if there is one."""
    if not at < len(rows) or not other < len(rows):
        return
    body, signature = rows[at]
    if name == "flip":
        place = max(0, len(body) - 9)  # of what is left of a body that was spoilt before
        rows[at] = (body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :], signature)
    elif name == "forge":
        rows[at] = (body, bytes(64))
    elif name == "delete":
        del rows[at]
    elif name == "double":
        rows.insert(other, rows[at])
    elif name == "swap":
        rows[at], rows[other] = rows[other], rows[at]
    elif name == "junk":
        rows[at] = (b"junk", signature)
    elif name == "version":
        rows[at] = victim.seal(body.replace(b'"v":1', b'"v":2'))
    elif name == "kind":
        rows[at] = victim.seal(body.replace(b'"kind":"', b'"kind":"new'))
    elif name == "type":
        rows[at] = victim.seal(body.replace(b'":1,', b'":true,', 1))
    elif name == "move":
        rows[at] = victim.seal(body.replace(b'"n":', b'"n":1', 1))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    victim, alpha, _ = make(folder)
    governed(victim, "gamma")
    erase(victim, "alpha", [alpha.row("turn").data["response"]])
    saved = tmp_path_factory.mktemp("saved")
    for file in (victim.path, victim.contents):
        with contextlib.closing(LedgerReader(victim.path)), raw(file) as sql:
            sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(file, saved)
    yield Scene(victim, saved)


@CALMLY
@given(steps=st.lists(STEPS, max_size=3), with_tree=st.booleans(), log=st.booleans(), tree_only=st.booleans())
def test_blocks_of_any_size_give_the_same_report(
    scene: Scene, steps: list[tuple[str, int, int]], with_tree: bool, log: bool, tree_only: bool
) -> None:
    scene.restore()
    scene.spoil(steps, with_tree=with_tree, log=log)
    whole = scene.report(tree_only=tree_only)
    for rows_per_block in (1, 2, 4, 16):
        assert scene.report(rows_per_block=rows_per_block, tree_only=tree_only) == whole


@pytest.mark.usefixtures("started")
@FEW
@given(steps=st.lists(STEPS, min_size=1, max_size=3), with_tree=st.booleans(), tree_only=st.booleans())
def test_several_processes_give_the_same_report(
    scene: Scene, steps: list[tuple[str, int, int]], with_tree: bool, tree_only: bool
) -> None:
    scene.restore()
    scene.spoil(steps, with_tree=with_tree, log=True)
    assert scene.report(processes=2, rows_per_block=2, tree_only=tree_only) == scene.report(tree_only=tree_only)


@pytest.mark.usefixtures("started")
def test_an_untouched_ledger_passes_in_several_processes(scene: Scene) -> None:
    scene.restore()
    report = scene.report(processes=2, rows_per_block=4)
    assert (found(report), report.rows_standing) == ([], 16)


def test_a_small_ledger_starts_no_process_and_one_without_a_head_neither(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safeloop.review.auditing import workers

    def refuse(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(workers, "_start", refuse)
    scene.restore()
    with LedgerReader(scene.victim.path) as reader:
        assert found(audit(reader, scene.victim.trust(), state=None, processes=8)) == []
        with pytest.raises(AssertionError, match="a process was started"):
            audit(reader, scene.victim.trust(), state=None, processes=2, few_rows=16)
