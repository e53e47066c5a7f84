"""What lies where SQLite looks beside a ledger, and is no file of its own: refused with words, and never waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.program import Program

READING = [("audit",), ("log",), ("review", "latest"), ("checkpoint",), ("inbox",)]
SIDES = ["ledger.content.db", "ledger.db-journal", "ledger.db-wal", "ledger.content.db-journal", "ledger.content.db-wal"]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("make", "words"), [(os.mkfifo, "is not a regular file"), (Path.mkdir, "is a folder, not a regular file")]
)
def test_a_pipe_or_a_folder_in_the_place_of_a_file_of_sqlite_stops_every_command(
    program: Program, side: str, make: Callable[[Path], None], words: str
) -> None:
    assert program.job().code == 0
    there = program.folder / side
    there.unlink(missing_ok=True)
    make(there)
    for command in (*READING, ("spec", "--file", "job.toml"), ("backup", "copy.db")):
        done = program(*command)
        assert (done.code, done.out) == (14, ""), command
        assert f"{side} {words}" in done.err and "move it away" in done.err and "safeloop audit" not in done.err


def test_a_journal_that_is_none_of_ours_is_named_and_not_played_in(program: Program) -> None:
    assert program.job().code == 0
    journal = program.folder / "ledger.db-journal"
    journal.write_bytes(b"junk" * 1_000)
    before = (program.folder / "ledger.db").read_bytes()
    for command in READING:
        done = program(*command)
        assert done.code == 14, command
        assert "ledger.db-journal lies beside it" in done.err and "move " in done.err and "recorded" not in done.err
    assert (program.folder / "ledger.db").read_bytes() == before
    journal.unlink()
    assert program("audit").code == 0
