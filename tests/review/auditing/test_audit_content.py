"""Attacks on what rows commit to: content, manifests, and the erase rows that excuse what is gone."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from safeloop.ledger import Ledger
from safeloop.ledger.content import JSON, TEXT, manifest
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.upkeep.erasing import finish
from safeloop.review.auditing import contents
from tests.review.attacks import (
    Draft,
    Victim,
    close_data,
    erase,
    found,
    gaps,
    intent_data,
    make,
    of_record,
    raw,
    rewrite_schema,
    set_signature,
)


def digest(commitment: dict[str, Any]) -> bytes:
    return bytes.fromhex(commitment["salted_sha256"])


def manifest_entry(victim: Victim, commitment: dict[str, Any]) -> dict[str, Any]:
    with contextlib.closing(Ledger(victim.path, keys=victim.keys)) as ledger:
        data = ledger.read_content(commitment)
    entries: list[dict[str, Any]] = json.loads(data or b"[]")
    return entries[0]


def append_with(victim: Victim, kind: str, listing: bytes, count: int) -> None:
    """Append a row whose manifest is these bytes."""
    with contextlib.closing(Ledger(victim.path, keys=victim.keys)) as ledger:
        content, output = ledger.content(listing, JSON), ledger.content(b"done", TEXT)
        data: dict[str, Any] = {
            "intent": intent_data(content.commitment),
            "close": close_data(output.commitment, content.commitment, count),
            "erase": {"contents": content.commitment, "count": count, "reason": "test"},
            "release": {"attestations": [], "policy": "", "files": content.commitment, "file_count": count,
                        "destination": "/tmp"},
        }[kind]
        ledger.append(lambda view: [Draft("alpha", kind, data, (content, output))])


@pytest.mark.parametrize("change", ["bytes = x'00'", "salt = zeroblob(32)", "bytes = CAST(bytes || x'00' AS BLOB)"])
def test_changed_content_is_found_at_the_row_that_committed_to_it(tmp_path: Path, change: str) -> None:
    victim, alpha, _ = make(tmp_path)
    reply = digest(alpha.row("turn").data["response"])
    with raw(victim.contents) as sql:
        sql.execute(f"UPDATE content SET {change} WHERE salted_sha256 = ?", (reply,))
    report = victim.audit()
    assert found(report) == [("content", 4)]
    assert "is not what the row committed to" in report.findings[0].message
    assert (report.findings[0].session, report.rows_standing) == ("alpha", 9)


@pytest.mark.parametrize("change", ["salt = 'words'", "bytes = 'words'", "bytes = 7", "type = x'00'"])
def test_values_of_another_type_are_findings_and_never_exceptions(tmp_path: Path, change: str) -> None:
    victim, alpha, _ = make(tmp_path)
    rewrite_schema(victim.contents, "content", lambda text: text.replace("STRICT, ", ""))
    with raw(victim.contents) as sql:
        sql.execute(f"UPDATE content SET {change} WHERE salted_sha256 = ?", (digest(alpha.row("turn").data["response"]),))
    rewrite_schema(victim.contents, "content", lambda text: text.replace("WITHOUT", "STRICT, WITHOUT"))
    assert found(victim.audit()) == [("content", 4)]


@pytest.mark.parametrize(("kind", "key", "row"), [("open", "task", 2), ("turn", "response", 4), ("close", "output", 5),
                                                  ("intent", "request", 3), ("close", "files", 5)])
def test_removed_content_is_found_unless_a_row_says_that_it_was_erased(
    tmp_path: Path, kind: str, key: str, row: int
) -> None:
    victim, alpha, _ = make(tmp_path)
    with raw(victim.contents) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (digest(alpha.row(kind).data[key]),))
    report = victim.audit()
    assert found(report) == [("content", row)]
    assert "missing, and no row says that it was erased" in report.findings[0].message


@pytest.mark.parametrize(("key", "row"), [("before", 5), ("after", 5)])
def test_removed_files_of_a_manifest_are_found(tmp_path: Path, key: str, row: int) -> None:
    victim, alpha, _ = make(tmp_path)
    entry = manifest_entry(victim, alpha.row("close").data["files"])
    with raw(victim.contents) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (digest(entry[key]),))
    assert found(victim.audit()) == [("content", row)]


def test_removed_messages_of_a_request_are_found(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    entry = manifest_entry(victim, alpha.row("intent").data["request"])
    with raw(victim.contents) as sql:
        sql.execute("UPDATE content SET bytes = x'41' WHERE salted_sha256 = ?", (digest(entry["content"]),))
    assert found(victim.audit()) == [("content", 3)]


def test_content_that_many_rows_name_is_one_finding(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    request = alpha.row("intent").data["request"]
    victim.append(*(Draft("alpha", "intent", intent_data(request)) for _ in range(3)))
    with raw(victim.contents) as sql:
        sql.execute("UPDATE content SET bytes = x'41' WHERE salted_sha256 = ?", (digest(request),))
    assert of_record(victim.audit()) == [("content", 3)]


def test_a_commitment_to_another_length_of_the_same_content_is_found(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    request = dict(alpha.row("turn").data["response"]) | {"bytes": 1}
    victim.append(Draft("alpha", "check", {"criterion": "x", "pass_fail": True, "detail": request}))
    assert of_record(victim.audit()) == [("content", 11)]


def test_erased_content_is_a_gap_and_no_failure(tmp_path: Path) -> None:
    victim, alpha, beta = make(tmp_path)
    row = erase(victim, "alpha", [alpha.row("turn").data["response"], alpha.row("close").data["output"]])
    report = victim.audit()
    assert (found(report), gaps(report)) == ([], [("erased", row.id)])
    assert report.gaps[0].message == "row 11 erased 2 contents, the first of row 4"
    assert report.exit_code == 18
    erase(victim, "beta", [beta.row("turn").data["response"]])
    assert gaps(victim.audit()) == [("erased", 11), ("erased", 12)]


def test_a_manifest_that_was_erased_with_its_files_is_a_gap(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    erase(victim, "alpha", [alpha.row("close").data["files"]])
    assert (found(victim.audit()), gaps(victim.audit())) == ([], [("erased", 11)])


LEFT = "2 contents still there whose erasure is recorded, the first by row 11: safeloop erase --pending finishes it"


def test_an_erasure_that_was_begun_and_not_finished_is_a_note_until_it_is(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    before = raw_copy(victim)
    erase(victim, "alpha", [alpha.row("turn").data["response"], alpha.row("close").data["output"]])
    listing = raw_copy(victim)
    restore(victim, before | listing)  # the crash: the row and its list are there, and so is what it lists
    for session in (None, "alpha", "beta"):
        report = victim.audit(session=session)
        assert (found(report), gaps(report)) == ([], [])
        assert [note for note in report.notes if "erasure" in note] == [LEFT]
    assert LEFT in victim.audit(since=victim.head()).notes
    with contextlib.closing(Ledger(victim.path, keys=victim.keys)) as ledger:
        assert finish(ledger) == 2
    report = victim.audit()
    assert (gaps(report), [note for note in report.notes if "erasure" in note]) == ([("erased", 11)], [])


def raw_copy(victim: Victim) -> dict[bytes, tuple[Any, ...]]:
    with raw(victim.contents) as sql:
        return {row[0]: row for row in sql.execute("SELECT salted_sha256, salt, bytes, type FROM content")}


def restore(victim: Victim, contents: dict[bytes, tuple[Any, ...]]) -> None:
    with raw(victim.contents) as sql:
        sql.executemany("INSERT OR REPLACE INTO content (salted_sha256, salt, bytes, type) VALUES (?, ?, ?, ?)",
                        contents.values())


def test_where_nobody_can_read_whether_erased_content_is_gone_that_is_found(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    row = erase(victim, "alpha", [alpha.row("turn").data["response"]])
    head = victim.head()
    with LedgerReader(victim.path) as reader:
        check = contents.ContentCheck(reader)
        assert list(check.erased_by(row)) == []
        assert check.left_behind() == ("", ())
    with raw(victim.contents) as sql:
        sql.execute("DROP TABLE content")
    with LedgerReader(victim.path) as reader:
        check._reader = reader
        note, (only,) = check.left_behind()
    assert (note, str(only.rule)) == ("", "content")
    assert "whether erased content is gone cannot be read" in only.message
    # The list of what was erased cannot be read either: one finding, and no second one for the same cause.
    assert found(victim.audit(since=head)) == [("content", 11)]


def test_an_erase_row_that_nobody_signed_excuses_nothing(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    erase(victim, "alpha", [alpha.row("turn").data["response"]])
    set_signature(victim.path, 10, bytes(64))
    report = victim.audit()
    assert (found(report), gaps(report)) == ([("content", 4), ("signature", 11)], [])


def test_an_erase_row_that_counts_otherwise_than_it_lists_is_found(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    erase(victim, "alpha", [alpha.row("turn").data["response"]], listed=2)
    report = victim.audit()
    assert found(report) == [("manifest", 11)]
    assert "it has 1 entries, and the row says 2" in report.findings[0].message


def test_an_erase_row_without_its_own_list_excuses_nothing(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    row = erase(victim, "alpha", [alpha.row("turn").data["response"]])
    with raw(victim.contents) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (digest(row.data["contents"]),))
    assert found(victim.audit()) == [("content", 4), ("content", 11)]


@pytest.mark.parametrize("kind", ["intent", "close", "release", "erase"])
@pytest.mark.parametrize(("listing", "words"), [
    (b'{"a":1}', "not a list of objects"), (b"[1]", "not a list of objects"),
    (b'[{"a":1,"a":1}]', "not canonical"), (b"\xff", "not UTF-8"), (b"[" * 9_000, "nested deeper"),
])
def test_a_manifest_of_another_form_is_found(tmp_path: Path, kind: str, listing: bytes, words: str) -> None:
    victim, _, _ = make(tmp_path)
    append_with(victim, kind, listing, 1)
    report = victim.audit()
    assert of_record(report) == [("manifest", 11)]
    assert words in report.findings[0].message


@pytest.mark.parametrize("kind", ["close", "release"])
def test_a_manifest_of_another_length_than_its_row_says_is_found(tmp_path: Path, kind: str) -> None:
    victim, _, _ = make(tmp_path)
    append_with(victim, kind, manifest([{"name": "a"}, {"name": "b"}]), 3)
    assert of_record(victim.audit()) == [("manifest", 11)]


def test_content_of_rows_that_are_damaged_is_not_asked_for(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    with raw(victim.contents) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (digest(alpha.row("turn").data["response"]),))
    set_signature(victim.path, 3, bytes(64))
    assert found(victim.audit()) == [("signature", 4)]


def test_a_content_database_that_is_gone_is_one_finding(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    victim.contents.unlink()
    report = victim.audit()
    assert found(report) == [("content", 2)]
    assert "there is no content database beside" in report.findings[0].message
    assert "10 contents lost, the first of row 2" in report.findings[0].message


def test_a_missing_content_database_is_nothing_where_no_row_commits_to_content(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "ledger.db", tmp_path / "keys")
    with contextlib.closing(Ledger(victim.path, keys=victim.keys)) as ledger:
        ledger.write("hand", 1, "llm", "task", 1, 1, pass_fail=True)
    victim.contents.unlink()
    assert found(victim.audit()) == []


@pytest.mark.parametrize("junk", [b"", b"SQLite format 3\0" + bytes(200), b"words" * 100])
def test_a_content_database_that_is_none_is_one_finding(tmp_path: Path, junk: bytes) -> None:
    victim, _, _ = make(tmp_path)
    victim.contents.write_bytes(junk)
    report = victim.audit()
    assert found(report) == [("content", 2)]
    assert "content cannot be read from here on" in report.findings[0].message


def test_what_was_found_whole_is_not_remembered_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, _, _ = make(tmp_path)
    monkeypatch.setattr(contents, "_REMEMBERED", 2)
    assert found(victim.audit()) == []


def test_one_session_is_excused_by_an_erase_row_of_another(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    erase(victim, "ledger", [alpha.row("turn").data["response"]])
    report = victim.audit(session="alpha")
    assert (found(report), gaps(report)) == ([], [("erased", 11)])
    assert (report.rows, report.rows_standing) == (5, 5)
    set_signature(victim.path, 10, bytes(64))
    assert ("content", 4) in found(victim.audit(session="alpha"))
