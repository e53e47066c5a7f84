"""Checks: what comes of a criterion over the files that a session staged.

A check passes only if every one of its conditions holds. A file that is missing, or that holds nothing but
white space, meets no criterion: a check that passes on empty input is a defect. What could not be checked
has failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.ledger import visible
from safeloop.spec.criteria import COMMAND, COUNT_KEYS, TEXT_KEYS
from safeloop.spec.schema import schema_faults
from safeloop.spec.search import SECONDS, search_within
from safeloop.spec.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from safeloop.spec.commands import Run
    from safeloop.spec.criteria import Criterion

    Search = Callable[[Sequence[str], str], tuple[bool, ...] | None]

LONGEST_SEARCHED = 1_000_000
"""Characters of a file that patterns are searched in; a longer file fails a criterion with `matches`."""

LONGEST_DETAIL = 2_000
"""UTF-8 bytes of a verdict's detail."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one criterion.

    Args:
        criterion: Its name.
        passed: True only if every condition was checked and held.
        detail: Which conditions failed, or how many held; at most `LONGEST_DETAIL` bytes.
    """

    criterion: str
    passed: bool
    detail: str


def check(
    criterion: Criterion, files: Mapping[str, bytes], *, search: Search = search_within, run: Run | None = None
) -> Verdict:
    """Judge one criterion over the staged files, by their names exactly.

    Args:
        criterion: What must hold.
        files: The bytes of every staged file by its path.
        search: Looks for patterns; its None (no answer in time) fails the criterion.
        run: Runs the command of a criterion in a sandbox; without one, such a criterion fails.
    """
    if criterion.kind == COMMAND:
        return _of_command(criterion, files, run)
    assert criterion.file is not None  # noqa: S101 - every other kind has one
    found = tuple(_faults(criterion, files.get(criterion.file), search))
    if found:
        return Verdict(criterion.name, passed=False, detail=_detail(criterion.file, found))
    held = sum(len(getattr(criterion, key)) for key in TEXT_KEYS)
    held += sum(getattr(criterion, key) is not None for key in (*COUNT_KEYS, "schema"))
    summary = f"{held} of {held} conditions hold" if held else "is there and not empty"
    return Verdict(criterion.name, passed=True, detail=_detail(criterion.file, (summary,)))


def _of_command(criterion: Criterion, files: Mapping[str, bytes], run: Run | None) -> Verdict:
    """Judge by what a program says of the staged files: exit status 0, and nothing else, is a pass."""
    command = criterion.command or ()
    if run is None:
        detail = "no sandbox was given, so it was not run"
    elif not any(data.strip() for data in files.values()):
        detail = "nothing is staged, so there was nothing to run it on"
    else:
        ran = run(command, files)
        return Verdict(criterion.name, passed=ran.passed, detail=_detail(" ".join(command), (ran.said,)))
    return Verdict(criterion.name, passed=False, detail=_detail(" ".join(command), (detail,)))


def _faults(criterion: Criterion, data: bytes | None, search: Search) -> Iterable[str]:
    """Say each condition that does not hold."""
    if data is None:
        yield "missing"
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if any(getattr(criterion, key) not in ((), None) for key in (*TEXT_KEYS, *COUNT_KEYS, "schema")):
            yield f"not UTF-8 at byte {error.start}, so its text cannot be checked"
        return
    if not text.strip():
        yield "empty"
        return
    yield from _text_faults(criterion, text)
    if criterion.matches:
        yield from _pattern_faults(criterion.matches, text, search)
    if criterion.schema is not None:
        yield from schema_faults(criterion.schema, data.decode("utf-8"))


def _text_faults(criterion: Criterion, text: str) -> Iterable[str]:
    if criterion.min_chars is not None and len(text) < criterion.min_chars:
        yield f"{len(text)} characters, fewer than min_chars {criterion.min_chars}"
    if criterion.max_chars is not None and len(text) > criterion.max_chars:
        yield f"{len(text)} characters, more than max_chars {criterion.max_chars}"
    yield from (f"does not contain {quoted(wanted)}" for wanted in criterion.contains if wanted not in text)
    yield from (f"contains {quoted(unwanted)}" for unwanted in criterion.not_contains if unwanted in text)


def _pattern_faults(patterns: tuple[str, ...], text: str, search: Search) -> Iterable[str]:
    if len(text) > LONGEST_SEARCHED:
        yield f"{len(text)} characters, more than the {LONGEST_SEARCHED} that patterns are searched in"
        return
    found = search(patterns, text)
    if found is None:
        yield f"the search for its patterns did not end within {SECONDS:g} s"
        return
    yield from (f"does not match {quoted(p)}" for p, hit in zip(patterns, found, strict=True) if not hit)


def _detail(file: str, parts: tuple[str, ...]) -> str:
    text = f"{visible(file, 300)}: {parts[0]}"
    for at, part in enumerate(parts[1:], start=1):
        longer = f"{text}; {part}"
        # Room for the largest count that could still follow.
        if len(longer.encode("utf-8")) > LONGEST_DETAIL - 40:
            return f"{text}; and {len(parts) - at} more"
        text = longer
    return text
