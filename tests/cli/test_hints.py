"""A hint is a step that helps where it is given: none leads to a flag, a file or a command that has no part in it."""

from __future__ import annotations

import sqlite3

from tests.cli.program import Program
from tests.ledger.test_importing import SPECS


def test_a_second_key_of_a_reviewer_names_the_flag_that_adds_it(program: Program) -> None:
    for name in ("one", "two"):
        program.shell(f"ssh-keygen -q -t ed25519 -N '' -f {name}")
    assert program("trust", "add-reviewer", "alice@example.org", "one.pub").code == 0
    refused = program("trust", "add-reviewer", "alice@example.org", "two.pub")
    assert refused.code == 14 and "add-reviewer alice@example.org KEY.pub --another" in refused.err
    assert program("trust", "add-reviewer", "alice@example.org", "two.pub", "--another").code == 0


def test_a_file_that_cannot_be_imported_is_not_to_be_audited_or_named_with_another_flag(program: Program) -> None:
    (program.folder / "notes.txt").write_text("some words\n" * 500)
    with sqlite3.connect(program.folder / "old.db") as connection:
        connection.executescript(SPECS)
        connection.execute("INSERT INTO spec VALUES (1, 's', ?, 'b', 'c', '2026')", ("x" * 4_100_000,))
    connection.close()
    for name, words in (("notes.txt", "is not a database"), ("old.db", "too big")):
        refused = program("ledger", "import", name)
        assert refused.code == 14 and words in refused.err, refused.err
        hint = refused.err.partition("hint: ")[2]
        assert hint.startswith("safeloop ledger import FILE") and "audit" not in hint


def test_a_bound_beyond_the_ledger_is_told_in_both_flags(program: Program) -> None:
    old = program("key", "rotate", "--role", "writer", "--json").json["rotations"][0]["old"]
    refused = program("key", "revoke", old, "--from-row", "999")
    assert refused.code == 2 and "without --from-row and --size" in refused.err


def test_pins_are_never_said_to_be_imported_into_self(program: Program) -> None:
    told = program("trust", "import", "--help").out
    assert "never the key folder's self" in " ".join(told.split()) and "else the key folder's self" not in told
