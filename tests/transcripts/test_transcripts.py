"""The command line as a person sees it: each transcript is played at a terminal and must come out as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transcripts.runner import HERE, played, steps_of

TRANSCRIPTS = sorted(HERE.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_command_line_is_as_the_transcript_says(path: Path, tmp_path: Path) -> None:
    written = path.read_text(encoding="utf-8")
    assert played(written, tmp_path) == written


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_says_nothing_that_is_true_here_only(path: Path) -> None:
    head, steps = steps_of(path.read_text(encoding="utf-8"))
    assert head.startswith("# ") and steps
    text = path.read_text(encoding="utf-8")
    assert "/tmp" not in text and "Traceback" not in text


def test_a_transcript_that_says_something_else_is_noticed(tmp_path: Path) -> None:
    told = "# A lie.\n\n$ echo one\ntwo\n\n$ exit 3\n"
    assert played(told, tmp_path) == "# A lie.\n\n$ echo one\none\n\n$ exit 3\n(exit 3)\n"
