"""How lines stand on a terminal: as they are where they fit, and else broken so that it can be undone."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.cli.sheets import GOES_ON, Sheet, lines_of
from safeloop.ledger.folding import COLUMNS
from tests.review.sessions import facts_of
from tests.review.test_frame import GOLDENS, columns
from tests.review.test_frame import render as rendered

LINES = st.text(st.sampled_from("ab [5]\t|>\\\u5b57é"), max_size=120)


@given(line=LINES, width=st.integers(10, COLUMNS), encoding=st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_on_a_narrow_terminal_every_piece_fits_and_together_they_are_the_line(line: str, width: int, encoding: str) -> None:
    first, *others = Sheet(width, 24, encoding).shown(line)
    assert all(piece.startswith(GOES_ON) for piece in others)
    assert all(columns(piece) <= width for piece in (first, *others))
    assert "".join([first, *(piece[len(GOES_ON):] for piece in others)]) == (
        line.encode(encoding, "backslashreplace").decode(encoding))


@given(line=LINES, width=st.integers(COLUMNS + 1, 300))
def test_letters_that_a_wide_terminal_lacks_never_push_a_line_over_its_edge(line: str, width: int) -> None:
    pieces = Sheet(width, 24, "ascii").shown(line)
    assert line.isascii() or all(columns(piece) <= width for piece in pieces)
    assert Sheet(width, 24, "utf-8").shown(line) == (line,)


@pytest.mark.parametrize("name", GOLDENS)
def test_a_frame_at_80_columns_is_its_lines_and_no_line_of_one_begins_as_a_broken_one_goes_on(name: str) -> None:
    frame = rendered(facts_of(GOLDENS[name]()))
    lines = tuple(lines_of(frame))
    assert "".join(f"{line}\n" for line in lines) == frame
    assert not any(line.startswith(GOES_ON) for line in lines)
    sheet = Sheet(80, 24, "utf-8")
    assert all(sheet.shown(line) == (line,) for line in lines)


def test_a_terminal_that_does_not_tell_its_size_breaks_only_what_grew_over_78_columns_for_want_of_letters() -> None:
    with open("/dev/null", "w", encoding="ascii") as nowhere:
        assert Sheet.of(nowhere) == Sheet(0, 0, "ascii")
    sheet = Sheet(0, 0, "ascii")
    pieces = sheet.shown("    | " + "é" * 18 + "[5] UNRESOLVED ASSUMPTIONS")
    assert len(pieces) > 1 and all(columns(piece) <= COLUMNS for piece in pieces)
    assert not any(piece.startswith("[5]") for piece in pieces) and pieces[1].startswith(GOES_ON)
    assert sheet.shown("x" * 300) == ("x" * 300,) and sheet.shown("é" * 19) == ("\\xe9" * 19,)
    assert Sheet(0, 0, "utf-8").shown("é" * 300) == ("é" * 300,)
    assert sheet.height("x" * 300) == 1
    assert not sheet.can_write("é") and sheet.can_write("e")


@pytest.mark.parametrize(("piece", "height"), [("", 1), ("x" * 40, 1), ("x" * 41, 2), ("é" * 21, 2), ("\t" * 6, 2)])
def test_a_piece_takes_at_most_so_many_rows(piece: str, height: int) -> None:
    assert Sheet(40, 24, "utf-8").height(piece) == height


def test_lines_of_a_long_text_are_not_all_held_at_once() -> None:
    text = "a line\n" * 700_000
    tracemalloc.start()
    assert sum(1 for _ in lines_of(text)) == 700_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000
    assert list(lines_of("a\nb")) == ["a", "b"]
