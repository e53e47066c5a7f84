"""Receipts and consistency proofs out of a real ledger: verified by others, refused by a damaged tree, in O(log n)."""

from __future__ import annotations

import base64
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import tlog_scales.signing as scales_signing
import tlog_scales.tlog as scales
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from securesystemslib.dsse import Envelope

from safeloop.errors import ProofError, SettingError, SignatureMismatch
from safeloop.ledger import Ledger, seal
from safeloop.ledger.consistency import (
    Consistency,
    parse_consistency,
    render_consistency,
    verify_consistency,
)
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.note import (
    Checkpoint,
    Verifier,
    parse_checkpoint,
    parse_receipt,
    render_receipt,
    sign_checkpoint,
    verify_checkpoint,
    verify_receipt,
)
from safeloop.ledger.proofs import consistency, prove, receipt
from safeloop.ledger.reader import LedgerReader
from tests.ledger.making import add

ROWS = 23


class CountingReader(LedgerReader):
    """A reader that counts how many rows and hashes are read."""

    reads = 0

    def node(self, level: int, index: int) -> bytes:
        self.reads += 1
        return super().node(level, index)


class Book:
    """A ledger of 23 rows, and every head that it ever had."""

    def __init__(self, folder: Path) -> None:
        self.path, self.keys = folder / "ledger.db", folder / "keys"
        self.notes = []
        with closing(Ledger(self.path, keys=self.keys)) as ledger:
            self.notes.append(self.head())
            for _ in range(ROWS):
                add(ledger, model="é")
                self.notes.append(self.head())
        self.log = Verifier(self.checkpoint(0).origin, KeyFolder(self.keys).log().public)

    def head(self) -> str:
        with LedgerReader(self.path) as reader:
            return reader.head() or ""

    def checkpoint(self, size: int) -> Checkpoint:
        return parse_checkpoint(self.notes[size])

    def reader(self) -> LedgerReader:
        return LedgerReader(self.path)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    return Book(tmp_path_factory.mktemp("book"))


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[tuple[Book, sqlite3.Connection]]:
    mine = Book(tmp_path)
    with closing(sqlite3.connect(mine.path, isolation_level=None)) as sql:
        for trigger in ("row_update", "row_delete", "node_update", "node_delete"):
            sql.execute(f"DROP TRIGGER {trigger}")
        yield mine, sql


@pytest.mark.parametrize("idx", range(ROWS))
def test_a_receipt_of_every_row_verifies_here_and_in_an_independent_library(book: Book, idx: int) -> None:
    with book.reader() as reader:
        made = receipt(reader, idx, book.log)
        stored = reader.row(idx)
    assert stored == (idx, made.body, made.signature)
    read = parse_receipt(render_receipt(made))
    assert verify_receipt(read, book.log) == book.checkpoint(ROWS)
    theirs = scales.Checkpoint.from_text(read.note)
    theirs.verify(scales_signing.Vkey.from_string(book.log.vkey))
    scales.InclusionProof(idx, theirs.size, list(read.proof)).check(seal.leaf(read.body, read.signature), theirs.root_hash)


def test_an_independent_tree_over_what_the_receipts_carry_has_the_root_of_every_head(book: Book) -> None:
    tree = InmemoryTree(algorithm="sha256")
    with book.reader() as reader:
        extras = [base64.b64decode(render_receipt(receipt(reader, idx, book.log)).split("\n")[1][6:]) for idx in range(ROWS)]
    for size, extra in enumerate(extras, 1):
        tree.append_entry(extra)
        assert tree.get_root() == book.checkpoint(size).root
        # DSSE by someone else, of a body whose characters are fewer than its bytes.
        body = seal.body_of(extra[64:])
        assert len(body) > len(body.decode())
        assert extra[64:] == Envelope(body, seal.PAYLOAD_TYPE.decode(), {}).pae()


def test_openssl_verifies_the_head_and_the_row_of_a_receipt(book: Book, tmp_path: Path) -> None:
    with book.reader() as reader:
        made = receipt(reader, 5, book.log)
    text, _, signatures = made.note.partition("\n\n")
    writer = KeyFolder(book.keys).writer().public
    for public, message, signature in (
        (book.log.public, f"{text}\n".encode(), base64.b64decode(signatures.split(" ")[2])[4:]),
        (writer, seal.pae(made.body), made.signature),
    ):
        (tmp_path / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + public)
        (tmp_path / "message").write_bytes(message)
        (tmp_path / "signature").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin", "-in", "message",
                   "-sigfile", "signature"]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
        (tmp_path / "message").write_bytes(message + b"\n")
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("idx", [ROWS, -1, 2**62])
def test_there_is_no_receipt_of_a_row_that_is_not_there(book: Book, idx: int) -> None:
    with book.reader() as reader, pytest.raises(ProofError, match="has no row"):
        receipt(reader, idx, book.log)


def test_no_receipt_is_handed_out_under_a_key_that_is_not_the_log_s(book: Book) -> None:
    stranger = Verifier(book.log.name, KeyFolder(book.keys).writer().public)
    with book.reader() as reader, pytest.raises(SignatureMismatch):
        receipt(reader, 0, stranger)


@pytest.mark.parametrize("harm", [
    "UPDATE node SET hash = zeroblob(32) WHERE level = 2 AND idx = 0",
    "DELETE FROM node WHERE level = 2 AND idx = 0",
    "UPDATE node SET hash = (SELECT hash FROM node WHERE level = 2 AND idx = 1) WHERE level = 2 AND idx = 0",
    "UPDATE row SET body = replace(body, '\"turn\":1', '\"turn\":2') WHERE idx = 5",
    "UPDATE row SET sig = zeroblob(64) WHERE idx = 5",
    "UPDATE row SET body = (SELECT body FROM row WHERE idx = 6), sig = (SELECT sig FROM row WHERE idx = 6) WHERE idx = 5",
    "DELETE FROM row WHERE idx = 5",
])
def test_a_damaged_ledger_gives_an_error_and_never_a_wrong_receipt(
    damaged: tuple[Book, sqlite3.Connection], harm: str
) -> None:
    book, sql = damaged
    assert sql.execute(harm).rowcount == 1
    with book.reader() as reader, pytest.raises(ProofError) as caught:
        receipt(reader, 5, book.log)
    assert caught.value.hint


@given(sizes=st.tuples(st.integers(0, ROWS), st.integers(0, ROWS)).map(sorted))
def test_consistency_between_any_two_checkpoints_verifies_here_and_in_an_independent_library(
    book: Book, sizes: list[int]
) -> None:
    old, new = sizes
    with book.reader() as reader:
        made = consistency(reader, book.checkpoint(old), book.checkpoint(new), book.log, book.notes[new])
    text = render_consistency(made)
    assert text.startswith(f"old {old}\n")
    assert text.endswith(f"\n\n{book.notes[new]}")
    assert verify_consistency(parse_consistency(text), book.checkpoint(old), book.log) == book.checkpoint(new)
    if old:
        older, newer = book.checkpoint(old), book.checkpoint(new)
        scales.ConsistencyProof(old, new, list(made.proof)).check(older.root, newer.root)


def test_without_a_newer_one_it_leads_to_the_head_and_to_a_bare_size_without_a_signature(book: Book) -> None:
    with book.reader() as reader:
        assert consistency(reader, 5, None, book.log).note == book.notes[ROWS]
        assert consistency(reader, 5, ROWS, book.log).note == book.notes[ROWS]
        bare = consistency(reader, 5, 9, book.log)
        assert consistency(reader, 0, None, book.log) == Consistency(0, (), book.notes[ROWS])
    assert bare.note == book.checkpoint(9).text
    with pytest.raises(ProofError, match="not a signed note"):
        verify_consistency(bare, book.checkpoint(5), book.log)


def test_a_checkpoint_of_another_history_is_never_proved(book: Book) -> None:
    forked = Checkpoint(book.log.name, 9, b"r" * 32)
    with book.reader() as reader:
        for old, new in ((forked, None), (5, forked), (forked, book.checkpoint(ROWS))):
            with pytest.raises(ProofError, match="cannot prove that it grew so"):
                consistency(reader, old, new, book.log)
        with pytest.raises(ProofError, match="ahead of the ledger"):
            consistency(reader, Checkpoint(book.log.name, ROWS + 1, b"r" * 32), None, book.log)
        with pytest.raises(ProofError, match="is of 'other.example/log'"):
            consistency(reader, Checkpoint("other.example/log", 5, b"r" * 32), None, book.log)


@pytest.mark.parametrize(("old", "new"), [(ROWS + 1, None), (-1, None), (5, ROWS + 1), (9, 5)])
def test_sizes_that_the_ledger_never_had_or_in_the_wrong_order_are_a_usage_error(
    book: Book, old: int, new: int | None
) -> None:
    with book.reader() as reader, pytest.raises(SettingError):
        consistency(reader, old, new, book.log)


@pytest.mark.parametrize("harm", [
    "UPDATE node SET hash = zeroblob(32) WHERE level = 2 AND idx = 0",
    "DELETE FROM node WHERE level = 2 AND idx = 0",
    "DELETE FROM node WHERE level = 3 AND idx = 1",
])
def test_a_damaged_tree_proves_no_consistency(damaged: tuple[Book, sqlite3.Connection], harm: str) -> None:
    book, sql = damaged
    assert sql.execute(harm).rowcount == 1
    with book.reader() as reader, pytest.raises(ProofError):
        consistency(reader, 4, 7, book.log)


def test_a_row_that_is_stored_as_nothing_is_no_row_to_prove(damaged: tuple[Book, sqlite3.Connection]) -> None:
    book, _ = damaged
    for body, signature in ((None, bytes(64)), (b"{}", None), ("{}", bytes(64))):
        with book.reader() as reader, pytest.raises(ProofError, match="not stored as bytes"):
            prove(reader, (5, body, signature), book.log)  # type: ignore[arg-type]  # what a hostile file may hold


def test_a_ledger_without_a_head_proves_nothing(damaged: tuple[Book, sqlite3.Connection]) -> None:
    book, sql = damaged
    sql.execute("DROP TRIGGER IF EXISTS head_delete")
    assert sql.execute("DELETE FROM head").rowcount == 1
    with book.reader() as reader:
        for prove_it in (lambda: receipt(reader, 5, book.log), lambda: consistency(reader, 5, None, book.log)):
            with pytest.raises(ProofError, match="the head does not hold: not a signed note") as caught:
                prove_it()
            assert caught.value.hint


def good(book: Book) -> str:
    with book.reader() as reader:
        return render_consistency(consistency(reader, 5, None, book.log))


@pytest.mark.parametrize(("harm", "reason"), [
    (lambda text: text.replace("old 5", "old 6"), "begins at size 6"),
    (lambda text: text.replace("old 5", "old 05"), "not a consistency proof"),
    (lambda text: text.replace("old 5", "new 5"), "not a consistency proof"),
    (lambda text: text.partition("\n\n")[0], "not a consistency proof"),
    (lambda text: "".join(text.splitlines(keepends=True)[:1] + text.splitlines(keepends=True)[2:]), "not one history"),
    (lambda text: text.replace("\n\n", "\n" + base64.b64encode(bytes(32)).decode() + "\n\n", 1), "too long"),
    (lambda text: text.replace("\n\n", "\nAAAA\n\n", 1), "not 32 bytes"),
    (lambda text: text.replace("\n\n", "\n!!!!\n\n", 1), "not base64"),
    (lambda text: text.replace("\n\n", ("\n" + base64.b64encode(bytes(32)).decode()) * 64 + "\n\n", 1), "at most 63"),
    (lambda text: text.replace("\n\n", "\n" + "A" * 1_000_001 + "\n\n", 1), "more than 1000000"),
    (lambda text: text.replace(f"\n{ROWS}\n", f"\n{ROWS + 1}\n"), "does not verify"),
])
def test_a_consistency_proof_with_anything_changed_is_refused(book: Book, harm, reason: str) -> None:
    with pytest.raises((ProofError, SignatureMismatch), match=reason):
        verify_consistency(parse_consistency(harm(good(book))), book.checkpoint(5), book.log)


def test_a_proof_may_be_as_long_as_a_tree_can_be_high_and_as_large_as_a_note() -> None:
    steps = tuple(bytes([number]) * 32 for number in range(63))
    text = render_consistency(Consistency(5, steps, "a note\n"))
    assert parse_consistency(text).proof == steps
    assert len(parse_consistency(text + "x" * (1_000_000 - len(text))).note) > 990_000
    with pytest.raises(ProofError, match="more than 1000000 characters"):
        parse_consistency(text + "x" * (1_000_001 - len(text)))


def test_a_proof_for_one_log_is_none_for_another_under_the_same_key(book: Book) -> None:
    older = Checkpoint("other.example/log", 5, book.checkpoint(5).root)
    with pytest.raises(ProofError, match="is of 'other.example/log'"):
        verify_consistency(parse_consistency(good(book)), older, book.log)


def test_no_more_than_a_few_hashes_of_a_large_tree_are_read(book: Book, tmp_path: Path) -> None:
    reads = []
    for rows in (64, 4_096):
        path = tmp_path / f"{rows}.db"
        with closing(Ledger(path, keys=tmp_path / "keys")) as ledger:
            add(ledger, rows)
        with CountingReader(path) as reader:
            log = Verifier(reader.origin(), KeyFolder(tmp_path / "keys").log().public)
            receipt(reader, rows // 3, log)
            consistency(reader, rows // 3, None, log)
            reads.append(reader.reads)
    small, large = reads
    assert large <= 2.5 * small  # 64 times as many rows, and twice as many levels


def test_a_head_that_was_signed_by_hand_proves_only_the_rows_that_it_signs(book: Book) -> None:
    shorter = sign_checkpoint(book.checkpoint(9), book.log, KeyFolder(book.keys).log().sign)
    assert verify_checkpoint(shorter, book.log).size == 9
    proof = Consistency(9, (), shorter)
    assert verify_consistency(proof, book.checkpoint(9), book.log) == book.checkpoint(9)
