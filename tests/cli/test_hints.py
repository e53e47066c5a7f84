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


def test_a_name_is_escaped_once_however_it_comes_into_an_error(program: Program) -> None:
    for command, said in (
        (("review", "a\\b"), "no session 'a\\\\b' in "), (("review", "a\x1bb"), "no session 'a\\u{1b}b' in "),
        (("review", "latest", "--ledger", "x\\y\x1b.db"), "/x\\y\\u{1b}.db\n"),
    ):
        refused = program(*command)
        assert refused.code == 14 and said in refused.err, refused.err
        assert "\\\\\\" not in refused.err


def test_a_ledger_that_was_moved_without_its_content_is_told_from_one_that_lacks_a_piece_of_it(program: Program) -> None:
    assert program.job().code == 0
    (program.folder / "kept").write_text(program("checkpoint").out)
    (program.folder / "new").mkdir()
    (program.folder / "ledger.db").rename(program.folder / "new/ledger.db")
    for command in (("review", "latest"), ("ledger", "adopt", "--checkpoint", "kept")):
        refused = program(*command, "--ledger", "new/ledger.db")
        assert refused.code in (11, 14)
        assert "new/ledger.content.db: a ledger's content lies in a file of its own beside it" in refused.err
        assert "hint: the two files move together" in refused.err
    (program.folder / "ledger.content.db").rename(program.folder / "new/ledger.content.db")
    assert program("review", "latest", "--ledger", "new/ledger.db").code == 0
