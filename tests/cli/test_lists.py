"""What is listed, named and hinted at: rows that cannot be read, names that are short, signatures made elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from safeloop.cli.sessions import short
from safeloop.cli.words import age, ceilings_text, plural
from safeloop.spec import Ceilings
from tests.cli.program import Program

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "said"),
    [(timedelta(seconds=-5), "now"), (timedelta(seconds=59), "now"), (timedelta(seconds=60), "1 min"),
     (timedelta(minutes=59, seconds=59), "59 min"), (timedelta(hours=1), "1 h"), (timedelta(hours=23.99), "23 h"),
     (timedelta(days=1), "1 d"), (timedelta(days=400), "400 d")],
)  # fmt: skip
def test_an_age_is_said_in_its_largest_unit_and_never_too_old(passed: timedelta, said: str) -> None:
    assert age(passed) == said


def test_numbers_are_read_as_people_read_them() -> None:
    assert [plural(number, "turn") for number in (0, 1, 2, 40_000)] == ["0 turns", "1 turn", "2 turns", "40,000 turns"]
    assert ceilings_text(Ceilings()) == "none"
    assert ceilings_text(Ceilings(turns=8)) == "8 turns"
    assert ceilings_text(Ceilings(tokens=40_000)) == "40,000 tokens"


def test_a_short_name_means_one_session() -> None:
    first, second = "7c1f0000-0000-4000-8000-000000000001", "7c1f0000-0000-4000-8000-000000000002"
    assert short(first, (first,)) == "7c1f0000"
    assert short(first, (first, "7c1f0000-1111-4000-8000-000000000002")) == "7c1f0000-0000"
    assert short(first, (first, second)) == first
    long = "a" * 60
    assert short(f"{long}b", (f"{long}b", f"{long}c")) == f"{long}b"


def test_a_row_that_cannot_be_read_is_listed_as_that(program: Program) -> None:
    program.job()
    session = program.rows()[0]["session"]
    edit = "DROP TRIGGER row_update; UPDATE row SET body = replace(body, '{', '{ ') WHERE idx = 3;"
    assert program.shell(f'sqlite3 ledger.db "{edit}"').code == 0
    rows = program.rows()
    assert [row["id"] for row in rows] == list(range(1, 11))
    assert set(rows[3]) == {"safeloop", "verified", "id", "idx", "error", "body", "sig"}
    listed = program("log")
    assert listed.code == 0
    assert listed.out.splitlines()[3].startswith("     4 unreadable: ")
    assert "     4 unreadable: " in program("log", session).out, "the index still knows whose it was"


LIMITS = """
from safeloop.ledger import Draft, Ledger
windows = {"hour": {"tokens": 9000, "sessions": 3}, "day": {}, "month": {}}
Ledger("ledger.db").append(lambda view: [Draft("ledger", "limits", windows)])
"""


def test_the_rows_about_the_ledger_itself_are_listed_by_its_name(program: Program) -> None:
    done = program("log", "ledger")
    assert (done.code, done.out, done.err) == (0, "", ""), "none yet"
    program.job()
    assert program("key", "rotate").code == 0
    (program.folder / "limits.py").write_text(LIMITS)
    assert program.shell("python limits.py").code == 0
    rows = program.rows("ledger")
    assert [(row["session"], row["n"], row["kind"]) for row in rows] == [
        ("ledger", 0, "key"), ("ledger", 1, "key"), ("ledger", 2, "limits")
    ]
    first, _, last = program("log", "ledger").out.splitlines()
    assert first.endswith(f"key          event=rotate key={rows[0]['data']['key']}")
    assert last.endswith("limits       hour=sessions:3,tokens:9000 day=none month=none")
    assert len(program("log").out.splitlines()) == 13


def test_an_audit_with_a_damaged_state_says_so_and_goes_on(program: Program) -> None:
    program.job()
    for state in (program.folder / "home/.config/safeloop/keys").glob("*.state"):
        state.write_bytes(b"\0" * state.stat().st_size)
    done = program("audit")
    assert (done.code, done.out.splitlines()[-1][:11]) == (0, "record PASS")
    assert "is damaged: neither slot is whole" in done.err


def test_nobody_is_trusted_where_there_is_no_trust_folder(program: Program) -> None:
    program.reviewer()
    done = program("trust", "add-reviewer", "bob@example.org", "alice.pub", "--trust", "nowhere")
    assert (done.code, "there is no trust folder at nowhere" in done.err) == (14, True)
    assert not (program.folder / "nowhere").exists()


def test_what_attest_lacks_is_named(kept: Program) -> None:
    for arguments, said in (
        (("attest",), "attest takes a SESSION"),
        (("attest", "latest"), "attest needs --as NAME"),
        (("attest", "latest", "--as", "alice@example.org", "--export", "out"), "--export needs --decision"),
        (("attest", "--statement", "job.toml"), "comes with its statement"),
    ):
        done = kept(*arguments)
        assert (done.code, done.out) == (2, "")
        assert said in done.err and "hint: " in done.err
    assert not (kept.folder / "out").exists()
    with kept.at_terminal("attest", "latest", "--as", "alice@example.org") as terminal:
        assert terminal.wait() == 2
    assert "attest needs --key FILE" in terminal.seen


def test_a_signature_of_somebody_unknown_is_not_counted(program: Program) -> None:
    program.job()
    program.reviewer()
    assert program.shell("ssh-keygen -q -t ed25519 -N '' -f mallory").code == 0
    command = ("attest", "latest", "--as", "alice@example.org", "--export", "sign", "--decision", "accept")
    assert program(*command).code == 0
    assert program.shell("ssh-keygen -q -Y sign -f mallory -n safeloop-review sign/statement.json").code == 0
    signed = ("--statement", "sign/statement.json", "--signature", "sign/statement.json.sig")
    done = program("attest", *signed)
    assert done.code in (11, 12)
    assert program("release", "latest", "--to", "out").code == 12
    assert program.shell("rm sign/statement.json.sig; ssh-keygen -q -Y sign -f alice -n file sign/statement.json").code == 0
    assert program("attest", *signed).code in (11, 12), "a signature for another purpose"
    assert "attestation" not in program.kinds()
