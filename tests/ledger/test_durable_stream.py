"""A file written from pieces: whole or not there, and never in place of another unless that was wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from safeloop.errors import KeyUnusable
from safeloop.ledger.durable import stream_file


def pieces() -> Iterator[bytes]:
    yield b"one "
    yield b""
    yield b"two"


@pytest.mark.parametrize("replace", [False, True])
def test_the_pieces_become_one_file_of_its_owner(tmp_path: Path, replace: bool) -> None:
    file = tmp_path / "f"
    assert stream_file(file, pieces(), replace=replace)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"one two", 0o600)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_there_is_replaced_only_on_demand(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")
    assert not stream_file(file, pieces(), replace=False)
    assert file.read_bytes() == b"old"
    assert stream_file(file, pieces(), replace=True)
    assert file.read_bytes() == b"one two" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("replace", [False, True])
def test_what_breaks_off_leaves_nothing_new(tmp_path: Path, replace: bool) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        stream_file(file, broken(), replace=replace)
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="cannot be written: No such file"):
        stream_file(tmp_path / "no" / "f", pieces(), replace=True)
