"""What content must be besides the bytes that were committed to: of the digest that its row states, and a true list."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from safeloop.review.auditing.promised import digest_fault, digested, files_fault
from tests.review.auditing.loops import Book, Loop

SOME = {"bytes": 1, "salted_sha256": "0" * 64, "type": "text/plain"}


def file(name: Any, **changes: Any) -> dict[str, Any]:
    return {"after": SOME, "before": None, "name": name} | changes


def test_files_in_the_order_of_their_bytes_are_a_list() -> None:
    assert files_fault([]) == ""
    assert files_fault([file("Z"), file("a", before=SOME), file("z"), file("é")]) == ""


@pytest.mark.parametrize("names", [("a", "a"), ("b", "a"), ("é", "z")])
def test_a_file_that_is_there_twice_or_out_of_order_makes_it_none(names: tuple[str, str]) -> None:
    assert files_fault(map(file, names)) == "its names are not each there once and in the order of their bytes"


@pytest.mark.parametrize("entry", [
    {}, file("a", more=1), file(1), file(None), file("a", after=None), file("a", after={}), file("a", before="x"),
    {"after": SOME, "before": None, "nam": "a"},
])
def test_an_entry_of_another_form_makes_it_none(entry: dict[str, Any]) -> None:
    assert files_fault([file("A"), entry]) == "entry 2 is not a file's: after, before and name"


def test_tasks_and_signed_frames_are_held_against_their_digests() -> None:
    loop = Loop(Book()).begin().end("failed").attest().attest(signed=False)
    asked = {row.id: digested(row) for row in loop.rows}
    assert asked == {1: None, 2: ("task", "input_hash"), 3: None, 4: ("frame_text", "frame"), 5: None}


def test_a_digest_of_other_bytes_is_a_fault() -> None:
    row = Loop(Book()).begin().rows[1]
    assert row.data["input_hash"] == hashlib.sha256(b"Audit this page.").hexdigest()
    assert digest_fault(row, "task", "input_hash", b"Audit this page.") == ""
    assert digest_fault(row, "task", "input_hash", b"another") == "its input_hash is not the SHA-256 of its task"
