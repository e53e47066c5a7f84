"""Criteria: the part of "done" that a machine can check, over the files that a session staged.

Three kinds: `file` looks at a text, `json_schema` at a JSON document as well, and `command` runs a program over the
staged files in a sandbox and asks for exit status 0.
"""

from __future__ import annotations

import json
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
FILE, JSON_SCHEMA, COMMAND = "file", "json_schema", "command"
_KEYS = ("name", "kind", "file", *TEXT_KEYS, *COUNT_KEYS, "schema", "command", "retries")
_OF_KIND: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # what it needs, and what it has no use for
    FILE: (("file",), ("schema", "command")),
    JSON_SCHEMA: (("file", "schema"), ("command",)),
    COMMAND: (("command",), ("file", *TEXT_KEYS, *COUNT_KEYS, "schema")),
}
MOST_COMMAND_BYTES = 20_000
_COMMAND_HINT = 'command = ["python3", "/workspace/check.py", "report.md"]'
_SCHEMA_HINT = "a JSON object, as a text; in TOML between three single quotes"
_HINTS = {"file": 'add file = "..." to the criterion', "schema": _SCHEMA_HINT, "command": _COMMAND_HINT}

RETRIES = 3
"""How often the work may go on after a criterion failed, where its spec does not say."""


@dataclass(frozen=True, slots=True)
class Criterion:
    r"""What must hold of one file, or what a program must find; every condition that is given must hold.

    Without any condition a file must exist and not be empty. Texts are compared exactly: case, line ends
    and Unicode forms count.

    Args:
        name: Unique within the spec, one line, at most 200 UTF-8 bytes.
        file: Path of the file below the staging folder, with `/`, without `.` and `..`; None for the kind `command`.
        contains: Texts that must all occur.
        not_contains: Texts of which none may occur.
        matches: Python regular expressions that must all be found by `re.search` with `re.MULTILINE`
            (`^` and `$` hold at every line; `\A` and `\Z` at the ends of the file).
        min_chars: Fewest characters (code points, not bytes), inclusive.
        max_chars: Most characters, inclusive, from 1.
        kind: `file`, `json_schema` or `command`.
        schema: For `json_schema`: a JSON Schema, as JSON, that the file must fit, being JSON itself.
        command: For `command`: a program and its arguments, run in a sandbox within the staged files.
        retries: How often the model is told that this failed, and the work goes on; 0 is never, None is `RETRIES`.

    Raises:
        SpecError: A value that has no meaning here; the message names the key.
    """

    name: str
    file: str | None = None
    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    min_chars: int | None = None
    max_chars: int | None = None
    retries: int | None = None
    kind: str = FILE
    schema: str | None = None
    command: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _require_line("name", self.name, 200)
        self._require_kind()
        if self.file is not None:
            _require_line("file", self.file, 1_000)
            _require_place(self.file)
        if self.schema is not None:
            _require_schema(self.schema)
        if self.command is not None:
            object.__setattr__(self, "command", _command(self.command))
        for key in TEXT_KEYS:
            object.__setattr__(self, key, _texts(key, getattr(self, key)))
        for pattern in self.matches:
            _require_pattern(pattern)
        for key in COUNT_KEYS:
            if getattr(self, key) is not None:
                require_count(key, getattr(self, key))
        if self.retries is not None:
            require_count("retries", self.retries)
        if self.max_chars is not None and self.max_chars < max(self.min_chars or 0, 1):
            raise SpecError(
                f"max_chars {self.max_chars} can never hold",
                hint="an empty file meets no criterion, and max_chars cannot be less than min_chars",
            )

    def _require_kind(self) -> None:
        """Check that the kind exists, has what it needs, and nothing that it would not check."""
        if not isinstance(self.kind, str) or self.kind not in _OF_KIND:
            raise SpecError(f"kind {quoted(self.kind)} is unknown", hint=f"the kinds are {', '.join(_OF_KIND)}")
        needed, useless = _OF_KIND[self.kind]
        for key in needed:
            if getattr(self, key) is None:
                raise SpecError(f"{key} is missing", hint=_HINTS[key])
        for key in useless:
            if getattr(self, key) not in (None, ()):
                raise SpecError(f"{key} has no meaning in a criterion of the kind {self.kind}", hint="make it another")

    def as_row(self) -> dict[str, Any]:
        """The criterion as a row holds it: `kind`, and only the keys that were given."""
        row: dict[str, Any] = {"kind": self.kind, "name": self.name}
        row.update((key, getattr(self, key)) for key in ("file", "schema") if getattr(self, key) is not None)
        if self.command is not None:
            row["command"] = list(self.command)
        row.update((key, list(getattr(self, key))) for key in TEXT_KEYS if getattr(self, key))
        row.update((key, getattr(self, key)) for key in (*COUNT_KEYS, "retries") if getattr(self, key) is not None)
        return row

    @property
    def most_retries(self) -> int:
        """How often the work may go on after this failed."""
        return RETRIES if self.retries is None else self.retries

    @classmethod
    def of_row(cls, row: object) -> Criterion:
        """Read a closed object, from a row or a spec file, where `kind` may be left out.

        Raises:
            SpecError: An unknown key, a missing one, a wrong type, or one that the kind has no use for.
        """
        if not isinstance(row, dict):
            raise SpecError(f"must be a table, not {article(row)}", hint="write it under a [[criteria]] line")
        for key in row:
            if key not in _KEYS:
                raise SpecError(f"key {quoted(key)} is unknown", hint=did_you_mean(key, _KEYS))
        if "name" not in row:
            raise SpecError("name is missing", hint='add name = "..." to the criterion')
        return cls(**row)


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


def _require_schema(schema: object) -> None:
    """Check that a schema is JSON; whether it is a schema is for the library to say, before anything is spent."""
    try:
        read = json.loads(schema) if isinstance(schema, str) else None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"schema is not JSON: {error}", hint=_SCHEMA_HINT) from None
    if not isinstance(read, dict):
        raise SpecError("schema must be a text that holds a JSON object", hint=_SCHEMA_HINT)


def _command(value: object) -> tuple[str, ...]:
    """The value as a tuple, if it is a program and its arguments."""
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise SpecError("command must be a list of texts, not a line for a shell", hint=_COMMAND_HINT)
    if not value or not value[0].strip():
        raise SpecError("command names no program", hint=_COMMAND_HINT)
    if any("\0" in word or any("\ud800" <= character <= "\udfff" for character in word) for word in value):
        raise SpecError("command holds U+0000 or a lone surrogate", hint="no program can be told it: take it out")
    if sum(len(word.encode("utf-8")) for word in value) > MOST_COMMAND_BYTES:
        raise SpecError(f"command has more than {MOST_COMMAND_BYTES} bytes", hint="put it into a file of the workspace")
    return tuple(value)
