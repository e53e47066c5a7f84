"""`receipt`, `checkpoint --since` and `verify` as scripts use them: exit codes, files, and nothing of a ledger needed."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.program import Program


def test_a_receipt_goes_from_one_machine_to_another(proved: Program, auditor: Program) -> None:
    rows = proved.rows("latest")
    done = proved("receipt", "latest")
    assert (done.code, done.err) == (0, "")
    (auditor.folder / "r.tlog-proof").write_text(done.out)
    found = auditor("verify", "r.tlog-proof", "--trust", "pins")
    assert found.code == 0, found.out
    assert f"proved: row {rows[-1]['id']} (close, n {rows[-1]['n']} of session {rows[-1]['session']})" in found.out
    assert found.out.endswith("receipt verified\n")
    assert auditor("verify", "r.tlog-proof", "--trust", "pins", "--quiet").out == ""


def test_n_is_the_row_s_place_in_its_session_however_the_session_is_named(proved: Program) -> None:
    row = proved.rows("latest")[2]
    for typed in ("latest:2", f"{row['session']}:2", f"{row['session'][:13]}:2"):
        found = proved("receipt", typed, "--json").json
        assert (found["row"], found["leaf"], found["n"]) == (row["id"], row["leaf"], 2)
        assert found["receipt"].startswith("c2sp.org/tlog-proof@v1\n")


def test_a_session_whose_id_ends_like_a_row_s_number_is_meant_first(program: Program) -> None:
    script = ("from safeloop.ledger import Ledger\nledger = Ledger('ledger.db')\n"
              "for name in ('a', 'a', 'a:1'): ledger.write(name, 1, 'llm', 'x', 1, 1, True)\nledger.close()\n")
    (program.folder / "write.py").write_text(script)
    assert program.shell("python write.py").code == 0
    assert program("receipt", "a:0", "--json").json["session"] == "a"
    assert program("receipt", "a:1", "--json").json["session"] == "a:1"
    assert program("receipt", "a:1:0", "--json").json["row"] == 3


@pytest.mark.parametrize(("typed", "code", "words"), [
    ("latest:99", 14, "has no row 99"), ("nosuch", 14, "no session"), ("", 14, "no session"), ("latest:", 14, "no session"),
    ("latest:-1", 14, "no session"), ("latest:x", 14, "no session"), ("\udcff", 14, "no session"), ("ledger", 14, "session ledger has no rows yet"), ("ledger:0", 14, "session ledger has no row 0"),
    ("latest:" + "9" * 30, 14, "no session"), ("latest:9999999999999999", 14, "has no row"),
])
def test_a_row_that_is_not_there_is_named_with_a_hint(proved: Program, typed: str, code: int, words: str) -> None:
    done = proved("receipt", typed)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "hint: " in done.err


def test_a_receipt_never_replaces_a_file(proved: Program) -> None:
    assert proved("receipt", "latest", "--out", "made.tlog-proof").code == 0
    before = (proved.folder / "made.tlog-proof").read_bytes()
    again = proved("receipt", "latest:0", "--out", "made.tlog-proof")
    assert again.code == 2
    assert "already" in again.err
    assert (proved.folder / "made.tlog-proof").read_bytes() == before


@pytest.mark.parametrize("harm", [
    "UPDATE node SET hash = zeroblob(32) WHERE level = 0 AND idx = 1",
    "UPDATE row SET body = replace(body, 'completed', 'COMPLETED') WHERE kind = 'close'",
    "UPDATE row SET sig = zeroblob(64)",
    "UPDATE head SET note = replace(note, 'safeloop.local', 'safeloop.locaI')",
])
def test_a_damaged_ledger_gives_no_receipt(program: Program, harm: str) -> None:
    program.job()
    with closing(sqlite3.connect(program.folder / "ledger.db", isolation_level=None)) as sql:
        for trigger in ("row_update", "node_update"):
            sql.execute(f"DROP TRIGGER {trigger}")
        assert sql.execute(harm).rowcount > 0
    done = program("receipt", "latest:0" if "level" in harm else "latest", "--out", "r")
    assert done.code in (11, 14)
    assert (done.out, (program.folder / "r").exists()) == ("", False)
    assert "hint: " in done.err


def test_a_proof_of_growth_is_what_a_witness_takes_and_what_verify_wants(proved: Program, auditor: Program) -> None:
    done = proved("checkpoint", "--since", "kept")
    assert (done.code, done.err) == (0, "")
    kept = (proved.folder / "kept").read_text().splitlines()
    assert re.match(rf"old {kept[1]}\n([A-Za-z0-9+/]{{43}}=\n)+\n", done.out)
    assert done.out.endswith(f"\n\n{proved('checkpoint').out}")
    (auditor.folder / "proof").write_text(done.out)
    assert auditor("verify", "proof", "--trust", "pins", "--checkpoint", "kept").code == 0
    alone = auditor("verify", "proof", "--trust", "pins")
    assert alone.code == 11
    assert "hint: give the one that you kept: --checkpoint FILE" in alone.out


def test_up_to_a_size_that_nobody_signed_the_proof_says_what_verifies_it(proved: Program, auditor: Program) -> None:
    size = (proved.folder / "kept").read_text().splitlines()[1]
    (auditor.folder / "head").write_text(proved("checkpoint").out)
    for since, until in (("3", "7"), ("3", size)):
        done = proved("checkpoint", "--since", since, "--to", until)
        assert done.code == 0
        assert len(done.out.partition("\n\n")[2].splitlines()) == 3
        assert f"keeps no signature of {until} rows" in done.err
        assert "safeloop verify PROOF --checkpoint OLDER --checkpoint NEWER" in done.err
        told = proved("checkpoint", "--since", since, "--to", until, "--json").json
        assert (told["signed"], told["old"], told["proof"]) == (False, 3, done.out)
    (auditor.folder / "proof").write_text(done.out)
    refused = auditor("verify", "proof", "--trust", "pins", "--checkpoint", "head")
    assert refused.code == 11
    assert f"the newer checkpoint, of {size} rows, is not signed" in refused.out
    given = auditor("verify", "proof", "--trust", "pins", "--checkpoint", "kept")
    assert (given.code, "is not signed" in given.out, "of 3 rows" in given.out) == (11, False, True)


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("--to", "3"), 2, "--to needs --since"), (("--since", "99999"), 2, "never had"), (("--since", "7", "--to", "3"), 2, "older"),
    (("--since", "nowhere"), 2, "cannot be read"), (("--since", "job.toml"), 11, "checkpoint job.toml cannot be used"),
])
def test_a_proof_that_cannot_be_made_says_why(proved: Program, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = proved("checkpoint", *arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


def test_a_checkpoint_from_before_the_end_was_cut_off_is_ahead(proved: Program, tmp_path: Path) -> None:
    cut = Program.at(tmp_path / "cut")
    assert cut("init").code == 0
    (cut.folder / "kept").write_text((proved.folder / "kept").read_text())
    done = cut("checkpoint", "--since", "kept")
    assert done.code == 14  # a log that this machine never pinned
    assert "pins no log" in done.err


def test_a_later_job_can_rely_on_a_release_without_a_ledger(auditor: Program) -> None:
    line = "safeloop verify out --trust pins && cat out/report.md"
    assert auditor.shell(line).out.endswith("release verified\nTitle: too long, cut it\n")
    with (auditor.folder / "out/report.md").open("a") as file:
        file.write("and more\n")
    refused = auditor.shell(line)
    assert refused.code == 11
    assert "and more" not in refused.out
    assert "report.md is not the file that was released" in refused.out
    assert "release NOT verified (1 reason)" in refused.out


def test_the_release_lies_wherever_it_was_copied_and_a_reject_by_the_reader_s_policy_counts(auditor: Program) -> None:
    (auditor.folder / "pins/release.toml").write_text("accepts = 2\n")
    done = auditor("verify", "out", "--trust", "pins", "--json")
    assert done.code == 11
    assert [each["message"] for each in done.json["faults"]] == ["pins/release.toml does not release it: 1 of 2 accepts that count"]
    assert all("safeloop attest" not in each["hint"] for each in done.json["faults"]), "whoever verifies has no ledger"
    (auditor.folder / "pins/release.toml").write_text("accept = 2\n")
    assert auditor("verify", "out", "--trust", "pins").code == 14


@pytest.mark.parametrize(("path", "code"), [
    ("nowhere", 11), ("empty", 11), ("folder", 11), ("pipe", 11), ("/dev/zero", 11), ("pins", 11), ("out/release", 11),
])
def test_nothing_to_check_is_not_verified(auditor: Program, path: str, code: int) -> None:
    auditor.shell("touch empty; mkdir folder; mkfifo pipe")
    done = auditor("verify", path, "--trust", "pins")
    assert done.code == code
    assert "NOT verified" in done.out or "error: " in done.err


def test_without_pins_there_is_nothing_to_verify_by(auditor: Program) -> None:
    assert auditor("verify", "out").code == 14
    assert auditor("verify", "out", "--trust", "nowhere").code == 14
    assert auditor("verify", "out", "--trust", "pins", "--checkpoint", "nowhere").code == 2
    told = auditor("verify", "out", "--json")
    assert json.loads(told.out)["error"]["exit_code"] == 14


def test_a_checkpoint_that_was_kept_can_be_looked_at_too(auditor: Program) -> None:
    assert auditor("verify", "kept", "--trust", "pins").out.endswith("checkpoint verified\n")
    text = (auditor.folder / "kept").read_text()
    size = text.splitlines()[1]
    (auditor.folder / "kept").write_text(text.replace(f"\n{size}\n", f"\n{size}0\n"))
    assert auditor("verify", "kept", "--trust", "pins").code == 11
