"""Criteria: the part of "done" that a machine can check, over the files that a session staged.

Kind `file` is the only one of this version; `json_schema`, `command` and `retries` are refused by name, so
that a spec never promises a check that nobody makes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeloop.errors import SpecError
from safeloop.spec.counts import require_count
from safeloop.spec.wording import article, did_you_mean, has_unseen, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_CRITERIA = 100
"""A spec's criteria; and the conditions of one kind within a criterion."""

TEXT_KEYS = ("contains", "not_contains", "matches")
COUNT_KEYS = ("min_chars", "max_chars")
_KEYS = ("name", "kind", "file", *TEXT_KEYS, *COUNT_KEYS)
_LATER = ("schema", "json_schema", "command", "retries")


@dataclass(frozen=True, slots=True)
class Criterion:
    r"""What one file must be like; every condition that is given must hold.

    Without any condition the file must exist and not be empty. Texts are compared exactly: case, line ends
    and Unicode forms count.

    Args:
        name: Unique within the spec, one line, at most 200 UTF-8 bytes.
        file: Path of the file below the staging folder, with `/`, without `.` and `..`.
        contains: Texts that must all occur.
        not_contains: Texts of which none may occur.
        matches: Python regular expressions that must all be found by `re.search` with `re.MULTILINE`
            (`^` and `$` hold at every line; `\A` and `\Z` at the ends of the file).
        min_chars: Fewest characters (code points, not bytes), inclusive.
        max_chars: Most characters, inclusive, from 1.

    Raises:
        SpecError: A value that has no meaning here; the message names the key.
    """

    name: str
    file: str
    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    min_chars: int | None = None
    max_chars: int | None = None

    def __post_init__(self) -> None:
        _require_line("name", self.name, 200)
        _require_line("file", self.file, 1_000)
        _require_place(self.file)
        for key in TEXT_KEYS:
            object.__setattr__(self, key, _texts(key, getattr(self, key)))
        for pattern in self.matches:
            _require_pattern(pattern)
        for key in COUNT_KEYS:
            if getattr(self, key) is not None:
                require_count(key, getattr(self, key))
        if self.max_chars is not None and self.max_chars < max(self.min_chars or 0, 1):
            raise SpecError(
                f"max_chars {self.max_chars} can never hold",
                hint="an empty file meets no criterion, and max_chars cannot be less than min_chars",
            )

    def as_row(self) -> dict[str, Any]:
        """The criterion as a row holds it: `kind`, and only the keys that were given."""
        row: dict[str, Any] = {"kind": "file", "name": self.name, "file": self.file}
        row.update((key, list(getattr(self, key))) for key in TEXT_KEYS if getattr(self, key))
        row.update((key, getattr(self, key)) for key in COUNT_KEYS if getattr(self, key) is not None)
        return row

    @classmethod
    def of_row(cls, row: object) -> Criterion:
        """Read a closed object, from a row or a spec file, where `kind` may be left out.

        Raises:
            SpecError: An unknown key, a missing one, a wrong type, or a kind of a later version.
        """
        if not isinstance(row, dict):
            raise SpecError(f"must be a table, not {article(row)}", hint="write it under a [[criteria]] line")
        for key in row:
            if key in _LATER:
                raise _arrives_later(key)
            if key not in _KEYS:
                raise SpecError(f"key {quoted(key)} is unknown", hint=did_you_mean(key, _KEYS))
        kind = row.get("kind", "file")
        if kind in _LATER:
            raise _arrives_later(str(kind))
        if kind != "file":
            raise SpecError(f"kind {quoted(kind)} is unknown", hint='the kind of this version is "file"')
        for key in ("name", "file"):
            if key not in row:
                raise SpecError(f"{key} is missing", hint=f'add {key} = "..." to the criterion')
        return cls(**{key: value for key, value in row.items() if key != "kind"})


def require_criteria(criteria: Iterable[object]) -> tuple[Criterion, ...]:
    """Take the criteria of one spec together: at most `MOST_CRITERIA`, each name once.

    Raises:
        SpecError: Too many, one that is no `Criterion`, or two of one name.
    """
    taken: dict[str, Criterion] = {}
    for criterion in criteria:
        if not isinstance(criterion, Criterion):
            wrong = article(criterion)
            raise SpecError(f"criteria must hold Criterion objects, not {wrong}", hint="use Criterion(...)")
        if criterion.name in taken:
            raise SpecError(f"two criteria are named {quoted(criterion.name)}", hint="give each its own name")
        taken[criterion.name] = criterion
    if len(taken) > MOST_CRITERIA:
        raise SpecError(
            f"there are {len(taken)} criteria, more than {MOST_CRITERIA}", hint="put conditions together"
        )
    return tuple(taken.values())


def _arrives_later(what: str) -> SpecError:
    return SpecError(
        f"{what} arrives with a later version: this one would not check it",
        hint="use file with contains, not_contains, matches, min_chars or max_chars",
    )


def _require_line(key: str, value: object, longest: int) -> None:
    if not isinstance(value, str):
        raise SpecError(f"{key} must be a text, not {article(value)}", hint=f'write {key} = "..."')
    if not value.strip():
        raise SpecError(f"{key} is empty", hint=f"give the criterion a {key}")
    if has_unseen(value):
        raise SpecError(f"{key} {quoted(value)} holds characters that cannot be seen", hint="take them out")
    if len(value.encode("utf-8")) > longest:
        raise SpecError(f"{key} is longer than {longest} bytes", hint=f"choose a shorter {key}")


def _require_place(file: str) -> None:
    parts = file.split("/")
    if file.startswith("/") or "\\" in file or re.match("[A-Za-z]:", file):
        problem = "is not a relative path with /"
    elif ".." in parts or "." in parts or "" in parts:
        problem = "has a part that is empty, . or .."
    elif file != file.strip() or any(len(part.encode("utf-8")) > 255 for part in parts):
        problem = "begins or ends in white space, or has a part longer than 255 bytes"
    else:
        return
    raise SpecError(
        f"file {quoted(file)} {problem}", hint='name a file below the staging folder, such as "report.md"'
    )


def _texts(key: str, value: object) -> tuple[str, ...]:
    """The value as a tuple, if it is a list of texts that say something."""
    if not isinstance(value, list | tuple):
        raise SpecError(f"{key} must be a list of texts, not {article(value)}", hint=f'write {key} = ["..."]')
    if len(value) > MOST_CRITERIA:
        raise SpecError(f"{key} has {len(value)} texts, more than {MOST_CRITERIA}", hint="make two criteria")
    for text in value:
        if not isinstance(text, str):
            raise SpecError(f"{key} must hold texts, not {article(text)}", hint=f'write {key} = ["..."]')
        if not text:
            raise SpecError(f"{key} holds an empty text, which is in every file", hint="leave it out")
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise SpecError(f"{key} holds U+0000 or a lone surrogate", hint="no row can hold it: take it out")
    return tuple(value)


def _require_pattern(pattern: str) -> None:
    try:
        re.compile(pattern, re.MULTILINE)
    except (re.error, RecursionError, OverflowError) as error:
        raise SpecError(
            f"matches holds {quoted(pattern)}, which is no regular expression: {error}",
            hint="write it as Python's re module reads it; in TOML use '...' so that backslashes stay",
        ) from None
